import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { DebugProtocol } from '@vscode/debugprotocol';
import { DebugClient } from '@vscode/debugadapter-testsupport';
import type { Host } from '../../src/dap/host';
import type { HyperstepRequest, HyperstepRequests, LaunchArguments } from '../../src/dap/protocol';
import { servePort } from '../../src/dap/server';

export type Body<R extends DebugProtocol.Response> = NonNullable<R['body']>;

/** A client connected over a loopback socket to an adapter in this process. */
export interface Client {
  readonly dc: DebugClient;
  /** Events in the order they came, but for console text. */
  readonly events: DebugProtocol.Event[];
  readonly output: () => string;
  /** The next `stopped` event that has not been handed out yet, however early it came. */
  stopped(): Promise<DebugProtocol.StoppedEvent['body']>;
  event(name: string): Promise<DebugProtocol.Event>;
  /** Send what lets the machine run (continue unless told) for a thread (1 unless told), and wait for where it stops. */
  go(command?: string, args?: object): Promise<DebugProtocol.StoppedEvent['body']>;
  /** The frames of a thread (1 unless told). */
  stack(threadId?: number): Promise<DebugProtocol.StackFrame[]>;
  /** The error response that a request is answered with; fails when it succeeds. */
  refused(command: string, args?: object): Promise<DebugProtocol.ErrorResponse>;
  custom<R extends HyperstepRequest>(
    command: R,
    args: HyperstepRequests[R]['arguments'],
  ): Promise<HyperstepRequests[R]['body']>;
  /** initialize, launch, configurationDone. */
  launch(args?: LaunchArguments & { readonly noConfigurationDone?: boolean }): Promise<void>;
  close(): Promise<void>;
}

interface Waiter {
  readonly name: string;
  resolve(event: DebugProtocol.Event): void;
}

/** Nothing here takes longer, unless it hangs. */
const PATIENCE = 8000;

export async function connect(
  host: Host,
  initialize: Partial<DebugProtocol.InitializeRequestArguments> = {},
): Promise<Client> {
  const server = await servePort(host, 0);
  const dc = new DebugClient('node', '', 'hyperstep');
  dc.defaultTimeout = PATIENCE;
  await dc.start(server.port);
  const socket = (dc as unknown as { _socket?: Socket })._socket;
  const events: DebugProtocol.Event[] = [];
  const taken = new Set<DebugProtocol.Event>();
  const waiting: Waiter[] = [];
  let text = '';
  const names = ['initialized', 'stopped', 'continued', 'exited', 'terminated', 'output', 'breakpoint', 'invalidated', 'memory', 'progressStart', 'progressUpdate', 'progressEnd', 'hyperstep/console']; // prettier-ignore
  for (const name of names) {
    dc.on(name, (event: DebugProtocol.Event) => {
      if (name === 'output') text += (event as DebugProtocol.OutputEvent).body.output;
      events.push(event);
      const index = waiting.findIndex((one) => one.name === name);
      const [waiter] = index === -1 ? [] : waiting.splice(index, 1);
      if (waiter === undefined) return;
      taken.add(event);
      waiter.resolve(event);
    });
  }
  const nextEvent = (name: string): Promise<DebugProtocol.Event> => {
    const early = events.find((one) => one.event === name && !taken.has(one));
    if (early !== undefined) {
      taken.add(early);
      return Promise.resolve(early);
    }
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        // Whoever waits no longer must not take an event from the next.
        waiting.splice(waiting.indexOf(waiter), 1);
        reject(new Error(`no '${name}' event within ${PATIENCE} ms; output so far: ${text}`));
      }, PATIENCE);
      const waiter: Waiter = {
        name,
        resolve: (event) => {
          clearTimeout(timer);
          resolve(event);
        },
      };
      waiting.push(waiter);
    });
  };
  const stopped: Client['stopped'] = async () => (await nextEvent('stopped')).body as never;
  return {
    dc,
    events,
    output: () => text,
    stopped,
    event: nextEvent,
    go: async (command = 'continue', args = {}) => {
      await dc.send(command, { threadId: 1, ...args });
      return stopped();
    },
    stack: async (threadId = 1) => (await dc.stackTraceRequest({ threadId })).body.stackFrames,
    refused: (command, args) =>
      new Promise((resolve, reject) => {
        // DebugClient's own promise keeps only the message of an error response.
        const raw = dc as unknown as {
          doSend(command: string, args: object | undefined, done: (r: DebugProtocol.Response) => void): void;
        };
        raw.doSend(command, args, (response) => {
          if (response.success) reject(new Error(`${command} succeeded: ${JSON.stringify(response.body)}`));
          else resolve(response as DebugProtocol.ErrorResponse);
        });
      }),
    custom: async (command, args) => {
      const response = await dc.customRequest(command, args);
      return response.body as never;
    },
    launch: async ({ noConfigurationDone = false, ...args } = {}) => {
      await dc.initializeRequest({
        adapterID: 'hyperstep',
        pathFormat: 'path',
        linesStartAt1: true,
        columnsStartAt1: true,
        ...initialize,
      });
      await dc.launchRequest(args);
      await nextEvent('initialized');
      if (!noConfigurationDone) await dc.configurationDoneRequest();
    },
    close: async () => {
      // After a disconnect the adapter has hung up, and would not answer another.
      if (socket?.readyState === 'open') await Promise.race([dc.stop(), once(socket, 'close')]);
      socket?.destroy();
      await server.stop();
    },
  };
}
