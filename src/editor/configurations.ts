import path from 'node:path';
import * as vscode from 'vscode';
import type { LaunchArguments } from '../dap/protocol';
import { launchProblem, withFolder } from './launch-rules';
import { DEBUG_TYPE } from './sessions';

type Configuration = vscode.DebugConfiguration & LaunchArguments;

/** With neither a kernel nor a configuration file, the adapter boots the bundled sample. */
export const sampleConfiguration: Configuration = {
  type: DEBUG_TYPE,
  request: 'launch',
  name: 'Hyperstep: sample guest',
  stopOnEntry: true,
};

/** What an empty launch.json, the list of dynamic configurations, and F5 without a launch.json offer. */
export const configurationProvider: vscode.DebugConfigurationProvider = {
  provideDebugConfigurations: () => [sampleConfiguration],

  // F5 with no launch.json comes as an empty object, whatever its type says.
  resolveDebugConfiguration: (_folder, given: Partial<vscode.DebugConfiguration>) =>
    given.type === undefined || given.type === '' || given.request === undefined
      ? sampleConfiguration
      : (given as vscode.DebugConfiguration),

  async resolveDebugConfigurationWithSubstitutedVariables(folder, given: Configuration) {
    const configuration = { ...given, ...withFolder(given, folder?.uri.fsPath, path) };
    const problem = launchProblem(configuration, vscode.workspace.isTrusted);
    if (problem === undefined) return configuration;
    const choice = await vscode.window.showErrorMessage(
      problem,
      { modal: true },
      ...(vscode.workspace.isTrusted ? [] : ['Manage Trust']),
    );
    if (choice === 'Manage Trust') await vscode.commands.executeCommand('workbench.trust.manage');
    return undefined;
  },
};
