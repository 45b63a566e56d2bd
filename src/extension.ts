// The VS Code extension: the adapter runs inline, its machine in a worker thread. Wiring only.
import type * as vscode from 'vscode';
import { Session } from './dap/session';
import { activateEditor } from './editor/index';
import { adapterHost } from './host/adapter';

export function activate(context: vscode.ExtensionContext): void {
  context.subscriptions.push(
    ...activateEditor(() => {
      const session = new Session(adapterHost(), () => undefined);
      // VS Code calls dispose when the debug session is over, however it ended.
      return Object.assign(session, {
        dispose: () => void session.close(),
      });
    }),
  );
}
