// The VS Code extension: the adapter runs inline, its machine in a worker thread. Wiring only.
import type * as vscode from 'vscode';
import { activateEditor, type InlineAdapter } from './editor/index';

/** Loaded when the first session begins: the editor waits for activation, and this is most of the code. */
async function adapter(): Promise<InlineAdapter> {
  const [{ Session }, { adapterHost }] = await Promise.all([
    import('./dap/session'),
    import('./host/adapter'),
  ]);
  return new Session(adapterHost(), () => undefined);
}

export function activate(context: vscode.ExtensionContext): void {
  context.subscriptions.push(
    ...activateEditor({
      adapter,
      extension: context.extensionUri,
      openTraceFile: async (path) => (await import('./host/trace-file')).openTraceFile(path),
    }),
  );
}
