import type { Hypervisor, GuestVcpu } from '../hypervisor/types';
import type { Call, CapturedRange } from '../hypervisor/state';
import type { TraceSink } from '../hypervisor/observer';
import type { MachineClock } from './clock';
import type { TraceRecord, TraceSummary } from './target';

/**
 * The hypercall trace: fixed-size binary records in a ring, always on. A record keeps registers and the guest
 * memory behind the arguments as it stood at entry; names and decoding come from the declarations when
 * somebody looks. Reasons of refusals are text and live beside the ring, one slot a record.
 */
export const TRACE_RECORD_SIZE = 384;

/** Byte offsets in a record. */
const AT = {
  retired: 0, time: 8, rip: 16, result: 24, args: 32, nr: 80, domain: 84, vcpu: 86, depth: 88, ranges: 89,
  captured: 92,
} as const; // prettier-ignore
/** Each captured range: u64 address, u16 length, bytes. */
const RANGE_HEADER = 10;

export interface Trace extends TraceSink {
  /** Always on; the bench turns it off to see what it costs. */
  enabled: boolean;
  /** Sequence number of the next record; records [first, next) can be read. */
  readonly first: () => number;
  readonly next: () => number;
  read(hypervisor: Hypervisor, seq: number): TraceRecord;
  summary(): TraceSummary;
  save(): TraceState;
  restore(state: TraceState): void;
}

interface Refusal {
  readonly errno: string | undefined;
  readonly reason: string | undefined;
}

interface Count {
  count: number;
  refused: number;
}

export interface TraceState {
  readonly next: number;
  readonly calls: ReadonlyMap<string, Count>;
  readonly ops: ReadonlyMap<string, Count>;
  readonly traps: ReadonlyMap<string, number>;
}

/** What the trace asks of the hypervisor: the names a completed call answers to (`mmu_update`, `mmu_update.normal`, …). */
type Names = (vcpu: GuestVcpu, call: Call) => readonly string[];

/** @param memory the ring's bytes, a multiple of the record size, in the machine's shared memory */
export function createTrace(memory: Uint8Array, clock: MachineClock, names: Names): Trace {
  const capacity = Math.floor(memory.length / TRACE_RECORD_SIZE);
  if (capacity === 0)
    throw new RangeError(`a trace ring of ${memory.length.toString()} bytes holds no record`);
  const view = new DataView(memory.buffer, memory.byteOffset, memory.byteLength);
  /** Name of the error and reason of the calls that were refused, by slot. */
  const refusals: (Refusal | undefined)[] = new Array<Refusal | undefined>(capacity);
  let next = 0;
  /** One past the highest record ever written: what a seek went back over has still overwritten older ones. */
  let highest = 0;
  let calls = new Map<string, Count>();
  let ops = new Map<string, Count>();
  let traps = new Map<string, number>();

  const count = (into: Map<string, Count>, name: string, refused: boolean): void => {
    let c = into.get(name);
    if (c === undefined) into.set(name, (c = { count: 0, refused: 0 }));
    c.count++;
    if (refused) c.refused++;
  };

  const first = (): number => Math.min(next, Math.max(0, highest - capacity));

  const readCall = (at: number, refusal: Refusal | undefined): Call => {
    const captured: CapturedRange[] = [];
    let p = at + AT.captured;
    for (let i = 0; i < view.getUint8(at + AT.ranges); i++) {
      const length = view.getUint16(p + 8, true);
      captured.push({
        address: view.getBigUint64(p, true),
        bytes: memory.slice(p + RANGE_HEADER, p + RANGE_HEADER + length),
      });
      p += RANGE_HEADER + length;
    }
    return {
      nr: view.getUint32(at + AT.nr, true),
      args: Array.from({ length: 6 }, (_, i) => view.getBigUint64(at + AT.args + 8 * i, true)),
      rip: view.getBigUint64(at + AT.rip, true),
      depth: view.getUint8(at + AT.depth),
      result: view.getBigUint64(at + AT.result, true),
      captured,
      ...(refusal?.errno === undefined ? {} : { errno: refusal.errno }),
      ...(refusal?.reason === undefined ? {} : { reason: refusal.reason }),
    };
  };

  const sink: Trace = {
    enabled: true,
    first,
    next: () => next,

    hypercall(vcpu, call) {
      if (!sink.enabled) return;
      const slot = next % capacity;
      const at = slot * TRACE_RECORD_SIZE;
      view.setBigUint64(at + AT.retired, clock.retired(), true);
      view.setBigUint64(at + AT.time, clock.now(), true);
      view.setBigUint64(at + AT.rip, call.rip, true);
      view.setBigUint64(at + AT.result, BigInt.asUintN(64, call.result ?? 0n), true);
      for (let i = 0; i < 6; i++) view.setBigUint64(at + AT.args + 8 * i, call.args[i] ?? 0n, true);
      view.setUint32(at + AT.nr, call.nr, true);
      view.setUint16(at + AT.domain, vcpu.domain.id, true);
      view.setUint16(at + AT.vcpu, vcpu.id, true);
      view.setUint8(at + AT.depth, call.depth);
      let ranges = 0;
      let p = at + AT.captured;
      for (const range of call.captured) {
        const room = at + TRACE_RECORD_SIZE - p - RANGE_HEADER;
        if (room <= 0) break;
        const bytes = range.bytes.length > room ? range.bytes.subarray(0, room) : range.bytes;
        view.setBigUint64(p, range.address, true);
        view.setUint16(p + 8, bytes.length, true);
        memory.set(bytes, p + RANGE_HEADER);
        p += RANGE_HEADER + bytes.length;
        ranges++;
      }
      view.setUint8(at + AT.ranges, ranges);
      const refused = call.errno !== undefined || call.reason !== undefined;
      refusals[slot] = refused ? { errno: call.errno, reason: call.reason } : undefined;
      next++;
      if (next > highest) highest = next;

      const [name, ...subOperations] = names(vcpu, call);
      count(calls, name ?? `#${call.nr.toString()}`, refused);
      for (const op of subOperations) count(ops, op, refused);
    },

    trap(_vcpu, name) {
      traps.set(name, (traps.get(name) ?? 0) + 1);
    },

    read(hypervisor, seq) {
      if (seq < first() || seq >= next) {
        throw new RangeError(
          `trace record ${seq.toString()} is not in [${first().toString()}, ${next.toString()})`,
        );
      }
      const slot = seq % capacity;
      const at = slot * TRACE_RECORD_SIZE;
      const call = readCall(at, refusals[slot]);
      return {
        seq,
        retired: view.getBigUint64(at + AT.retired, true),
        time: view.getBigUint64(at + AT.time, true),
        domain: view.getUint16(at + AT.domain, true),
        vcpu: view.getUint16(at + AT.vcpu, true),
        rip: call.rip,
        call: hypervisor.view(undefined, call),
        depth: call.depth,
      };
    },

    summary() {
      let total = 0;
      for (const c of calls.values()) total += c.count;
      return {
        total,
        calls: [...calls].map(([name, c]) => ({
          name,
          ...c,
          ops: [...ops]
            .filter(([op]) => op.startsWith(`${name}.`))
            .map(([op, o]) => ({ name: op.slice(name.length + 1), ...o })),
        })),
        traps: [...traps].map(([name, n]) => ({ name, count: n })),
      };
    },

    save: () => ({ next, calls: structuredCopy(calls), ops: structuredCopy(ops), traps: new Map(traps) }),
    // Records before the mark may have been overwritten since: replaying writes the same ones again.
    restore: (state) => {
      next = state.next;
      calls = structuredCopy(state.calls);
      ops = structuredCopy(state.ops);
      traps = new Map(state.traps);
    },
  };
  return sink;
}

const structuredCopy = (m: ReadonlyMap<string, Count>): Map<string, Count> =>
  new Map([...m].map(([k, v]) => [k, { ...v }]));
