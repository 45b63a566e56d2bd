/**
 * The PV console's back end: the part that xenconsoled plays. The guest writes bytes into `out` and reads them
 * from `in` (io/console.h); either side notifies after it moved an index.
 */
import type { DomainId } from '../../base/branded';
import type { Log } from '../../base/log';
import { Emitter, type Disposable } from '../../base/disposable';
import { GNTTAB_RESERVED_CONSOLE } from '../../abi/grant';
import { bytes, struct, u32 } from '../../abi/layout';
import type { BackendContext, DomainConnections } from '../../hypervisor/backend';
import { mapRing, ringPut, ringTake, ringUsed, type ByteRing, type RingPage } from '../byte-ring';

export const xencons_interface = struct('xencons_interface', {
  in: bytes(1024),
  out: bytes(2048),
  in_cons: u32,
  in_prod: u32,
  out_cons: u32,
  out_prod: u32,
});

const { offset, fields } = xencons_interface;
const inRing: ByteRing = {
  data: offset.in,
  size: fields.in.size,
  cons: offset.in_cons,
  prod: offset.in_prod,
};
const outRing: ByteRing = {
  data: offset.out,
  size: fields.out.size,
  cons: offset.out_cons,
  prod: offset.out_prod,
};

export type OutputListener = (domain: DomainId, bytes: Uint8Array) => void;

export interface ConsoleBackend {
  /** Bytes typed at the domain's terminal. They wait here for as long as the guest's ring is full. */
  input(domain: number, bytes: Uint8Array): void;
  onOutput(listener: OutputListener): Disposable;
  /** Bytes that were typed and that the guest has not read: waiting here or in its ring. */
  pendingInput(domain: number): number;
  /** Looks at every ring, as a back end may at any time; output that was not notified comes out. */
  poll(): void;
}

export interface ConsoleState {
  /** Bytes typed that found no room in the ring yet. */
  readonly waiting: readonly { readonly domain: number; readonly bytes: Uint8Array }[];
}

export interface ConsoleDevice extends ConsoleBackend {
  attach(connections: DomainConnections): void;
  /** The domain ended; what it wrote last comes out, notified or not. */
  detach(domain: DomainId): void;
  save(): ConsoleState;
  restore(state: ConsoleState): void;
}

interface Port {
  readonly connections: DomainConnections;
  readonly page: RingPage;
  waiting: Uint8Array;
  /** A guest that forges its indices is told of once. */
  complained: boolean;
}

const NOTHING = new Uint8Array(0);

export function createConsole(context: BackendContext, log: Log): ConsoleDevice {
  const ports = new Map<number, Port>();
  const output = new Emitter<{ domain: DomainId; bytes: Uint8Array }>();

  function complain(port: Port, ring: string, fault: string): void {
    if (port.complained) return;
    port.complained = true;
    log.warn(
      `d${port.connections.domain}: the console's ${ring} ring cannot be used (${fault}); its bytes are ignored`,
    );
  }

  /** One look at both rings: at most one ring's worth of work. */
  function service(port: Port): void {
    const { page, connections } = port;
    let moved = false;
    const taken = ringTake(page, outRing, outRing.size);
    if (typeof taken === 'string') complain(port, 'output', taken);
    else if (taken.length > 0) {
      moved = true;
      output.fire({ domain: connections.domain, bytes: taken });
    }
    if (port.waiting.length > 0) {
      const put = ringPut(page, inRing, port.waiting);
      if (typeof put === 'string') complain(port, 'input', put);
      else if (put > 0) {
        moved = true;
        port.waiting = port.waiting.slice(put);
      }
    }
    if (moved) context.notify(connections.consolePort);
  }

  return {
    attach(connections) {
      const page = mapRing(context, connections.domain, GNTTAB_RESERVED_CONSOLE);
      const port: Port = { connections, page, waiting: NOTHING, complained: false };
      ports.set(connections.domain, port);
      context.onEvent(connections.consolePort, () => service(port));
    },
    detach(domain) {
      const port = ports.get(domain);
      if (port !== undefined) service(port);
    },
    input(domain, typed) {
      const port = ports.get(domain);
      if (port === undefined) {
        log.warn(`input for domain ${domain}, which has no console, is dropped`);
        return;
      }
      const waiting = new Uint8Array(port.waiting.length + typed.length);
      waiting.set(port.waiting);
      waiting.set(typed, port.waiting.length);
      port.waiting = waiting;
      service(port);
    },
    onOutput: (listener) => output.on(({ domain, bytes: written }) => listener(domain, written)),
    pendingInput(domain) {
      const port = ports.get(domain);
      if (port === undefined) return 0;
      const unread = ringUsed(port.page, inRing);
      return port.waiting.length + (typeof unread === 'string' ? 0 : unread);
    },
    poll() {
      for (const port of ports.values()) service(port);
    },
    save: () => ({
      waiting: [...ports].map(([domain, port]) => ({ domain, bytes: port.waiting })),
    }),
    restore(state) {
      for (const [domain, port] of ports) {
        port.waiting = state.waiting.find((w) => w.domain === domain)?.bytes ?? NOTHING;
      }
    },
  };
}
