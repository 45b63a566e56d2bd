import path from 'node:path';
import * as vscode from 'vscode';
import { fileConfiguration } from '../launch-rules';
import { sampleConfiguration } from '../configurations';

async function start(
  configuration: vscode.DebugConfiguration,
  folder?: vscode.WorkspaceFolder,
): Promise<void> {
  // By itself VS Code opens it only where the side bar is open already.
  await vscode.commands.executeCommand('workbench.view.debug');
  await vscode.debug.startDebugging(folder ?? vscode.workspace.workspaceFolders?.[0], configuration);
}

export const debugSample = (): Promise<void> => start(sampleConfiguration);

/** Boots a file of the explorer: an xl.cfg's domain, or a kernel. Asks for one where none was given. */
export async function debugFile(what: 'config' | 'kernel', given: unknown): Promise<void> {
  const filters = what === 'config' ? { filters: { 'Domain configurations': ['cfg', 'conf', '*'] } } : {};
  const chosen =
    given instanceof vscode.Uri
      ? given
      : (await vscode.window.showOpenDialog({ title: 'Which one?', openLabel: 'Debug', ...filters }))?.[0];
  if (chosen === undefined) return;
  if (chosen.scheme !== 'file') throw new Error(`${chosen.toString()} is not a file of this computer`);
  await start(
    fileConfiguration(what, chosen.fsPath, path.basename(chosen.fsPath)),
    vscode.workspace.getWorkspaceFolder(chosen),
  );
}
