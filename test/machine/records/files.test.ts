import assert from 'node:assert/strict';
import { compareStreams, readStreams } from '../../../src/machine/records/compare';
import { exportRecords } from '../../../src/machine/records/export';
import { createFileRecords } from '../../../src/machine/records/file';
import { ndjson } from '../../../src/machine/records/formats';
import type { ExportFormat, Likeness, TraceAccess } from '../../../src/machine/records/questions';
import type { RecordSource } from '../../../src/machine/records/source';
import { createRecordViews } from '../../../src/machine/records/views';
import type { TraceRecord } from '../../../src/machine/target';
import { listedTrace, syntheticRecord } from '../../support/synthetic-trace';

const accessTo = (source: RecordSource): TraceAccess => {
  const views = createRecordViews(source, new Set());
  return { ask: (kind, question) => Promise.resolve(views({ kind, ...question } as never) as never) };
};
/** A file of that text, read to its end. */
function fileOf(text: string) {
  const bytes = new TextEncoder().encode(text);
  const records = createFileRecords({
    name: 'x.ndjson',
    size: bytes.length,
    read: (offset, length) => bytes.subarray(offset, offset + length),
    close: () => undefined,
  });
  while (records.load());
  return records;
}
const records = Array.from({ length: 3000 }, (_, n): TraceRecord => ({
  ...syntheticRecord(n),
  ...(n % 2 === 0 ? { caller: 0xffff_ffff_8123_4567n } : {}),
}));
async function exported(format: ExportFormat, filter = ''): Promise<string> {
  let text = '';
  await exportRecords(accessTo(listedTrace(records)), filter, format, (part) => Promise.resolve((text += part)), () => true); // prettier-ignore
  return text;
}

describe('trace files', () => {
  for (const format of ['ndjson', 'perfetto'] as const) {
    it(`${format} is read back as it was`, async () => {
      const file = fileOf(await exported(format));
      assert.equal(file.columns.next(), records.length);
      for (const at of [0, 1, 1023, 1024, 2999]) {
        const record = records[at];
        assert.ok(record !== undefined);
        assert.deepEqual(file.record(at), record);
      }
      assert.throws(() => file.record(3000), /no record at 3000/);
    });
  }

  it('a Chrome trace is JSON, with virtual microseconds, domains and vCPUs', async () => {
    const { traceEvents } = JSON.parse(await exported('perfetto', 'dom == 2')) as {
      traceEvents: { ts: number; dur: number; pid: number; tid: number; name: string }[];
    };
    assert.equal(traceEvents.length, 1000);
    const [first] = traceEvents;
    assert.deepEqual([first?.ts, first?.dur, first?.pid, first?.tid], [0.26, 0.39, 2, 0]);
    assert.deepEqual(JSON.parse(await exported('perfetto', 'seq < 0')), {
      otherData: { program: 'hyperstep' }, displayTimeUnit: 'ns', traceEvents: [],
    }); // prettier-ignore
  });

  it('CSV has a field for each column, quoted where need be', async () => {
    const lines = (await exported('csv', 'refused')).trimEnd().split('\r\n');
    assert.match(lines[0] ?? '', /^seq,retired,time,.*,instructions,elapsed$/);
    assert.match(
      lines[1] ?? '',
      /^5,500,650,2,0,0,0x\w+,,\w+.*,"count=5, address=0x5",-22,EINVAL,no 5,300,390$/,
    );
    assert.equal(lines.length - 1, records.filter(({ call }) => call.errno !== undefined).length);
  });

  it('what is no trace of ours is refused with its line', () => {
    const line = ndjson(syntheticRecord(1));
    assert.throws(() => fileOf(`${line}\nhello\n`), /x\.ndjson, line 2: it is not a line of JSON/);
    assert.throws(() => fileOf('{"seq":1}\n'), /line 1: call is no object/);
    assert.throws(() => fileOf('{"name":"x","ph":"X","ts":1,"args":{}}\n'), /a record is no object/);
    assert.equal(fileOf('').columns.next(), 0);
    assert.equal(fileOf(`${line}\r\n\n${line}`).columns.next(), 2, 'no newline at the end');
  });
});

describe('traces compared', () => {
  const compare = async (
    left: readonly TraceRecord[],
    right: readonly TraceRecord[],
    likeness: Likeness = 'arguments',
  ) =>
    compareStreams(
      await readStreams(accessTo(listedTrace(left)), likeness, () => undefined),
      await readStreams(accessTo(listedTrace(right)), likeness, () => undefined),
      likeness,
    );

  it('a trace is like itself, and like its file', async () => {
    const { differences, equal } = await compare(records, records);
    assert.deepEqual([differences.length, equal], [0, 3000]);
    const file = fileOf(await exported('ndjson'));
    const other = compareStreams(
      await readStreams(accessTo(listedTrace(records)), 'moments', () => undefined),
      await readStreams(accessTo(file), 'moments', () => undefined),
      'moments',
    );
    assert.equal(other.differences.length, 0);
  });

  it('one more, one less, one changed: each is one difference, at its place', async () => {
    const changed = (r: TraceRecord): TraceRecord => ({ ...r, call: { ...r.call, result: 7n } });
    const other = records.flatMap((r, n) =>
      n === 900 ? [] : n === 1500 ? [changed(r)] : n === 2100 ? [r, changed(r)] : [r],
    );
    const { differences, equal } = await compare(records, other);
    assert.equal(equal, 2998);
    assert.deepEqual(
      differences.map(({ left, right }) => [
        left.count,
        right.count,
        left.positions[0] ?? right.positions[0],
      ]),
      [
        [1, 0, 900],
        [1, 1, 1500],
        [0, 1, 2100],
      ],
    );
    const calls = await compare(records, other, 'calls');
    assert.deepEqual(calls.differences.map(({ left, right }) => [left.count, right.count]), [
      [1, 0],
      [0, 1],
    ]); // prettier-ignore
  });

  it('how two vCPUs take turns is no difference; one that only one trace has is', async () => {
    const byVcpu = [...records].sort((a, b) => a.domain - b.domain || a.vcpu - b.vcpu || a.seq - b.seq);
    assert.equal((await compare(records, byVcpu)).differences.length, 0);
    const { differences } = await compare(
      records.filter(({ domain }) => domain === 1),
      records,
    );
    assert.deepEqual(
      differences.map(({ vcpu, left, right }) => [vcpu.domain, left.count, right.count]),
      [[2, 0, 1000]],
    );
  });
});
