import * as vscode from 'vscode';
import { hypercallBreakpoints, setHypercallBreakpoint } from './breakpoints';
import { trackChanges, type Changes } from './rows/changes';
import { channels } from './rows/channels';
import { devices } from './rows/devices';
import { domains } from './rows/domains';
import { grants } from './rows/grants';
import { hypercalls, type HypercallRow } from './rows/hypercalls';
import { holdsIndex, pageTables, type PageTableRow } from './rows/page-tables';
import type { Requester, Row, RowModel } from './rows/row';
import { xenstore, type StoreRow } from './rows/xenstore';
import { setting } from './settings';
import type { Owned, Sessions } from './sessions';
import { RowTree } from './tree';

/** A machine that runs for longer than this is said to run; a step is over before. */
const RUNNING_SHOWN_AFTER_MS = 400;

export const VIEWS = [
  'hypercalls',
  'pageTables',
  'domains',
  'channels',
  'grants',
  'xenstore',
  'devices',
] as const;
export type ViewName = (typeof VIEWS)[number];

export interface Views extends Owned {
  refresh(): void;
  /** The row that is selected in the view that was used last. */
  selected(): Row | undefined;
  filterOf(view: ViewName): string;
  /** Shows only what holds these words. */
  setFilter(view: ViewName, words: string): void;
  /** Opens the page tables at the entry with these indices, from L4 down. */
  showEntry(indices: readonly number[]): Promise<void>;
  showNode(path: string): Promise<void>;
  /** `mmu_update`, or `memory_op.exchange`. */
  showHypercall(name: string): Promise<void>;
}

interface Part<R extends Row> {
  readonly tree: RowTree<R>;
  readonly view: vscode.TreeView<R>;
  readonly changes: Changes;
  readonly show: (way: readonly ((row: R) => boolean)[]) => Promise<void>;
}

/** The trees of Hyperstep's side bar. While the machine runs they are asked for anew now and then. */
export function createViews(sessions: Sessions, requester: Requester): Views {
  let used: ViewName = 'hypercalls';
  const owned: { dispose(): unknown }[] = [];

  function part<R extends Row>(
    name: ViewName,
    make: (changes: Changes) => RowModel<R>,
    options: { readonly manageCheckboxStateManually?: boolean } = {},
  ): Part<R> {
    const changes = trackChanges();
    const model = make(changes);
    const tree = new RowTree<R>(() => (sessions.active === undefined ? undefined : model));
    const view = vscode.window.createTreeView(`hyperstep.${name}`, {
      treeDataProvider: tree,
      showCollapseAll: true,
      ...options,
    });
    const use = (): void => {
      used = name;
    };
    owned.push(tree, view, tree.watch(view), view.onDidChangeSelection(use), view.onDidExpandElement(use));
    return {
      tree,
      view,
      changes,
      show: async (way) => {
        if (tree.filter !== '') setFilter(name, '');
        const row = await tree.find(way);
        if (row === undefined) throw new Error('there is nothing to be shown');
        await view.reveal(row, { select: true, focus: true, expand: false });
      },
    };
  }

  const calls = part<HypercallRow>(
    'hypercalls',
    (changes) => hypercalls(requester, hypercallBreakpoints, changes),
    {
      manageCheckboxStateManually: true,
    },
  );
  const tables = part<PageTableRow>('pageTables', (changes) =>
    pageTables(requester, () => sessions.thread, changes),
  );
  const store = part<StoreRow>('xenstore', (changes) => xenstore(requester, changes));
  const all = {
    hypercalls: calls,
    pageTables: tables,
    domains: part('domains', (changes) => domains(requester, changes)),
    channels: part('channels', (changes) => channels(requester, changes)),
    grants: part('grants', (changes) => grants(requester, changes)),
    xenstore: store,
    devices: part('devices', (changes) => devices(requester, changes)),
  } satisfies Readonly<Record<ViewName, unknown>>;
  /** Without the types of their rows. */
  const each = VIEWS.map((name) => all[name]);

  function setFilter(name: ViewName, words: string): void {
    const { tree, view } = all[name];
    tree.filter = words;
    view.description = tree.filter === '' ? '' : `“${tree.filter}”`;
    const filtered = VIEWS.filter((one) => all[one].tree.filter !== '').map((one) => `hyperstep.${one}`);
    void vscode.commands.executeCommand('setContext', 'hyperstep.filtered', filtered);
  }

  const refresh = (): void => {
    for (const { tree } of each) tree.refresh();
  };

  let shown = { session: sessions.active?.id, stops: sessions.stops };
  let timer: ReturnType<typeof setTimeout> | undefined;
  const sayState = (): void => {
    const { state, thread } = sessions;
    const still = setting('views.refreshWhileRunning') === 0;
    const message =
      state === 'running' && thread !== undefined && still ? 'Running. As of the last stop:' : '';
    for (const { view } of each) view.message = message;
    void vscode.commands.executeCommand('setContext', 'hyperstep.state', state);
  };
  let round = 0;
  /** Views that can be seen, again and again until the machine stops; each time after the last is answered. */
  const follow = async (ours: number): Promise<void> => {
    sayState();
    const every = setting('views.refreshWhileRunning');
    if (every === 0) return;
    await Promise.all(each.filter(({ view }) => view.visible).map(({ tree }) => tree.follow()));
    if (ours === round) timer = setTimeout(() => void follow(ours), every);
  };
  const update = (): void => {
    clearTimeout(timer);
    const ours = ++round;
    const now = { session: sessions.active?.id, stops: sessions.stops };
    const isOther = now.session !== shown.session;
    if (isOther) for (const { changes } of each) changes.forget();
    if (sessions.state === 'running') {
      shown = isOther ? now : shown;
      timer = setTimeout(() => void follow(ours), RUNNING_SHOWN_AFTER_MS);
      if (!isOther) return;
    } else if (now.stops !== shown.stops) for (const { changes } of each) changes.nextStop();
    shown = now;
    sayState();
    refresh();
  };

  owned.push(
    sessions.onDidChange(update),
    calls.view.onDidChangeCheckboxState(({ items }) => {
      for (const [row, state] of items)
        setHypercallBreakpoint(row.name, state === vscode.TreeItemCheckboxState.Checked);
    }),
    vscode.debug.onDidChangeBreakpoints(() => {
      calls.tree.refresh();
    }),
  );
  return {
    refresh,
    selected: () => all[used].view.selection[0],
    filterOf: (name) => all[name].tree.filter,
    setFilter,
    showEntry: (indices) => tables.show(indices.map(holdsIndex)),
    showNode: (path) => {
      const names = path.split('/').filter((name) => name !== '');
      return store.show(
        names.map(
          (_, depth) =>
            ({ node }) =>
              node === `/${names.slice(0, depth + 1).join('/')}`,
        ),
      );
    },
    showHypercall: (name) => {
      const [family = name] = name.split('.');
      return calls.show([family, ...(family === name ? [] : [name])].map((one) => (row) => row.name === one));
    },
    dispose: () => {
      clearTimeout(timer);
      round++;
      for (const one of owned) one.dispose();
    },
  };
}
