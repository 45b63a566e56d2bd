/** What the trace, which is always on, costs where a person waits: Debian's boot, the kernels that need a system. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { findGuest } from '../fetch-guests';
import { LOOPS, canAssemble, loopGuest } from './guests';
import { inTurn, machineFor, timed } from './inside';
import { kernelsRamdisk, SYSTEM_KERNELS } from './kernels';
import type { Report } from './report';

/** Of each kernel; the first is not counted, since it pays for what is cold. */
const ROUNDS = 3;
const INIT = 'BENCH-INIT';
const script = `#!/bin/busybox sh
/bin/busybox mount -t proc none /proc
echo ${INIT}
i=0
while [ $i -lt ${ROUNDS.toString()} ]; do
  for k in ${SYSTEM_KERNELS.join(' ')}; do /bin/kernels $k; done
  i=$((i + 1))
done
/bin/busybox sleep 1000
`;
const each = SYSTEM_KERNELS.flatMap((name) => [`BENCH-BEGIN ${name}`, `BENCH-END ${name}`]);
const MARKS = [INIT, ...Array.from({ length: ROUNDS }, () => each).flat()];

interface Spent {
  readonly spent: readonly number[];
  readonly records: readonly number[];
}

/** Those to /init, and of the least of each kernel's runs that count. */
const partsOf = (spent: readonly number[]): readonly number[] => [
  spent[0] ?? NaN,
  ...SYSTEM_KERNELS.map((_, k) =>
    Math.min(
      ...Array.from(
        { length: ROUNDS - 1 },
        (__, round) => spent[1 + (round + 1) * each.length + 2 * k + 1] ?? NaN,
      ),
    ),
  ),
];

const SAMPLES = 30;
/** Nanoseconds that a record adds where it is written in place: the least with the trace less the least without. */
async function recordTime(report: Report): Promise<number> {
  const loop = LOOPS.find(({ traceToo }) => traceToo === true);
  if (loop === undefined || !canAssemble(report, "a record's time")) return NaN;
  const machine = await machineFor(loopGuest(loop));
  const rounds = 40_000n;
  const round = (): number => (timed(machine, rounds * loop.instructions) * 1e6) / Number(rounds);
  const [having, without] = inTurn(machine, SAMPLES, round);
  return Math.min(...having) - Math.min(...without);
}

export async function tracing(report: Report, runs: number, folder: string): Promise<void> {
  report.section('The trace, always on: processor time with it, and what it adds to that without');
  const made = kernelsRamdisk(folder, 'traced', script);
  if (made === undefined || findGuest('linux') === undefined) {
    report.missing('the trace: gcc, a static libc, and the guests linux and busybox are needed');
    return;
  }
  const taken: Record<'on' | 'off', Spent[]> = { on: [], off: [] };
  for (let run = 0; run < runs; run++)
    // In turn, and each as often first.
    for (const trace of run % 2 === 0 ? (['on', 'off'] as const) : (['off', 'on'] as const)) {
      report.progress(`trace ${trace}, ${(run + 1).toString()} of ${runs.toString()}`);
      const args = [join(__dirname, 'bench-traced.js'), made.ramdisk, trace, ...MARKS];
      const said = execFileSync(process.execPath, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }); // prettier-ignore
      taken[trace].push(JSON.parse(said) as Spent);
    }
  const on = taken.on.map(({ spent }) => partsOf(spent));
  const off = taken.off.map(({ spent }) => partsOf(spent));
  const records = partsOf(taken.on[0]?.records ?? []);
  const one = await recordTime(report);
  report.derived('a record, in a null hypercall', 'ns', one, SAMPLES);
  const least = (of: readonly (readonly number[])[], part: number): number =>
    Math.min(...of.map((parts) => parts[part] ?? NaN));
  const names = ['boot to /init', ...SYSTEM_KERNELS];
  for (const [part, name] of names.entries()) {
    report.figure(
      name,
      'ms',
      on.map((parts) => parts[part] ?? NaN),
    );
    report.derived('… what the trace adds', '%', (least(on, part) / least(off, part) - 1) * 100, runs);
    const counted = ((records[part] ?? NaN) * one) / 1e4 / least(off, part);
    report.derived('… as many records as it makes, by the time of one', '%', counted, 1);
  }
  const all = (of: readonly (readonly number[])[]): number =>
    names.reduce((sum, _, part) => sum + least(of, part), 0);
  report.derived('boot and kernels together', '%', (all(on) / all(off) - 1) * 100, runs, 'trace');
}
