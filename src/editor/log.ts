import * as vscode from 'vscode';
import { DEBUG_TYPE, type Owned } from './sessions';

export interface Log extends Owned {
  show(): void;
}

/** Of a message that is longer, this many characters are kept. */
const LONGEST = 2000;

interface Message {
  readonly type: string;
  readonly event?: string;
  readonly command?: string;
  readonly success?: boolean;
  readonly message?: string;
  readonly body?: { readonly category?: string; readonly output?: string };
}

const LEVELS: Readonly<Record<string, 'info' | 'error'>> = {
  console: 'info',
  important: 'info',
  stderr: 'error',
};

/**
 * What adapters say, in an output channel: their messages to people as they are, requests that were refused as
 * warnings, and at the level “Trace” everything that goes over the wire.
 */
export function createLog(): Log {
  const log = vscode.window.createOutputChannel('Hyperstep', { log: true });
  const wire = (arrow: string, message: unknown): void => {
    if (log.logLevel !== vscode.LogLevel.Trace) return;
    const text = JSON.stringify(message);
    log.trace(`${arrow} ${text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text}`);
  };
  const tracker = vscode.debug.registerDebugAdapterTrackerFactory(DEBUG_TYPE, {
    createDebugAdapterTracker: ({ name }) => ({
      onWillStartSession: () => {
        log.info(`${name}: a session begins`);
      },
      onWillReceiveMessage: (message: unknown) => {
        wire('→', message);
      },
      onDidSendMessage: (message: Message) => {
        wire('←', message);
        const { type, event, command, success, body } = message;
        const level = LEVELS[body?.category ?? ''];
        if (event === 'output' && level !== undefined)
          log[level](`${name}: ${(body?.output ?? '').trimEnd()}`);
        if (type === 'response' && success === false)
          log.warn(`${name}: ${command ?? '?'} was refused: ${message.message ?? ''}`);
      },
      onError: (error) => {
        log.error(`${name}: ${error.message}`);
      },
      onWillStopSession: () => {
        log.info(`${name}: the session ends`);
      },
    }),
  });
  return {
    show: () => {
      log.show();
    },
    dispose: () => {
      tracker.dispose();
      log.dispose();
    },
  };
}
