import assert from 'node:assert/strict';
import { savedCompression } from '../../../src/host/saved-file';
import { formatRecord } from '../../../src/machine/format';
import { createLiveRecords } from '../../../src/machine/records/live';
import type { Machine } from '../../../src/machine/machine';
import { createClock } from '../../../src/machine/clock';
import { createTrace, TRACE_RECORD_SIZE } from '../../../src/machine/trace';
import type { Call, GuestVcpu } from '../../../src/hypervisor/types';
import type { TraceRecord } from '../../../src/machine/target';
import { SAMPLE, machineOf, domain } from '../../support/machines';

/** A ring of so few records that everything has to be packed away in time. */
const RING = 2048;

async function follower(most = 1_000_000) {
  const { hypervisor } = await machineOf(domain(SAMPLE, { vcpus: 2 }));
  const vcpus = hypervisor.domains.get(1)?.vcpus ?? [];
  let retired = 0n;
  const trace = createTrace(
    new Uint8Array(RING * TRACE_RECORD_SIZE),
    createClock(() => retired),
    () => [],
  );
  const machine = { hypervisor, trace } as unknown as Machine;
  const records = createLiveRecords(() => machine, savedCompression, most);
  records.begin();
  const vcpu = (id: number): GuestVcpu => {
    const found = vcpus[id];
    assert.ok(found !== undefined);
    return found;
  };
  const made: string[] = [];
  /** `salt` makes another run of it. */
  const add = (count: number, salt = 0): void => {
    for (let i = 0; i < count; i++) {
      retired += 10n;
      const n = trace.next() + salt;
      const call: Call = {
        nr: 14,
        args: [BigInt(n), 0x318b063n, 2n, 0n, 0n, 0n],
        rip: 0xffff_ffff_8010_01can,
        depth: 0,
        captured: [],
        result: 0n,
        ...(n % 100 === 3 ? { errno: 'EINVAL', reason: `number ${n}` } : {}),
      };
      trace.hypercall(vcpu(n % 2), call);
      made[trace.next() - 1] = formatRecord(trace.read(hypervisor, trace.next() - 1));
      if (i % 500 === 499) records.follow();
    }
    records.follow();
  };
  const check = (from: number, to: number): void => {
    for (let at = from; at < to; at++) {
      const record: TraceRecord = records.record(at);
      assert.equal(record.seq, at);
      assert.equal(formatRecord(record), made[at], `record ${at}`);
    }
  };
  return { trace, records, add, check, time: { get: () => retired, set: (to: bigint) => (retired = to) } };
}

describe('records of a running machine', () => {
  it('are all there, also those that the ring has lost', async () => {
    const { trace, records, add, check } = await follower();
    add(10_000);
    assert.equal(trace.first(), 10_000 - RING);
    assert.deepEqual([records.columns.first(), records.columns.next()], [0, 10_000]);
    check(0, 10_000);
  });

  it('go with what never happened, when the machine goes back', async () => {
    const { trace, records, add, check, time } = await follower();
    add(5500);
    const mark = trace.save();
    const then = time.get();
    add(6000);
    trace.restore(mark);
    time.set(then);
    records.follow();
    assert.equal(records.columns.next(), 5500);
    check(0, 5500);
    const before = records.generation();
    add(7000, 50_000);
    check(0, 12_500);
    assert.equal(records.generation(), before);
    assert.equal(records.columns.cost(12_490)?.instructions, 20);
  });

  it('are no more than asked for: the oldest go', async () => {
    const { records, add, check } = await follower(4096);
    add(10_000);
    const first = records.columns.first();
    assert.ok(first > 10_000 - 4096 - 1024 && first <= 10_000 - 4096, String(first));
    check(first, 10_000);
    assert.throws(() => records.record(first - 1), /overwritten/);
  });
});
