/** GRUB's Xen image, as Debian builds it: to its prompt, commands typed there, and the same run twice. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Stop } from '../../src/machine/target';
import { guestPath } from '../support/guests';
import { domain, plain, watch, wholeTrace, type Watched } from '../support/machines';

const PROMPT = 'grub> ';
const MEMORY = 64 << 20;
const ends = (text: string): boolean => plain(text).endsWith(PROMPT);

async function boot(image: string): Promise<Watched> {
  const grub = await watch(domain(image, { name: 'grub', memory: MEMORY }));
  assert.equal((await untilPrompt(grub)).reason.kind, 'idle');
  return grub;
}

/** GRUB polls its keyboard: it has a timer armed while it waits, so the prompt itself is the sign. */
async function untilPrompt({ target, console }: Watched): Promise<Stop> {
  for (;;) {
    const stop = await target.run({ instructions: 1_000_000n, skipUpcalls: false, stopWhenIdle: true });
    if (stop.reason.kind !== 'step') return stop;
    if (ends(console())) return { ...stop, reason: { kind: 'idle' } };
  }
}

/** Types a line, a key at a time as a person would, and gives back what GRUB answers. */
async function type(grub: Watched, line: string): Promise<{ answer: string; stop: Stop }> {
  const before = grub.console().length;
  for (const key of `${line}\r`) {
    await grub.target.consoleInput(1, Uint8Array.of(key.charCodeAt(0)));
    await grub.target.run({ instructions: 100_000n, skipUpcalls: false, stopWhenIdle: true });
  }
  const stop = await untilPrompt(grub);
  const answer = plain(grub.console().slice(before));
  return { answer: answer.slice(answer.indexOf('\n') + 1).replace(new RegExp(`${PROMPT}$`), ''), stop };
}

describe('GRUB for Xen', function () {
  this.timeout(120_000);
  let image: string;
  before(function () {
    image = guestPath('grub', this);
  });

  describe('at its prompt', () => {
    let grub: Watched;
    before(async () => {
      grub = await boot(image);
    });
    after(() => grub.target.dispose());

    it('is reached in some hundred hypercalls of six kinds', async () => {
      assert.match(plain(grub.console()), /Welcome to GRUB!/);
      assert.match(plain(grub.console()), /GNU GRUB {2}version 2/);
      const { total, calls } = await grub.target.traceSummary();
      // real Xen: about 98 hypercalls of 6 kinds, some of them for waiting.
      assert.ok(total > 40 && total < 200, `${total} hypercalls`);
      assert.equal(calls.length, 6, calls.map(({ name }) => name).join());
    });

    it('help lists the commands', async () => {
      const { answer } = await type(grub, 'help');
      for (const command of [
        'boot',
        'echo [-e|-n] STRING',
        'halt',
        'ls [-l|-h|-a] [FILE ...]',
        'set [ENVVAR=VALUE]',
      ])
        assert.ok(answer.includes(command), `${command} is not in:\n${answer}`);
    });

    it('help of a command explains it', async () => {
      assert.match(
        (await type(grub, 'help echo')).answer,
        /Usage: echo \[-e\|-n\] STRING\nDisplay a line of text\./,
      );
    });

    it('ls shows the devices it has: none but its own memory', async () => {
      assert.equal((await type(grub, 'ls')).answer.trim(), '(memdisk) (proc)');
    });

    it('echo says it again', async () => {
      assert.equal((await type(grub, 'echo hello')).answer, 'hello\n');
    });

    it('set sets and lists variables', async () => {
      assert.equal((await type(grub, 'set greeting=wotcher')).answer, '');
      assert.match((await type(grub, 'set')).answer, /^greeting=wotcher$/m);
      assert.match((await type(grub, 'set')).answer, /^grub_platform=xen$/m);
      assert.equal((await type(grub, 'echo $greeting')).answer, 'wotcher\n');
    });

    it('an unknown command is refused, and the line can be edited', async () => {
      assert.match((await type(grub, 'frobnicate')).answer, /can't find command `frobnicate'/);
      assert.equal((await type(grub, 'echo wrold\b\b\b\borld')).answer, 'world\n');
    });

    it('the whole trace is there, every call by name', async () => {
      const { total, calls } = await grub.target.traceSummary();
      const records = await wholeTrace(grub.target);
      assert.equal(records.length, total);
      records.forEach(({ seq }, i) => assert.equal(seq, i));
      assert.deepEqual(
        calls.filter(({ name }) => /^#|^hypercall_/.test(name)),
        [],
      );
      assert.equal(
        calls.reduce((sum, { count }) => sum + count, 0),
        total,
      );
    });

    it('halt ends the domain with a poweroff', async () => {
      const { stop } = await type(grub, 'halt');
      assert.deepEqual(
        [stop.reason.kind, 'reason' in stop.reason && stop.reason.reason],
        ['shutdown', 'poweroff'],
      );
    });
  });

  it('runs the same twice: records and final state', async () => {
    const session = async (): Promise<object> => {
      const grub = await watch(domain(image, { name: 'grub', memory: MEMORY }));
      await grub.target.consoleInput(1, Buffer.from('help\rset\rls\rhalt\r', 'latin1'));
      const stop = await grub.target.run({ stopWhenIdle: true });
      assert.equal(stop.reason.kind, 'shutdown');
      const result = {
        stop,
        console: grub.console(),
        hash: await grub.target.stateHash(),
        records: await wholeTrace(grub.target),
      };
      await grub.target.dispose();
      return result;
    };
    assert.deepEqual(await session(), await session());
  });

  it('works from the command line, with --input', () => {
    const folder = mkdtempSync(join(tmpdir(), 'hyperstep-grub-'));
    try {
      const input = join(folder, 'input');
      const json = join(folder, 'summary.json');
      writeFileSync(input, 'echo hello\rhalt\r');
      const run = spawnSync(
        process.execPath,
        ['bin/hyperstep.js', 'run', image, '--memory', '64M', '--input', input, '--json', json, '--quiet'],
        { cwd: join(__dirname, '..', '..'), encoding: 'latin1', timeout: 60_000 },
      );
      assert.equal(run.status, 0, run.stderr);
      assert.match(plain(run.stdout), /\nhello\n/);
      const summary = JSON.parse(readFileSync(json, 'utf8')) as {
        ended: string;
        hypercalls: { name: string; count: number }[];
      };
      assert.equal(summary.ended, 'poweroff');
      assert.ok(summary.hypercalls.some(({ name, count }) => name === 'sched_op' && count > 0));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
