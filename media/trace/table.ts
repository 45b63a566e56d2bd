import type { Answer, RecordRow } from '../../src/dap/protocol';
import { linesOf, missingRows, scrollOf, type Lines } from '../../src/editor/trace/lines';
import { detailLines, type Action, type DetailLine } from './details';
import { byId, duration, element, grouped } from './dom';
import { ask } from './host';

// The records: as many lines in the page as fit on it, whatever there are behind.

const LINE = 22;
/** Behind details, and how much further each level of them begins; see trace.css. */
const BEHIND = 20;
const INDENT = 16;
const CACHED = 4000;
/** Rows asked for beyond those on the screen, where the table moves to: at rest, and at most. */
const AHEAD = 50;
const MOST_AHEAD = 600;
/** Frames that an answer may take while the wheel turns, and still be there in time. */
const FRAMES_AHEAD = 30;
const COLUMNS = [
  '#',
  'Instructions',
  'vCPU',
  'Hypercall',
  'Arguments',
  'Result',
  'Cost',
  'Call site',
] as const;

export interface Table {
  /** Other records: those of this filter. */
  show(filter: string): void;
  /** So many of them are known. */
  count(matched: number): void;
  /** Selects a record, or the one before it where the filter leaves it out. */
  goTo(at: number): Promise<void>;
  current(at: number | undefined): void;
  /** Costs in virtual time instead of instructions. */
  costs(inTime: boolean): void;
  machine(there: boolean): void;
  focus(): void;
  layout(): void;
}

export function createTable(
  act: (action: Exclude<Action, 'within'>, row: RecordRow) => void,
  memory: (row: RecordRow, line: DetailLine) => void,
  failed: (error: unknown) => void,
): Table {
  const section = byId('records', HTMLElement);
  const head = element('div', { class: 'row head', role: 'row' });
  for (const name of COLUMNS) head.append(element('span', { role: 'columnheader' }, name));
  const lines = element('div', { class: 'lines', role: 'rowgroup' });
  const spacer = element('div', { class: 'spacer' });
  const scroller = element('div', { class: 'scroller' }, lines, spacer);
  const grid = element(
    'div',
    { class: 'grid', role: 'treegrid', 'aria-label': 'Hypercalls', 'aria-readonly': 'true', tabindex: '0' },
    head,
    scroller,
  );
  section.append(grid);

  let filter = '';
  let matched = 0;
  let version = 0;
  let rows = new Map<number, RecordRow>();
  let details = new Map<number, DetailLine[]>();
  let layout: Lines = linesOf(0, new Map());
  let scroll = scrollOf(0, LINE, 1);
  let first = 0;
  let selected = 0;
  let currentAt: number | undefined;
  let inTime = false;
  let hasMachine = false;
  /** The version that is being asked about: one request at a time, for what is wanted when the last is answered. */
  let asked: number | undefined;
  let painted = 0;
  let drawn = false;

  /** Characters that a detail has room for. */
  const columns = (level: number): number => {
    const letters = document.createElement('canvas').getContext('2d');
    if (letters === null) return Infinity;
    const style = getComputedStyle(scroller);
    letters.font = style.font;
    const room =
      scroller.clientWidth - parseFloat(style.getPropertyValue('--detail')) - BEHIND - level * INDENT;
    return Math.floor(room / letters.measureText('0').width);
  };
  const visible = (): number => Math.max(1, Math.floor(scroller.clientHeight / LINE));

  const relayout = (): void => {
    layout = linesOf(matched, new Map([...details].map(([row, list]) => [row, list.length])));
    scroll = scrollOf(layout.total, LINE, scroller.clientHeight);
    spacer.style.height = `${scroll.height}px`;
    grid.setAttribute('aria-rowcount', String(layout.total + 1));
    selected = Math.max(0, Math.min(selected, layout.total - 1));
    setFirst(first);
  };
  const setFirst = (to: number): void => {
    first = Math.max(0, Math.min(scroll.last, to));
    scroller.scrollTop = scroll.top(first);
    draw();
  };
  const reveal = (line: number): void => {
    if (line < first) setFirst(line);
    else if (line > first + visible() - 1) setFirst(line - visible() + 1);
    else draw();
  };
  const select = (line: number): void => {
    selected = Math.max(0, Math.min(layout.total - 1, line));
    reveal(selected);
  };

  const fetch = async (start: number, count: number): Promise<void> => {
    if (asked === version) return;
    const now = (asked = version);
    try {
      const { rows: found } = await ask('rows', { filter, start, count });
      if (now !== version) return;
      if (rows.size > CACHED) rows = new Map([...rows].filter(([row]) => Math.abs(row - start) < CACHED / 4));
      found.forEach((row, i) => rows.set(start + i, row));
      if (found.length > 0) draw();
    } catch (error) {
      if (now === version) failed(error);
    } finally {
      if (asked === now) asked = undefined;
    }
  };
  /** Asks for rows [from, to), and for some of those that will be wanted next; `moved`: lines since the last frame. */
  const want = (from: number, to: number, moved: number): void => {
    // Who drags the bar over millions sees what is where it stops.
    const isJump = Math.abs(moved) > 4 * visible();
    const ahead = isJump ? 0 : Math.min(MOST_AHEAD, AHEAD + Math.ceil(Math.abs(moved) * FRAMES_AHEAD));
    const has = (row: number): boolean => rows.has(row);
    const reach = (share: number): ReturnType<typeof missingRows> =>
      missingRows(
        Math.max(0, from - (moved > 0 ? 0 : Math.floor(ahead * share))),
        Math.min(matched, to + (moved < 0 ? 0 : Math.floor(ahead * share))),
        has,
      );
    const whole = reach(0.5) === undefined ? undefined : reach(1);
    if (whole !== undefined) void fetch(whole.start, whole.count);
  };

  const cells = (row: RecordRow): HTMLElement[] => {
    const cost =
      row.cost === undefined ? '' : inTime ? duration(row.cost.time) : grouped(row.cost.instructions);
    const result = [row.result ?? '', row.errno ?? ''].filter((text) => text !== '').join(' ');
    const texts = [
      grouped(row.seq), grouped(row.retired), `d${row.domain}v${row.vcpu}`, row.name, row.text, result, cost, row.site ?? row.rip,
    ]; // prettier-ignore
    return texts.map((text, i) => {
      const cell = element('span', { role: 'gridcell', title: i === 5 ? (row.reason ?? text) : text }, text);
      if (i === 3) cell.prepend(element('span', { class: 'twistie', 'aria-hidden': 'true' }));
      return cell;
    });
  };

  const recordLine = (line: number, index: number): HTMLElement => {
    const row = rows.get(index);
    const isOpen = details.has(index);
    const names = ['row', 'record'];
    if (row?.errno !== undefined) names.push('refused');
    if (row !== undefined && row.at === currentAt) names.push('current');
    if (row !== undefined && row.depth > 0) names.push('entry');
    if (isOpen) names.push('open');
    const made = element('div', {
      class: names.join(' '),
      role: 'row',
      'aria-level': '1',
      'aria-expanded': String(isOpen),
      'aria-busy': row === undefined ? 'true' : undefined,
      'data-line': String(line),
    });
    if (row === undefined) made.append(element('span', { role: 'gridcell' }, '…'));
    else made.append(...cells(row));
    return made;
  };
  const detailLine = (line: number, detail: DetailLine): HTMLElement => {
    const made = element('div', {
      class: `row detail ${detail.kind}`,
      role: 'row',
      'aria-level': String(detail.level),
      'data-line': String(line),
    });
    const cell = element('span', { role: 'gridcell', title: detail.text });
    cell.classList.add(`level-${Math.min(8, detail.level)}`);
    if (detail.name !== '') cell.append(element('span', { class: 'name' }, detail.name), ' ');
    cell.append(
      element('span', { class: detail.memory === undefined ? 'value' : 'value memory' }, detail.text),
    );
    made.append(cell);
    return made;
  };

  function draw(): void {
    if (drawn) return;
    drawn = true;
    requestAnimationFrame(() => {
      drawn = false;
      paint();
    });
  }
  function paint(): void {
    const start = Math.floor(first);
    const end = Math.min(layout.total, start + visible() + 2);
    const shown: HTMLElement[] = [];
    const wanted: number[] = [];
    for (let line = start; line < end; line++) {
      const where = layout.at(line);
      if (where === undefined) break;
      const detail = where.detail === undefined ? undefined : details.get(where.row)?.[where.detail];
      const made = detail === undefined ? recordLine(line, where.row) : detailLine(line, detail);
      if (where.detail === undefined) wanted.push(where.row);
      made.id = `line-${line}`;
      made.setAttribute('aria-rowindex', String(line + 2));
      made.setAttribute('aria-selected', String(line === selected));
      made.style.top = `${(line - first) * LINE}px`;
      shown.push(made);
    }
    lines.replaceChildren(...shown);
    if (selected >= start && selected < end) grid.setAttribute('aria-activedescendant', `line-${selected}`);
    else grid.removeAttribute('aria-activedescendant');
    const from = wanted[0];
    const to = wanted.at(-1);
    if (from === undefined || to === undefined) return;
    want(from, to + 1, first - painted);
    painted = first;
  }

  const open = async (index: number): Promise<void> => {
    const row = rows.get(index);
    if (row === undefined) return;
    const now = version;
    const answer: Answer<'record'> = await ask('record', { at: row.at });
    if (now !== version) return;
    details.set(index, detailLines(answer, 2, hasMachine, columns(2)));
    relayout();
  };
  const close = (index: number): void => {
    details.delete(index);
    relayout();
  };
  /** What is in an entry of a multicall, below it; or no longer. */
  const toggleEntry = async (index: number, at: number): Promise<void> => {
    const list = details.get(index);
    const line = list?.[at];
    if (list === undefined || line?.entry === undefined) return;
    const after = list.slice(at + 1).findIndex(({ level }) => level <= line.level);
    const below = after === -1 ? list.length - at - 1 : after;
    const level = line.level + 1;
    const inner =
      below > 0
        ? []
        : detailLines(await ask('record', { at: line.entry.at }), level, hasMachine, columns(level));
    details.set(index, [
      ...list.slice(0, at + 1),
      ...inner.filter(({ kind }) => kind !== 'action'),
      ...list.slice(at + 1 + below),
    ]);
    relayout();
  };

  const activate = async (line: number, only?: 'open' | 'close'): Promise<void> => {
    const where = layout.at(line);
    if (where === undefined) return;
    const { row: index, detail: at } = where;
    const row = rows.get(index);
    if (at === undefined) {
      if (details.has(index)) {
        if (only !== 'open') close(index);
      } else if (only !== 'close') await open(index);
      return;
    }
    if (only === 'close') {
      select(layout.of(index));
      return;
    }
    const detail = details.get(index)?.[at];
    if (detail?.entry !== undefined) await toggleEntry(index, at);
    else if (row !== undefined && detail?.memory !== undefined) memory(row, detail);
    else if (row !== undefined && detail?.action === 'within') {
      const { within } = await ask('record', { at: row.at });
      if (within !== undefined) await goTo(within);
    } else if (row !== undefined && detail?.action !== undefined && detail.action !== 'within')
      act(detail.action, row);
  };
  const goTo = async (at: number): Promise<void> => {
    const now = version;
    const { index } = await ask('index', { filter, at });
    if (now !== version || index < 0) return;
    const line = layout.of(index);
    selected = line;
    setFirst(line - Math.floor(visible() / 2));
  };

  const selectedRow = (): RecordRow | undefined => {
    const where = layout.at(selected);
    return where === undefined ? undefined : rows.get(where.row);
  };
  const keys: Readonly<Record<string, () => void | Promise<void>>> = {
    ArrowDown: () => select(selected + 1),
    ArrowUp: () => select(selected - 1),
    PageDown: () => select(selected + visible() - 1),
    PageUp: () => select(selected - visible() + 1),
    Home: () => select(0),
    End: () => select(layout.total - 1),
    Enter: () => activate(selected),
    ' ': () => activate(selected),
    ArrowRight: () => activate(selected, 'open'),
    ArrowLeft: () => activate(selected, 'close'),
    F12: () => {
      const row = selectedRow();
      if (row !== undefined) act('source', row);
    },
    F9: () => {
      const row = selectedRow();
      if (row !== undefined) act('break', row);
    },
  };
  grid.addEventListener('keydown', (event) => {
    const work = event.ctrlKey || event.metaKey || event.altKey ? undefined : keys[event.key];
    if (work === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    Promise.resolve(work()).catch(failed);
  });
  grid.addEventListener('copy', (event) => {
    const row = selectedRow();
    if (row === undefined || window.getSelection()?.isCollapsed === false) return;
    event.clipboardData?.setData(
      'text/plain',
      `${row.name}(${row.text}) = ${row.result ?? ''} ${row.errno ?? ''}`.trimEnd(),
    );
    event.preventDefault();
  });
  lines.addEventListener('click', (event) => {
    const target = event.target instanceof Element ? event.target : undefined;
    const line = Number(target?.closest('[data-line]')?.getAttribute('data-line') ?? NaN);
    if (Number.isNaN(line)) return;
    selected = line;
    const where = layout.at(line);
    if (target?.classList.contains('twistie') === true || where?.detail !== undefined)
      activate(line).catch(failed);
    draw();
  });
  lines.addEventListener('dblclick', (event) => {
    const target = event.target instanceof Element ? event.target : undefined;
    const line = Number(target?.closest('.record')?.getAttribute('data-line') ?? NaN);
    if (!Number.isNaN(line) && target?.classList.contains('twistie') !== true) activate(line).catch(failed);
  });
  scroller.addEventListener('scroll', () => {
    // What was set from here is exact; the bar knows it in whole pixels only.
    if (Math.abs(scroller.scrollTop - scroll.top(first)) < 1.5) return;
    first = scroll.first(scroller.scrollTop);
    draw();
  });
  scroller.addEventListener(
    'wheel',
    (event) => {
      if (event.ctrlKey || event.deltaY === 0) return;
      event.preventDefault();
      const unit =
        event.deltaMode === WheelEvent.DOM_DELTA_LINE
          ? 1
          : event.deltaMode === WheelEvent.DOM_DELTA_PAGE
            ? visible()
            : 1 / LINE;
      setFirst(first + event.deltaY * unit);
    },
    { passive: false },
  );
  new ResizeObserver(relayout).observe(scroller);

  return {
    show: (next) => {
      filter = next;
      version++;
      rows = new Map();
      details = new Map();
      asked = undefined;
      matched = 0;
      first = selected = 0;
      relayout();
    },
    count: (now) => {
      if (now === matched) return;
      matched = now;
      relayout();
    },
    goTo,
    current: (at) => {
      currentAt = at;
      draw();
    },
    costs: (time) => {
      inTime = time;
      draw();
    },
    machine: (there) => {
      hasMachine = there;
    },
    focus: () => grid.focus(),
    layout: relayout,
  };
}
