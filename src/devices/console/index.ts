/**
 * The PV console's back end: the part that xenconsoled plays. The guest writes bytes into `out` and reads them
 * from `in` (io/console.h); either side notifies after it moved an index.
 */
import type { DomainId, Mfn } from '../../base/branded';
import type { Log } from '../../base/log';
import { Emitter, type Disposable } from '../../base/disposable';
import { GNTTAB_RESERVED_CONSOLE } from '../../abi/grant';
import { bytes, struct, u32 } from '../../abi/layout';
import type { BackendContext, BackendPort, DomainConnections } from '../../hypervisor/backend';
import { mapRing, unmapRing, ringPut, ringTake, ringUsed, type ByteRing, type RingPage } from '../byte-ring';
import { splitBackend, XenbusState, type Link, type SplitBackend, type SplitView } from '../xenbus';
import type { XenstoreCore } from '../xenstore/server';

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

export type OutputListener = (domain: DomainId, bytes: Uint8Array, console: number) => void;

export interface ConsoleBackend {
  /** Bytes typed at a terminal of the domain's. They wait here for as long as the guest's ring is full. */
  input(domain: number, bytes: Uint8Array, console?: number): void;
  onOutput(listener: OutputListener): Disposable;
  /** Bytes that were typed and that the guest has not read: waiting here or in its ring. */
  pendingInput(domain: number, console?: number): number;
  /** Looks at every ring, as a back end may at any time; output that was not notified comes out. */
  poll(): void;
}

export interface ConsoleState {
  readonly domain: number;
  readonly console: number;
  /** Bytes typed that found no room in the ring yet. */
  readonly waiting: Uint8Array;
  /** Of the first: its ring, and our end of its channel. */
  readonly wire: { readonly frame: Mfn; readonly port: BackendPort } | undefined;
  /** Of a console beyond the first, which is connected over xenstore. */
  readonly link: Link | undefined;
}

export interface ConsoleDevice extends ConsoleBackend {
  attach(connections: DomainConnections): void;
  /** A domain that is there already: its state comes with `restore`. */
  adopt(connections: DomainConnections): void;
  /** A suspended domain's first console is given up, what stands in it shown; and taken up anew. */
  close(domain: DomainId): void;
  open(connections: DomainConnections): void;
  /** The domain ended; what it wrote last comes out, notified or not. */
  detach(domain: DomainId): void;
  save(): readonly ConsoleState[];
  restore(states: readonly ConsoleState[]): void;
  inspect(): readonly ConsoleView[];
}

/** A console for people. */
export interface ConsoleView {
  readonly domain: number;
  readonly console: number;
  readonly name: string;
  /** Bytes in the rings, and those that wait for room. Undefined: the guest does not use the console. */
  readonly output: number | undefined;
  readonly input: number | undefined;
  readonly waiting: number;
  /** Of a console beyond the first. */
  readonly split?: SplitView;
}

/** A console's two ends while a guest has it. */
interface Wire {
  readonly page: RingPage;
  readonly port: BackendPort;
}

interface Terminal {
  readonly domain: DomainId;
  readonly console: number;
  readonly name: string;
  wire(): Wire | undefined;
  /** Of the first, which the domain builder connects: another ring and channel, or none. */
  use?(wire: Wire | undefined): void;
  /** Of the others. */
  readonly backend?: SplitBackend<Wire>;
  waiting: Uint8Array;
  /** A guest that forges its indices is told of once. */
  complained: boolean;
}

const NOTHING = new Uint8Array(0);

const wireState = (wire: Wire | undefined): ConsoleState['wire'] =>
  wire && { frame: wire.page.frame, port: wire.port };

/** @param channelsOf names of the consoles that a new domain has beside its first (xl.cfg's `channel`) */
export function createConsole(
  context: BackendContext,
  server: XenstoreCore,
  channelsOf: (connections: DomainConnections) => readonly string[],
  log: Log,
): ConsoleDevice {
  const terminals: Terminal[] = [];
  const output = new Emitter<{ domain: DomainId; bytes: Uint8Array; console: number }>();
  const find = (domain: number, console: number): Terminal | undefined =>
    terminals.find((t) => t.domain === domain && t.console === console);

  function complain(terminal: Terminal, ring: string, fault: string): void {
    if (terminal.complained) return;
    terminal.complained = true;
    const whose = terminal.console === 0 ? "the console's" : `console ${terminal.console}'s`;
    log.warn(`d${terminal.domain}: ${whose} ${ring} ring cannot be used (${fault}); its bytes are ignored`);
  }

  /** One look at both rings: at most one ring's worth of work. */
  function service(terminal: Terminal, wire = terminal.wire()): void {
    if (wire === undefined) return;
    const { page, port } = wire;
    const { domain, console } = terminal;
    let moved = false;
    const taken = ringTake(page, outRing, outRing.size);
    if (typeof taken === 'string') complain(terminal, 'output', taken);
    else if (taken.length > 0) {
      moved = true;
      output.fire({ domain, bytes: taken, console });
    }
    if (terminal.waiting.length > 0) {
      const put = ringPut(page, inRing, terminal.waiting);
      if (typeof put === 'string') complain(terminal, 'input', put);
      else if (put > 0) {
        moved = true;
        terminal.waiting = terminal.waiting.slice(put);
      }
    }
    if (moved) context.notify(port);
  }

  /** @param beginning absent until it is restored */
  function addFirst(domain: DomainId, beginning: Wire | undefined): void {
    let wire: Wire | undefined;
    let listener: Disposable | undefined;
    const use = (next: Wire | undefined): void => {
      if (next?.port !== wire?.port) {
        listener?.dispose();
        listener = next && context.onEvent(next.port, () => service(first));
      }
      wire = next;
    };
    const first: Terminal = {
      domain,
      console: 0,
      name: 'console',
      wire: () => wire,
      use,
      waiting: NOTHING,
      complained: false,
    };
    terminals.push(first);
    use(beginning);
  }

  /** What libxl writes for a channel: a console like any other, with a name. */
  function addChannel(domain: DomainId, console: number, name: string): void {
    const told = { name, connection: 'pty' };
    const backend = splitBackend<Wire>(
      context,
      server,
      {
        domain,
        type: 'console',
        id: console,
        label: `console ${console}`,
        front: { limit: 1_048_576, type: 'xenconsoled', output: 'pty', tty: '', ...told },
        back: { protocol: 'vt100', ...told },
        offer: () => ({}),
        ready: [XenbusState.Initialised, XenbusState.Connected],
        connect: (front) => {
          const { mfn } = front.page('ring-ref');
          return { page: { context, frame: mfn }, port: front.port('port') };
        },
        serve: () => service(terminal),
        release: (wire) => service(terminal, wire),
      },
      log,
    );
    const terminal: Terminal = {
      domain,
      console,
      name,
      wire: () => backend.connection(),
      backend,
      waiting: NOTHING,
      complained: false,
    };
    terminals.push(terminal);
  }

  const addChannels = (connections: DomainConnections): void => {
    channelsOf(connections).forEach((name, i) => addChannel(connections.domain, i + 1, name));
  };

  const used = (terminal: Terminal, ring: ByteRing): number | undefined => {
    const wire = terminal.wire();
    const bytes = wire === undefined ? 'frame' : ringUsed(wire.page, ring);
    return typeof bytes === 'string' ? undefined : bytes;
  };

  return {
    attach(connections) {
      const { domain, consolePort } = connections;
      addFirst(domain, { page: mapRing(context, domain, GNTTAB_RESERVED_CONSOLE), port: consolePort });
      addChannels(connections);
    },
    adopt(connections) {
      addFirst(connections.domain, undefined);
      addChannels(connections);
    },
    detach(domain) {
      for (const terminal of terminals) {
        if (terminal.domain !== domain) continue;
        service(terminal);
        terminal.backend?.end();
      }
    },
    close(domain) {
      const first = find(domain, 0);
      const wire = first?.wire();
      if (first === undefined || wire === undefined) return;
      service(first);
      first.use?.(undefined);
      unmapRing(wire.page, domain, GNTTAB_RESERVED_CONSOLE);
      context.close(wire.port);
    },
    open({ domain, consolePort }) {
      find(domain, 0)?.use?.({ page: mapRing(context, domain, GNTTAB_RESERVED_CONSOLE), port: consolePort });
    },
    input(domain, typed, console = 0) {
      const terminal = find(domain, console);
      if (terminal === undefined) {
        log.warn(`input for console ${console} of domain ${domain}, which there is not, is dropped`);
        return;
      }
      const waiting = new Uint8Array(terminal.waiting.length + typed.length);
      waiting.set(terminal.waiting);
      waiting.set(typed, terminal.waiting.length);
      terminal.waiting = waiting;
      service(terminal);
    },
    onOutput: (listener) =>
      output.on(({ domain, bytes: written, console }) => listener(domain, written, console)),
    pendingInput(domain, console = 0) {
      const terminal = find(domain, console);
      return terminal === undefined ? 0 : terminal.waiting.length + (used(terminal, inRing) ?? 0);
    },
    poll() {
      for (const terminal of terminals) service(terminal);
    },
    save: () =>
      terminals.map(({ domain, console, waiting, backend, ...terminal }) => ({
        domain,
        console,
        waiting,
        wire: backend === undefined ? wireState(terminal.wire()) : undefined,
        link: backend?.link(),
      })),
    restore(states) {
      for (const terminal of terminals) {
        const saved = states.find((s) => s.domain === terminal.domain && s.console === terminal.console);
        terminal.waiting = saved?.waiting ?? NOTHING;
        const wire = saved?.wire;
        terminal.use?.(wire && { page: { context, frame: wire.frame }, port: wire.port });
        const { backend } = terminal;
        const link = saved?.link;
        const [page] = link?.pages ?? [];
        const [port] = link?.ports ?? [];
        if (link === undefined || page === undefined || port === undefined) backend?.restore(undefined);
        else backend?.restore(link, () => ({ page: { context, frame: page.mfn }, port }));
      }
    },
    inspect: () =>
      terminals.map((terminal) => ({
        domain: terminal.domain,
        console: terminal.console,
        name: terminal.name,
        output: used(terminal, outRing),
        input: used(terminal, inRing),
        waiting: terminal.waiting.length,
        ...(terminal.backend === undefined ? {} : { split: terminal.backend.view() }),
      })),
  };
}
