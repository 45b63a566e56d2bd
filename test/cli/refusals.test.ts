/** Bad usage and bad input: one line that names the thing and the place, and the status that says whose fault it is. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bzImage, pvKernel } from '../support/elf-builder';
import { SAMPLE } from '../support/machines';
import { hyperstep, inProcess } from './support';

const folder = mkdtempSync(join(tmpdir(), 'hyperstep-cli-'));
after(() => {
  rmSync(folder, { recursive: true });
});
const file = (name: string, data: string | Uint8Array): string => {
  const path = join(folder, name);
  writeFileSync(path, data);
  return path;
};
const sample = readFileSync(SAMPLE);
const patched = (at: number, ...bytes: number[]): Uint8Array => {
  const copy = Uint8Array.from(sample);
  copy.set(bytes, at);
  return copy;
};

/** Name, arguments, status, what the message says. */
type Row = readonly [string, () => readonly string[], number, RegExp];
const rows: readonly Row[] = [
  [
    'an unknown command',
    () => ['frobnicate'],
    2,
    /unknown command 'frobnicate'; commands are run, trace, records, dap, demo, inspect$/m,
  ],
  ['an unknown option', () => ['run', '--frobnicate'], 2, /run: Unknown option '--frobnicate'/],
  ['an option of another command', () => ['run', '--summary'], 2, /run: Unknown option '--summary'/],
  ['an option without its value', () => ['run', '--memory'], 2, /--memory <value>' argument missing/],
  [
    'a console that is none',
    () => ['run', '--console', 'one'],
    2,
    /--console 'one' is neither a number nor dN:N/,
  ],
  [
    'a port for everybody',
    () => ['run', '--forward', '0.0.0.0:8080:80'],
    2,
    /ports: '0\.0\.0\.0:8080:80': 0\.0\.0\.0 is no loopback address/,
  ],
  ['too many images', () => ['run', 'a', 'b'], 2, /run: unexpected argument 'b'/],
  [
    'no such kernel',
    () => ['run', join(folder, 'none')],
    2,
    /kernel: cannot read '.*none': there is no such file/,
  ],
  ['a directory as kernel', () => ['run', folder], 2, /kernel: cannot read '.*': it is a directory/],
  [
    'a device as kernel',
    () => ['run', '/dev/zero'],
    2,
    /kernel: cannot read '\/dev\/zero': it is neither a file nor a pipe/,
  ],
  ['an empty kernel', () => ['run', file('empty', '')], 2, /empty: is empty/],
  [
    'a text as kernel',
    () => ['run', file('text', 'hello, world\n')],
    2,
    /text, offset 0x0: is neither an ELF file nor a bzImage/,
  ],
  [
    'a truncated ELF',
    () => ['run', file('short.elf', sample.subarray(0, 100))],
    2,
    /short\.elf, e_phoff: .*truncated, or a lying header/,
  ],
  [
    'an ELF whose end is missing',
    () => ['run', file('half.elf', sample.subarray(0, 8192))],
    2,
    /half\.elf.*(truncated|beyond)/,
  ],
  [
    'a 32-bit kernel',
    () => ['run', file('pv32.elf', patched(4, 1))],
    2,
    /pv32\.elf, EI_CLASS: is a 32-bit image.*Use an x86-64 build/,
  ],
  [
    'a kernel for another processor',
    () => ['run', file('arm.elf', patched(18, 183))],
    2,
    /arm\.elf.*(183|AArch64|ARM)/i,
  ],
  [
    'a program for Linux',
    () => ['run', process.execPath],
    2,
    /Xen notes: is not built for Xen.*Use an image built for Xen/,
  ],
  [
    'a bzImage cut off',
    () => ['run', file('cut', bzImage(new Uint8Array(64), { length: 9999 }))],
    2,
    /cut, bzImage header.*truncated, or a lying header/,
  ],
  [
    'a bzImage of nothing known',
    () => ['run', file('odd', bzImage(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)))],
    2,
    /odd.*payload/,
  ],
  [
    'no memory to speak of',
    () => ['run', '--memory', '1'],
    1,
    /kernel '.*' does not fit: \d+ frames .* needed .* has 256/,
  ],
  ['more memory than there can be', () => ['run', '--memory', '999G'], 2, /memory: '999G' is outside of/],
  [
    'more memory than a machine can have',
    () => ['run', '--memory', '5G'],
    2,
    /memory: '5G' is outside of 1M to \d+M/,
  ],
  [
    'memory that is no size',
    () => ['run', '--memory', 'lots'],
    2,
    /memory: 'lots' is not a size such as "256M"/,
  ],
  ['no vCPUs', () => ['run', '--vcpus', '0'], 2, /--vcpus '0' is not a whole number of at least 1/],
  ['many vCPUs', () => ['run', '--vcpus', '1000'], 2, /vcpus: 1000 is not a whole number from 1 to/],
  ['half a vCPU', () => ['run', '--vcpus', '0.5'], 2, /--vcpus '0\.5' is not a whole number/],
  [
    'no such ramdisk',
    () => ['run', '--ramdisk', join(folder, 'none')],
    2,
    /ramdisk: cannot read '.*none': there is no such file/,
  ],
  [
    'a ramdisk that does not fit',
    () => ['run', '--memory', '8M', '--ramdisk', file('big', new Uint8Array(9 << 20))],
    1,
    /the ramdisk does not fit: \d+ frames/,
  ],
  [
    'no such configuration',
    () => ['run', '--config', join(folder, 'none.cfg')],
    2,
    /config: cannot read '.*none\.cfg': there is no such file/,
  ],
  [
    'a configuration that is none',
    () => ['run', '--config', file('bad.cfg', 'kernel = "x"\nmemory = [\n')],
    2,
    /bad\.cfg, line \d+, column \d+: expected/,
  ],
  [
    'a configuration without a kernel',
    () => ['run', '--config', file('no.cfg', 'memory = 64\n')],
    2,
    /no\.cfg sets no kernel/,
  ],
  [
    'no such input',
    () => ['run', '--input', join(folder, 'none')],
    2,
    /--input: cannot read '.*none': there is no such file/,
  ],
  [
    'a summary that cannot be written',
    () => ['run', '--json', join(folder, 'none', 'x')],
    2,
    /--json: cannot write '.*x'/,
  ],
  ['a summary in a directory’s place', () => ['run', '--json', folder], 2, /--json: cannot write/],
  ['two things on standard output', () => ['trace', '--json', '-'], 2, /trace: --json - would mix/],
  ['an empty text to wait for', () => ['run', '--until', ''], 2, /--until needs a text/],
  [
    'a timeout that is none',
    () => ['run', '--timeout', 'soon'],
    2,
    /--timeout 'soon' is not a number of seconds/,
  ],
  ['a timeout in the past', () => ['run', '--timeout', '-1'], 2, /--timeout/],
  [
    'a limit that is none',
    () => ['run', '--max-instructions', '1e3'],
    2,
    /--max-instructions '1e3' is not a whole number/,
  ],
  ['an unknown format', () => ['trace', '--format', 'xml'], 2, /--format is text or ndjson, not 'xml'/],
  ['a port and a pipe', () => ['dap', '--port', '1', '--pipe', 'x'], 2, /dap: --port or --pipe, not both/],
  ['a port that is none', () => ['dap', '--port', 'x'], 2, /--port 'x' is not a whole number/],
];

describe('the command line refuses', function () {
  this.timeout(60_000);
  before(() => {
    mkdirSync(join(folder, 'sub'));
  });
  for (const [what, args, status, message] of rows) {
    it(what, async () => {
      const run = await inProcess(...args());
      assert.match(run.stderr, message);
      assert.equal(run.status, status, run.stderr);
      assert.equal(run.stdout, '');
      assert.match(run.stderr, /^hyperstep: [^\n]+\n$/, 'one line');
      assert.doesNotMatch(run.stderr, /\n\s+at |internal error|undefined|\[object/, 'no stack trace');
    });
  }

  it('as a process with the same status and words', async () => {
    const { status, stdout, stderr } = await hyperstep('run', '--vcpus', '0');
    assert.deepEqual(
      [status, stdout, stderr],
      [2, '', "hyperstep: --vcpus '0' is not a whole number of at least 1\n"],
    );
  });

  it('a kernel that only looks like one, at its first instruction', async () => {
    const run = await hyperstep('run', file('nops.elf', pvKernel()), '--quiet', '--memory', '16M');
    assert.equal(run.status, 1, run.stderr);
    assert.match(run.stderr, /^\s*hyperstep: vCPU 0 at rip 0x[0-9a-f]+: #/);
  });

  it('truncated anywhere: a message, never a stack trace', async () => {
    for (const length of [1, 17, 63, 64, 200, 1000, 4096, 20_000]) {
      const run = await inProcess('run', file('cut.elf', sample.subarray(0, length)));
      assert.equal(run.status, 2, `${length}: ${run.stderr}`);
      assert.match(run.stderr, /^hyperstep: cut\.elf[^\n]+\n$/);
    }
  });
});
