import type { DebugProtocol } from '@vscode/debugprotocol';
import type { Host } from '../../src/dap/host';
import { Session } from '../../src/dap/session';

/** A session in this process without streams, as the editor runs it inline. */
export interface InlineClient {
  /** Everything that was said, in order: requests of the test and messages of the adapter. */
  readonly log: readonly unknown[];
  /** Hands a message over as it is. */
  post(message: unknown): void;
  request(command: string, args?: unknown): Promise<DebugProtocol.Response>;
  /** Settles when an event of that name comes that has come neither before nor to an earlier call. */
  event(name: string): Promise<DebugProtocol.Event>;
  close(): Promise<void>;
}

export function connectInline(host: Host): InlineClient {
  const log: unknown[] = [];
  const session = new Session(host, () => undefined);
  const responses = new Map<number, (response: DebugProtocol.Response) => void>();
  const waiting: { name: string; resolve(event: DebugProtocol.Event): void }[] = [];
  const early: DebugProtocol.Event[] = [];
  let seq = 0;
  session.onDidSendMessage((sent: object) => {
    // As it would travel: what JSON cannot carry fails here rather than in an editor.
    const message = JSON.parse(JSON.stringify(sent)) as DebugProtocol.Response & DebugProtocol.Event;
    log.push(message);
    if (message.type === 'response') responses.get(message.request_seq)?.(message);
    if (message.type !== 'event') return;
    const index = waiting.findIndex(({ name }) => name === message.event);
    if (index === -1) early.push(message);
    else waiting.splice(index, 1)[0]?.resolve(message);
  });
  const post = (message: unknown): void => {
    session.handleMessage(message as DebugProtocol.ProtocolMessage);
  };
  return {
    log,
    post,
    request: (command, args) => {
      const request = {
        seq: ++seq,
        type: 'request',
        command,
        ...(args === undefined ? {} : { arguments: args }),
      };
      log.push(request);
      return new Promise((resolve) => {
        responses.set(request.seq, resolve);
        post(request);
      });
    },
    event: (name) => {
      const index = early.findIndex(({ event }) => event === name);
      const [found] = index === -1 ? [] : early.splice(index, 1);
      return found === undefined
        ? new Promise((resolve) => waiting.push({ name, resolve }))
        : Promise.resolve(found);
    },
    close: () => session.close(),
  };
}
