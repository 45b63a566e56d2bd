/** Debian's kernel on four vCPUs: the same run however it is cut, and processors that go and come back. */
import assert from 'node:assert/strict';
import { shellInitramfs } from '../../scripts/shell-initramfs';
import { runToEnd } from '../../src/cli/run';
import { inProcessTarget, machineHost } from '../../src/host/machine';
import { createEmbeddedTarget } from '../../src/machine/embedded';
import type { Machine } from '../../src/machine/machine';
import type { Target } from '../../src/machine/target';
import { guestPath } from '../support/guests';
import { domain, runTo } from '../support/machines';
import { typist, type Line } from '../support/typist';

const CPUS = [0, 1, 2, 3] as const;
/** All processors are up. */
const COMPARED = 1_600_000_000n;
/** Neither a multiple of a quantum nor of anything else. */
const PIECE = 33_333_331n;

const online = (value: 0 | 1): string => `echo ${value} > /sys/devices/system/cpu/cpu2/online`;
const until = (count: number): string => `while [ $(nproc) != ${count} ]; do usleep 5000; done`;
const SESSION: readonly Line[] = [
  { after: '/ # ', keys: "PS1='<$?> '\r" },
  { after: '\n<0> ', keys: 'nproc; grep -c ^processor /proc/cpuinfo\r' },
  {
    after: '4\r\n4\r\n<0> ',
    keys: 'for i in 0 1 2 3; do taskset -c $i grep Cpus_allowed_list /proc/self/status; done\r',
  },
  { after: 'list:\t3\r\n<0> ', keys: `${online(0)}; nproc; ${online(1)}; nproc; taskset -c 2 nproc\r` },
  // From outside, as `xl vcpu-set` does it.
  { after: '4\r\n1\r\n<0> ', keys: `echo go$((1)); ${until(3)}; nproc; echo go$((2))\r` },
  { after: 'go2\r\n<0> ', keys: `while ! ${online(1)}; do usleep 5000; done 2>/dev/null; nproc\r` },
  { after: '4\r\n<0> ', keys: 'grep timer /proc/interrupts; poweroff\r' },
];

/** Instructions of each vCPU. */
const counts = async (target: Target): Promise<readonly bigint[]> =>
  (await target.domains()).flatMap((d) => d.vcpus.map(({ icount }) => icount));

describe('Debian’s kernel on four vCPUs', function () {
  this.timeout(900_000);

  it('interleaves them the same way however the run is cut; they go and come back', async function () {
    const kernel = guestPath('linux', this);
    guestPath('busybox', this);
    const config = {
      domains: [
        domain(kernel, {
          ramdisk: { name: 'initrd', bytes: shellInitramfs() },
          cmdline: 'console=hvc0',
          memory: 256 << 20,
          vcpus: CPUS.length,
          name: 'linux',
        }),
      ],
    };
    const first = await inProcessTarget(config);
    await runTo(first, COMPARED);
    const whole = { hash: await first.stateHash(), vcpus: await counts(first) };
    await first.dispose();

    let machine: Machine | undefined;
    const host = machineHost({ paced: false });
    const target = await createEmbeddedTarget(config, {
      ...host,
      assemble: async (...given) => (machine = await host.assemble(...given)),
    });
    let boot = '';
    const off = target.onConsole((_domain, data) => {
      boot += Buffer.from(data).toString('latin1');
    });
    for (let at = 0n; at < COMPARED;) {
      at = at + PIECE < COMPARED ? at + PIECE : COMPARED;
      await runTo(target, at);
    }
    off();
    const vcpus = await counts(target);
    assert.deepEqual({ hash: await target.stateHash(), vcpus }, whole);
    assert.ok(vcpus.length === CPUS.length && vcpus.every((n) => n > 1_000_000n), vcpus.join());

    const person = typist(SESSION);
    const write = person.write.bind(person);
    const availability = '/local/domain/1/cpu/2/availability';
    const outside: [string, string][] = [
      ['go1\r\n', 'offline'],
      ['go2\r\n', 'online'],
    ];
    const summary = await runToEnd({
      target,
      limits: { maxInstructions: 3n * COMPARED },
      terminal: {
        ...person,
        write: (data) => {
          write(data);
        },
        // Somebody is there until the machine powers off.
        onQuit: () => undefined,
      },
      clock: () => 0,
      onClosed: () => undefined,
      hash: false,
      afterSlice: () => {
        const [next] = outside;
        if (next !== undefined && person.text().replaceAll('\n', '\r\n').includes(next[0])) {
          outside.shift();
          machine?.devices.xenstore.write(availability, next[1]);
        }
        return Promise.resolve();
      },
    });
    await target.dispose();
    const screen = boot + person.text();
    assert.equal(summary.ended, 'poweroff', screen);
    assert.ok(!/WARNING|BUG|Oops|Call Trace|Firmware Bug|soft lockup|detected stall/.test(screen), screen);
    for (const cpu of CPUS) {
      const ticks = new RegExp(`^ *\\d+:(?: +\\d+){${cpu}} +[1-9]\\d*.*timer${cpu}$`, 'm');
      assert.match(person.text(), ticks, `processor ${cpu} takes timer interrupts`);
    }
  });
});
