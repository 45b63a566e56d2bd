import * as vscode from 'vscode';
import type { HyperstepRequests } from '../dap/protocol';
import { hypercallBreakpoints, setHypercallBreakpoint } from './breakpoints';
import { configurationProvider, sampleConfiguration } from './configurations';
import { guestConsoles } from './consoles';
import { hypercalls } from './rows/hypercalls';
import { pageTables } from './rows/page-tables';
import type { Requester } from './rows/row';
import { DEBUG_TYPE, trackSessions } from './sessions';
import { RowTree } from './tree';

/** Registers everything; each piece is disposed with the extension. */
export function activateEditor(adapter: () => vscode.DebugAdapter): { dispose(): unknown }[] {
  const sessions = trackSessions();
  const requester: Requester = {
    request: async <T>(command: string, args: object): Promise<T> => {
      const session = sessions.active;
      if (session === undefined) throw new Error('no machine is being debugged');
      return (await session.customRequest(command, args)) as T;
    },
  };

  const tables = pageTables(requester, () => sessions.stoppedThread);
  const calls = hypercalls(requester, hypercallBreakpoints);
  const tableTree = new RowTree(() => (sessions.stoppedThread === undefined ? undefined : tables));
  const callTree = new RowTree(() => (sessions.active === undefined ? undefined : calls));
  const tableView = vscode.window.createTreeView('hyperstep.pageTables', {
    treeDataProvider: tableTree,
    showCollapseAll: true,
  });
  const callView = vscode.window.createTreeView('hyperstep.hypercalls', {
    treeDataProvider: callTree,
    showCollapseAll: true,
    manageCheckboxStateManually: true,
  });

  const commands: Readonly<Record<string, () => unknown>> = {
    'hyperstep.debugSample': () => vscode.debug.startDebugging(undefined, sampleConfiguration),
    'hyperstep.refreshViews': () => {
      tableTree.refresh();
      callTree.refresh();
    },
    'hyperstep.walkAddress': () => walkAddress(requester),
  };

  return [
    sessions,
    tableTree,
    callTree,
    tableView,
    callView,
    guestConsoles(sessions),
    sessions.onDidChange(() => {
      tables.nextStop();
      tableTree.refresh();
      callTree.refresh();
    }),
    callView.onDidChangeCheckboxState(({ items }) => {
      for (const [row, state] of items)
        setHypercallBreakpoint(row.name, state === vscode.TreeItemCheckboxState.Checked);
    }),
    vscode.debug.onDidChangeBreakpoints(() => {
      callTree.refresh();
    }),
    vscode.debug.registerDebugAdapterDescriptorFactory(DEBUG_TYPE, {
      createDebugAdapterDescriptor: () => new vscode.DebugAdapterInlineImplementation(adapter()),
    }),
    vscode.debug.registerDebugConfigurationProvider(DEBUG_TYPE, configurationProvider),
    vscode.debug.registerDebugConfigurationProvider(
      DEBUG_TYPE,
      configurationProvider,
      vscode.DebugConfigurationProviderTriggerKind.Dynamic,
    ),
    ...Object.entries(commands).map(([name, run]) => vscode.commands.registerCommand(name, run)),
  ];
}

/** Asks for an address (a number, a register, a symbol) and shows its walk, a level a line. */
async function walkAddress(session: Requester): Promise<void> {
  const address = await vscode.window.showInputBox({
    title: 'Walk an address through the page tables',
    prompt: 'A guest-virtual address: a number, a register or a symbol',
    value: 'rip',
  });
  if (address === undefined || address === '') return;
  try {
    const walk = await session.request<HyperstepRequests['hyperstep/walk']['body']>('hyperstep/walk', {
      address,
    });
    const picks = walk.levels.map((l) => ({
      label: `L${l.level}[${l.index}] ${l.entry}`,
      description: l.flags.join(' '),
      detail:
        l.mfn === undefined
          ? 'not present'
          : `mfn 0x${l.mfn.toString(16)}${l.frame === undefined ? '' : ` — ${l.frame}`}`,
    }));
    await vscode.window.showQuickPick(picks, {
      title: `${walk.address} → ${walk.machineAddress ?? walk.problem ?? 'no translation'}`,
    });
  } catch (error) {
    void vscode.window.showErrorMessage(
      `Hyperstep: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}
