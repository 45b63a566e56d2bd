/** Machines saved and resumed from the command line. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SAMPLE } from '../support/machines';
import { hyperstep, inProcess } from './support';

interface Summary {
  readonly ended: string;
  readonly retired: number;
  readonly stateHash: string;
  readonly hypercalls: readonly object[];
}

describe('hyperstep --save and --restore', function () {
  this.timeout(60_000);
  let folder = '';
  let kernel = '';
  let file = '';
  const summary = (name: string): Summary => JSON.parse(readFileSync(join(folder, name), 'utf8')) as Summary;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'cli-saved-'));
    kernel = join(folder, 'kernel.elf');
    file = join(folder, 'half.hys');
    copyFileSync(SAMPLE, kernel);
    const whole = await inProcess('run', kernel, '--quiet', '--json', join(folder, 'whole.json'));
    assert.equal(whole.status, 0);
    const half = await inProcess('run', kernel, '--quiet', '--max-instructions', '60000', '--save', file);
    assert.equal(half.status, 3);
    assert.match(half.stderr, /hyperstep: saved to .*half\.hys: \d+ KiB, of .* with \d+ frames/);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('goes on as it would have, in a process of its own', async () => {
    const json = join(folder, 'rest.json');
    const { status, stderr } = await hyperstep('run', '--restore', file, '--quiet', '--json', json);
    assert.equal(status, 0, stderr);
    const { ended, retired, stateHash, hypercalls } = summary('whole.json');
    const rest = summary('rest.json');
    assert.deepEqual(
      { ended: rest.ended, retired: rest.retired, stateHash: rest.stateHash, hypercalls: rest.hypercalls },
      { ended, retired, stateHash, hypercalls },
    );
  });

  it('says what is in a file, and whether it is whole', async () => {
    const { status, stdout } = await inProcess('inspect', file);
    assert.equal(status, 0);
    assert.match(stdout, /^saved by Hyperstep \d.*, 60000 instructions/);
    assert.ok(stdout.includes(`kernel   ${kernel}`), stdout);
    for (const section of ['about', 'hypervisor', 'devices', 'trace', 'frames'])
      assert.match(stdout, new RegExp(`^${section} +\\d+ +\\d+$`, 'm'));
    const bad = join(folder, 'bad.hys');
    const bytes = readFileSync(file);
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
    writeFileSync(bad, bytes);
    for (const command of [
      ['inspect', bad],
      ['run', '--restore', bad],
    ]) {
      const refused = await inProcess(...command);
      assert.equal(refused.status, 2);
      assert.match(
        refused.stderr,
        /^hyperstep: .*bad\.hys: section '\w+', piece \d+ at byte \d+: the checksum of its bytes is wrong\n$/,
      );
    }
  });

  it('needs no kernel; says when there are no symbols', async () => {
    const moved = join(folder, 'moved.elf');
    copyFileSync(kernel, moved);
    rmSync(kernel);
    try {
      const without = await inProcess('trace', '--summary', '--restore', file);
      assert.equal(without.status, 0, without.stderr);
      assert.match(
        without.stderr,
        /the machine goes on without symbols: .*kernel\.elf: there is no such file/,
      );
      const given = await inProcess('run', moved, '--restore', file, '--quiet');
      assert.equal(given.status, 0);
      assert.doesNotMatch(given.stderr, /symbols/);
      const other = await inProcess('run', file, '--restore', file, '--quiet');
      assert.match(other.stderr, /half\.hys is not the kernel that was saved/);
    } finally {
      copyFileSync(moved, kernel);
    }
  });

  it('refuses what it cannot do, and says why', async () => {
    const cases: readonly (readonly [readonly string[], RegExp])[] = [
      [['run', '--restore', join(folder, 'no.hys')], /no\.hys: there is no such file/],
      [['run', '--restore', kernel], /kernel\.elf: its beginning: this is no saved machine/],
      [['run', '--restore', file, '--memory', '64M'], /memory: it cannot be given with restore/],
      [['run', '--restore', file, '--disk', 'x.img'], /disks: it cannot be given with restore/],
      [['inspect'], /inspect: which file\?/],
    ];
    for (const [args, message] of cases) {
      const { status, stderr } = await inProcess(...args);
      assert.equal(status, 2, args.join(' '));
      assert.match(stderr, message);
    }
  });
});
