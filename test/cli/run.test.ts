/** `hyperstep run` and `hyperstep trace` as processes: output, limits, statuses, and what happens when ends come early. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HOSTILE, SAMPLE } from '../support/machines';
import { hyperstep, start, type Finished } from './support';

const folder = mkdtempSync(join(tmpdir(), 'hyperstep-cli-'));
after(() => {
  rmSync(folder, { recursive: true });
});
const file = (name: string): string => join(folder, name);

interface Summary {
  readonly ended: string;
  readonly status: number;
  readonly message: string;
  readonly retired: number;
  readonly wallMilliseconds: number;
  readonly hypercalls: readonly {
    readonly name: string;
    readonly count: number;
    readonly refused: number;
    readonly ops: readonly { readonly name: string; readonly count: number; readonly refused: number }[];
  }[];
  readonly traps: readonly { readonly name: string; readonly count: number }[];
  readonly stateHash: string;
}
async function summarized(...args: string[]): Promise<{ run: Finished; summary: Summary }> {
  const path = file('summary.json');
  const run = await hyperstep(...args, '--json', path, '--quiet');
  return { run, summary: JSON.parse(readFileSync(path, 'utf8')) as Summary };
}
const small = ['--memory', '16M'];

describe('hyperstep', function () {
  this.timeout(60_000);

  it('explains itself', async () => {
    for (const args of [['--help'], ['help'], [], ['run', '--help']]) {
      const { status, stdout } = await hyperstep(...args);
      assert.equal(status, 0);
      for (const option of ['--ramdisk F', '--max-instructions N', '--pipe P', 'Exit status'])
        assert.ok(stdout.includes(option), option);
    }
  });

  it('tells its version', async () => {
    const { version } = JSON.parse(readFileSync(join(__dirname, '..', '..', 'package.json'), 'utf8')) as {
      version: string;
    };
    assert.equal((await hyperstep('--version')).stdout, `${version}\n`);
  });
});

describe('hyperstep run', function () {
  this.timeout(60_000);

  it('boots the sample when nothing else is named: console on standard output, Xen on standard error, status 0', async () => {
    const { status, stdout, stderr } = await hyperstep('run');
    assert.equal(status, 0, stderr);
    assert.ok(
      stdout.startsWith('console: PV console ring open') && stdout.endsWith('first-hypercall: done\r\n'),
    );
    assert.match(stderr, /\(machine\/xen\) d1 \(first-hypercall\): poweroff/);
  });

  it('says nothing on standard error with --quiet', async () => {
    assert.equal((await hyperstep('run', SAMPLE, ...small, '--quiet')).stderr, '');
  });

  it('takes it all from a configuration file, and options before it', async () => {
    const config = file('guest.cfg');
    writeFileSync(config, `name = "one"\nkernel = "${HOSTILE}"\nmemory = 16\nextra = "mode=triple"\n`);
    assert.equal((await hyperstep('run', '--config', config, '--quiet')).status, 1);
    const over = await hyperstep('run', '--config', config, '--cmdline', 'mode=fuzz count=1', '--quiet');
    assert.equal(over.status, 0, over.stderr);
  });

  it('runs the domains of several configuration files, to the end of the last', async () => {
    const folderOf = join(__dirname, '..', '..', 'media', 'samples', 'neighbours');
    const configs = ['giver', 'taker'].flatMap((name) => ['--config', join(folderOf, `${name}.cfg`)]);
    const { status, stdout, stderr } = await hyperstep('run', ...configs, '--quiet');
    assert.equal(status, 0, stderr);
    assert.match(stdout, /taker: they answered "welcome"[^]*giver: done/);
    assert.match(stderr, /^hyperstep: d2: the guest asked for poweroff; d1 giver goes on$/m);
  });

  it('ends with status 0 when the text is seen', async () => {
    const { run, summary } = await summarized('run', ...small, '--until', 'page table: hooked');
    assert.equal(run.status, 0);
    assert.deepEqual([summary.ended, summary.message], ['until', "'page table: hooked' seen on the console"]);
    assert.ok(!run.stdout.includes('first-hypercall: done'));
  });

  it('ends as the guest ends when the text is never seen', async () => {
    assert.equal((await summarized('run', ...small, '--until', 'no such thing')).summary.ended, 'poweroff');
  });

  it('ends with status 3 after so many instructions, exactly', async () => {
    const { run, summary } = await summarized('run', ...small, '--max-instructions', '54321');
    assert.equal(run.status, 3);
    assert.deepEqual([summary.ended, summary.retired], ['max-instructions', 54321]);
    const other = await summarized('run', ...small, '--max-instructions', '54321');
    assert.equal(other.summary.stateHash, summary.stateHash);
  });

  it('ends a looping guest with status 3 after so many seconds', async () => {
    const started = Date.now();
    const { run, summary } = await summarized(
      'run',
      HOSTILE,
      ...small,
      '--cmdline',
      'mode=loop',
      '--timeout',
      '0.5',
    );
    assert.equal(run.status, 3);
    assert.equal(summary.ended, 'timeout');
    assert.ok(summary.wallMilliseconds >= 400 && Date.now() - started < 30_000);
    assert.match(run.stderr, /hyperstep: stopped after 0\.5 s/);
  });

  it('ends a crash with status 1 and says where and why', async () => {
    for (const [mode, reason] of [
      ['triple', /#PF error code 0x2 at 0x2000, and the guest has no handler/],
      ['stack', /stack|0xff8/],
      ['recurse', /0x1000e|0x[0-9a-f]+/],
      ['iret', /iret|stack|0x1000/],
    ] as const) {
      const { run, summary } = await summarized('run', HOSTILE, ...small, '--cmdline', `mode=${mode}`);
      assert.equal(run.status, 1, mode);
      assert.equal(summary.ended, 'crash', mode);
      assert.match(summary.message, reason, mode);
      assert.match(run.stderr, /^\n?hyperstep: [^\n]+\n$/, mode);
    }
  });

  it('writes a summary', async () => {
    const { summary, run } = await summarized('run', ...small);
    assert.equal(run.status, 0);
    assert.deepEqual([summary.ended, summary.status], ['poweroff', 0]);
    assert.ok(Number.isInteger(summary.retired) && summary.retired > 50_000);
    assert.match(summary.stateHash, /^[0-9a-f]{16}$/);
    const mmuext = summary.hypercalls.find(({ name }) => name === 'mmuext_op');
    assert.ok(mmuext !== undefined && mmuext.refused === 1);
    assert.ok(
      mmuext.ops.some(({ name, refused }) => /pin_l1/i.test(name) && refused === 1),
      JSON.stringify(mmuext),
    );
    assert.ok(summary.traps.some(({ name, count }) => name === 'page-fault' && count > 0));
    assert.equal((await summarized('run', ...small)).summary.stateHash, summary.stateHash, 'twice the same');
  });

  it('writes the summary to standard output, and the console elsewhere', async () => {
    const { stdout, stderr } = await hyperstep('run', ...small, '--json', '-', '--quiet');
    assert.equal((JSON.parse(stdout) as Summary).ended, 'poweroff');
    assert.ok(stderr.includes('first-hypercall: done'));
  });

  it('ends when standard input has ended and the guest waits for ever', async () => {
    // Hostile's loop never waits; GRUB does, in the guests group. The sample reads nothing and just ends.
    const run = start('run', ...small, '--quiet');
    run.closeInput();
    assert.equal((await run.finished).status, 0);
  });

  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    it(`ends with status 3 at ${signal}`, async () => {
      const run = start(
        'run',
        HOSTILE,
        ...small,
        '--cmdline',
        'mode=loop',
        '--json',
        file('interrupted.json'),
      );
      await run.shown('hostile: mode');
      run.kill(signal);
      const { status, stderr } = await run.finished;
      assert.equal(status, 3, stderr);
      assert.match(stderr, /stopped from the keyboard/);
      assert.equal(
        (JSON.parse(readFileSync(file('interrupted.json'), 'utf8')) as Summary).ended,
        'interrupted',
      );
    });
  }
});

describe('hyperstep trace', function () {
  this.timeout(60_000);

  it('prints a line a hypercall, like strace', async () => {
    const { status, stdout, stderr } = await hyperstep('trace', ...small, '--quiet');
    assert.equal(status, 0, stderr);
    const lines = stdout.trimEnd().split('\n');
    assert.ok(lines.length > 100);
    for (const line of lines)
      assert.match(line, /^ *\d+ d1v0 0x[0-9a-f]+ ( {2})?[a-z_]+(\.\w+)?\(.*\) = -?\d+/);
    assert.ok(
      lines.some((l) => / = -16 EBUSY \(.{20,}\)$/.test(l)),
      'refusals have their reason',
    );
    assert.ok(stderr.includes('first-hypercall: done'), 'the console is on standard error');
  });

  it('prints JSON, a record a line', async () => {
    const { stdout } = await hyperstep('trace', ...small, '--format', 'ndjson', '--quiet');
    const [head = '', ...lines] = stdout.trimEnd().split('\n');
    assert.deepEqual(JSON.parse(head), { hyperstep: 'trace', version: 2 });
    const records = lines.map(
      (line) =>
        JSON.parse(line) as {
          seq: number;
          retired: string;
          rip: string;
          site?: string;
          call: { name: string; args: object[] };
        },
    );
    assert.ok(records.length > 100);
    assert.ok(records.some(({ site = '' }) => site.startsWith('notify')));
    records.forEach((r, i) => {
      assert.equal(r.seq, i);
      assert.match(r.rip, /^0x[0-9a-f]+$/);
      assert.match(r.retired, /^0x[0-9a-f]+$/);
      assert.match(r.call.name, /^[a-z_]+$/);
      assert.ok(Array.isArray(r.call.args));
    });
  });

  it('prints only the table with --summary', async () => {
    const { stdout } = await hyperstep('trace', ...small, '--summary', '--quiet');
    assert.match(
      stdout,
      /^\d+ hypercalls of \d+ kinds\n.*mean and median\n +calls +refused +mean +median +hypercall\n/,
    );
    assert.match(stdout, /^ +\d+ +1 .* {2}mmuext_op$/m);
    assert.match(stdout, /trapped work\n/);
    assert.ok(!stdout.includes(' = '));
  });

  it('ends quietly when nobody reads its output', async () => {
    for (const args of [
      ['trace', HOSTILE, '--cmdline', 'mode=fuzz count=200000 quiet=1'],
      ['trace', HOSTILE, '--cmdline', 'mode=fuzz count=200000 quiet=1', '--format', 'ndjson'],
    ]) {
      const run = start(...args, ...small, '--quiet');
      await run.shown(args.includes('ndjson') ? '"seq":3' : 'd1v0');
      run.closeOutput();
      const { status, signal, stderr } = await run.finished;
      assert.equal(signal, null, 'it did not hang');
      assert.equal(status, 3);
      assert.doesNotMatch(stderr, /EPIPE|\n\s+at /);
    }
  });

  it('help into a closed pipe is no error', async () => {
    const run = start('help');
    run.closeOutput();
    const { stderr } = await run.finished;
    assert.equal(stderr, '');
  });
});
