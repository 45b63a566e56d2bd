/**
 * A hypervisor's back-end side with nothing behind it: frames, ports and grants as tables, and the guest's end of
 * them for tests to play.
 */
import { eventPort, mfn, type DomainId, type EventPort, type Mfn } from '../../src/base/branded';
import { domainId } from '../../src/base/branded';
import { GNTTAB_RESERVED_CONSOLE, GNTTAB_RESERVED_XENSTORE } from '../../src/abi/grant';
import { createLog, type Log } from '../../src/base/log';
import { createDevices, type BackendSet, type DeviceOptions } from '../../src/devices';
import { xencons_interface } from '../../src/devices/console';
import { ringPut, ringTake, type ByteRing } from '../../src/devices/byte-ring';
import { requestRing, responseRing, XS } from '../../src/devices/xenstore/wire';
import type {
  BackendContext,
  BackendPort,
  DomainConnections,
  GrantMapping,
  GrantResult,
} from '../../src/hypervisor/backend';

interface End {
  readonly domain: number;
  readonly remotePort: number;
}

export interface FakeBackend extends BackendContext {
  readonly frames: Map<number, Uint8Array>;
  /** Grants that the guests made, by domain and reference. */
  readonly grants: Map<string, { mfn: Mfn; readOnly?: boolean }>;
  /** Those that back ends have mapped, but for the two rings that they hold for good. */
  readonly mapped: GrantMapping[];
  /** Ports that guests allocated for domain 0. */
  readonly unbound: Set<string>;
  /** Notifications that the guests got, 'domain:port', in order. */
  notified: string[];
  addDomain(domain: number): DomainConnections;
  shutDown(domain: number): void;
  /** The guest notifies: domain 0's listener runs. */
  kick(domain: number, remotePort: number): void;
  ends(): ReadonlyMap<number, End>;
  time: bigint;
  /** Virtual time passes, and timers that come due in it run. */
  pass(nanoseconds: bigint): void;
}

interface FakeTimer {
  at: bigint | undefined;
  readonly due: () => void;
}

export function createFakeBackend(): FakeBackend {
  const frames = new Map<number, Uint8Array>();
  const grants = new Map<string, { mfn: Mfn; readOnly?: boolean }>();
  const mapped: GrantMapping[] = [];
  const unbound = new Set<string>();
  const domains: DomainConnections[] = [];
  const made: ((c: DomainConnections) => void)[] = [];
  const ended: ((d: DomainId) => void)[] = [];
  const ends = new Map<number, End>();
  const listeners = new Map<number, Set<() => void>>();
  const timers: FakeTimer[] = [];
  let nextPort = 1;

  const bind = (domain: number, remotePort: number): BackendPort => {
    const port = nextPort++;
    ends.set(port, { domain, remotePort });
    return eventPort(port);
  };
  const frameOf = (number: Mfn): Uint8Array => {
    const page = frames.get(number);
    if (page === undefined) throw new RangeError(`no frame ${number}`);
    return page;
  };

  const self: FakeBackend = {
    frames,
    grants,
    mapped,
    unbound,
    notified: [],
    addDomain(number) {
      const domain = domainId(number);
      const consoleFrame = mfn(number * 16 + 1);
      const storeFrame = mfn(number * 16 + 2);
      frames.set(consoleFrame, new Uint8Array(4096));
      frames.set(storeFrame, new Uint8Array(4096));
      grants.set(`${number}:${GNTTAB_RESERVED_CONSOLE}`, { mfn: consoleFrame });
      grants.set(`${number}:${GNTTAB_RESERVED_XENSTORE}`, { mfn: storeFrame });
      const connections: DomainConnections = {
        domain,
        name: `guest-${number}`,
        consoleFrame,
        storeFrame,
        consolePort: bind(number, 2),
        storePort: bind(number, 1),
        guestConsolePort: eventPort(2),
        guestStorePort: eventPort(1),
        memoryKiB: 16384,
        vcpus: 2,
      };
      domains.push(connections);
      for (const l of made) l(connections);
      return connections;
    },
    shutDown: (number) => {
      for (const l of ended) l(domainId(number));
    },
    kick(domain, remotePort) {
      for (const [port, end] of ends) {
        if (end.domain !== domain || end.remotePort !== remotePort) continue;
        for (const l of [...(listeners.get(port) ?? [])]) l();
      }
    },
    ends: () => ends,
    connections: () => domains,
    onDomain(listener) {
      made.push(listener);
      return { dispose: () => undefined };
    },
    onShutdown(listener) {
      ended.push(listener);
      return { dispose: () => undefined };
    },
    frame(number) {
      const bytes = frames.get(number);
      return bytes && { bytes, view: new DataView(bytes.buffer) };
    },
    write(number, offset, bytes) {
      if (offset < 0 || offset + bytes.length > 4096) throw new RangeError('outside the frame');
      frameOf(number).set(bytes, offset);
    },
    writeU32(number, offset, value) {
      new DataView(frameOf(number).buffer).setUint32(offset, value, true);
    },
    mapGrant(domain, ref, writable): GrantResult {
      const grant = grants.get(`${domain}:${ref}`);
      if (grant === undefined) return { ok: false, status: -3, reason: `no entry ${ref}` };
      if (writable && grant.readOnly === true) return { ok: false, status: -8, reason: 'read-only' };
      const mapping = { domain, ref, mfn: grant.mfn, writable };
      if (ref !== GNTTAB_RESERVED_CONSOLE && ref !== GNTTAB_RESERVED_XENSTORE) mapped.push(mapping);
      return { ok: true, mapping };
    },
    unmapGrant(mapping) {
      // A guest may offer these for its disks as well.
      if (mapping.ref === GNTTAB_RESERVED_CONSOLE || mapping.ref === GNTTAB_RESERVED_XENSTORE) return;
      const at = mapped.findIndex((m) => m.domain === mapping.domain && m.ref === mapping.ref);
      if (at < 0) throw new Error(`grant ${mapping.ref} is not mapped`);
      mapped.splice(at, 1);
    },
    bindInterdomain(domain: DomainId, remotePort: EventPort) {
      return unbound.delete(`${domain}:${remotePort}`) ? bind(domain, remotePort) : undefined;
    },
    close(port) {
      ends.delete(port);
    },
    notify(port) {
      const end = ends.get(port);
      if (end === undefined) throw new Error(`port ${port} is not connected`);
      self.notified.push(`${end.domain}:${end.remotePort}`);
    },
    onEvent(port, listener) {
      const set = listeners.get(port) ?? new Set();
      listeners.set(port, set);
      const own = (): void => listener();
      set.add(own);
      return { dispose: () => void set.delete(own) };
    },
    resumeDomain: (id) => {
      throw new Error(`d${id} is not suspended`);
    },
    now: () => self.time,
    timer(due) {
      const timer: FakeTimer = { at: undefined, due };
      timers.push(timer);
      return {
        set: (at) => (timer.at = at),
        dispose: () => void timers.splice(timers.indexOf(timer), 1),
      };
    },
    time: 0n,
    pass(nanoseconds) {
      const end = self.time + nanoseconds;
      for (;;) {
        const [next] = timers
          .filter((t) => t.at !== undefined && t.at <= end)
          .sort((a, b) => Number((a.at ?? 0n) - (b.at ?? 0n)));
        if (next?.at === undefined) break;
        if (next.at > self.time) self.time = next.at;
        next.at = undefined;
        next.due();
      }
      self.time = end;
    },
    xenstore: undefined,
  };
  return self;
}

export interface Lines {
  readonly log: Log;
  readonly lines: string[];
}

export function collectLog(): Lines {
  const lines: string[] = [];
  return {
    lines,
    log: createLog((level, source, text) => lines.push(`${level} ${source}: ${text}`), 'devices', 'warn'),
  };
}

export interface Bench {
  readonly backend: FakeBackend;
  readonly devices: BackendSet;
  readonly lines: string[];
}

export function createBench(options: DeviceOptions = {}): Bench {
  const backend = createFakeBackend();
  const { log, lines } = collectLog();
  return { backend, devices: createDevices(backend, log, options), lines };
}

const text = (bytes: Uint8Array): string => String.fromCharCode(...bytes);
export const bytesOf = (latin: string): Uint8Array => Uint8Array.from(latin, (c) => c.charCodeAt(0));

export interface Reply {
  readonly type: number;
  readonly req_id: number;
  readonly tx_id: number;
  readonly payload: string;
}

/** A guest's xenstore driver. */
export interface Guest {
  readonly page: Uint8Array;
  readonly view: DataView;
  /** Bytes into the request ring, as far as they fit; then the event. */
  push(bytes: Uint8Array): number;
  /** A whole request, in pieces if it must be, taking replies off the ring meanwhile. */
  send(type: number, payload: string, tx?: number): number;
  /** Takes what is in the response ring, and says so. */
  receive(): Reply[];
  /** The reply to a request: its payload, or the error's name with an exclamation mark. Events are kept. */
  ask(type: number, payload: string, tx?: number): string;
  /** Watch events since the last look, 'path|token'. */
  events(): string[];
  kick(): void;
}

export function createGuest(backend: FakeBackend, domain: number): Guest {
  const connections = backend.connections().find((c) => c.domain === domain);
  if (connections === undefined) throw new Error(`no domain ${domain}`);
  const page = { context: backend, frame: connections.storeFrame };
  const bytes = backend.frames.get(connections.storeFrame) ?? new Uint8Array(0);
  let incoming = new Uint8Array(0);
  let request = 100;
  let kept: Reply[] = [];

  const kick = (): void => backend.kick(domain, 1);

  function drain(): void {
    const parts: Uint8Array[] = [incoming];
    for (;;) {
      const taken = ringTake(page, responseRing, 4096);
      if (typeof taken === 'string') throw new Error(taken);
      if (taken.length === 0) break;
      parts.push(taken);
      kick();
    }
    incoming = new Uint8Array(Buffer.concat(parts));
  }

  const guest: Guest = {
    page: bytes,
    view: new DataView(bytes.buffer),
    kick,
    push(data) {
      const put = ringPut(page, requestRing, data);
      if (typeof put === 'string') throw new Error(put);
      kick();
      return put;
    },
    send(type, payload, tx = 0) {
      const message = new Uint8Array(16 + payload.length);
      const view = new DataView(message.buffer);
      [type, ++request, tx, payload.length].forEach((v, i) => view.setUint32(i * 4, v, true));
      message.set(bytesOf(payload), 16);
      for (let sent = 0; sent < message.length;) {
        const put = guest.push(message.subarray(sent));
        sent += put;
        if (put === 0) {
          drain();
          if (guest.push(message.subarray(sent, sent + 1)) === 0) throw new Error('the ring does not move');
          sent++;
        }
      }
      return request;
    },
    receive() {
      drain();
      const replies: Reply[] = [];
      while (incoming.length >= 16) {
        const view = new DataView(incoming.buffer, incoming.byteOffset);
        const length = view.getUint32(12, true);
        if (incoming.length < 16 + length) break;
        replies.push({
          type: view.getUint32(0, true),
          req_id: view.getUint32(4, true),
          tx_id: view.getUint32(8, true),
          payload: text(incoming.subarray(16, 16 + length)),
        });
        incoming = incoming.subarray(16 + length);
      }
      return replies;
    },
    ask(type, payload, tx = 0) {
      const id = guest.send(type, payload, tx);
      const all = guest.receive();
      kept.push(...all.filter((r) => r.type === XS.WATCH_EVENT));
      const reply = all.find((r) => r.type !== XS.WATCH_EVENT);
      if (reply === undefined) throw new Error(`no reply to request ${type}`);
      if (reply.req_id !== id || reply.tx_id !== tx) throw new Error('the reply is another request’s');
      if (reply.type === XS.ERROR) return `!${reply.payload.replace('\0', '')}`;
      if (reply.type !== type) throw new Error(`reply of type ${reply.type} to ${type}`);
      return reply.payload;
    },
    events() {
      kept.push(...guest.receive());
      const seen = kept.map((r) => r.payload.split('\0').slice(0, 2).join('|'));
      kept = [];
      return seen;
    },
  };
  return guest;
}

const { offset, fields } = xencons_interface;
export const consoleIn: ByteRing = {
  data: offset.in,
  size: fields.in.size,
  cons: offset.in_cons,
  prod: offset.in_prod,
};
export const consoleOut: ByteRing = {
  data: offset.out,
  size: fields.out.size,
  cons: offset.out_cons,
  prod: offset.out_prod,
};
