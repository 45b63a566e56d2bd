import { createColumns, type Columns } from '../../src/machine/records/columns';
import type { RecordSource } from '../../src/machine/records/source';
import type { TraceRecord } from '../../src/machine/target';

// Traces of any length that are made up as they are asked for: what a view keeps is then all there is in memory.

const NAMES = [
  'mmu_update.normal_pt_update', 'event_channel_op.send', 'sched_op.block', 'iret', 'update_va_mapping', 'set_segment_base', 'multicall',
] as const; // prettier-ignore

/** The same number always gives the same record: two domains, the first with two vCPUs. */
export function syntheticRecord(n: number): TraceRecord {
  const label = NAMES[(n * 7 + (n >> 3)) % NAMES.length] ?? 'iret';
  const [name = '', op] = label.split('.');
  const refused = n % 97 === 5;
  return {
    seq: n,
    retired: BigInt(n) * 100n,
    time: BigInt(n) * 130n,
    domain: n % 3 === 2 ? 2 : 1,
    vcpu: n % 3 === 1 ? 1 : 0,
    rip: 0xffff_ffff_8100_0000n + BigInt((n % 50) * 32 + 10),
    depth: 0,
    call: {
      name,
      ...(op === undefined ? {} : { op }),
      nr: n % 40,
      args: [
        { name: 'count', type: 'unsigned int', text: String(n % 8), value: BigInt(n % 8) },
        { name: 'address', type: 'vaddr', text: `0x${n.toString(16)}`, value: BigInt(n) },
      ],
      result: refused ? 0xffff_ffff_ffff_ffean : 0n,
      ...(refused ? { errno: 'EINVAL', reason: `no ${n}` } : {}),
    },
  };
}

export function appendTo(columns: Columns, record: TraceRecord): void {
  const { call } = record;
  columns.append({
    seq: record.seq,
    retired: Number(record.retired),
    time: Number(record.time),
    domain: record.domain,
    vcpu: record.vcpu,
    name: call.op === undefined ? call.name : `${call.name}.${call.op}`,
    site: record.rip,
    depth: record.depth,
    result: call.result,
    errno: call.errno,
  });
}

const SITES = Array.from({ length: 50 }, (_, n) => syntheticRecord(n).rip);

/** What appendTo does with a synthetic record, without making the record: there are millions of them. */
function appendSynthetic(columns: Columns, n: number): void {
  const refused = n % 97 === 5;
  columns.append({
    seq: n,
    retired: n * 100,
    time: n * 130,
    domain: n % 3 === 2 ? 2 : 1,
    vcpu: n % 3 === 1 ? 1 : 0,
    name: NAMES[(n * 7 + (n >> 3)) % NAMES.length] ?? 'iret',
    site: SITES[n % 50] ?? 0n,
    depth: 0,
    result: refused ? 0xffff_ffff_ffff_ffean : 0n,
    errno: refused ? 'EINVAL' : undefined,
  });
}

export interface SyntheticTrace extends RecordSource {
  /** Records that were asked for, one by one. */
  readonly read: () => number;
}

export function syntheticTrace(
  count: number,
  make: (n: number) => TraceRecord = syntheticRecord,
): SyntheticTrace {
  const columns = createColumns();
  const fill = make === syntheticRecord ? appendSynthetic : (to: Columns, n: number) => appendTo(to, make(n));
  for (let n = 0; n < count; n++) fill(columns, n);
  let read = 0;
  return {
    columns,
    generation: () => 0,
    update: () => undefined,
    record: (position) => {
      read++;
      if (position < 0 || position >= count) throw new RangeError(`no record ${position}`);
      return make(position);
    },
    read: () => read,
  };
}

/** A trace of these records. */
export const listedTrace = (records: readonly TraceRecord[]): SyntheticTrace =>
  syntheticTrace(records.length, (n) => {
    const record = records[n];
    if (record === undefined) throw new RangeError(`no record ${n}`);
    return record;
  });
