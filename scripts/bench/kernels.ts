/**
 * kernels.c in the booted Linux guest, here and under QEMU's TCG: the same kernel, the same binary. And as a 32-bit
 * kernel of its own on machines that have no long mode (bare.ts).
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findGuest, guestCache } from '../fetch-guests';
import { buildBare, findBarePeers } from './bare';
import { initramfs, MEMORY } from './boot';
import { ours, type Peer, type Peers } from './peers';
import { passMarks } from './process';
import { median, type Report } from './report';

const SOURCE = join(guestCache, '..', '..', 'scripts', 'bench', 'kernels.c');
export const KERNELS = [
  'integer', 'chase', 'sort', 'crc', 'sieve', 'sse', 'copy', 'branchy', 'syscalls', 'faults', 'forkexec', 'switches',
] as const; // prettier-ignore
/** The rest need an operating system. */
const BARE_KERNELS = KERNELS.slice(0, KERNELS.indexOf('syscalls'));
/** Marks; the first run of each kernel in a boot is not counted: it pays for what is cold. */
const begin = (name: string): string => `BENCH-BEGIN ${name}`;
const end = (name: string): string => `BENCH-END ${name} `;
const DONE = 'BENCH-DONE';

const script = (rounds: number): string => `#!/bin/busybox sh
/bin/busybox mount -t proc none /proc
i=0
while [ $i -lt ${rounds.toString()} ]; do
  for k in ${KERNELS.join(' ')}; do /bin/kernels $k; done
  i=$((i + 1))
done
echo ${DONE}
/bin/busybox sleep 1000
`;

function build(folder: string): string | undefined {
  const binary = join(folder, 'kernels');
  const { status } = spawnSync('gcc', ['-O2', '-static', '-o', binary, SOURCE], { stdio: 'ignore' });
  return status === 0 ? binary : undefined;
}

/** Seconds of each kernel's runs on one machine, and its checksums. */
interface Timings {
  readonly seconds: Map<string, number[]>;
  readonly sums: Map<string, string>;
}

async function boot(
  command: string,
  args: readonly string[],
  kernels: readonly string[],
  rounds: number,
  into: Timings,
): Promise<void> {
  const each = kernels.flatMap((name) => [begin(name), end(name)]);
  const marks = Array.from({ length: rounds }, () => each).flat();
  const passed = await passMarks({ command, args, marks: [...marks, DONE], limit: 3600 });
  for (let round = rounds > 1 ? 1 : 0; round < rounds; round++) {
    kernels.forEach((name, i) => {
      const at = 2 * (round * kernels.length + i);
      const [from, to] = [passed.marks[at], passed.marks[at + 1]];
      if (from === undefined || to === undefined) return;
      const seconds =
        from.cpu === undefined || to.cpu === undefined ? to.wall - from.wall : to.cpu - from.cpu;
      into.seconds.set(name, [...(into.seconds.get(name) ?? []), seconds]);
    });
  }
  for (const [, name = '', sum = ''] of passed.text.matchAll(/BENCH-END (\w+) ([0-9a-f]{16})/g))
    into.sums.set(name, sum);
}

const geometricMean = (of: readonly number[]): number =>
  Math.exp(of.reduce((sum, x) => sum + Math.log(x), 0) / of.length);

/** Two boots of each machine in turn, with `runs` counted rounds in all. */
export async function kernelTimes(report: Report, peers: Peers, runs: number, folder: string): Promise<void> {
  report.section('CPU kernels in the booted guest, processor time (scripts/bench/kernels.c)');
  const kernel = findGuest('linux');
  const binary = build(folder);
  const boots = runs === 1 ? 1 : 2;
  const rounds = runs === 1 ? 2 : 1 + Math.ceil(runs / boots);
  const made =
    binary === undefined ? undefined : initramfs(script(rounds), { 'bin/kernels': readFileSync(binary) });
  if (kernel === undefined || made === undefined) {
    report.missing(
      'the kernels: gcc and a static libc (libc6-dev), and the guests linux and busybox, are needed',
    );
    return;
  }
  const ramdisk = join(folder, 'kernels.cpio.gz');
  writeFileSync(ramdisk, made);
  const mine = ours();
  // Real Xen is a peer of the boot; these run hardly any of it.
  const bare = peers.all.find((p) => p.name.startsWith('QEMU'));
  const all = bare === undefined ? [mine] : [mine, bare];
  const timings = new Map<Peer, Timings>(all.map((p) => [p, { seconds: new Map(), sums: new Map() }]));
  for (let i = 0; i < boots; i++) {
    for (const [peer, into] of timings)
      await boot(peer.command, peer.args({ kernel, ramdisk, memory: MEMORY }), KERNELS, rounds, into);
  }
  const [own, other] = all.map((p) => timings.get(p));
  const ratios: number[] = [];
  for (const name of KERNELS) {
    const samples = own?.seconds.get(name) ?? [];
    report.figure(
      `${name}: Hyperstep`,
      'ms',
      samples.map((s) => s * 1000),
    );
    const theirs = other?.seconds.get(name);
    if (bare === undefined || theirs === undefined) continue;
    report.figure(
      `${name}: ${bare.name}`,
      'ms',
      theirs.map((s) => s * 1000),
    );
    const ratio = median(samples) / median(theirs);
    ratios.push(ratio);
    report.figure(`${name}: ratio`, '×', [ratio]);
    if (own?.sums.get(name) !== other?.sums.get(name))
      report.missing(`${name} computes something else here than on ${bare.name}: that is a defect`);
  }
  if (ratios.length > 0)
    report.figure('geometric mean of the ratios', '×', [geometricMean(ratios)], '≤ 0.35 ×');
  if (bare === undefined) report.missing('kernels under QEMU TCG: qemu-system-x86_64 is not installed');
  if (own !== undefined) await bareTimes(report, own, boots, rounds, folder);
}

/** What takes 32-bit builds of the same: how many times as long as the 64-bit ones take here. */
async function bareTimes(
  report: Report,
  own: Timings,
  boots: number,
  rounds: number,
  folder: string,
): Promise<void> {
  const { found, missing } = findBarePeers();
  for (const what of missing) report.missing(what);
  for (const peer of found) {
    const [times, each] = peer.once ? [1, 1] : [boots, rounds];
    const image = buildBare(folder, each);
    if (image === undefined) {
      report.missing('32-bit kernels: gcc cannot build them');
      return;
    }
    const theirs: Timings = { seconds: new Map(), sums: new Map() };
    for (let i = 0; i < times; i++) await boot(peer.command, peer.args(image), BARE_KERNELS, each, theirs);
    const ratios: number[] = [];
    for (const name of BARE_KERNELS) {
      const samples = theirs.seconds.get(name) ?? [];
      report.figure(
        `${name}: ${peer.name}`,
        'ms',
        samples.map((s) => s * 1000),
      );
      const ratio = median(samples) / median(own.seconds.get(name) ?? []);
      ratios.push(ratio);
      report.figure(`${name}: its time in Hyperstep's`, '×', [ratio]);
      if (own.sums.get(name) !== theirs.sums.get(name))
        report.missing(`${name} computes something else here than in ${peer.name}: that is a defect`);
    }
    report.figure(`geometric mean, ${peer.name}`, '×', [geometricMean(ratios)], '≥ 20 ×');
  }
}
