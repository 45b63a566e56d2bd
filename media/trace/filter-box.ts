import type { Completion } from '../../src/editor/trace/completion';
import { byId, element } from './dom';
import { request } from './host';

// The filter and what can be written there.

export interface FilterBox {
  readonly value: string;
  set(text: string): void;
  problem(message: string | undefined): void;
  focus(): void;
}

const WAIT_MS = 250;

/** @param changed when it has been left alone for a moment, or at once with Enter */
export function createFilterBox(changed: (text: string) => void, leave: () => void): FilterBox {
  const input = byId('filter', HTMLInputElement);
  const list = byId('suggestions', HTMLUListElement);
  const trouble = byId('filter-problem', HTMLElement);
  let items: readonly Completion[] = [];
  let from = 0;
  let chosen = -1;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let asked = 0;
  let told = input.value;

  const tell = (): void => {
    clearTimeout(timer);
    if (input.value === told) return;
    told = input.value;
    changed(told);
  };
  const hide = (): void => {
    items = [];
    chosen = -1;
    list.hidden = true;
    input.setAttribute('aria-expanded', 'false');
    input.removeAttribute('aria-activedescendant');
  };
  const mark = (index: number): void => {
    chosen = index;
    [...list.children].forEach((child, i) => {
      child.setAttribute('aria-selected', String(i === index));
      if (i === index) child.scrollIntoView({ block: 'nearest' });
    });
    if (index < 0) input.removeAttribute('aria-activedescendant');
    else input.setAttribute('aria-activedescendant', `suggestion-${index}`);
  };
  const take = (index: number): void => {
    const item = items[index];
    if (item === undefined) return;
    const end = input.selectionStart ?? input.value.length;
    input.value = input.value.slice(0, from) + item.label + input.value.slice(end);
    const cursor = from + item.label.length;
    input.setSelectionRange(cursor, cursor);
    hide();
    tell();
  };
  const suggest = async (): Promise<void> => {
    const now = ++asked;
    const cursor = input.selectionStart ?? input.value.length;
    const found = await request('complete', { text: input.value, cursor });
    if (now !== asked || document.activeElement !== input) return;
    ({ items, from } = found);
    list.replaceChildren(
      ...items.map(({ label, detail, kind }, i) =>
        element(
          'li',
          { id: `suggestion-${i}`, role: 'option', 'aria-selected': 'false', 'data-index': String(i) },
          element('span', { class: 'label' }, label),
          element('span', { class: 'about' }, detail ?? kind),
        ),
      ),
    );
    list.hidden = items.length === 0;
    input.setAttribute('aria-expanded', String(items.length > 0));
    mark(-1);
  };
  input.addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(tell, WAIT_MS);
    suggest().catch(hide);
  });
  input.addEventListener('blur', hide);
  list.addEventListener('mousedown', (event) => {
    event.preventDefault();
    const item = event.target instanceof Element ? event.target.closest('li') : null;
    if (item !== null) take(Number(item.dataset['index']));
  });
  const keys: Readonly<Record<string, () => boolean>> = {
    ArrowDown: () => {
      if (items.length > 0) mark((chosen + 1) % items.length);
      else leave();
      return true;
    },
    ArrowUp: () => {
      if (items.length > 0) mark(((chosen + items.length) % (items.length + 1)) - 1);
      return items.length > 0;
    },
    Tab: () => {
      if (items.length === 0) return false;
      take(Math.max(0, chosen));
      return true;
    },
    Enter: () => {
      if (chosen >= 0) take(chosen);
      else {
        hide();
        tell();
        leave();
      }
      return true;
    },
    Escape: () => {
      if (items.length > 0) hide();
      else leave();
      return true;
    },
  };
  input.addEventListener('keydown', (event) => {
    if (event.key === ' ' && event.ctrlKey) {
      suggest().catch(hide);
      event.preventDefault();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    if (keys[event.key]?.() === true) event.preventDefault();
  });
  return {
    get value() {
      return input.value;
    },
    set: (text) => {
      input.value = text;
      tell();
    },
    problem: (message) => {
      trouble.textContent = message ?? '';
      input.setAttribute('aria-invalid', String(message !== undefined));
    },
    focus: () => {
      input.focus();
      input.select();
    },
  };
}
