/**
 * Compiling hot code during a boot of Debian's kernel to its shell, 256 MiB: how much, and how long the guest stands
 * still for it, with the thread beside the machine's and without.
 */
import { readFileSync } from 'node:fs';
import type { TierStatistics } from '../../src/cpu/compile/tier';
import { threadedCompiler } from '../../src/host/compiler';
import { interpreterModule } from '../../src/host/machine';
import { assembleMachine } from '../../src/machine/assemble';
import { findGuest } from '../fetch-guests';
import { makeInitramfs } from '../make-initramfs';
import { quantile, type Report } from './report';

const SLICE = 5_000_000n;
const SHELL = '/ # ';
const milliseconds = (): number => Number(process.hrtime.bigint()) / 1e6;

interface Compiled {
  readonly pauses: readonly number[];
  readonly statistics: TierStatistics;
}

async function boot(linux: string, beside: boolean): Promise<Compiled> {
  const pauses: number[] = [];
  const machine = await assembleMachine(
    {
      domains: [
        {
          name: 'linux',
          kernel: { name: 'vmlinuz', bytes: readFileSync(linux) },
          ramdisk: { name: 'initrd', bytes: makeInitramfs('while :; do setsid cttyhack sh; done') },
          cmdline: 'console=hvc0 quiet',
          memory: 256 << 20,
          vcpus: 1,
        },
      ],
    },
    {
      interpreter: interpreterModule(),
      log: () => undefined,
      compile: {
        ...(beside ? { compiler: threadedCompiler() } : {}),
        clock: milliseconds,
        pause: (took) => void pauses.push(took),
      },
    },
  );
  let shown = '';
  machine.devices.console.onOutput((_domain, data) => (shown += Buffer.from(data).toString('latin1')));
  for (const run = machine.run({}); !shown.includes(SHELL);) {
    const { kind } = run.slice(SLICE, true);
    if (kind !== 'slice') throw new Error(`the guest ended: ${kind}`);
    await new Promise((turned) => setImmediate(turned));
  }
  machine.disks.dispose();
  if (machine.cpu.regions === undefined) throw new Error('the machine does not compile');
  return { pauses, statistics: machine.cpu.regions.statistics as TierStatistics };
}

export async function compiling(report: Report, runs: number): Promise<void> {
  report.section('compiling hot code while Linux boots to its shell, 256 MiB');
  const linux = findGuest('linux');
  if (linux === undefined || findGuest('busybox') === undefined) {
    report.missing('compiling: fetch the guests first (npx tsx scripts/fetch-guests.ts linux busybox)');
    return;
  }
  for (const beside of [true, false]) {
    const boots: Compiled[] = [];
    for (let i = 0; i < runs; i++) boots.push(await boot(linux, beside));
    const name = beside ? 'a thread beside the machine' : "the machine's own thread";
    const figure = (what: string, unit: string, of: (c: Compiled) => number): void => {
      report.figure(`${name}: ${what}`, unit, boots.map(of));
    };
    figure('modules', '', ({ statistics }) => statistics.modules);
    figure('instructions', '', ({ statistics }) => statistics.instructions);
    figure('WebAssembly', 'KB', ({ statistics }) => statistics.bytes / 1024);
    figure('the guest stands still, in all', 'ms', ({ statistics }) => statistics.milliseconds);
    figure('… at a time, p50', 'ms', ({ pauses }) => quantile(pauses, 0.5));
    figure('… at a time, p99', 'ms', ({ pauses }) => quantile(pauses, 0.99));
    figure('… at a time, longest', 'ms', ({ statistics }) => statistics.longest);
  }
}
