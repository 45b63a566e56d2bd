import * as vscode from 'vscode';
import { showBootProgress } from './boot-progress';
import { registerCommands } from './commands';
import { configurationProvider } from './configurations';
import { guestConsoles } from './consoles';
import { launchHelp } from './help';
import { withFix } from './launch-fixes';
import { createLog } from './log';
import { withoutRefusedRestart } from './refused-restart';
import type { Requester } from './rows/row';
import type { Owned } from './sessions';
import { DEBUG_TYPE, trackSessions } from './sessions';
import { withSelection } from './sourceless';
import { createStatusBar } from './status-bar';
import type { OpenTrace } from './trace/access';
import { registerTrace } from './trace';
import { createViews } from './views';

/** A debug adapter that runs in the extension's process, one for each session. */
export interface InlineAdapter extends Owned {
  handleMessage(message: vscode.DebugProtocolMessage): void;
  onDidSendMessage(listener: (message: vscode.DebugProtocolMessage) => unknown): Owned;
}

const tellRefusal = (reason: string): void => void vscode.window.showErrorMessage(`Not restarted: ${reason}`);

/** VS Code disposes it when debugging is over, however it ended. */
const toDebugAdapter = (adapter: InlineAdapter): vscode.DebugAdapter =>
  Object.assign(vscode.Disposable.from(adapter), {
    handleMessage: (message: vscode.DebugProtocolMessage) => {
      adapter.handleMessage(message);
    },
    onDidSendMessage: (listener: (message: vscode.DebugProtocolMessage) => unknown, that?: unknown) =>
      vscode.Disposable.from(
        adapter.onDidSendMessage((message) =>
          listener.call(that, withoutRefusedRestart(withSelection(withFix(message)), tellRefusal)),
        ),
      ),
  });

/** What the rest of the extension gives the editor. */
export interface EditorHost {
  readonly adapter: () => Promise<InlineAdapter>;
  /** Where dist/ and media/ are. */
  readonly extension: vscode.Uri;
  /** Rejects in words for people when there is no such file. */
  readonly openTraceFile: (path: string) => Promise<OpenTrace>;
}

/** Registers everything; each piece is disposed with the extension. */
export function activateEditor({ adapter, extension, openTraceFile }: EditorHost): Owned[] {
  const sessions = trackSessions();
  const requester: Requester = {
    request: async <T>(command: string, args: object): Promise<T> => {
      const session = sessions.active;
      if (session === undefined) throw new Error('no machine is being debugged');
      return (await session.customRequest(command, args)) as T;
    },
  };
  const views = createViews(sessions, requester);
  const consoles = guestConsoles(sessions);
  const log = createLog();
  return [
    sessions,
    views,
    consoles,
    log,
    showBootProgress(),
    createStatusBar(sessions, requester),
    launchHelp(sessions),
    ...registerCommands(requester, sessions, views, consoles, log),
    ...registerTrace({ sessions, extension, openFile: openTraceFile }),
    vscode.debug.registerDebugAdapterDescriptorFactory(DEBUG_TYPE, {
      createDebugAdapterDescriptor: async () =>
        new vscode.DebugAdapterInlineImplementation(toDebugAdapter(await adapter())),
    }),
    vscode.debug.registerDebugConfigurationProvider(DEBUG_TYPE, configurationProvider),
    vscode.debug.registerDebugConfigurationProvider(
      DEBUG_TYPE,
      configurationProvider,
      vscode.DebugConfigurationProviderTriggerKind.Dynamic,
    ),
  ];
}
