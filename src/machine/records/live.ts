import { capturedReader, callNames } from '../../hypervisor/dispatch';
import type { Machine } from '../machine';
import type { Compression } from '../saved/container';
import type { TraceRecord } from '../target';
import { createScratch, TRACE_RECORD_SIZE, type Trace, type TraceContent } from '../trace';
import { createCallers } from './callers';
import { CHUNK, createColumns } from './columns';
import type { RecordSource } from './source';

/**
 * The running machine's records, more of them than its ring holds: from the first look on (or from the start, where
 * that is asked for) each is put into columns, and before the ring writes over it, packed away with CHUNK others.
 */

export interface LiveRecords extends RecordSource {
  /** To be called often enough that the ring does not come round in between. */
  follow(): void;
  /** From now on records are kept. */
  begin(): void;
  readonly following: boolean;
}

/** Packed parts that are kept unpacked: the rows on the screen are of one or two. */
const UNPACKED = 4;

interface Part {
  readonly deflated: Uint8Array;
  readonly refusals: TraceContent['refusals'];
}

/** @param most records that are kept before the oldest go */
export function createLiveRecords(
  machine: () => Machine,
  compression: Compression | undefined,
  most: number,
): LiveRecords {
  const columns = createColumns();
  const callerOf = createCallers(() => machine().hypervisor);
  /** By the position of their first record. */
  const parts = new Map<number, Part>();
  let unpacked: { readonly base: number; readonly trace: Trace }[] = [];
  let known: Machine | undefined;
  let generation = 0;
  let following = false;
  /** Records before this are in parts, or gone. */
  let packed = 0;

  const startOver = (first: number): void => {
    columns.reset(first);
    parts.clear();
    unpacked = [];
    packed = first;
    generation++;
  };

  /** What the columns have beyond the machine's last record never happened. */
  const goBack = (next: number): void => {
    if (columns.next() <= next) return;
    columns.truncate(next);
    generation++;
    // The one that the next record belongs to has earlier ones that the ring may have lost.
    for (const base of parts.keys()) if (base >= next) parts.delete(base);
    unpacked = unpacked.filter(({ base }) => parts.has(base));
    packed = Math.min(packed, next - ((next - columns.first()) % CHUNK));
  };

  const unpack = (base: number): Trace => {
    const found = unpacked.find((one) => one.base === base);
    if (found !== undefined) return found.trace;
    const part = parts.get(base);
    if (part === undefined || compression === undefined)
      throw new RangeError(`trace record ${base.toString()} was overwritten`);
    const size = CHUNK * TRACE_RECORD_SIZE;
    const trace = createScratch(base, compression.inflate(part.deflated, size), part.refusals);
    unpacked = [{ base, trace }, ...unpacked].slice(0, UNPACKED);
    return trace;
  };

  const pack = (trace: Trace): void => {
    if (compression === undefined) return;
    while (packed + CHUNK <= columns.next()) {
      const start = Math.min(Math.max(packed, trace.first()), packed + CHUNK);
      const pieces = [trace.content(start, packed + CHUNK)];
      if (start > packed) pieces.unshift(unpack(packed).content(packed, start));
      const bytes = new Uint8Array(CHUNK * TRACE_RECORD_SIZE);
      let at = 0;
      for (const piece of pieces.flatMap(({ records }) => records)) {
        bytes.set(piece, at);
        at += piece.length;
      }
      const refusals = new Map(pieces.flatMap((piece) => [...piece.refusals]));
      parts.set(packed, { deflated: compression.deflate(bytes), refusals });
      unpacked = unpacked.filter(({ base }) => base !== packed);
      packed += CHUNK;
    }
  };

  const follow = (): void => {
    if (!following) return;
    const now = machine();
    const { trace } = now;
    if (now !== known) {
      known = now;
      trace.callerOf = callerOf;
      startOver(trace.first());
    }
    goBack(trace.next());
    // Where nobody looked for longer than the ring lasts, what is older is out of reach.
    if (trace.first() > columns.next()) startOver(trace.first());
    for (let seq = columns.next(); seq < trace.next(); seq++) {
      const { retired, time, domain, vcpu, call } = trace.raw(seq);
      const [name = '', label = name] = callNames(call, capturedReader(call.captured));
      columns.append({
        retired: Number(retired),
        time: Number(time),
        domain,
        vcpu,
        name: label,
        site: trace.caller(seq) || call.rip,
        depth: call.depth,
        result: call.result,
        errno: call.errno,
      });
    }
    pack(trace);
    const oldest = compression === undefined ? trace.first() : columns.next() - most;
    if (oldest - columns.first() >= CHUNK) {
      columns.dropBefore(oldest);
      for (const base of parts.keys()) {
        if (base >= columns.first()) break;
        parts.delete(base);
      }
    }
  };

  return {
    columns,
    generation: () => generation,
    get following() {
      return following;
    },
    begin: () => {
      if (following) return;
      following = true;
      follow();
    },
    follow,
    update: () => {
      following = true;
      follow();
    },
    record: (position): TraceRecord => {
      const { trace, hypervisor } = machine();
      if (position < columns.first())
        throw new RangeError(`trace record ${position.toString()} was overwritten`);
      const base = position - ((position - columns.first()) % CHUNK);
      const record = (position >= trace.first() ? trace : unpack(base)).read(hypervisor, position);
      const chunk = columns.chunk(position);
      const site = columns.sites.values[chunk?.site[position - chunk.base] ?? -1];
      return site === undefined || site === record.rip ? record : { ...record, caller: site };
    },
  };
}
