// The VS Code extension: the adapter runs inline, its machine in a worker thread. Wiring only.
import type * as vscode from 'vscode';
import { Session } from './dap/session';
import { activateEditor } from './editor/index';
import { adapterHost } from './host/adapter';

export function activate(context: vscode.ExtensionContext): void {
  context.subscriptions.push(...activateEditor(() => new Session(adapterHost(), () => undefined)));
}
