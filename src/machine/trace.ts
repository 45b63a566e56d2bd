import type { GuestVcpu, Hypervisor } from '../hypervisor/types';
import type { Call, CapturedRange } from '../hypervisor/state';
import type { TraceSink } from '../hypervisor/observer';
import { createClock, type MachineClock } from './clock';
import { createTallies, keyAt, timeAt, type NamedBy, type Names, type TalliesState } from './tallies';
import { HEAD, HEAD_SIZE, RANGE_HEADER, TAIL_SIZE, TRACE_RECORD_SIZE } from './trace-layout';
import type { TraceRecord, TraceSummary } from './target';

/**
 * The hypercall trace: fixed-size binary records in a ring, always on. A record keeps registers and the guest
 * memory behind the arguments as it stood at entry; names and decoding come from the declarations when
 * somebody looks. Reasons of refusals are text and live beside the ring, one slot a record.
 *
 * The heads of all records lie together, and what was captured of memory behind them: a call without any touches one
 * or two cache lines that follow those of the call before, which the processor has fetched by then.
 */
export { TRACE_RECORD_SIZE };

/** Records that are counted together, later: their words are then read one after another. */
const COUNTED_TOGETHER = 256;

/** In a record of a file, what was captured comes here; the rest of a head is padding. */
const FILED_HEAD = 92;
const SHORT = 64;

export interface Trace extends TraceSink {
  /** Always on; the bench turns it off to see what it costs. */
  enabled: boolean;
  /** Asked at every call, from when somebody wants to know, for the place behind the hypercall page; 0: not known. */
  callerOf?: (vcpu: GuestVcpu, call: Call) => bigint;
  /** What it answered. */
  caller(seq: number): bigint;
  /** For who writes records by itself: address of the first head in the memory, and how many there are. */
  readonly heads: { readonly at: number; readonly count: number };
  /** So many may be written before `wrote`. */
  room(): number;
  /** So many records have been written behind the last, of calls that were not refused. */
  wrote(records: number): void;
  /** Another number when the names of traps that were counted already may be others. */
  trapNames(): number;
  /** Whether a trap of that name was counted already; and counts it so many times. */
  knowsTrap(name: string): boolean;
  traps(name: string, count: number): void;
  /** Sequence number of the next record; records [first, next) can be read. */
  readonly first: () => number;
  readonly next: () => number;
  read(hypervisor: Hypervisor, seq: number): TraceRecord;
  /** The same as it was recorded, with nothing decoded. */
  raw(seq: number): RawRecord;
  summary(): TraceSummary;
  save(): TraceState;
  restore(state: TraceState): void;
  /** The records too, all or [from, to), for a file. */
  content(from?: number, to?: number): TraceContent;
  /** As much of it as the ring holds. */
  load(content: TraceContent): void;
}

export interface RawRecord extends Pick<TraceRecord, 'seq' | 'retired' | 'time' | 'domain' | 'vcpu'> {
  readonly call: Call;
}

/** Records a part of a saved ring has. */
const PART = 1024;

export interface TraceContent {
  readonly state: TraceState;
  /** Number of the first record, and the records from there, in parts. */
  readonly first: number;
  readonly records: readonly Uint8Array[];
  /** By record number. */
  readonly refusals: ReadonlyMap<number, Refusal>;
}

export interface Refusal {
  readonly errno: string | undefined;
  readonly reason: string | undefined;
}

export interface TraceState extends TalliesState {
  readonly next: number;
}

/**
 * @param memory the ring's bytes, a multiple of the record size, in the machine's shared memory
 * @param namedBy what decides which names a call of that number has
 */
export function createTrace(
  memory: Uint8Array,
  clock: MachineClock,
  names: Names,
  namedBy: (nr: number) => NamedBy = () => 'memory',
): Trace {
  const capacity = Math.floor(memory.length / TRACE_RECORD_SIZE);
  if (capacity === 0)
    throw new RangeError(`a trace ring of ${memory.length.toString()} bytes holds no record`);
  const view = new DataView(memory.buffer, memory.byteOffset, memory.byteLength);
  const u64 = new BigUint64Array(memory.buffer, memory.byteOffset, memory.byteLength >> 3);
  const u32 = new Uint32Array(memory.buffer, memory.byteOffset, memory.byteLength >> 2);
  /** Name of the error and reason of the calls that were refused, by slot. */
  const refusals: (Refusal | undefined)[] = new Array<Refusal | undefined>(capacity);
  let next = 0;
  /** One past the highest record ever written: what a seek went back over has still overwritten older ones. */
  let highest = 0;
  /** No record before it was ever here. */
  let origin = 0;
  const tallies = createTallies(names, namedBy);
  /** By slot, once they are asked for. */
  let callers: BigUint64Array | undefined;

  /** Records before it are in the tallies. */
  let counted = 0;
  let restored = 0;
  function countRest(): void {
    while (counted < next) {
      const slot = counted % capacity;
      const h = slot * (HEAD_SIZE / 4);
      const known = tallies.again(u32, h, Math.min(next - counted, capacity - slot));
      counted += known;
      if (known > 0) continue;
      const call = readCall(slot, undefined);
      if (u32[h + HEAD.names / 4] === 0) tallies.add(undefined, call, false, timeAt(u32, h));
      else tallies.remember(call, keyAt(u32, h), timeAt(u32, h));
      counted++;
    }
  }
  const written = (records: number): void => {
    next += records;
    if (next > highest) highest = next;
  };

  const first = (): number => Math.min(next, Math.max(origin, highest - capacity));

  const tails = capacity * HEAD_SIZE;
  const together = Math.min(COUNTED_TOGETHER, capacity);

  const readCall = (slot: number, refusal: Refusal | undefined): Call => {
    const captured: CapturedRange[] = [];
    const at = slot * HEAD_SIZE;
    let p = tails + slot * TAIL_SIZE;
    for (let i = 0; i < view.getUint8(at + HEAD.ranges); i++) {
      const length = view.getUint16(p + 8, true);
      captured.push({
        address: view.getBigUint64(p, true),
        bytes: memory.slice(p + RANGE_HEADER, p + RANGE_HEADER + length),
      });
      p += RANGE_HEADER + length;
    }
    return {
      nr: view.getUint32(at + HEAD.nr, true),
      args: Array.from({ length: 6 }, (_, i) => view.getBigUint64(at + HEAD.args + 8 * i, true)),
      rip: view.getBigUint64(at + HEAD.rip, true),
      depth: view.getUint8(at + HEAD.depth),
      result: view.getBigUint64(at + HEAD.result, true),
      captured,
      ...(refusal?.errno === undefined ? {} : { errno: refusal.errno }),
      ...(refusal?.reason === undefined ? {} : { reason: refusal.reason }),
    };
  };

  /** What a file has of a record: its head without the padding, and its tail. */
  const partsOf = (slot: number): readonly [Uint8Array, Uint8Array] => {
    const head = slot * HEAD_SIZE;
    const tail = tails + slot * TAIL_SIZE;
    return [memory.subarray(head, head + FILED_HEAD), memory.subarray(tail, tail + TAIL_SIZE)];
  };

  /** @returns how many of the ranges, the last of them cut, have room */
  function keep(slot: number, captured: readonly CapturedRange[]): number {
    let ranges = 0;
    let p = tails + slot * TAIL_SIZE;
    const end = p + TAIL_SIZE;
    for (const range of captured) {
      const room = end - p - RANGE_HEADER;
      if (room <= 0) break;
      const bytes = range.bytes.length > room ? range.bytes.subarray(0, room) : range.bytes;
      view.setBigUint64(p, range.address, true);
      view.setUint16(p + 8, bytes.length, true);
      p += RANGE_HEADER;
      // Most are a few bytes, for which a loop is faster than set().
      if (bytes.length > SHORT) memory.set(bytes, p);
      else for (let i = 0; i < bytes.length; i++) memory[p + i] = bytes[i] ?? 0;
      p += bytes.length;
      ranges++;
    }
    return ranges;
  }

  const sink: Trace = {
    enabled: true,
    first,
    next: () => next,

    hypercall(vcpu, call) {
      if (!sink.enabled) return;
      const slot = next % capacity;
      const q = slot * (HEAD_SIZE / 8);
      const h = q * 2;
      const time = clock.stamp(u32, h + HEAD.retired / 4);
      u64[q + HEAD.rip / 8] = call.rip;
      // The array keeps the low 64 bits.
      u64[q + HEAD.result / 8] = call.result ?? 0n;
      const { args } = call;
      for (let i = 0; i < 6; i++) u64[q + HEAD.args / 8 + i] = args[i] ?? 0n;
      u32[h + HEAD.nr / 4] = call.nr;
      u32[h + HEAD.domain / 4] = vcpu.domain.id | (vcpu.id << 16);
      const ranges = call.captured.length === 0 ? 0 : keep(slot, call.captured);
      const refused = call.errno !== undefined || call.reason !== undefined;
      // Depth, ranges, refused: a byte each.
      u32[h + HEAD.depth / 4] = call.depth | (ranges << 8) | (refused ? 1 << 16 : 0);
      u32[h + HEAD.names / 4] = 0;
      if (refused) refusals[slot] = { errno: call.errno, reason: call.reason };
      if (sink.callerOf !== undefined) {
        callers ??= new BigUint64Array(capacity);
        callers[slot] = sink.callerOf(vcpu, call);
      }
      if (!refused && tallies.isPlain(call.nr)) {
        written(1);
        if (next - counted >= together) countRest();
        return;
      }
      // In their order, by which counters come into being.
      countRest();
      written(1);
      counted = next;
      tallies.add(vcpu, call, refused, time);
    },
    heads: { at: memory.byteOffset, count: capacity },
    room: () => capacity - (next - counted),
    wrote(records) {
      written(records);
      countRest();
    },
    trapNames: () => restored + tallies.trapNames(),
    knowsTrap: (name) => tallies.knowsTrap(name),
    traps(name, count) {
      tallies.trap(name, count);
    },

    trap(_vcpu, name) {
      tallies.trap(name, 1);
    },

    caller: (seq) => callers?.[seq % capacity] ?? 0n,
    raw(seq) {
      if (seq < first() || seq >= next) {
        throw new RangeError(
          `trace record ${seq.toString()} is not in [${first().toString()}, ${next.toString()})`,
        );
      }
      const slot = seq % capacity;
      const at = slot * HEAD_SIZE;
      return {
        seq,
        retired: view.getBigUint64(at + HEAD.retired, true),
        time: view.getBigUint64(at + HEAD.time, true),
        domain: view.getUint16(at + HEAD.domain, true),
        vcpu: view.getUint16(at + HEAD.vcpu, true),
        call: readCall(slot, memory[at + HEAD.refused] === 0 ? undefined : refusals[slot]),
      };
    },
    read(hypervisor, seq) {
      const { call, ...where } = sink.raw(seq);
      return { ...where, rip: call.rip, call: hypervisor.view(undefined, call), depth: call.depth };
    },

    summary() {
      countRest();
      return tallies.summary();
    },

    save() {
      countRest();
      return { next, ...tallies.save() };
    },
    // Records before the mark may have been overwritten since: replaying writes the same ones again.
    restore: (state) => {
      restored += 2 ** 32;
      counted = next = state.next;
      // None of those before it is in the ring any more, or ever was.
      if (next <= highest - capacity || next > highest) origin = highest = next;
      tallies.restore(state);
    },
    content(from = first(), to = next) {
      const records: Uint8Array[] = [];
      const kept = new Map<number, Refusal>();
      for (let seq = from; seq < to;) {
        const slot = seq % capacity;
        const many = Math.min(to - seq, capacity - slot, PART);
        const part = new Uint8Array(many * TRACE_RECORD_SIZE);
        records.push(part);
        for (let i = 0; i < many; i++) {
          const [head, tail] = partsOf(slot + i);
          part.set(head, i * TRACE_RECORD_SIZE);
          part.set(tail, i * TRACE_RECORD_SIZE + FILED_HEAD);
          const refusal = refusals[slot + i];
          if (refusal !== undefined) kept.set(seq + i, refusal);
        }
        seq += many;
      }
      return { state: sink.save(), first: from, records, refusals: kept };
    },
    load(content) {
      sink.restore(content.state);
      let seq = content.first;
      for (const part of content.records) {
        for (let at = 0; at + TRACE_RECORD_SIZE <= part.length; at += TRACE_RECORD_SIZE, seq++) {
          const slot = seq % capacity;
          const [head, tail] = partsOf(slot);
          head.set(part.subarray(at, at + FILED_HEAD));
          tail.set(part.subarray(at + FILED_HEAD, at + FILED_HEAD + TAIL_SIZE));
          refusals[slot] = content.refusals.get(seq);
        }
      }
      if (seq !== next) throw new Error(`the trace has records up to ${seq}, and says up to ${next}`);
      // What is before the first was never there.
      origin = content.first;
      highest = next;
    },
  };
  return sink;
}

/** A trace that holds these records and gets no others: for reading what content() gave. */
export function createScratch(first: number, bytes: Uint8Array, refusals: TraceContent['refusals']): Trace {
  const trace = createTrace(
    new Uint8Array(bytes.length),
    createClock(() => 0n),
    () => [],
  );
  const next = first + Math.floor(bytes.length / TRACE_RECORD_SIZE);
  trace.load({ state: { ...trace.save(), next }, first, records: [bytes], refusals });
  return trace;
}
