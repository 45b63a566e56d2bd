import assert from 'node:assert/strict';
import { compareStreams, readStreams } from '../../../src/machine/records/compare';
import { exportRecords } from '../../../src/machine/records/export';
import { createFileRecords } from '../../../src/machine/records/file';
import { FORMAT_VERSION, exportText } from '../../../src/machine/records/formats';
import {
  EXPORT_FORMATS,
  siteKey,
  type ExportFormat,
  type Likeness,
  type TraceAccess,
} from '../../../src/machine/records/questions';
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
const siteOf = ({ caller, rip }: TraceRecord): string => `0x${(caller ?? rip).toString(16)}`;
/** A trace whose call sites somebody has names for, as the debugger has. */
const named = (source: RecordSource, names: Readonly<Record<string, string>>): TraceAccess => {
  const plain = accessTo(source);
  return { ask: (kind, question) => plain.ask(kind, kind === 'export' ? { ...question, names } : question) };
};
async function exported(
  format: ExportFormat,
  filter = '',
  trace = accessTo(listedTrace(records)),
): Promise<string> {
  let text = '';
  await exportRecords(trace, filter, format, (part) => Promise.resolve((text += part)), () => true); // prettier-ignore
  return text;
}
/** One record as our own line, without the line that says what file it is. */
const lineOf = (record: TraceRecord): string =>
  exportText('ndjson', [{ record }], { first: false, last: false }).trim();
/** A record with a field changed, as JSON; `undefined` leaves it out. */
const spoilt = (path: string, value: unknown): string => {
  const record = JSON.parse(lineOf({ ...syntheticRecord(5), caller: 1n })) as Record<string, unknown>;
  const keys = path.split('.');
  const last = keys.pop() ?? '';
  const holder = keys.reduce((at, key) => at[key] as Record<string, unknown>, record);
  holder[last] = value;
  return JSON.stringify(record);
};
const refusal = (text: string): string => {
  try {
    fileOf(text);
  } catch (error) {
    assert.ok(error instanceof Error && error.name === 'RecordError', String(error));
    return error.message;
  }
  return 'none';
};

describe('trace files', () => {
  for (const format of EXPORT_FORMATS) {
    it(`${format} is read back as it was, and written again as it was read`, async () => {
      const text = await exported(format);
      const file = fileOf(text);
      assert.equal(file.columns.next(), records.length);
      for (const at of [0, 1, 5, 1023, 1024, 2999]) {
        const record = records[at];
        assert.ok(record !== undefined);
        assert.deepEqual(file.record(at), record);
      }
      assert.throws(() => file.record(3000), /no record at 3000/);
      const again = await exported(format, '', accessTo(file));
      assert.ok(again === (await exported(format, '', accessTo(fileOf(again)))), 'it stays as it is');
    });

    it(`${format} has the names of call sites, by which the file is filtered`, async () => {
      const sites = [...new Set(records.map(siteOf))];
      // Of one address, each domain has a name of its own.
      const names = Object.fromEntries(
        sites.flatMap((site, i) => [
          [siteKey(1, site), i === 0 ? 'xen_set_pte' : `f${i}+0x${i}`],
          [siteKey(2, site), i === 0 ? 'other' : `g${i}+0x${i}`],
        ]),
      );
      const file = fileOf(await exported(format, '', named(listedTrace(records), names)));
      const access = accessTo(file);
      const found = async (filter: string): Promise<number> => {
        const { matched, problem } = await access.ask('scan', { filter });
        assert.equal(problem, undefined);
        return matched;
      };
      const here = records.filter((r) => siteOf(r) === sites[0]);
      assert.ok(here.length > 10);
      assert.equal(await found('rip in xen_set_pte'), here.filter(({ domain }) => domain === 1).length);
      assert.equal(await found('rip in other'), here.filter(({ domain }) => domain === 2).length);
      assert.equal(
        await found('rip in f1'),
        records.filter((r) => siteOf(r) === sites[1] && r.domain === 1).length,
      );
      assert.equal(await found('rip in nowhere'), 0);
      const { rows } = await access.ask('rows', { filter: 'rip in xen_set_pte', start: 0, count: 5 });
      assert.ok(rows.length > 0 && rows.every(({ site }) => site === 'xen_set_pte'));
    });

    it(`${format} of another version is refused; a part of it says where it ends`, async () => {
      const text = await exported(format, 'seq < 4');
      const version = format === 'csv' ? `record.v${FORMAT_VERSION}` : `"version":${FORMAT_VERSION}`;
      assert.ok(text.includes(version));
      const later = text.replace(version, version.replace(String(FORMAT_VERSION), '77'));
      assert.match(refusal(later), /x\.ndjson, line 1: version 77 of the format; .* reads versions 1 to 2/);
      assert.match(refusal(text.replace(version, version.replace(/\d/, 'x'))), /line 1: /);
      // Cut in the middle of the third record.
      const third = text.search(/"+seq"+:2/) + 20;
      assert.match(refusal(text.slice(0, third)), /x\.ndjson, line 4: .*the file ends in it/);
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
      otherData: { program: 'hyperstep', version: FORMAT_VERSION }, displayTimeUnit: 'ns', traceEvents: [],
    }); // prettier-ignore
  });

  it('CSV has a field for each column, quoted where need be', async () => {
    const lines = (await exported('csv', 'refused')).trimEnd().split('\r\n');
    assert.match(lines[0] ?? '', /^seq,retired,time,.*,instructions,elapsed,record\.v2$/);
    assert.match(
      lines[1] ?? '',
      /^5,500,650,2,0,0,0x\w+,,\w+.*,"count=5, address=0x5",-22,EINVAL,no 5,300,390,"\{""seq"":5,.*\}"$/,
    );
    assert.equal(lines.length - 1, records.filter(({ call }) => call.errno !== undefined).length);
  });

  it('what is no trace of ours is refused with its line', () => {
    const line = lineOf(syntheticRecord(1));
    assert.match(refusal(`${line}\nhello\n`), /x\.ndjson, line 2: it is not a line of JSON\. /);
    assert.match(refusal('{"seq":1}\n'), /line 1: call is no object/);
    assert.match(refusal('[1]\n'), /line 1: it is no object/);
    assert.match(refusal(`${line}\n{"name":"x","ph":"X","ts":1,"args":{}}\n`), /line 2: call is no object/);
    assert.equal(fileOf('').columns.next(), 0);
    assert.equal(fileOf(`${line}\r\n\n${line}`).columns.next(), 2, 'no newline at the end');
  });

  it('files of before there were versions are read', () => {
    const line = lineOf(syntheticRecord(1));
    assert.equal(fileOf(`${line}\n`).columns.next(), 1);
    const old = `{"otherData":{"program":"hyperstep"},"displayTimeUnit":"ns","traceEvents":[\n`;
    assert.equal(fileOf(`${old}{"ph":"X","args":{"record":${line}}}\n]}\n`).columns.next(), 1);
  });

  const cases: [path: string, value: unknown, told: RegExp][] = [
    ['seq', 'one', /line 2: seq is no number/],
    ['seq', -1, /seq is no number/],
    ['retired', '0x1ffffffffffffffff', /retired is no number of 64 bits/],
    ['retired', '-0x5', /retired is no unsigned number/],
    ['retired', '0x1', /retired is less than in the record before/],
    ['time', null, /time is no number/],
    ['domain', 0x7ff0, /domain is 32752, and at most 32751 is possible/],
    ['vcpu', 1e9, /vcpu is 1000000000, and at most 8191/],
    ['depth', 300, /depth is 300, and at most 1/],
    ['caller', {}, /caller is no number/],
    ['site', 'x'.repeat(5000), /site is longer than 4096 characters/],
    ['site', 5, /site is no text/],
    ['call', 5, /call is no object/],
    ['call.name', undefined, /call\.name is no text/],
    ['call.op', ['a'], /call\.op is no text/],
    ['call.errno', 'E'.repeat(1e6), /call\.errno is longer than/],
    ['call.result', '0xhello', /call\.result is no number/],
    ['call.args', {}, /call\.args is no list/],
    ['call.args.1', null, /call\.args\[1\] is no object/],
    ['call.args.1.text', 1, /call\.args\[1\]\.text is no text/],
    ['call.args.1.value', true, /call\.args\[1\]\.value is no number/],
    ['call.args.0.memory', { space: 'disk' }, /call\.args\[0\]\.memory\.space is none of virtual/],
    ['call.args.0.memory', { space: 'machine' }, /call\.args\[0\]\.memory\.address is no number/],
    ['call.args.0.children', [{ name: 1 }], /call\.args\[0\]\.children\[0\]\.name is no text/],
  ];
  for (const [path, value, told] of cases)
    it(`refuses ${path}: ${JSON.stringify([value]).slice(1, 30)}`, () => {
      const text = refusal(`${lineOf(syntheticRecord(4))}\n${spoilt(path, value)}\n`);
      assert.match(text, told);
      assert.match(text, /^x\.ndjson, line 2: /);
    });

  it('is not brought down by depth, length or number', () => {
    const deep = `${'{"children":['.repeat(5000)}${']}'.repeat(5000)}`;
    assert.match(
      refusal(spoilt('call.args', []).replace('[]', `[${deep}]`)),
      /call\.args\[0\]\.name is no text/,
    );
    let nested: object = {};
    for (let i = 0; i < 40; i++) nested = { name: 'a', type: 'b', text: 'c', children: [nested] };
    assert.match(refusal(spoilt('call.args.0', nested)), /children\[0\] is nested too deeply/);
    assert.match(refusal(`"${'x'.repeat(1 << 25)}"`), /line 1: it is too long to be a record/);
    const many = Array.from({ length: 1100 }, (_, n) => lineOf({ ...syntheticRecord(n), vcpu: n }));
    assert.match(refusal(many.join('\n')), /line 102\d: there are more than 1024 vCPUs/);
  });

  it('CSV that is none is refused with its field', async () => {
    const text = await exported('csv', 'seq < 2');
    const [head = '', first = ''] = text.split('\r\n');
    assert.match(
      refusal(`${head}\n${first.slice(0, -1)}\n`),
      /line 2: field 16: its quotation mark has no other/,
    );
    assert.match(refusal(`${head}\n1,2\n`), /line 2: it has 2 fields, and the first line 16/);
    assert.match(refusal(`${head}\n${first}x\n`), /line 2: field 16 goes on after its quotation mark/);
    assert.match(refusal(`${head.replace(',record.v2', '')}\n`), /line 1: it has no column 'record\.v2'/);
    assert.match(
      refusal(`${head}\n${first.replace('""seq"":0', '""seq"":-1')}`),
      /line 2: record\.seq is no number/,
    );
    assert.equal(fileOf(`\ufeff${text}`).columns.next(), 2, 'with a byte order mark');
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
