/** `hyperstep trace` into a file, and `hyperstep records` on it: filters by call site, every format, and back. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EXPORT_FORMATS } from '../../src/machine/records/questions';
import { SAMPLE } from '../support/machines';
import { hyperstep } from './support';

describe('hyperstep records', function () {
  this.timeout(60_000);
  const folder = mkdtempSync(join(tmpdir(), 'hyperstep-records-'));
  const file = (name: string, text: string): string => {
    const path = join(folder, name);
    writeFileSync(path, text);
    return path;
  };
  const records = async (...args: string[]): Promise<string> => {
    const { status, stdout, stderr } = await hyperstep('records', ...args);
    assert.equal(status, 0, stderr);
    return stdout;
  };
  let whole: string;

  before(async () => {
    const { stdout } = await hyperstep('trace', SAMPLE, '--memory', '16M', '--format', 'ndjson', '--quiet');
    whole = file('whole.ndjson', stdout);
  });
  after(() => rmSync(folder, { recursive: true }));

  it('a file is filtered by the names of its call sites', async () => {
    const all = (await records(whole)).trimEnd().split('\n');
    const here = (await records(whole, '--filter', 'rip in notify')).trimEnd().split('\n');
    assert.ok(here.length > 1 && here.length < all.length, `${here.length} of ${all.length}`);
    assert.ok(here.every((line) => all.includes(line)));
    assert.equal(await records(whole, '--filter', 'rip in no_such_function'), '');
  });

  it('every format is read back, with call sites, and is the same trace', async () => {
    const filter = ['--filter', 'rip in notify'] as const;
    const expected = await records(whole, ...filter);
    for (const format of EXPORT_FORMATS) {
      const other = file(`other.${format}`, await records(whole, '--as', format));
      assert.equal(await records(other, ...filter), expected, format);
      assert.match(await records(whole, '--compare', other, '--like', 'moments'), /^0 differences/);
    }
  });

  it('what is no trace is refused with file, line and field', async () => {
    const bad = file('bad.ndjson', '{"hyperstep":"trace","version":2}\n{"seq":1,"call":{"args":3}}\n');
    const { status, stdout, stderr } = await hyperstep('records', bad);
    assert.deepEqual([status, stdout], [2, '']);
    assert.match(stderr, /bad\.ndjson, line 2: seq|bad\.ndjson, line 2: retired is no number/);
    assert.doesNotMatch(stderr, /\n\s+at /);
  });
});
