import { createServer } from 'node:net';
import type { Server } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { messageOf } from './errors';
import { createMessageReader, frameMessage } from './framing';
import type { Host } from './host';
import { Session } from './session';

/** Nobody can connect there; names the place. */
export class ServeError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ServeError';
  }
}

/** An adapter at work. */
export interface Serving {
  /** Settles when it is over: the client has gone, or `stop` was called. */
  readonly done: Promise<void>;
  /** The TCP port, where there is one. */
  readonly port?: number;
  stop(): Promise<void>;
}

/** One client at the other end of two streams. */
export function serveStreams(host: Host, input: Readable, out: Writable): Serving {
  let finish = (): void => undefined;
  const done = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const stop = async (): Promise<void> => {
    input.removeAllListeners('data');
    await session.close();
    sending.dispose();
    finish();
  };
  const session = new Session(host, () => void stop());
  const sending = session.onDidSendMessage((message) => {
    if (out.writable) out.write(frameMessage(message));
  });
  const reader = createMessageReader(
    (message) => session.handleMessage(message as Parameters<Session['handleMessage']>[0]),
    (problem) => session.reportMalformed(problem),
  );
  input.on('data', (chunk: Uint8Array) => {
    reader.push(chunk);
  });
  const gone = (): void => void stop();
  input.on('end', gone);
  input.on('close', gone);
  input.on('error', gone);
  out.on('error', gone);
  return { done, stop };
}

/** The adapter on this process's own standard streams; over when the client has gone. */
function serveStdio(host: Host): Serving {
  const serving = serveStreams(host, process.stdin, process.stdout);
  void serving.done.then(() => process.stdin.destroy());
  return serving;
}

/** Any number of clients, one after the other or at once, each with a machine of its own. */
async function listen(
  host: Host,
  where: { port: number; host: string } | { path: string },
): Promise<Serving> {
  const clients = new Set<() => Promise<void>>();
  const server: Server = createServer({ noDelay: true }, (socket) => {
    const client = serveStreams(host, socket, socket);
    const end = async (): Promise<void> => {
      await client.stop();
      socket.destroy();
    };
    clients.add(end);
    void client.done.then(() => {
      clients.delete(end);
      socket.end();
    });
  });
  await new Promise<void>((resolve, reject) => {
    const refuse = (error: unknown): void => {
      const name = 'path' in where ? `pipe ${where.path}` : `port ${where.port}`;
      reject(new ServeError(`cannot listen on ${name}: ${messageOf(error)}`));
    };
    server.once('error', refuse);
    try {
      server.listen(where, resolve);
    } catch (error) {
      // A port number that is none.
      refuse(error);
    }
  });
  const done = new Promise<void>((resolve) => {
    server.once('close', resolve);
  });
  const address = server.address();
  return {
    done,
    ...(typeof address === 'object' && address !== null ? { port: address.port } : {}),
    stop: async () => {
      server.close();
      await Promise.all([...clients].map((end) => end()));
      await done;
    },
  };
}

/** @param port 0 for any that is free. Only this computer can connect. */
export const servePort = (host: Host, port: number): Promise<Serving> =>
  listen(host, { port, host: '127.0.0.1' });

/** @param path of a Unix socket or a named pipe */
export const servePipe = (host: Host, path: string): Promise<Serving> => listen(host, { path });

/** Serves as asked, until it is over: standard streams when neither a port nor a pipe is given. */
export async function serveDap(
  host: Host,
  where: { readonly port?: number; readonly pipe?: string },
): Promise<void> {
  const serving =
    where.port !== undefined
      ? await servePort(host, where.port)
      : where.pipe !== undefined
        ? await servePipe(host, where.pipe)
        : serveStdio(host);
  if (serving.port !== undefined)
    process.stderr.write(`hyperstep: debug adapter on 127.0.0.1:${serving.port}\n`);
  await serving.done;
}
