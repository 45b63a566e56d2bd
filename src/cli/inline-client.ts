import type { DebugProtocol } from '@vscode/debugprotocol';
import type { Host } from '../dap/host';
import { Session } from '../dap/session';

/** A DAP client in the same process as the adapter: the messages are the real ones, without a wire. */
export interface InlineClient {
  request<T = unknown>(command: string, args?: object): Promise<T>;
  /** The next event of that name, also one that came since the last call. */
  event<T = unknown>(name: string): Promise<T>;
  onOutput(listener: (category: string, text: string) => void): void;
  close(): Promise<void>;
}

export function inlineClient(host: Host): InlineClient {
  const session = new Session(host, () => undefined);
  const waiting = new Map<number, { resolve: (body: unknown) => void; reject: (e: Error) => void }>();
  const arrived: DebugProtocol.Event[] = [];
  /** By name: who waits for one of several sees the first that comes. */
  const expected = new Map<string, (body: unknown) => void>();
  let output: (category: string, text: string) => void = () => undefined;
  let seq = 1;

  const onResponse = (r: DebugProtocol.Response): void => {
    const w = waiting.get(r.request_seq);
    waiting.delete(r.request_seq);
    if (r.success) w?.resolve(r.body as unknown);
    else w?.reject(new Error(r.message ?? `${r.command} failed`));
  };
  const onEvent = (e: DebugProtocol.Event): void => {
    if (e.event === 'output') {
      const { category, output: text } = (e as DebugProtocol.OutputEvent).body;
      output(category ?? 'console', text);
      return;
    }
    const resolve = expected.get(e.event);
    expected.delete(e.event);
    if (resolve === undefined) arrived.push(e);
    else resolve(e.body);
  };
  session.onDidSendMessage((message) => {
    const m = message as DebugProtocol.ProtocolMessage;
    if (m.type === 'response') onResponse(m as DebugProtocol.Response);
    else if (m.type === 'event') onEvent(m as DebugProtocol.Event);
  });

  return {
    request: <T>(command: string, args: object = {}) =>
      new Promise<T>((resolve, reject) => {
        waiting.set(seq, { resolve: resolve as (body: unknown) => void, reject });
        session.handleMessage({
          seq: seq++,
          type: 'request',
          command,
          arguments: args,
        } as DebugProtocol.Request);
      }),
    event: <T>(name: string) =>
      new Promise<T>((resolve) => {
        const at = arrived.findIndex((e) => e.event === name);
        const [found] = at < 0 ? [] : arrived.splice(at, 1);
        if (found !== undefined) resolve(found.body as T);
        else expected.set(name, resolve as (body: unknown) => void);
      }),
    onOutput(listener) {
      output = listener;
    },
    close: () => session.close(),
  };
}
