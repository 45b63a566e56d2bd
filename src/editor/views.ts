import * as vscode from 'vscode';
import { hypercallBreakpoints, setHypercallBreakpoint } from './breakpoints';
import { trackChanges } from './rows/changes';
import { hypercalls } from './rows/hypercalls';
import { pageTables } from './rows/page-tables';
import type { Requester } from './rows/row';
import type { Owned, Sessions } from './sessions';
import { RowTree } from './tree';

/** A machine that runs for longer than this is said to run; a step is over before. */
const RUNNING_SHOWN_AFTER_MS = 400;

export interface Views extends Owned {
  refresh(): void;
}

/** The two trees of the debug side bar. While the machine runs they show what was there when it last stood. */
export function createViews(sessions: Sessions, requester: Requester): Views {
  const tableChanges = trackChanges();
  const callChanges = trackChanges();
  const tables = pageTables(requester, () => sessions.thread, tableChanges);
  const calls = hypercalls(requester, hypercallBreakpoints, callChanges);
  const tableTree = new RowTree(() => (sessions.thread === undefined ? undefined : tables));
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
  const refresh = (): void => {
    tableTree.refresh();
    callTree.refresh();
  };

  let shown = { session: sessions.active?.id, stops: sessions.stops };
  let timer: ReturnType<typeof setTimeout> | undefined;
  const sayState = (): void => {
    const { state, thread } = sessions;
    const message = state === 'running' && thread !== undefined ? 'Running. As of the last stop:' : '';
    for (const view of [tableView, callView]) view.message = message;
    void vscode.commands.executeCommand('setContext', 'hyperstep.state', state);
  };
  const update = (): void => {
    clearTimeout(timer);
    const now = { session: sessions.active?.id, stops: sessions.stops };
    if (now.session !== shown.session) {
      tableChanges.forget();
      callChanges.forget();
    } else if (sessions.state === 'running') {
      timer = setTimeout(sayState, RUNNING_SHOWN_AFTER_MS);
      return;
    } else if (now.stops !== shown.stops) {
      tableChanges.nextStop();
      callChanges.nextStop();
    }
    shown = now;
    sayState();
    refresh();
  };

  const owned = vscode.Disposable.from(
    tableTree,
    callTree,
    tableView,
    callView,
    tableTree.watch(tableView),
    callTree.watch(callView),
    sessions.onDidChange(update),
    callView.onDidChangeCheckboxState(({ items }) => {
      for (const [row, state] of items)
        setHypercallBreakpoint(row.name, state === vscode.TreeItemCheckboxState.Checked);
    }),
    vscode.debug.onDidChangeBreakpoints(() => {
      callTree.refresh();
    }),
  );
  return {
    refresh,
    dispose: () => {
      clearTimeout(timer);
      owned.dispose();
    },
  };
}
