import * as vscode from 'vscode';
import type { LaunchArguments } from '../dap/protocol';
import { messageOf, say } from './actions/ask';
import { FIX_COMMAND, type Fix } from './launch-fixes';
import { setSetting, setting } from './settings';
import { DEBUG_TYPE, type Owned, type Sessions } from './sessions';

/** As the adapter tells of them in `modules`. */
interface Modules {
  readonly modules: readonly { readonly name: string; readonly symbolStatus?: string }[];
}

/** What `modules` says of a kernel that has names only, or not even those. */
const WITHOUT_LINES = /no line table|no symbols/;

const restartWith = (
  { workspaceFolder, configuration }: vscode.DebugSession,
  more: Partial<LaunchArguments>,
): Thenable<boolean> => vscode.debug.startDebugging(workspaceFolder, { ...configuration, ...more });

const choose = async (title: string): Promise<string | undefined> =>
  (await vscode.window.showOpenDialog({ title, openLabel: 'Use It' }))?.[0]?.fsPath;

/** Help with what goes wrong with files: a launch that failed for one, a kernel without source lines. */
export function launchHelp(sessions: Sessions): Owned {
  /** The last that was started: a launch that failed has no session any more. */
  let last: vscode.DebugSession | undefined;
  const asked = new Set<string>();

  const fix = async (argument: Fix['argument']): Promise<void> => {
    const session = last;
    if (session === undefined) return;
    const file = await choose(`Which ${argument}?`);
    if (file === undefined) return;
    await restartWith(session, { [argument]: file });
    const choice = await vscode.window.showInformationMessage(
      `“${argument}” is ${file} for this once. launch.json has it as before.`,
      'Open launch.json',
    );
    if (choice !== undefined) await vscode.commands.executeCommand('workbench.action.debug.configure');
  };

  /** Once for a kernel, and only where somebody stopped to look. */
  const offerSymbols = async (session: vscode.DebugSession): Promise<void> => {
    const { kernel, config, symbols, restore } = session.configuration as LaunchArguments;
    // The bundled sample has its own.
    if (kernel === undefined && config === undefined && restore === undefined) return;
    if (symbols !== undefined || asked.has(session.id) || !setting('symbols.offer')) return;
    asked.add(session.id);
    const { modules } = (await session.customRequest('modules', {})) as Modules;
    const bare = modules.find(({ symbolStatus }) => WITHOUT_LINES.test(symbolStatus ?? ''));
    if (bare === undefined || asked.has(bare.name)) return;
    asked.add(bare.name);
    const choice = await vscode.window.showInformationMessage(
      `${bare.name} has no source lines (${bare.symbolStatus ?? ''}). With a file of its debugging information it is stepped in its source.`,
      'Choose the File…',
      'Do Not Offer Again',
    );
    if (choice === 'Do Not Offer Again') await setSetting('symbols.offer', false);
    if (choice !== 'Choose the File…') return;
    const file = await choose(`Debugging information of ${bare.name}`);
    if (file === undefined) return;
    await vscode.debug.stopDebugging(session);
    await restartWith(session, { symbols: [file] });
  };

  return vscode.Disposable.from(
    vscode.commands.registerCommand(FIX_COMMAND, (argument: Fix['argument']) => fix(argument).catch(say)),
    vscode.debug.registerDebugAdapterTrackerFactory(DEBUG_TYPE, {
      createDebugAdapterTracker: (session) => {
        last = session;
        return undefined;
      },
    }),
    sessions.onDidChange(() => {
      const { active, state } = sessions;
      if (active !== undefined && state === 'stopped')
        // Nothing is lost when the session ends meanwhile.
        offerSymbols(active).catch((error: unknown) => void messageOf(error));
    }),
  );
}
