import * as vscode from 'vscode';
import type { HyperstepRequests } from '../dap/protocol';
import { toggleReturnBreakpoint } from './breakpoints';
import { sampleConfiguration } from './configurations';
import type { GuestConsoles } from './consoles';
import { frameText } from './rows/frame-text';
import type { Requester, Row } from './rows/row';
import type { Views } from './views';

type Saved = HyperstepRequests['hyperstep/save']['body'];
type Walk = HyperstepRequests['hyperstep/walk']['body'];

const say = (error: unknown): void =>
  void vscode.window.showErrorMessage(`Hyperstep: ${error instanceof Error ? error.message : String(error)}`);

const pickOf = ({
  level,
  index,
  entry,
  flags,
  mfn,
  frame,
}: Walk['levels'][number]): vscode.QuickPickItem => ({
  label: `L${level}[${index}] ${entry}`,
  description: flags.join(' '),
  detail: mfn === undefined ? 'not present' : frameText(mfn, frame),
});

/** Asks for an address (a number, a register, a symbol) and shows its walk, a level a line. */
async function walkAddress(requester: Requester): Promise<void> {
  const address = await vscode.window.showInputBox({
    title: 'Walk an address through the page tables',
    prompt: 'A guest-virtual address: a number, a register or a symbol',
    value: 'rip',
  });
  if (address === undefined || address === '') return;
  const walk = await requester.request<Walk>('hyperstep/walk', { address });
  await vscode.window.showQuickPick(walk.levels.map(pickOf), {
    title: `${walk.address} → ${walk.machineAddress ?? walk.problem ?? 'no translation'}`,
  });
}

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

/** Every command of the extension, by its name in package.json. */
export function registerCommands(
  requester: Requester,
  views: Views,
  consoles: GuestConsoles,
): vscode.Disposable[] {
  const commands: Readonly<Record<string, (row?: Row) => unknown>> = {
    'hyperstep.debugSample': async () => {
      // By itself VS Code opens it only where the side bar is open already.
      await vscode.commands.executeCommand('workbench.view.debug');
      await vscode.debug.startDebugging(vscode.workspace.workspaceFolders?.[0], sampleConfiguration);
    },
    'hyperstep.refreshViews': () => views.refresh(),
    'hyperstep.saveMachine': () => saveMachine(requester).catch(say),
    'hyperstep.showConsole': () => consoles.show(),
    // From the menu of a row; it is not in the palette.
    'hyperstep.breakOnReturn': (row) => {
      if (row !== undefined) toggleReturnBreakpoint(row.id);
    },
    'hyperstep.walkAddress': () => walkAddress(requester).catch(say),
  };
  return Object.entries(commands).map(([name, run]) => vscode.commands.registerCommand(name, run));
}
