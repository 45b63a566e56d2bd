import * as vscode from 'vscode';
import type { HyperstepRequests } from '../dap/protocol';
import { say } from './actions/ask';
import { debugFile, debugSample } from './actions/launch';
import { viewMemory, viewMemoryAt, watch } from './actions/memory';
import { runAlone } from './actions/run-alone';
import { createStore } from './actions/store';
import { createTables } from './actions/tables';
import { toggleHypercallBreakpoint, toggleReturnBreakpoint } from './breakpoints';
import type { GuestConsoles } from './consoles';
import type { Log } from './log';
import { BREAKPOINT_PREFIX } from './rows/hypercalls';
import type { Requester, Row } from './rows/row';
import type { Sessions } from './sessions';
import { VIEWS, type ViewName, type Views } from './views';

type Saved = HyperstepRequests['hyperstep/save']['body'];
type Hypercalls = HyperstepRequests['hyperstep/hypercalls']['body'];

/** Asks for a file; how far it is, the client shows by itself. */
async function saveMachine(requester: Requester): Promise<void> {
  const folder = vscode.workspace.workspaceFolders?.[0]?.uri;
  const file = await vscode.window.showSaveDialog({
    title: 'Save the machine',
    filters: { 'Saved machines': ['hys'] },
    ...(folder === undefined ? {} : { defaultUri: vscode.Uri.joinPath(folder, 'machine.hys') }),
  });
  if (file === undefined) return;
  const { bytes } = await requester.request<Saved>('hyperstep/save', { file: file.fsPath });
  const size = `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  void vscode.window.showInformationMessage(
    `Saved to ${file.fsPath} (${size}). A configuration with "restore" goes on from there.`,
  );
}

async function goToHypercall(requester: Requester, views: Views): Promise<void> {
  const { hypercalls } = await requester.request<Hypercalls>('hyperstep/hypercalls', {});
  const names = hypercalls.flatMap(({ name, ops }) => [name, ...ops.map((op) => `${name}.${op.name}`)]);
  const name = await vscode.window.showQuickPick(names, { title: 'Go to a hypercall' });
  if (name !== undefined) await views.showHypercall(name);
}

async function askFilter(views: Views, view: ViewName): Promise<void> {
  const words = await vscode.window.showInputBox({
    title: 'Show only rows with these words',
    prompt: 'In any order; nothing shows all',
    value: views.filterOf(view),
  });
  if (words !== undefined) views.setFilter(view, words);
}

/** What a click on the status bar offers. */
const MENU: readonly (readonly [string, string])[] = [
  ['$(terminal) Show the Guest Consoles', 'hyperstep.showConsole'],
  ['$(debug-pause) Pause', 'workbench.action.debug.pause'],
  ['$(debug-continue) Continue', 'workbench.action.debug.continue'],
  ['$(search) Walk an Address…', 'hyperstep.walkAddress'],
  ['$(file-binary) View Memory at…', 'hyperstep.viewMemoryAt'],
  ['$(save-as) Save the Machine to a File…', 'hyperstep.saveMachine'],
  ['$(list-tree) Show the Hyperstep Views', 'workbench.view.extension.hyperstep'],
  ['$(output) Show the Log', 'hyperstep.showLog'],
];

async function menu(sessions: Sessions): Promise<void> {
  const other =
    sessions.state === 'running' ? 'workbench.action.debug.continue' : 'workbench.action.debug.pause';
  const items = MENU.filter(([, command]) => command !== other).map(([label, command]) => ({
    label,
    command,
  }));
  const picked = await vscode.window.showQuickPick(items, { title: sessions.active?.name ?? 'Hyperstep' });
  if (picked !== undefined) await vscode.commands.executeCommand(picked.command);
}

/** What a key binding of package.json gives, for a command that means something else without a row. */
const SELECTED = 'selected';

/** A row of ours, or what a menu of VS Code's gives. */
type Given = Row | undefined;

/** Every command of the extension, by its name in package.json. Those of rows take the selected one by themselves. */
export function registerCommands(
  requester: Requester,
  sessions: Sessions,
  views: Views,
  consoles: GuestConsoles,
  log: Log,
): vscode.Disposable[] {
  const tables = createTables(requester, sessions, views);
  const store = createStore(requester, sessions, views);
  const chosen = (row: Given): Given => row ?? views.selected();
  /** Does it with what the row has, and says so when it has none. */
  const having =
    <K extends 'copy' | 'watch' | 'memory' | 'breakpoint'>(
      key: K,
      act: (value: string, row: Row) => unknown,
    ) =>
    (row: Given): unknown => {
      const one = chosen(row);
      const value = one?.[key];
      if (one === undefined || value === undefined) throw new Error('select a row that has this, first');
      return act(value, one);
    };

  const commands: Readonly<Record<string, (given: Given) => unknown>> = {
    'hyperstep.debugSample': debugSample,
    'hyperstep.debugDomain': (file: unknown) => debugFile('config', file),
    'hyperstep.debugKernel': (file: unknown) => debugFile('kernel', file),
    'hyperstep.menu': () => menu(sessions),
    'hyperstep.showLog': () => log.show(),
    'hyperstep.refreshViews': () => views.refresh(),
    'hyperstep.saveMachine': () => saveMachine(requester),
    'hyperstep.runAlone': (given: unknown) => runAlone(requester, sessions, given ?? views.selected()),
    'hyperstep.showConsole': () => consoles.show(),
    'hyperstep.copyValue': having('copy', (text) => vscode.env.clipboard.writeText(text)),
    'hyperstep.watch': having('watch', watch),
    'hyperstep.viewMemory': having('memory', (reference) => viewMemory(sessions, reference)),
    'hyperstep.breakHere': having('breakpoint', (name) =>
      toggleHypercallBreakpoint(name.slice(BREAKPOINT_PREFIX.length)),
    ),
    'hyperstep.breakOnReturn': having('breakpoint', (name) =>
      toggleReturnBreakpoint(name.slice(BREAKPOINT_PREFIX.length)),
    ),
    'hyperstep.viewMemoryAt': () => viewMemoryAt(requester, sessions),
    'hyperstep.walkAddress': () => tables.walkAddress(),
    'hyperstep.goToAddress': () => tables.goTo(undefined),
    'hyperstep.showInPageTables': (given) => tables.goTo(given ?? views.selected()),
    // From the keyboard it is about the row that is selected; from a title or the palette a number is asked for.
    'hyperstep.whoMaps': (given: unknown) =>
      tables.whoMaps(given === SELECTED ? views.selected() : (given as Given)),
    'hyperstep.keepPageTables': () => tables.keep(),
    'hyperstep.comparePageTables': () => tables.compare(),
    'hyperstep.goToHypercall': () => goToHypercall(requester, views),
    'hyperstep.goToNode': (row) => store.goTo(row),
    'hyperstep.writeNode': (row) => store.write(row ?? selectedNode()),
    'hyperstep.addNode': (row) => store.add(row),
    'hyperstep.removeNode': (row) => store.remove(row ?? selectedNode()),
    'hyperstep.undoWrite': () => store.undo(),
    ...Object.fromEntries(
      VIEWS.flatMap((view) => [
        [`hyperstep.${view}.filter`, () => askFilter(views, view)],
        [`hyperstep.${view}.clearFilter`, () => views.setFilter(view, '')],
      ]),
    ),
  };
  function selectedNode(): Given {
    const row = views.selected();
    return row?.kind === 'store' ? row : undefined;
  }
  const registered = Object.entries(commands).map(([name, run]) =>
    vscode.commands.registerCommand(name, async (given: Given) => {
      try {
        await run(given);
      } catch (error) {
        say(error);
      }
    }),
  );
  return [...registered, vscode.Disposable.from(tables)];
}
