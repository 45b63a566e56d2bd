import assert from 'node:assert/strict';
import { createClock } from '../../src/machine/clock';
import { formatSummary, formatTime } from '../../src/machine/format';
import { namingOf } from '../../src/machine/tallies';
import { createTrace, TRACE_RECORD_SIZE, type Trace } from '../../src/machine/trace';
import type { Call, GuestVcpu, Hypervisor } from '../../src/hypervisor/types';
import { HYPERCALLS } from '../../src/hypervisor/hypercalls/table';
import type { CallCount } from '../../src/machine/target';
import { SAMPLE, domain, machineOf } from '../support/machines';
import { seeded } from '../support/random';

let retired = 0n;
const clock = createClock(() => retired);
const vcpu = { id: 3, domain: { id: 7 } } as unknown as GuestVcpu;
/** Shows what was recorded as it is. */
const viewer = { view: (_v: unknown, call: Call) => call } as unknown as Hypervisor;
const records = 8;
const make = (): Trace =>
  createTrace(new Uint8Array(records * TRACE_RECORD_SIZE), clock, (_v, call) => [
    `call${call.nr}`,
    `call${call.nr}.op${call.args[0] ?? 0n}`,
  ]);
const call = (n: number, more: Partial<Call> = {}): Call => ({
  nr: n % 5,
  args: [BigInt(n), 1n << 63n, 0n, 4n, 5n, 0xffff_ffff_ffff_ffffn],
  rip: 0xffff_ffff_8010_0000n + BigInt(n),
  depth: 0,
  captured: [],
  result: BigInt(n),
  ...more,
});
const add = (trace: Trace, n: number, more: Partial<Call> = {}): void => {
  retired += 10n;
  trace.hypercall(vcpu, call(n, more));
};

describe('trace', () => {
  it('gives back what was recorded, all of it', () => {
    const trace = make();
    const captured = [
      { address: 0xffff_8800_0000_1000n, bytes: Uint8Array.of(1, 2, 3) },
      { address: 0x1000n, bytes: new Uint8Array(40).fill(9) },
    ];
    add(trace, 4, { captured, result: 0xffff_ffff_ffff_ffean, errno: 'EINVAL', reason: 'because', depth: 1 });
    const record = trace.read(viewer, 0);
    assert.deepEqual(
      [record.seq, record.retired, record.time, record.domain, record.vcpu, record.rip, record.depth],
      [0, retired, retired, 7, 3, 0xffff_ffff_8010_0004n, 1],
    );
    const read = record.call as unknown as Call;
    assert.deepEqual(read.args, call(4).args);
    assert.deepEqual(read.captured, captured);
    assert.deepEqual([read.result, read.errno, read.reason], [0xffff_ffff_ffff_ffean, 'EINVAL', 'because']);
  });

  it('cuts captured memory at the end of the record', () => {
    const trace = make();
    add(trace, 1, {
      captured: [
        { address: 0n, bytes: new Uint8Array(1000).fill(7) },
        { address: 9n, bytes: Uint8Array.of(1) },
      ],
    });
    add(trace, 2);
    const { captured } = trace.read(viewer, 0).call as unknown as Call;
    assert.equal(captured.length, 1);
    assert.ok((captured[0]?.bytes.length ?? 0) > 200 && captured[0]?.bytes.every((b) => b === 7));
    assert.deepEqual((trace.read(viewer, 1).call as unknown as Call).args, call(2).args);
  });

  it('overwrites the oldest and says which are left', () => {
    const trace = make();
    for (let n = 0; n < 20; n++) add(trace, n);
    assert.deepEqual([trace.first(), trace.next()], [12, 20]);
    for (let seq = 12; seq < 20; seq++) assert.equal(trace.read(viewer, seq).call.result, BigInt(seq));
    assert.throws(() => trace.read(viewer, 11), /record 11 is not in \[12, 20\)/);
    assert.throws(() => trace.read(viewer, 20), RangeError);
    assert.equal(trace.summary().total, 20);
  });

  it('forgets a refusal with the record', () => {
    const trace = make();
    add(trace, 0, { errno: 'EPERM', reason: 'no' });
    for (let n = 1; n <= records; n++) add(trace, n);
    assert.equal(trace.read(viewer, records).call.reason, undefined);
  });

  it('after going back, offers no record that the future overwrote', () => {
    const trace = make();
    for (let n = 0; n < 6; n++) add(trace, n);
    const mark = trace.save();
    for (let n = 6; n < 12; n++) add(trace, n);
    trace.restore(mark);
    assert.deepEqual([trace.first(), trace.next()], [4, 6]);
    for (const seq of [4, 5]) assert.equal(trace.read(viewer, seq).call.result, BigInt(seq));
    assert.equal(trace.summary().total, 6);
    for (let n = 6; n < 9; n++) add(trace, n + 100);
    assert.deepEqual([trace.first(), trace.next()], [4, 9]);
    assert.equal(trace.read(viewer, 8).call.result, 108n);
  });

  it('counts by name and sub-operation, refusals too', () => {
    const trace = make();
    add(trace, 1);
    add(trace, 1, { errno: 'EINVAL', reason: 'x' });
    add(trace, 6);
    trace.trap(vcpu, 'page-fault');
    trace.trap(vcpu, 'page-fault');
    const { total, calls, refusals, traps } = trace.summary();
    assert.equal(total, 3);
    const counts = ({ name, count, refused }: CallCount): unknown[] => [name, count, refused];
    assert.deepEqual(calls.map(counts), [['call1', 3, 1]]);
    assert.deepEqual(calls[0]?.ops.map(counts), [
      ['op1', 2, 1],
      ['op6', 1, 0],
    ]);
    assert.deepEqual(refusals, [{ name: 'call1.op1', errno: 'EINVAL', count: 1, reason: 'x' }]);
    assert.deepEqual(traps, [{ name: 'page-fault', count: 2 }]);
  });

  it('tells the time from each call to the next of its kind, and the reason of each kind of refusal once', () => {
    const trace = make();
    for (const gap of [0n, 100n, 100n, 100n, 100n, 100_000n]) {
      retired += gap - 10n;
      add(trace, 1, gap === 100n ? { errno: 'ENOENT', reason: `at ${retired}` } : {});
    }
    add(trace, 2);
    const [one, two] = trace.summary().calls;
    assert.equal(one?.between?.mean, Math.round(100_400 / 5));
    assert.ok(Math.abs(one.between.median - 100) < 10, String(one.between.median));
    assert.equal(two?.between, undefined, 'once is no time between');
    assert.equal(trace.summary().refusals.length, 1);
    const mark = trace.save();
    const before = formatSummary(trace.summary());
    add(trace, 1, { errno: 'EPERM', reason: 'no' });
    assert.notEqual(formatSummary(trace.summary()), before);
    trace.restore(mark);
    assert.equal(formatSummary(trace.summary()), before);
    assert.match(before, /^ +6 +4 +20\.1µs +\d+ns {2}call1$/m);
    assert.match(before, /^ +4 {2}call1\.op1 {2}ENOENT: at \d+$/m);
    assert.deepEqual([870, 1240, 35_100_000, 2_000_000_000].map(formatTime), [
      '870ns',
      '1.24µs',
      '35.1ms',
      '2.00s',
    ]);
  });

  it('does not grow with the numbers a guest makes up', () => {
    const trace = createTrace(
      new Uint8Array(TRACE_RECORD_SIZE),
      clock,
      (_v, c) => [`hypercall_${c.nr}`],
      () => 'number',
    );
    for (let nr = 0; nr < 5000; nr++) trace.hypercall(vcpu, call(0, { nr }));
    const { total, calls } = trace.summary();
    assert.equal(total, 5000);
    assert.ok(calls.length < 1100, `${calls.length} names`);
  });

  it('records nothing when it is off', () => {
    const trace = make();
    trace.enabled = false;
    add(trace, 1);
    assert.equal(trace.next(), 0);
  });

  it('needs room for one record', () => {
    assert.throws(() => createTrace(new Uint8Array(8), clock, () => []), /holds no record/);
  });
});

describe('names of hypercalls', () => {
  const naming = namingOf(HYPERCALLS);

  it('depend on nothing but what is said to decide them', () => {
    const random = seeded(5);
    const args = (first: bigint): bigint[] => [first, ...Array.from({ length: 5 }, () => random.wild())];
    const memory = (_address: bigint, length: number): Uint8Array =>
      Uint8Array.from({ length }, () => random.below(256));
    for (const declaration of HYPERCALLS) {
      const by = naming(declaration.nr);
      if (by === 'memory') continue;
      for (let i = 0; i < 40; i++) {
        const op = declaration.ops[random.below(Math.max(1, declaration.ops.length))];
        const first = by === 'number' || random.chance(4) ? random.wild() : BigInt(op?.cmd ?? 0);
        const names = (high: bigint, read: typeof memory | (() => undefined)): string[] =>
          declaration.select(args(BigInt.asUintN(32, first) | (high << 32n)), read).map(({ name }) => name);
        assert.deepEqual(
          names(0n, memory),
          names(BigInt(random.below(2 ** 31)), () => undefined),
          declaration.name,
        );
      }
    }
  });

  it('are the same remembered or not', async () => {
    const machine = await machineOf(domain(SAMPLE));
    machine.run({}).slice(10_000_000n, true);
    const plain = machine.trace.summary();
    const counts = new Map<string, number>();
    for (let seq = 0; seq < machine.trace.next(); seq++) {
      const { name, op } = machine.trace.read(machine.hypervisor, seq).call;
      counts.set(name, (counts.get(name) ?? 0) + 1);
      if (op !== undefined) counts.set(`${name}.${op}`, (counts.get(`${name}.${op}`) ?? 0) + 1);
    }
    for (const { name, count, ops } of plain.calls) {
      assert.equal(counts.get(name), count, name);
      for (const op of ops) assert.equal(counts.get(`${name}.${op.name}`), op.count, `${name}.${op.name}`);
    }
    assert.ok(plain.calls.length > 10);
  });
});
