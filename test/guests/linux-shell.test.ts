/**
 * Debian's kernel as shipped, with a shell on its console: by the command line's own run, and through the debug
 * adapter with the machine in its worker. Both boots are the same to the instruction.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { DebugProtocol } from '@vscode/debugprotocol';
import { shellInitramfs } from '../../scripts/shell-initramfs';
import { runToEnd } from '../../src/cli/run';
import { adapterHost } from '../../src/host/adapter';
import { inProcessTarget } from '../../src/host/machine';
import type { DomainConfig, Target, TraceRecord } from '../../src/machine/target';
import { formatRecord } from '../../src/machine/format';
import { connect } from '../support/dap-client';
import { assertGolden } from '../support/golden';
import { guestPath } from '../support/guests';
import { domain, plain, runTo } from '../support/machines';
import { SIZE, typist, type Line } from '../support/typist';

const MEMORY = 256 << 20;
const CMDLINE = 'console=hvc0';
/** Where the two boots are compared: the kernel is up, /init has not begun. */
const COMPARED = 2_400_000_000n;

const LEFT = '\u001b[D';
const UP = '\u001b[A';
const WINDOW = `${SIZE.rows} ${SIZE.columns}`;

/** What the person types, and after what. The prompt shows the status of the last command. */
const SESSION: readonly Line[] = [
  { after: '/ # ', keys: "PS1='<$?> '\r" },
  { after: '\n<0> ', keys: 'stty size\r' },
  // It knows of none.
  { after: 'stty: standard input\r\n<0> ', keys: 'resize; stty size\r' },
  // Back to behind the x, and it is rubbed out.
  { after: `${WINDOW}\r\n<0> `, keys: `echo "[hexllo]"${LEFT.repeat(5)}\u007f\r` },
  // The last command but one.
  { after: '\n[hello]\r\n<0> ', keys: `${UP}${UP}\r` },
  { after: `${WINDOW}\r\n<0> `, keys: '(echo go$((1)); exec sleep 1000)\r' },
  { after: 'go1\r\n', keys: '\u0003' },
  { after: '<130> ', keys: '(echo go$((2)); exec cat)\r' },
  { after: 'go2\r\n', keys: 'abc\r' },
  { after: 'abc\r\nabc\r\n', keys: '\u0003' },
  { after: '<130> ', keys: '(echo go$((3)); exec sleep 2000)\r' },
  { after: 'go3\r\n', keys: '\u001a' },
  { after: '<148> ', keys: 'bg; jobs; kill %1; cut -d. -f1 /proc/uptime; tty\r' },
  { after: 'sleep 2000)\r\n<0> ', keys: 'reboot\r' },
  { after: 'Linux version', keys: '' },
];

/** What differs from build to build of the kernel, and from version to version of ours in time. */
const masked = (log: string): string =>
  log
    .replace(/^\[ *\d+\.\d+\]/gm, '[time]')
    .replace(/Linux version .*/, 'Linux version …')
    .replace(/kernel key: '.*?: [0-9a-f]+'|key: [0-9a-f]{40}/g, "key: …'")
    .replace(/X\.509 cert '.*'/, "X.509 cert '…'")
    .replace(/audit\(\d+\.\d+:\d+\)/, 'audit(…)')
    .replace(/sched_clock: Marking stable \(.*\)->\(.*\)/, 'sched_clock: Marking stable (…)')
    .replace(/\b\d+[kK]\b(?=[ /,)]|$)/gm, '…K')
    .replace(/\[mem 0x0[0-9a-f]+-0x0[0-9a-f]+\](?!.*(usable|reserved))/g, '[mem …]')
    .replace(/(allocating|allocated) \d+ (entries|pages)/g, '$1 … $2')
    .replace(/\d+ (pages\/cpu|pages with|entries in)/g, '… $1')
    .replace(/[sru]\d{4,}/g, '…')
    .replace(/Total pages: \d+/, 'Total pages: …');

/** What this boot is refused, and real Xen refuses as well. */
const REFUSED: Readonly<Record<string, string>> = {
  'vcpu_op.is_up': 'ENOENT',
  'xenpmu_op.init': 'EOPNOTSUPP',
  'xenpmu_op.finish': 'EOPNOTSUPP',
};

/** Nothing of the kind is in the log of real Xen. */
const SUSPICIOUS = /WARNING|BUG|Oops|Call Trace|cut here|Firmware Bug|soft lockup|detected stall/;

/** A record that says less than there is to say. */
const undecoded = ({ call }: TraceRecord, withOps: ReadonlySet<string>): boolean =>
  call.name.startsWith('#') ||
  (call.op === undefined && withOps.has(call.name)) ||
  call.args.some((a) => a.text === '' && (a.children ?? []).length === 0);

describe('Debian’s kernel and a shell', function () {
  // About a minute of each of two idle cores.
  this.timeout(900_000);
  let folder = '';
  let kernel = '';
  let initrd: Buffer;
  /** Hash of all state where the first boot was compared. */
  let compared = '';
  before(function () {
    kernel = guestPath('linux', this);
    guestPath('busybox', this);
    initrd = shellInitramfs();
    folder = mkdtempSync(join(tmpdir(), 'linux-shell-'));
    writeFileSync(join(folder, 'initrd.gz'), initrd);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  const config = (): DomainConfig =>
    domain(kernel, {
      ramdisk: { name: 'initrd.gz', bytes: initrd },
      cmdline: CMDLINE,
      memory: MEMORY,
      // As the adapter calls it: the name stands in xenstore, and so in the hash.
      name: basename(kernel),
    });

  it('from the command line: boot log, line editing, signals, jobs, window size, reboot', async () => {
    const target = await inProcessTarget({ domains: [config()] });
    const calls = await target.hypercalls();
    const withOps = new Set(calls.filter((c) => c.ops.length > 0).map((c) => c.name));
    const incomplete: string[] = [];
    let seen = 0;
    const drain = async (): Promise<void> => {
      for (;;) {
        const { first, next, records } = await target.trace(seen, 8192);
        assert.equal(first, seen, 'no record is lost');
        seen = next;
        incomplete.push(...records.filter((r) => undecoded(r, withOps)).map(formatRecord));
        if (records.length === 0) return;
      }
    };
    const person = typist(SESSION);
    let log = '';
    const off = target.onConsole((_domain, data) => {
      log += Buffer.from(data).toString('latin1');
    });
    for (let at = 0n; at < COMPARED;) {
      at = at + 100_000_000n < COMPARED ? at + 100_000_000n : COMPARED;
      await runTo(target, at);
      await drain();
    }
    off();
    assert.equal((await target.now()).retired, COMPARED);
    compared = await target.stateHash();

    const summary = await runToEnd({
      target,
      // Booted twice, the second time not far.
      limits: { maxInstructions: 2n * COMPARED },
      terminal: person,
      clock: () => 0,
      onClosed: () => undefined,
      hash: false,
      afterSlice: drain,
    });
    await target.dispose();
    const screen = person.text();
    assert.deepEqual([summary.ended, summary.restarts], ['interrupted', 1], screen);
    assert.match(screen, /\[1\]\+ {2}Stopped/);
    assert.ok(!/random: crng init done/.test(screen), 'nobody waited for a sleep to end');

    assert.deepEqual(incomplete.slice(0, 5), []);
    assert.ok(seen > 80_000, `${seen} records`);
    assert.ok(Object.keys(REFUSED).every((name) => summary.refusals.some((r) => r.name === name)));
    assert.deepEqual(
      summary.refusals
        .map(({ name, errno }) => [name, errno])
        .filter(([name, errno]) => REFUSED[name ?? ''] !== errno),
      [],
    );

    const boot = plain(log) + screen.slice(0, screen.indexOf('\nBusyBox'));
    assert.ok(!SUSPICIOUS.test(boot), boot);
    assertGolden('linux-boot.txt', masked(boot));
  });

  it('through the debug adapter: the same boot, names from kallsyms, and a crash with the panic in sight', async () => {
    assert.ok(
      existsSync(join(__dirname, '..', '..', 'dist', 'worker.js')),
      'npm run build makes dist/worker.js',
    );
    let target: Target | undefined;
    const host = adapterHost();
    const client = await connect({
      ...host,
      createTarget: async (wanted) => (target = await host.createTarget(wanted)),
    });
    client.dc.defaultTimeout = 600_000;
    try {
      await client.launch({
        kernel,
        ramdisk: join(folder, 'initrd.gz'),
        cmdline: CMDLINE,
        memory: '256M',
        stopOnEntry: true,
        noConfigurationDone: true,
      });
      await client.dc.setExceptionBreakpointsRequest({ filters: ['domain-crash'] });
      await client.dc.configurationDoneRequest();
      await client.stopped();
      assert.ok(target);
      // The session's own machine, in its worker, to the very instruction.
      await runTo(target, COMPARED);
      assert.equal((await target.now()).retired, COMPARED);
      // Run alone, there is no other boot to compare with.
      if (compared !== '') assert.equal(await target.stateHash(), compared, 'two boots differ');

      const screen = (): string =>
        client.events
          .map((e) => (e.event === 'hyperstep/console' ? (e.body as { data: string }).data : ''))
          .join('');
      const stopped = new Promise<DebugProtocol.StoppedEvent>((resolve) => {
        client.dc.on('stopped', resolve);
      });
      await client.dc.continueRequest({ threadId: 1 });
      const typed = setInterval(() => {
        if (!screen().includes('/ # ')) return;
        clearInterval(typed);
        void client.custom('hyperstep/consoleInput', { domain: 1, data: 'echo c > /proc/sysrq-trigger\r' });
      }, 200);
      const stop = await stopped.finally(() => clearInterval(typed));
      assert.equal(stop.body.reason, 'exception');
      assert.match(stop.body.text ?? '', /kernel gave up/);
      assert.match(screen(), /Kernel panic - not syncing: sysrq triggered crash/);

      const { stackFrames } = (await client.dc.stackTraceRequest({ threadId: 1 })).body;
      const names = stackFrames.map(({ name }) => name).join('\n');
      // The kernel is built without frame pointers: how far up the stack goes is the unwinder's affair.
      assert.match(names, /^xen_hypercall\w*\+0x[0-9a-f]+\nxen_reboot\+0x[0-9a-f]+/);
      const code = await client.dc.disassembleRequest({
        memoryReference: stackFrames[1]?.instructionPointerReference ?? '',
        instructionOffset: -4,
        instructionCount: 8,
      });
      assert.ok(code.body?.instructions.some(({ symbol }) => /^xen_reboot/.test(symbol ?? '')));
      const { records } = await client.custom('hyperstep/trace', {
        from: (await target.trace(0, 1)).first,
        count: 10,
      });
      assert.ok(
        records.length === 10 && records.every(({ site }) => /^xen_hypercall/.test(site ?? '')),
        JSON.stringify(records.map((r) => r.site)),
      );
    } finally {
      await client.close();
    }
  });

  it('Debian’s cloud kernel, too; `halt` is a power-off to Xen', async function () {
    const cloud = guestPath('linux-cloud', this);
    const target = await inProcessTarget({ domains: [{ ...config(), kernel: domain(cloud).kernel }] });
    const person = typist([{ after: '/ # ', keys: 'uname -r; halt -f\r' }]);
    const { ended } = await runToEnd({
      target,
      limits: { maxInstructions: 2n * COMPARED },
      terminal: { ...person, write: (data) => person.write(data), onQuit: () => undefined },
      clock: () => 0,
      onClosed: () => undefined,
      hash: false,
    });
    await target.dispose();
    assert.equal(ended, 'poweroff', person.text());
    assert.match(person.text(), /-cloud-amd64$/m);
    assert.match(person.text(), /Hypervisor detected: Xen PV/);
    assert.ok(!SUSPICIOUS.test(person.text()), person.text());
  });
});
