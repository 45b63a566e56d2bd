import assert from 'node:assert/strict';
import { CHUNK } from '../../../src/machine/records/columns';
import type { Answer, QuestionKind, TraceQuestions } from '../../../src/machine/records/questions';
import type { RecordSource } from '../../../src/machine/records/source';
import { createRecordViews } from '../../../src/machine/records/views';
import { syntheticRecord, syntheticTrace } from '../../support/synthetic-trace';

const asker = (source: RecordSource) => {
  const views = createRecordViews(
    source,
    new Set(['mmu_update', 'normal_pt_update', 'sched_op', 'grant_table_op']),
  );
  const ask = <K extends QuestionKind>(kind: K, question: TraceQuestions[K]['ask']): Answer<K> =>
    views({ kind, ...question } as never);
  /** Scans to the end. */
  const scan = (filter: string, functions = {}): Answer<'scan'> => {
    for (let times = 0; ; times++) {
      const answer = ask('scan', { filter, functions });
      if (answer.scanned === answer.next || answer.problem !== undefined) return answer;
      assert.ok(times < 10_000, 'a scan that does not get on');
    }
  };
  const positions = (filter: string, functions = {}): number[] => {
    const { matched } = scan(filter, functions);
    return ask('rows', { filter, functions, start: 0, count: matched }).rows.map(({ at }) => at);
  };
  return { ask, scan, positions };
};

const all = Array.from({ length: 600 }, (_, n) => syntheticRecord(n));
const where = (test: (r: (typeof all)[number]) => boolean): number[] =>
  all.filter(test).map(({ seq }) => seq);

describe('trace views: filters', () => {
  const source = syntheticTrace(600);
  const { positions, scan } = asker(source);
  const cases: [filter: string, expected: number[]][] = [
    ['', where(() => true)],
    ['mmu_update', where(({ call }) => call.name === 'mmu_update')],
    ['mmu_update && refused', where(({ call }) => call.name === 'mmu_update' && call.errno !== undefined)],
    ['normal_pt_update', where(({ call }) => call.op === 'normal_pt_update')],
    ['event_channel_op.send', where(({ call }) => call.op === 'send')],
    ['!(mmu_update || iret)', where(({ call }) => call.name !== 'mmu_update' && call.name !== 'iret')],
    ['dom == 1', where(({ domain }) => domain === 1)],
    ['dom == 1 && vcpu == 1', where(({ domain, vcpu }) => domain === 1 && vcpu === 1)],
    ['errno == EINVAL', where(({ call }) => call.errno === 'EINVAL')],
    ['errno', where(({ call }) => call.errno !== undefined)],
    ['errno != EINVAL', where(({ call }) => call.errno !== 'EINVAL')],
    ['name == sched_op', where(({ call }) => call.name === 'sched_op')],
    ['result < 0', where(({ call }) => call.errno !== undefined)],
    ['count > 5', where(({ call }) => (call.args[0]?.value ?? 0n) > 5n)],
    ['iret && count == 2', where(({ call }) => call.name === 'iret' && call.args[0]?.value === 2n)],
    ['time >= 1.5us && time < 3us', where(({ time }) => time >= 1500n && time < 3000n)],
    ['seq >= 590', where(({ seq }) => seq >= 590)],
    ['grant_table_op', []],
    ['rip in xen_set_pte', where(({ rip }) => rip < 0xffff_ffff_8100_0100n)],
    ['rip in elsewhere', where(({ rip, domain }) => domain === 2 && rip < 0xffff_ffff_8100_0100n)],
    ['rip == 0xffffffff8100000a', where(({ rip }) => rip === 0xffff_ffff_8100_000an)],
    ['address == seq && seq % 100 == 7', where(({ seq }) => seq % 100 === 7)],
    ['cost > 300', []],
  ];
  const functions = {
    xen_set_pte: [{ low: '0xffffffff81000000', high: '0xffffffff81000100' }],
    elsewhere: [{ low: '0xffffffff81000000', high: '0xffffffff81000100', domains: [2] }],
  };
  for (const [filter, expected] of cases) {
    it(`${filter === '' ? 'nothing' : filter}: ${expected.length} records`, () =>
      assert.deepEqual(positions(filter, functions), expected));
  }

  it('what columns can say has no record decoded', () => {
    const before = source.read();
    scan('mmu_update && refused && dom == 1 && time > 3us && rip in xen_set_pte', functions);
    assert.equal(source.read() - before, 0);
    scan('sched_op && count > 0');
    assert.equal(source.read() - before, where(({ call }) => call.name === 'sched_op').length);
  });

  it('what is wrong is said with its place; a name that no record has, too', () => {
    assert.deepEqual(scan('mmu_update &&').problem?.at, 13);
    assert.match(scan('rip in nowhere').problem?.message ?? '', /no function 'nowhere'/);
    assert.match(scan('cuont > 1').complaint ?? '', /no 'cuont'/);
    assert.equal(scan('count > 100').complaint, undefined);
  });
});

describe('trace views: answers', () => {
  const source = syntheticTrace(600);
  const { ask, scan } = asker(source);

  it('cost is what passed until the next call of the same vCPU', () => {
    const [first, second] = ask('rows', { filter: '', start: 0, count: 2 }).rows;
    assert.deepEqual(first?.cost, { instructions: 300, time: 390 });
    assert.deepEqual(second?.cost, { instructions: 300, time: 390 });
    assert.equal(ask('rows', { filter: '', start: 599, count: 5 }).rows[0]?.cost, undefined);
  });

  it('finds rows of records, and records of moments', () => {
    scan('iret');
    const irets = where(({ call }) => call.name === 'iret');
    const apart = irets.findIndex((at, i) => (irets[i + 1] ?? 0) > at + 1);
    for (const further of [0, 1])
      assert.equal(ask('index', { filter: 'iret', at: (irets[apart] ?? 0) + further }).index, apart);
    assert.equal(ask('index', { filter: 'iret', at: -1 }).index, -1);
    assert.equal(ask('moment', { retired: 2050 }).at, 20);
    assert.equal(ask('moment', { retired: 2050, domain: 1, vcpu: 1 }).at, 19);
    assert.equal(ask('moment', { retired: -5 }).at, undefined);
  });

  it('the timeline counts each record once, in its lane and bucket', () => {
    scan('');
    const { lanes } = ask('timeline', { filter: '', axis: 'retired', from: 0, to: 60_000, buckets: 6 });
    assert.deepEqual(lanes.map(({ vcpu }) => vcpu), [
      { domain: 1, vcpu: 0 },
      { domain: 1, vcpu: 1 },
      { domain: 2, vcpu: 0 },
    ]); // prettier-ignore
    const sums = [0, 1, 2, 3, 4, 5].map((i) => lanes.reduce((n, { counts }) => n + (counts[i] ?? 0), 0));
    assert.deepEqual(sums, [100, 100, 100, 100, 100, 100]);
    const part = ask('timeline', {
      filter: 'refused',
      axis: 'retired',
      from: 10_000,
      to: 20_000,
      buckets: 10,
    });
    scan('refused');
    assert.equal(part.lanes.length, 3);
  });

  it('totals add up', () => {
    scan('refused');
    const { calls, costs } = ask('totals', { filter: 'refused' });
    const refused = where(({ call }) => call.errno !== undefined).length;
    assert.equal(
      calls.reduce((n, { count }) => n + count, 0),
      refused,
    );
    assert.equal(
      costs.reduce((n, count) => n + count, 0),
      refused,
    );
    assert.equal(costs.length, 9, '300 instructions are in the class of 2^8');
  });
});

describe('trace views: ten million records', function () {
  this.timeout(120_000);
  // The whole of it takes 20 s of a quiet processor; a tenth is the same code.
  const count = process.env['HYPERSTEP_LARGE'] === 'yes' ? 10_000_000 : 1_000_000;

  it('windows, filters and the timeline ask for what they show, and keep columns only', () => {
    const names = ['made', 'scanned', 'window', 'timeline', 'totals'] as const;
    const took: number[] = [];
    let last = performance.now();
    const lap = (): void => {
      took.push(performance.now() - last);
      last = performance.now();
    };
    const source = syntheticTrace(count);
    lap();
    const { ask, scan } = asker(source);
    const { matched } = scan('mmu_update && refused && time > 1ms');
    lap();
    assert.ok(matched > count / 1000 && matched < count / 100, String(matched));
    assert.equal(source.read(), 0);
    for (let i = 0; i < 100; i++) {
      const { rows } = ask('rows', { filter: '', start: Math.floor((count * i) / 100), count: 40 });
      assert.equal(rows.length, 40);
    }
    assert.equal(source.read(), 4000, 'the rows that were asked for');
    lap();
    ask('timeline', { filter: '', axis: 'time', from: 0, to: count * 130, buckets: 1000 });
    lap();
    ask('totals', { filter: '' });
    lap();
    let kept = 0;
    for (let at = 0; at < count; at += CHUNK)
      for (const column of Object.values(source.columns.chunk(at) ?? {}))
        if (ArrayBuffer.isView(column)) kept += column.byteLength;
    const bytes = kept / count;
    assert.ok(bytes > 30, `${bytes.toFixed(1)} bytes a record`);
    assert.ok(bytes < 48, `${bytes.toFixed(1)} bytes a record`);
    console.log(
      `      ${count} records, ${bytes.toFixed(1)} bytes each; ${names.map((name, i) => `${name} ${took[i]?.toFixed(0) ?? ''} ms`).join(', ')}`,
    );
  });
});
