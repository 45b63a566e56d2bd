// The page of the hypercall trace: puts its parts together. Everything it shows it asks for; nothing is kept here
// but what is on the screen.
import type { Answer, Likeness, RecordRow } from '../../src/dap/protocol';
import type { PageState } from '../../src/editor/trace/messages';
import { showDifferences } from './differences';
import { byId, element, grouped } from './dom';
import { createFilterBox } from './filter-box';
import { ask, listen, remember, remembered, request } from './host';
import { createTable } from './table';
import { createTimeline } from './timeline';
import { showTotals } from './totals';

/** With no filter, entries of multicalls are within their multicall only. */
const TOP_LEVEL = 'depth == 0';
/** A running machine is looked at again after so long. */
const AGAIN_MS = 700;

const status = byId('count', HTMLElement);
const progress = byId('progress', HTMLProgressElement);
const stop = byId('stop', HTMLButtonElement);

let state: PageState = { title: '', kind: 'none', running: false, machine: false };
let info: Answer<'info'> | undefined;
let filter = remembered().filter ?? '';
let generation = -1;
let scans = 0;
let current: number | undefined;
let timer: ReturnType<typeof setTimeout> | undefined;

const effective = (): string => (filter.trim() === '' ? TOP_LEVEL : filter);
const failed = (error: unknown): void => {
  status.textContent = error instanceof Error ? error.message : String(error);
  status.classList.add('error');
};
const say = (text: string): void => {
  status.classList.remove('error');
  if (status.textContent !== text) status.textContent = text;
};

const actOn = (action: 'source' | 'break', row: RecordRow): void => {
  request(action, { row }).catch(failed);
};
const table = createTable(
  actOn,
  (row, { memory }) => {
    if (memory !== undefined) request('memory', { row, ...memory }).catch(failed);
  },
  failed,
);
const whole = () => {
  const { retired = [0, 1], time = [0, 1] } = info ?? {};
  return {
    retired: { from: retired[0], to: retired[1] + 1 },
    time: { from: time[0], to: time[1] + 1 },
  };
};
const timeline = createTimeline(
  whole,
  (axis, value) => {
    const find = async (): Promise<void> => {
      // Moments are told by instructions; time is looked for by the filter's own comparison.
      const at =
        axis === 'retired'
          ? (await ask('moment', { retired: Math.floor(value) })).at
          : await lastBefore(Math.floor(value));
      if (at !== undefined) await table.goTo(at);
    };
    find().catch(failed);
  },
  (axis) => table.costs(axis === 'time'),
  failed,
);

async function lastBefore(time: number): Promise<number | undefined> {
  const early = `time <= ${time}`;
  let found = await ask('scan', { filter: early });
  while (found.scanned < found.next) found = await ask('scan', { filter: early });
  const { rows } = await ask('rows', { filter: early, start: found.matched - 1, count: 1 });
  return rows[0]?.at;
}

const box = createFilterBox(
  (text) => {
    filter = text;
    remember({ filter });
    show();
  },
  () => table.focus(),
);

/** Looks at everything there is, a stretch at a time; another filter, or Stop, ends it. */
async function scan(): Promise<void> {
  const mine = ++scans;
  let problem: string | undefined;
  clearTimeout(timer);
  try {
    for (;;) {
      info = await ask('info', {});
      if (mine !== scans) return;
      if (info.generation !== generation) {
        generation = info.generation;
        table.show(effective());
      }
      const found = await ask('scan', { filter: effective() });
      if (mine !== scans) return;
      problem =
        found.problem === undefined ? undefined : `${found.problem.message} (at ${found.problem.at + 1})`;
      box.problem(problem);
      table.count(found.matched);
      const { loading } = info;
      const busy = found.scanned < found.next || loading !== undefined;
      progress.hidden = stop.hidden = !busy;
      progress.value =
        loading === undefined
          ? (found.scanned - found.first) / Math.max(1, found.next - found.first)
          : loading.done / loading.total;
      const kept =
        found.first > 0 && state.kind === 'machine' ? `, the first ${grouped(found.first)} are gone` : '';
      const all = `${grouped(found.next - found.first)} records${kept}`;
      const what =
        filter.trim() === ''
          ? all
          : `${grouped(found.matched)} of ${all}${found.complaint === undefined ? '' : `: ${found.complaint}`}`;
      say(loading === undefined ? what : `${what}, reading the file`);
      if (busy && problem === undefined) timeline.grow(effective());
      if (found.scanned < found.next) continue;
      if (loading === undefined) break;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    if (problem === undefined) timeline.show(effective());
    await afterScan();
    if (state.running) timer = setTimeout(() => void scan(), AGAIN_MS);
  } catch (error) {
    if (mine !== scans) return;
    progress.hidden = stop.hidden = true;
    failed(error);
  }
}

let wanted: number | undefined;
async function afterScan(): Promise<void> {
  if (tabs.selected === 'totals') await totals();
  if (wanted === undefined) return;
  const at = wanted;
  wanted = undefined;
  await table.goTo(at);
}

function show(): void {
  table.show(effective());
  void scan();
}
stop.addEventListener('click', () => {
  scans++;
  progress.hidden = stop.hidden = true;
  say(`${status.textContent} (stopped)`);
});

const totals = async (): Promise<void> =>
  showTotals(await ask('totals', { filter }), (name) => {
    box.set(name);
    tabs.choose('records');
    table.focus();
  });

// The parts, as tabs.
type Tab = 'records' | 'totals' | 'differences';
const names: readonly Tab[] = ['records', 'totals', 'differences'];
const tabs = {
  selected: 'records' as Tab,
  choose: (name: Tab): void => {
    tabs.selected = name;
    for (const one of names) {
      byId(one, HTMLElement).hidden = one !== name;
      const button = byId(`tab-${one}`, HTMLButtonElement);
      button.setAttribute('aria-selected', String(one === name));
      button.tabIndex = one === name ? 0 : -1;
    }
    if (name === 'totals') {
      // What is not filtered has not been looked at by this filter yet.
      const fill = async (): Promise<void> => {
        let found = await ask('scan', { filter });
        while (found.scanned < found.next) found = await ask('scan', { filter });
        await totals();
      };
      fill().catch(failed);
    }
    if (name === 'records') table.layout();
  },
};
names.forEach((name, i) => {
  const button = byId(`tab-${name}`, HTMLButtonElement);
  button.addEventListener('click', () => tabs.choose(name));
  button.addEventListener('keydown', ({ key }) => {
    const step = key === 'ArrowRight' ? 1 : key === 'ArrowLeft' ? names.length - 1 : 0;
    const next = step === 0 ? undefined : names[(i + step) % names.length];
    if (next === undefined) return;
    tabs.choose(next);
    byId(`tab-${next}`, HTMLButtonElement).focus();
  });
});

// Comparing.
const likeness = element(
  'select',
  { 'aria-label': 'What has to be the same' },
  element('option', { value: 'arguments' }, 'Calls, arguments and results'),
  element('option', { value: 'calls' }, 'Calls and errors only'),
  element('option', { value: 'moments' }, 'Also the instruction at which they were made'),
) as HTMLSelectElement;
const start = element('button', { type: 'button' }, 'Compare with a File…');
const compared = element('div', { id: 'compared', tabindex: '0' });
compared.append(
  element(
    'p',
    {},
    'Two traces are aligned vCPU by vCPU: what differs, and where they diverge first, is listed here.',
  ),
);
byId('differences', HTMLElement).append(element('div', { class: 'bar' }, likeness, start), compared);
async function compare(): Promise<void> {
  tabs.choose('differences');
  const result = await request('compare', { likeness: likeness.value as Likeness });
  if (result === null) return;
  await showDifferences(result, (at) => {
    tabs.choose('records');
    box.set('');
    table.goTo(at).catch(failed);
    table.focus();
  });
}
start.addEventListener('click', () => void compare().catch(failed));
byId('compare', HTMLButtonElement).addEventListener('click', () => void compare().catch(failed));

const goToCurrent = (): void => {
  if (current === undefined) say('The machine has made no hypercall yet.');
  else {
    tabs.choose('records');
    table.goTo(current).catch(failed);
    table.focus();
  }
};
byId('go-current', HTMLButtonElement).addEventListener('click', goToCurrent);
byId('export', HTMLButtonElement).addEventListener(
  'click',
  () => void request('export', { filter }).catch(failed),
);
byId('open', HTMLButtonElement).addEventListener('click', () => void request('open', {}).catch(failed));
document.addEventListener('keydown', (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === 'f') {
    box.focus();
    event.preventDefault();
  } else if (event.altKey && event.key === 'c') {
    goToCurrent();
    event.preventDefault();
  }
});

listen((message) => {
  if (message.type === 'focusFilter') box.focus();
  else if (message.type === 'goToCurrent') goToCurrent();
  else if (message.type === 'compare') void compare().catch(failed);
  else if (message.type === 'current') {
    current = message.at ?? undefined;
    table.current(current);
    // The table goes with the machine, once it knows the record.
    wanted = current;
    void scan();
  } else {
    ({ state } = message);
    byId('title', HTMLElement).textContent = state.title;
    byId('go-current', HTMLButtonElement).disabled = state.kind !== 'machine';
    table.machine(state.machine);
    if (message.fresh) {
      generation = -1;
      current = undefined;
    }
    if (state.kind === 'none' && generation === -1) {
      say('No machine is being debugged. Start one, or open the file of a trace.');
      return;
    }
    if (state.kind !== 'none') void scan();
  }
});
if (filter !== '') box.set(filter);
