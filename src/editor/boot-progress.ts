import * as vscode from 'vscode';
import { isLaunch } from '../base/progress-id';
import { DEBUG_TYPE } from './sessions';

/** What is quicker needs no notice. */
const DELAY_MS = 150;

interface ProgressMessage {
  readonly type: string;
  readonly event?: string;
  readonly body?: { readonly progressId?: string; readonly title?: string; readonly message?: string };
}

interface Shown {
  say(message: string): void;
  end(): void;
}

function show(session: vscode.DebugSession, progressId: string, title: string): Shown {
  let message = '';
  let say = (text: string): void => {
    message = text;
  };
  let end = (): void => undefined;
  const timer = setTimeout(() => {
    const options = {
      location: vscode.ProgressLocation.Notification,
      title: `${title} ${session.name}`,
      cancellable: true,
    };
    void vscode.window.withProgress(options, (progress, token) => {
      token.onCancellationRequested(() => {
        // It may be at its end already.
        void Promise.resolve(session.customRequest('cancel', { progressId })).catch(() => undefined);
      });
      say = (text) => {
        progress.report({ message: text });
      };
      say(message);
      return new Promise<void>((resolve) => {
        end = resolve;
      });
    });
  }, DELAY_MS);
  return {
    say: (text) => {
      say(text);
    },
    end: () => {
      clearTimeout(timer);
      end();
    },
  };
}

/**
 * How far a launch is. VS Code shows the progress of the session in focus only, and a new session comes into focus when
 * its launch is over; so that of a launch is shown here, with its Cancel.
 */
export function showBootProgress(): vscode.Disposable {
  return vscode.debug.registerDebugAdapterTrackerFactory(DEBUG_TYPE, {
    createDebugAdapterTracker: (session) => {
      let shown: Shown | undefined;
      const end = (): void => {
        shown?.end();
        shown = undefined;
      };
      return {
        onDidSendMessage: ({ type, event, body }: ProgressMessage) => {
          if (type !== 'event' || body?.progressId === undefined || !isLaunch(body.progressId)) return;
          if (event === 'progressEnd') end();
          else if (event === 'progressUpdate') shown?.say(body.message ?? '');
          else if (event === 'progressStart' && vscode.debug.activeDebugSession?.id !== session.id) {
            end();
            shown = show(session, body.progressId, body.title ?? 'Booting');
          }
        },
        onExit: end,
        onWillStopSession: end,
      };
    },
  });
}
