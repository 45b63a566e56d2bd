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

/** What the walkthrough's link gives: it is gone on with, so the machine is shown beside it. */
const BESIDE = 'beside';

/** A page of VS Code's own, such as a walkthrough: the source that the machine stops in would take its place. */
async function keepPage(beside: boolean): Promise<void> {
  const { activeTab } = vscode.window.tabGroups.activeTabGroup;
  if (activeTab === undefined || activeTab.input !== undefined) return;
  await vscode.commands.executeCommand('workbench.action.keepEditor');
  if (!beside) return;
  // What opens later goes there as well, whichever was clicked last.
  await vscode.commands.executeCommand('workbench.action.lockEditorGroup');
  await vscode.commands.executeCommand('workbench.action.newGroupRight');
}

export async function debugSample(given: unknown): Promise<void> {
  await keepPage(given === BESIDE);
  await start(sampleConfiguration);
}

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
