/**
 * TCP (RFC 9293) as far as a connection from the host to a port of a guest needs it: the gateway opens it, nobody
 * connects to the gateway. The way is a ring in memory, so there is no congestion to be controlled; what is lost is
 * what a guest had no pages for. Virtual time drives what is sent again.
 */
import { viewOf } from './frame';
import type { NetworkOutput } from './host';
import type { Station } from './packets';

const FLAG = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16 } as const;
const HEADER = 20;
/** Kind 2: the largest segment that we take. */
const OPTION_MSS = 2;
const MSS = 1460;
/** Without the option (RFC 9293 §3.7.1). */
const MSS_UNTOLD = 536;
const WINDOW = 65_535;
/** First and longest wait for an acknowledgement, in ns (RFC 6298 §2). */
const FIRST_WAIT = 1_000_000_000n;
const LONGEST_WAIT = 60_000_000_000n;
/** Times that a segment is sent again before the guest is given up; about two minutes for the first. */
const MOST_TRIES = { connect: 6, transfer: 8 } as const;
const FAST_RETRANSMIT = 3;

type Phase = 'connecting' | 'open';

/** Plain data. Sequence numbers are those on the wire; the others count bytes from the beginning. */
export interface TcpState {
  readonly connection: number;
  readonly domain: number;
  readonly guest: Station;
  readonly guestPort: number;
  readonly ownPort: number;
  phase: Phase;
  /** The first byte not acknowledged, the next to send, and the end of what was ever sent. */
  unacked: number;
  next: number;
  highest: number;
  /** What the guest's receiver takes from `unacked` on. */
  window: number;
  mss: number;
  /** Bytes from `unacked` on. */
  unsent: Uint8Array;
  /** Bytes that the host gave, and that the guest acknowledged. */
  fromHost: number;
  acknowledged: number;
  /** The host has no more; its end takes a number of its own, after the last byte. */
  hostEnded: boolean;
  expected: number;
  /** Bytes that the guest sent, and that the host has taken. */
  fromGuest: number;
  taken: number;
  guestEnded: boolean;
  tries: number;
  duplicates: number;
  /** When to send again. */
  due: bigint | undefined;
}

export interface TcpHost {
  readonly own: Station;
  now(): bigint;
  /** Sends a segment, its checksum (at 16) still to be made. */
  send(to: Station, segment: Uint8Array): void;
  output(event: NetworkOutput): void;
}

export interface Tcp {
  open(connection: number, domain: number, guest: Station, port: number): void;
  data(connection: number, at: number, data: Uint8Array): void;
  end(connection: number): void;
  abort(connection: number): void;
  taken(connection: number, bytes: number): void;
  /** A segment came from `guest`. */
  receive(guest: Station, segment: Uint8Array): void;
  /** Ends all connections into a domain. */
  drop(domain: number, reason: string): void;
  /** Sends again what was due. */
  expire(): void;
  deadline(): bigint | undefined;
  has(connection: number): boolean;
  save(): readonly TcpState[];
  restore(states: readonly TcpState[]): void;
}

const NOTHING = new Uint8Array(0);

/** How far `a` is after `b`, modulo 2^32. */
const after = (a: number, b: number): number => (a - b) | 0;
const plus = (a: number, n: number): number => (a + n) >>> 0;

interface Segment {
  readonly from: number;
  readonly to: number;
  readonly seq: number;
  readonly ack: number;
  readonly flags: number;
  readonly window: number;
  readonly mss: number | undefined;
  readonly data: Uint8Array;
}

function parse(bytes: Uint8Array): Segment | undefined {
  if (bytes.length < HEADER) return undefined;
  const view = viewOf(bytes);
  const start = (view.getUint8(12) >> 4) * 4;
  if (start < HEADER || start > bytes.length) return undefined;
  let mss: number | undefined;
  for (let at = HEADER; at < start && bytes[at] !== 0;) {
    // Kind 1 is padding of one byte.
    const length = bytes[at] === 1 ? 1 : (bytes[at + 1] ?? 0);
    if (length === 0) break;
    if (bytes[at] === OPTION_MSS && length === 4 && at + 4 <= start) mss = view.getUint16(at + 2);
    at += length;
  }
  return {
    from: view.getUint16(0),
    to: view.getUint16(2),
    seq: view.getUint32(4),
    ack: view.getUint32(8),
    flags: view.getUint8(13),
    window: view.getUint16(14),
    mss,
    data: bytes.subarray(start),
  };
}

function segmentOf(
  from: number,
  to: number,
  seq: number,
  ack: number,
  flags: number,
  window: number,
  data: Uint8Array = NOTHING,
): Uint8Array {
  const options = (flags & FLAG.SYN) === 0 ? 0 : 4;
  const bytes = new Uint8Array(HEADER + options + data.length);
  const view = viewOf(bytes);
  view.setUint16(0, from);
  view.setUint16(2, to);
  view.setUint32(4, seq);
  view.setUint32(8, ack);
  view.setUint8(12, (HEADER + options) << 2);
  view.setUint8(13, flags);
  view.setUint16(14, window);
  if (options > 0) view.setUint32(HEADER, (OPTION_MSS << 24) | (4 << 16) | MSS);
  bytes.set(data, HEADER + options);
  return bytes;
}

export function createTcp(host: TcpHost): Tcp {
  const connections = new Map<number, TcpState>();

  const windowOf = (c: TcpState): number => Math.max(0, WINDOW - (c.fromGuest - c.taken));

  function send(c: TcpState, seq: number, flags: number, data: Uint8Array = NOTHING): void {
    const ack = (flags & FLAG.ACK) === 0 ? 0 : c.expected;
    host.send(c.guest, segmentOf(c.ownPort, c.guestPort, seq, ack, flags, windowOf(c), data));
  }
  const acknowledge = (c: TcpState): void => send(c, c.next, FLAG.ACK);

  function close(c: TcpState, reason?: string): void {
    connections.delete(c.connection);
    host.output({
      connection: c.connection,
      event: 'closed',
      ...(reason === undefined ? {} : { reason }),
    });
  }

  /** The wait doubles with each time. */
  function wait(c: TcpState): void {
    const time = FIRST_WAIT << BigInt(c.tries);
    c.due = host.now() + (time < LONGEST_WAIT ? time : LONGEST_WAIT);
  }

  /** The number of the host's end: after all its bytes. */
  const endAt = (c: TcpState): number => plus(c.unacked, c.unsent.length);
  const endAcknowledged = (c: TcpState): boolean => c.hostEnded && c.acknowledged === c.fromHost + 1;
  /** Something was sent, or is to be, that needs an acknowledgement. */
  const outstanding = (c: TcpState): boolean =>
    c.phase === 'connecting' || c.unsent.length > 0 || (c.hostEnded && !endAcknowledged(c));

  /** Sends what the guest's window has room for; `probe`: one byte even if it has none (RFC 9293 §3.8.6.1). */
  function push(c: TcpState, probe = false): void {
    if (c.phase !== 'open') return;
    const limit = plus(c.unacked, probe ? Math.max(1, c.window) : c.window);
    for (;;) {
      const offset = after(c.next, c.unacked);
      const size = Math.min(c.mss, c.unsent.length - offset, after(limit, c.next));
      if (size <= 0) break;
      const last = offset + size === c.unsent.length;
      send(c, c.next, FLAG.ACK | (last ? FLAG.PSH : 0), c.unsent.subarray(offset, offset + size));
      c.next = plus(c.next, size);
    }
    if (c.hostEnded && c.next === endAt(c) && !endAcknowledged(c)) {
      send(c, c.next, FLAG.ACK | FLAG.FIN);
      c.next = plus(c.next, 1);
    }
    if (after(c.next, c.highest) > 0) c.highest = c.next;
    if (!outstanding(c)) c.due = undefined;
    else if (c.due === undefined) wait(c);
  }

  function again(c: TcpState): void {
    const most = c.phase === 'connecting' ? MOST_TRIES.connect : MOST_TRIES.transfer;
    if (c.tries >= most) {
      if (c.phase === 'open') send(c, c.next, FLAG.RST | FLAG.ACK);
      close(c, 'the guest does not answer');
      return;
    }
    c.tries++;
    wait(c);
    if (c.phase === 'connecting') send(c, c.unacked, FLAG.SYN);
    else {
      c.next = c.unacked;
      push(c, true);
    }
  }

  /** What the guest acknowledges. @returns whether it is something that was sent */
  function acknowledged(c: TcpState, { ack, window, data, flags }: Segment): boolean {
    const bytes = after(ack, c.unacked);
    if (bytes < 0) return true;
    if (after(ack, c.highest) > 0) return false;
    if (bytes > 0) {
      c.unsent = c.unsent.slice(bytes);
      c.unacked = ack;
      c.acknowledged += bytes;
      if (after(c.next, ack) < 0) c.next = ack;
      c.tries = 0;
      c.duplicates = 0;
      c.due = undefined;
      const { connection } = c;
      host.output({ connection, event: 'taken', bytes: Math.min(c.acknowledged, c.fromHost) });
    } else if (c.next !== ack && data.length === 0 && window === c.window && (flags & FLAG.FIN) === 0) {
      if (++c.duplicates === FAST_RETRANSMIT) c.next = c.unacked;
    }
    // A guest whose program does not read is there, for as long as it says so.
    if (window === 0) c.tries = 0;
    c.window = window;
    return true;
  }

  /** What the guest sends, as far as it is next in order; the rest it sends again. */
  function accept(c: TcpState, { seq, data, flags }: Segment): void {
    const fin = (flags & FLAG.FIN) !== 0;
    if (data.length === 0 && !fin) {
      // A probe of an idle connection (keep-alive) is before what we expect, and wants to be answered.
      if (seq !== c.expected) acknowledge(c);
      return;
    }
    const skip = after(c.expected, seq);
    if (skip >= 0 && !c.guestEnded && skip <= data.length) {
      const fresh = data.subarray(skip, skip + windowOf(c));
      if (fresh.length > 0) {
        const at = c.fromGuest;
        c.expected = plus(c.expected, fresh.length);
        c.fromGuest += fresh.length;
        host.output({ connection: c.connection, event: 'data', at, data: fresh.slice() });
      }
      if (fin && skip + fresh.length === data.length) {
        c.expected = plus(c.expected, 1);
        c.guestEnded = true;
        host.output({ connection: c.connection, event: 'end' });
      }
    }
    acknowledge(c);
  }

  function established(c: TcpState, segment: Segment): void {
    if ((segment.flags & FLAG.ACK) === 0) return;
    if ((segment.flags & FLAG.SYN) !== 0) {
      // Our answer to theirs was lost.
      acknowledge(c);
      return;
    }
    if (!acknowledged(c, segment)) {
      acknowledge(c);
      return;
    }
    accept(c, segment);
    push(c);
    if (c.guestEnded && endAcknowledged(c)) close(c);
  }

  function connecting(c: TcpState, { flags, ack, seq, window, mss }: Segment): void {
    if ((flags & (FLAG.SYN | FLAG.ACK)) !== (FLAG.SYN | FLAG.ACK) || ack !== c.next) return;
    c.phase = 'open';
    c.unacked = ack;
    c.expected = plus(seq, 1);
    c.window = window;
    c.mss = Math.min(MSS, mss ?? MSS_UNTOLD);
    c.tries = 0;
    c.due = undefined;
    host.output({ connection: c.connection, event: 'opened' });
    acknowledge(c);
    push(c);
  }

  /** For what belongs to no connection (RFC 9293 §3.10.7.1). */
  function refuse(guest: Station, { from, to, seq, ack, flags, data }: Segment): void {
    if ((flags & FLAG.RST) !== 0) return;
    const known = (flags & FLAG.ACK) !== 0;
    const length = data.length + ((flags & FLAG.SYN) === 0 ? 0 : 1) + ((flags & FLAG.FIN) === 0 ? 0 : 1);
    const reset = known
      ? segmentOf(to, from, ack, 0, FLAG.RST, 0)
      : segmentOf(to, from, 0, plus(seq, length), FLAG.RST | FLAG.ACK, 0);
    host.send(guest, reset);
  }

  /** Ports are taken in turn, so that one that was just in use is not met again at once. */
  function freePort(connection: number): number {
    const used = new Set([...connections.values()].map(({ ownPort }) => ownPort));
    for (let i = 0; i < 16_384; i++) {
      const port = 49_152 + ((connection + i) % 16_384);
      if (!used.has(port)) return port;
    }
    throw new RangeError('there are too many connections');
  }

  return {
    open(connection, domain, guest, guestPort) {
      // Any number will do where nobody guesses; it differs from connection to connection all the same.
      const first = Math.imul(connection, 0x9e37_79b1) >>> 0;
      const c: TcpState = {
        connection,
        domain,
        guest,
        guestPort,
        ownPort: freePort(connection),
        phase: 'connecting',
        unacked: first,
        next: plus(first, 1),
        highest: plus(first, 1),
        window: 0,
        mss: MSS_UNTOLD,
        unsent: new Uint8Array(0),
        fromHost: 0,
        acknowledged: 0,
        hostEnded: false,
        expected: 0,
        fromGuest: 0,
        taken: 0,
        guestEnded: false,
        tries: 0,
        duplicates: 0,
        due: undefined,
      };
      connections.set(connection, c);
      wait(c);
      send(c, first, FLAG.SYN);
    },
    data(connection, at, data) {
      const c = connections.get(connection);
      if (c === undefined) return;
      if (at !== c.fromHost || c.hostEnded) {
        send(c, c.next, FLAG.RST | FLAG.ACK);
        close(c, 'the machine went to a moment at which this connection stood elsewhere');
        return;
      }
      const all = new Uint8Array(c.unsent.length + data.length);
      all.set(c.unsent);
      all.set(data, c.unsent.length);
      c.unsent = all;
      c.fromHost += data.length;
      push(c);
    },
    end(connection) {
      const c = connections.get(connection);
      if (c === undefined) return;
      c.hostEnded = true;
      push(c);
    },
    abort(connection) {
      const c = connections.get(connection);
      if (c === undefined) return;
      connections.delete(connection);
      send(c, c.next, FLAG.RST | FLAG.ACK);
    },
    taken(connection, bytes) {
      const c = connections.get(connection);
      if (c === undefined) return;
      const before = windowOf(c);
      c.taken = Math.min(bytes, c.fromGuest);
      // Room for a segment where there was none is worth telling.
      if (before < MSS && windowOf(c) >= MSS) acknowledge(c);
    },
    receive(guest, bytes) {
      const segment = parse(bytes);
      if (segment === undefined) return;
      const c = [...connections.values()].find(
        (one) => one.ownPort === segment.to && one.guestPort === segment.from && one.guest.ip === guest.ip,
      );
      if (c === undefined) refuse(guest, segment);
      else if ((segment.flags & FLAG.RST) !== 0) {
        const refused = c.phase === 'connecting' && segment.ack === c.next;
        if (refused || (c.phase === 'open' && segment.seq === c.expected))
          close(
            c,
            refused
              ? `the guest refuses connections to port ${c.guestPort}`
              : 'the guest reset the connection',
          );
      } else if (c.phase === 'connecting') connecting(c, segment);
      else established(c, segment);
    },
    drop(domain, reason) {
      for (const c of [...connections.values()]) if (c.domain === domain) close(c, reason);
    },
    expire() {
      const now = host.now();
      for (const c of [...connections.values()]) {
        if (c.due === undefined || c.due > now) continue;
        again(c);
      }
    },
    deadline() {
      let first: bigint | undefined;
      for (const { due } of connections.values())
        if (due !== undefined && (first === undefined || due < first)) first = due;
      return first;
    },
    has: (connection) => connections.has(connection),
    save: () => [...connections.values()].map((c) => ({ ...c })),
    restore(states) {
      connections.clear();
      for (const c of states) connections.set(c.connection, { ...c });
    },
  };
}
