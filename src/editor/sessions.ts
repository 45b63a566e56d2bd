import * as vscode from 'vscode';
import type { HyperstepEvents } from '../dap/protocol';

export const DEBUG_TYPE = 'hyperstep';

export interface Owned {
  dispose(): void;
}

/** Of the active session's machine; `none` without a session. */
export type MachineState = 'none' | 'running' | 'stopped';

export type ConsoleOutput = HyperstepEvents['hyperstep/console'] & { readonly session: vscode.DebugSession };

/** The session whose machine the views show, and where it stands. */
export interface Sessions extends Owned {
  readonly active: vscode.DebugSession | undefined;
  readonly state: MachineState;
  /** The thread (vCPU) that is selected in the call stack, else the one that stopped last; none before that. */
  readonly thread: number | undefined;
  /** How often the active session's machine has stopped. */
  readonly stops: number;
  /** Another session, another thread, a stop, or going on. */
  readonly onDidChange: vscode.Event<void>;
  readonly onConsole: vscode.Event<ConsoleOutput>;
}

interface AdapterMessage {
  readonly type: string;
  readonly event?: string;
  readonly command?: string;
  readonly success?: boolean;
  readonly body?: { readonly threadId?: number };
}

interface Progress {
  readonly state: Exclude<MachineState, 'none'>;
  readonly thread: number | undefined;
  readonly stops: number;
}

/** Responses after which the machine runs. */
const RUNNING: ReadonlySet<string> = new Set([
  'continue',
  'next',
  'stepIn',
  'stepOut',
  'stepBack',
  'reverseContinue',
  'restartFrame',
  'restart',
]);

function startsRunning({ type, event, command, success }: AdapterMessage): boolean {
  return type === 'event'
    ? event === 'continued'
    : type === 'response' && success === true && RUNNING.has(command ?? '');
}

export function trackSessions(): Sessions {
  const progress = new Map<string, Progress>();
  const changed = new vscode.EventEmitter<void>();
  const console = new vscode.EventEmitter<ConsoleOutput>();
  const active = (): vscode.DebugSession | undefined => {
    const session = vscode.debug.activeDebugSession;
    return session?.type === DEBUG_TYPE ? session : undefined;
  };
  const ofActive = (): Progress | undefined => {
    const session = active();
    return session === undefined ? undefined : progress.get(session.id);
  };
  const set = (session: vscode.DebugSession, next: Progress): void => {
    progress.set(session.id, next);
    changed.fire();
  };
  const selected = (): number | undefined => {
    const item = vscode.debug.activeStackItem;
    return item !== undefined && item.session.id === active()?.id ? item.threadId : undefined;
  };
  let thread: number | undefined;

  const owned: readonly { dispose(): unknown }[] = [
    changed,
    console,
    vscode.debug.onDidChangeActiveDebugSession(() => {
      changed.fire();
    }),
    vscode.debug.onDidChangeActiveStackItem(() => {
      // Another frame of the same thread shows the same tables.
      if (selected() === undefined || selected() === thread) return;
      thread = selected();
      changed.fire();
    }),
    vscode.debug.onDidTerminateDebugSession((session) => {
      if (progress.delete(session.id)) changed.fire();
    }),
    vscode.debug.registerDebugAdapterTrackerFactory(DEBUG_TYPE, {
      createDebugAdapterTracker: (session) => ({
        onDidSendMessage: (message: AdapterMessage) => {
          if (message.type === 'event' && message.event === 'stopped') {
            thread = message.body?.threadId ?? 1;
            set(session, { state: 'stopped', thread, stops: (progress.get(session.id)?.stops ?? 0) + 1 });
          } else if (startsRunning(message)) {
            const { thread: last, stops = 0 } = progress.get(session.id) ?? {};
            set(session, { state: 'running', thread: last, stops });
          }
        },
      }),
    }),
    vscode.debug.onDidReceiveDebugSessionCustomEvent(({ session, event, body }) => {
      if (session.type !== DEBUG_TYPE || event !== 'hyperstep/console') return;
      console.fire({ session, ...(body as HyperstepEvents['hyperstep/console']) });
    }),
  ];
  return {
    get active() {
      return active();
    },
    get state() {
      return active() === undefined ? 'none' : (ofActive()?.state ?? 'running');
    },
    get thread() {
      const stopped = ofActive()?.thread;
      return stopped === undefined ? undefined : (selected() ?? stopped);
    },
    get stops() {
      return ofActive()?.stops ?? 0;
    },
    onDidChange: changed.event,
    onConsole: console.event,
    dispose: () => {
      for (const d of owned) d.dispose();
    },
  };
}
