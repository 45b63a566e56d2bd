import * as vscode from 'vscode';
import type { HyperstepEvents } from '../dap/protocol';

export const DEBUG_TYPE = 'hyperstep';

/** The session whose machine the views show, and where it stands. */
export interface Owned {
  dispose(): void;
}

export interface Sessions extends Owned {
  readonly active: vscode.DebugSession | undefined;
  /** Thread (vCPU) that stopped last in the active session; undefined while it runs. */
  readonly stoppedThread: number | undefined;
  /** Another session, a stop, or going on. */
  readonly onDidChange: vscode.Event<void>;
  readonly onConsole: vscode.Event<
    { readonly session: vscode.DebugSession } & HyperstepEvents['hyperstep/console']
  >;
}

interface AdapterMessage {
  readonly type: string;
  readonly event?: string;
  readonly command?: string;
  readonly success?: boolean;
  readonly body?: { readonly threadId?: number };
}

/** Responses after which the machine runs. */
const RUNNING: ReadonlySet<string> = new Set(['continue', 'next', 'stepIn', 'stepOut', 'restart']);

export function trackSessions(): Sessions {
  const stopped = new Map<string, number>();
  const changed = new vscode.EventEmitter<void>();
  const console = new vscode.EventEmitter<
    { readonly session: vscode.DebugSession } & HyperstepEvents['hyperstep/console']
  >();
  const active = (): vscode.DebugSession | undefined => {
    const session = vscode.debug.activeDebugSession;
    return session?.type === DEBUG_TYPE ? session : undefined;
  };
  const owned: { dispose(): unknown }[] = [
    changed,
    console,
    vscode.debug.onDidChangeActiveDebugSession(() => {
      changed.fire();
    }),
    vscode.debug.onDidTerminateDebugSession((session) => {
      stopped.delete(session.id);
      changed.fire();
    }),
    vscode.debug.registerDebugAdapterTrackerFactory(DEBUG_TYPE, {
      createDebugAdapterTracker: (session) => ({
        onDidSendMessage: (message: AdapterMessage) => {
          if (message.type === 'event' && message.event === 'stopped') {
            stopped.set(session.id, message.body?.threadId ?? 1);
            changed.fire();
          } else if (
            (message.type === 'event' && message.event === 'continued') ||
            (message.type === 'response' && message.success === true && RUNNING.has(message.command ?? ''))
          ) {
            stopped.delete(session.id);
          }
        },
      }),
    }),
    vscode.debug.onDidReceiveDebugSessionCustomEvent((e) => {
      if (e.session.type !== DEBUG_TYPE || e.event !== 'hyperstep/console') return;
      console.fire({ session: e.session, ...(e.body as HyperstepEvents['hyperstep/console']) });
    }),
  ];
  return {
    get active() {
      return active();
    },
    get stoppedThread() {
      const session = active();
      return session === undefined ? undefined : stopped.get(session.id);
    },
    onDidChange: changed.event,
    onConsole: console.event,
    dispose: () => {
      for (const d of owned) d.dispose();
    },
  };
}
