import type { Lane } from '../../src/dap/protocol';
import { isWhole, marks, pan, select, zoom, type Span } from '../../src/editor/trace/span';
import { byId, grouped, moment } from './dom';
import { ask } from './host';

// When each vCPU made its calls: a lane each, as many buckets as pixels, counted where the records are.

export type TimelineAxis = 'retired' | 'time';

export interface Timeline {
  /** Counts what a filter has found. */
  show(filter: string): void;
  /** The same while more is being found: as often as it does not take much of the time. */
  grow(filter: string): void;
  /** Where the selected record is. */
  readonly axis: TimelineAxis;
  resize(): void;
}

const LANE = 26;
const SCALE = 18;
const LABEL = 46;
const MOST_LANES = 12;
/** While there is more to come it is counted again after so long, or so many times what the last counting took. */
const GROW_MS = 500;
const GROW_TIMES = 10;

export function createTimeline(
  whole: () => { readonly retired: Span; readonly time: Span },
  picked: (axis: TimelineAxis, value: number) => void,
  axisChanged: (axis: TimelineAxis) => void,
  failed: (error: unknown) => void,
): Timeline {
  const canvas = byId('timeline', HTMLCanvasElement);
  const spanText = byId('span', HTMLElement);
  const all = byId('zoom-all', HTMLButtonElement);
  const axisButton = byId('axis', HTMLButtonElement);
  let axis: TimelineAxis = 'retired';
  let span: Span | undefined;
  let filter = '';
  let lanes: readonly Lane[] = [];
  let counted: Span = { from: 0, to: 1 };
  let asking = false;
  let again = false;
  /** By performance.now(): when it pays to count what grows. */
  let due = 0;
  let dragged: { readonly from: number; to: number } | undefined;

  const full = (): Span => whole()[axis];
  const shown = (): Span => span ?? full();
  const width = (): number => Math.max(1, canvas.clientWidth - LABEL);
  const color = (name: string, fallback: string): string => {
    const found = getComputedStyle(document.body).getPropertyValue(name).trim();
    return found === '' ? fallback : found;
  };
  const says = (value: number, step: number): string =>
    axis === 'retired' ? grouped(Math.round(value)) : moment(value, step);

  const draw = (): void => {
    const count = Math.min(MOST_LANES, Math.max(1, lanes.length));
    const height = SCALE + count * LANE;
    const ratio = window.devicePixelRatio;
    canvas.style.height = `${height}px`;
    canvas.width = Math.round(canvas.clientWidth * ratio);
    canvas.height = Math.round(height * ratio);
    const c = canvas.getContext('2d');
    if (c === null) return;
    c.scale(ratio, ratio);
    const text = color('--vscode-foreground', 'gray');
    const dim = color('--vscode-descriptionForeground', text);
    const line = color('--vscode-editorIndentGuide-background1', color('--vscode-widget-border', dim));
    const bar = color('--vscode-charts-blue', text);
    const bad = color('--vscode-charts-red', text);
    c.font = `11px ${color('--vscode-font-family', 'sans-serif')}`;
    c.textBaseline = 'middle';
    const view = shown();
    const wide = view.to - view.from;
    const x = (value: number): number => LABEL + ((value - view.from) / wide) * width();
    const at = marks(view, width() / 110);
    const step = (at[1] ?? 1) - (at[0] ?? 0);
    for (const value of at) {
      c.fillStyle = line;
      c.fillRect(Math.round(x(value)), SCALE - 4, 1, height);
      c.fillStyle = dim;
      c.fillText(says(value, step), x(value) + 4, SCALE / 2);
    }
    lanes.slice(0, count).forEach((lane, i) => {
      const top = SCALE + i * LANE;
      const { counts, refused, vcpu } = lane;
      const most = Math.max(1, ...lanes.map((one) => one.counts.reduce((a, b) => Math.max(a, b), 0)));
      c.fillStyle = text;
      c.fillText(`d${vcpu.domain}v${vcpu.vcpu}`, 4, top + LANE / 2);
      c.fillStyle = line;
      c.fillRect(LABEL, top + LANE - 1, width(), 1);
      const each = (counted.to - counted.from) / Math.max(1, counts.length);
      const scale = (n: number): number =>
        n === 0 ? 0 : 2 + (Math.log2(n + 1) / Math.log2(most + 1)) * (LANE - 6);
      counts.forEach((n, k) => {
        if (n === 0) return;
        const left = x(counted.from + k * each);
        const right = Math.max(left + 1, x(counted.from + (k + 1) * each));
        if (right < LABEL || left > LABEL + width()) return;
        const high = scale(n);
        c.fillStyle = bar;
        c.fillRect(left, top + LANE - 1 - high, right - left, high);
        const wrong = refused[k] ?? 0;
        if (wrong === 0) return;
        c.fillStyle = bad;
        c.fillRect(left, top + LANE - 1 - scale(wrong), right - left, scale(wrong));
      });
    });
    if (dragged !== undefined) {
      c.fillStyle = color('--vscode-editor-selectionBackground', 'rgba(128,128,128,0.4)');
      const [a, b] = [Math.min(dragged.from, dragged.to), Math.max(dragged.from, dragged.to)];
      c.globalAlpha = 0.5;
      c.fillRect(LABEL + a * width(), 0, (b - a) * width(), height);
      c.globalAlpha = 1;
    }
    const total = lanes.reduce((sum, { counts }) => sum + counts.reduce((a, b) => a + b, 0), 0);
    const wrong = lanes.reduce((sum, lane) => sum + lane.refused.reduce((a, b) => a + b, 0), 0);
    const words = `${says(view.from, step)} to ${says(view.to, step)}: ${grouped(total)} ${total === 1 ? 'call' : 'calls'}, ${grouped(wrong)} refused`;
    spanText.textContent = words;
    canvas.setAttribute(
      'aria-label',
      `Timeline of ${lanes.length} vCPUs, ${words}. Arrows move, plus and minus zoom, 0 shows all, Enter goes to its middle.`,
    );
    all.hidden = isWhole(view, full());
    axisButton.textContent = axis === 'retired' ? 'Instructions' : 'Virtual time';
  };

  const refresh = (): void => {
    draw();
    if (asking) {
      again = true;
      return;
    }
    asking = true;
    const began = performance.now();
    const view = shown();
    const buckets = Math.max(10, Math.min(2000, Math.floor(width() / 2)));
    ask('timeline', { filter, axis, from: view.from, to: Math.max(view.to, view.from + 1), buckets })
      .then((answer) => {
        ({ lanes } = answer);
        counted = view;
        draw();
      })
      .catch(failed)
      .finally(() => {
        asking = false;
        const ended = performance.now();
        due = ended + Math.max(GROW_MS, GROW_TIMES * (ended - began));
        if (!again) return;
        again = false;
        refresh();
      });
  };
  const look = (next: Span | undefined): void => {
    span = next === undefined || isWhole(next, full()) ? undefined : next;
    refresh();
  };

  const fraction = (event: MouseEvent): number =>
    Math.max(0, Math.min(1, (event.clientX - canvas.getBoundingClientRect().left - LABEL) / width()));
  canvas.addEventListener('mousedown', (event) => {
    dragged = { from: fraction(event), to: fraction(event) };
  });
  window.addEventListener('mousemove', (event) => {
    if (dragged === undefined) return;
    dragged.to = fraction(event);
    draw();
  });
  window.addEventListener('mouseup', () => {
    if (dragged === undefined) return;
    const { from, to } = dragged;
    dragged = undefined;
    const view = shown();
    if (Math.abs(from - to) * width() > 5) look(select(view, full(), from, to));
    else {
      draw();
      picked(axis, view.from + (view.to - view.from) * from);
    }
  });
  canvas.addEventListener(
    'wheel',
    (event) => {
      event.preventDefault();
      if (Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey)
        look(pan(shown(), full(), (event.deltaX === 0 ? event.deltaY : event.deltaX) / width()));
      else look(zoom(shown(), full(), fraction(event), 1.002 ** event.deltaY));
    },
    { passive: false },
  );
  const keys: Readonly<Record<string, () => void>> = {
    '+': () => look(zoom(shown(), full(), 0.5, 0.5)),
    '=': () => look(zoom(shown(), full(), 0.5, 0.5)),
    '-': () => look(zoom(shown(), full(), 0.5, 2)),
    ArrowLeft: () => look(pan(shown(), full(), -0.1)),
    ArrowRight: () => look(pan(shown(), full(), 0.1)),
    '0': () => look(undefined),
    Enter: () => picked(axis, (shown().from + shown().to) / 2),
  };
  canvas.addEventListener('keydown', (event) => {
    const work = event.ctrlKey || event.metaKey || event.altKey ? undefined : keys[event.key];
    if (work === undefined) return;
    event.preventDefault();
    work();
  });
  all.addEventListener('click', () => look(undefined));
  axisButton.addEventListener('click', () => {
    axis = axis === 'retired' ? 'time' : 'retired';
    span = undefined;
    axisChanged(axis);
    refresh();
  });
  new ResizeObserver(() => refresh()).observe(canvas);
  // Another theme has other colours.
  new MutationObserver(draw).observe(document.body, { attributes: true, attributeFilter: ['class'] });

  return {
    get axis() {
      return axis;
    },
    show: (wanted) => {
      filter = wanted;
      refresh();
    },
    grow: (wanted) => {
      if (wanted !== filter) due = 0;
      filter = wanted;
      if (!asking && performance.now() >= due) refresh();
    },
    resize: refresh,
  };
}
