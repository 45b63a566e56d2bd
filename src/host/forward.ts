// Ports of this computer's loopback that lead into guests.
import { createServer, type Server, type Socket } from 'node:net';
import type { ForwardConfig, NetworkOutput, Target } from '../machine/target';

/** Bytes under way to a guest, above which the client has to wait. */
const MOST_UNDER_WAY = 256 * 1024;

interface Connection {
  readonly socket: Socket;
  /** Bytes given to the machine, and acknowledged by the guest. */
  given: number;
  acknowledged: number;
  /** Bytes that the guest sent as far as they were written to the socket, and as far as the socket took them. */
  written: number;
  taken: number;
  guestEnded: boolean;
}

export interface Forwarding {
  /** Ports that are listened on, in the order of what was asked for. */
  readonly ports: readonly number[];
  dispose(): void;
}

function listen(server: Server, { host, port }: ForwardConfig): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const why: Readonly<Record<string, string>> = {
        EADDRINUSE: 'it is in use',
        EACCES: 'permission denied',
        EADDRNOTAVAIL: 'this computer has no such address',
      };
      const problem = new Error(
        `ports: cannot listen on ${host}:${port}: ${why[error.code ?? ''] ?? error.message}`,
      );
      problem.name = 'ServeError';
      reject(problem);
    });
    server.listen(port, host, () => {
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : port);
    });
  });
}

/**
 * Listens, and carries what comes to the machine as input, which its log has with the moment. When the machine goes
 * back and runs again, what the guest sends a second time is recognized by its place and dropped here.
 * @param first number of the first connection; those below are another's, and are cut when they say something
 * @throws an Error that names the port that cannot be had
 */
export async function forwardPorts(
  target: Pick<Target, 'networkInput' | 'onNetwork'>,
  forwards: readonly ForwardConfig[],
  log: (text: string) => void,
  first = 1,
): Promise<Forwarding> {
  const connections = new Map<number, Connection>();
  const servers: Server[] = [];
  let next = first;
  /** Connections that a saved machine had with another process's clients. */
  const strange = new Set<number>();
  let disposed = false;

  const tell = (input: Parameters<Target['networkInput']>[0]): void => {
    if (!disposed) void target.networkInput(input).catch(() => undefined);
  };

  function forget(connection: number): Connection | undefined {
    const known = connections.get(connection);
    connections.delete(connection);
    return known;
  }

  function accept(socket: Socket, { domain, guestPort }: ForwardConfig): void {
    const connection = next++;
    const own: Connection = { socket, given: 0, acknowledged: 0, written: 0, taken: 0, guestEnded: false };
    connections.set(connection, own);
    socket.on('data', (data: Buffer) => {
      tell({ connection, event: 'data', at: own.given, data: new Uint8Array(data) });
      own.given += data.length;
      if (own.given - own.acknowledged > MOST_UNDER_WAY) socket.pause();
    });
    socket.on('end', () => tell({ connection, event: 'end' }));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      if (forget(connection) !== undefined) tell({ connection, event: 'abort' });
    });
    tell({ connection, event: 'open', domain, port: guestPort });
  }

  function carry(connection: number, own: Connection, at: number, data: Uint8Array): void {
    if (at > own.written) {
      forget(connection);
      own.socket.destroy();
      tell({ connection, event: 'abort' });
      log(`connection ${connection} is cut: the machine went to a moment at which it stood elsewhere`);
      return;
    }
    const fresh = data.subarray(own.written - at);
    if (fresh.length === 0) return;
    own.written += fresh.length;
    own.socket.write(fresh, () => {
      own.taken += fresh.length;
      tell({ connection, event: 'taken', bytes: own.taken });
    });
  }

  function hear(output: NetworkOutput): void {
    const { connection } = output;
    const own = connections.get(connection);
    if (own === undefined) {
      if (output.event !== 'closed' && connection < first && !strange.has(connection)) {
        strange.add(connection);
        tell({ connection, event: 'abort' });
      }
      return;
    }
    const { socket } = own;
    if (output.event === 'opened') socket.resume();
    else if (output.event === 'data') carry(connection, own, output.at, output.data);
    else if (output.event === 'taken') {
      own.acknowledged = Math.max(own.acknowledged, output.bytes);
      if (own.given - own.acknowledged < MOST_UNDER_WAY / 2) socket.resume();
    } else if (output.event === 'end') {
      if (!own.guestEnded) socket.end();
      own.guestEnded = true;
    } else {
      forget(connection);
      if (output.reason === undefined) socket.end();
      else {
        socket.destroy();
        log(`connection ${connection} is closed: ${output.reason}`);
      }
    }
  }

  const off = target.onNetwork(hear);
  const dispose = (): void => {
    disposed = true;
    off();
    for (const server of servers) server.close();
    for (const { socket } of connections.values()) socket.destroy();
    connections.clear();
  };
  const ports: number[] = [];
  try {
    for (const forward of forwards) {
      const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) =>
        accept(socket, forward),
      );
      servers.push(server);
      const port = await listen(server, forward);
      ports.push(port);
      log(`${forward.host}:${port} leads to port ${forward.guestPort} of domain ${forward.domain}`);
    }
  } catch (error) {
    dispose();
    throw error;
  }
  return { ports, dispose };
}

/** The target with the ports that its configuration forwards, for as long as it is there. */
export async function withForwards(target: Target, forwards: readonly ForwardConfig[] = []): Promise<Target> {
  if (forwards.length === 0) return target;
  const listeners = new Set<(text: string) => void>();
  /** Said before anybody listened. */
  let early: string[] = [];
  const log = (text: string): void => {
    if (listeners.size === 0) early.push(text);
    for (const listener of listeners) listener(`(ports) ${text}`);
  };
  const forwarding = await forwardPorts(target, forwards, log, Date.now() * 1000).catch(
    async (error: unknown) => {
      await target.dispose();
      throw error;
    },
  );
  return {
    ...target,
    onLog(listener) {
      listeners.add(listener);
      for (const text of early) listener(`(ports) ${text}`);
      early = [];
      const off = target.onLog(listener);
      return () => {
        listeners.delete(listener);
        off();
      };
    },
    async dispose() {
      forwarding.dispose();
      await target.dispose();
    },
  };
}
