/**
 * kernels.c in the booted Linux guest, here and under QEMU's TCG: the same kernel, the same binary. And as a 32-bit
 * kernel of its own on machines that have no long mode (bare.ts). All of them in turn, and with them this computer's
 * own processor, which says what an emulator could reach at all.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findGuest, guestCache } from '../fetch-guests';
import { buildBare } from './bare';
import { initramfs, MEMORY } from './boot';
import type { GoalName } from './goals';
import { ours, type Peers } from './peers';
import { passMarks } from './process';
import { geometricMean, median, type Report } from './report';

const SOURCE = join(guestCache, '..', '..', 'scripts', 'bench', 'kernels.c');
export const KERNELS = [
  'integer', 'chase', 'sort', 'crc', 'sieve', 'sse', 'copy', 'branchy', 'syscalls', 'faults', 'forkexec', 'switches',
] as const; // prettier-ignore
/** The rest need an operating system. */
const BARE_KERNELS = KERNELS.slice(0, KERNELS.indexOf('syscalls'));
export const SYSTEM_KERNELS = KERNELS.slice(BARE_KERNELS.length);
const begin = (name: string): string => `BENCH-BEGIN ${name}`;
const end = (name: string): string => `BENCH-END ${name} `;
const DONE = 'BENCH-DONE';
/** Seconds after which a boot is given up. */
const LIMIT = 1800;

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

/** One of the machines compared. */
interface Contender {
  /** What they are compared by: a Linux guest, a 32-bit kernel, or the processor that all of them run on. */
  readonly kind: 'linux' | 'bare' | 'processor';
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly kernels: readonly string[];
  readonly boots: number;
  /** Of each boot. Where there are several the first is not counted: it pays for what is cold. */
  readonly rounds: number;
  /** Seconds of each kernel's counted runs. */
  readonly seconds: Map<string, number[]>;
  /** What each computed. */
  readonly sums: Map<string, string>;
  /** Why there are no more runs of it. */
  failed?: string;
}

async function boot(it: Contender): Promise<void> {
  const { command, args, kernels, rounds } = it;
  const each = kernels.flatMap((name) => [begin(name), end(name)]);
  const marks = Array.from({ length: rounds }, () => each).flat();
  const passed = await passMarks({ command, args, marks: [...marks, DONE], limit: LIMIT });
  for (let round = rounds > 1 ? 1 : 0; round < rounds; round++) {
    kernels.forEach((name, i) => {
      const at = 2 * (round * kernels.length + i);
      const [from, to] = [passed.marks[at], passed.marks[at + 1]];
      if (from === undefined || to === undefined) return;
      const seconds =
        from.cpu === undefined || to.cpu === undefined ? to.wall - from.wall : to.cpu - from.cpu;
      it.seconds.set(name, [...(it.seconds.get(name) ?? []), seconds]);
    });
  }
  for (const [, name = '', sum = ''] of passed.text.matchAll(/BENCH-END (\w+) ([0-9a-f]{16})/g)) {
    const known = it.sums.get(name) ?? sum;
    it.sums.set(name, known === sum ? sum : 'different sums in different rounds');
  }
}

/** kernels.c for Linux, and a ramdisk of that name whose /init is `script`, with it as /bin/kernels; undefined: it cannot be made. */
export function kernelsRamdisk(
  folder: string,
  name: string,
  script: string,
): { readonly binary: string; readonly ramdisk: string } | undefined {
  const binary = join(folder, name);
  const { status } = spawnSync('gcc', ['-O2', '-static', '-o', binary, SOURCE], { stdio: 'ignore' });
  const made = status === 0 ? initramfs(script, { 'bin/kernels': readFileSync(binary) }) : undefined;
  if (made === undefined) return undefined;
  const ramdisk = join(folder, `${name}.cpio.gz`);
  writeFileSync(ramdisk, made);
  return { binary, ramdisk };
}

/** What machines there are; undefined when the guests or a compiler are not here. */
function contenders(
  report: Report,
  peers: Peers,
  runs: number,
  folder: string,
): readonly Contender[] | undefined {
  const [boots, rounds] = runs === 1 ? [1, 2] : [2, 1 + Math.ceil(runs / 2)];
  const kernel = findGuest('linux');
  const made = kernelsRamdisk(folder, 'kernels', script(rounds));
  if (kernel === undefined || made === undefined) {
    report.missing(
      'the kernels: gcc and a static libc (Debian packages gcc, libc6-dev), and the guests linux and busybox, are needed',
    );
    return undefined;
  }
  const { binary, ramdisk } = made;
  const mine = ours();
  // Real Xen is a peer of the boot; these run hardly any of it.
  const tcg = peers.all.find((p) => p.hypervisor === '');
  const results = (): Pick<Contender, 'seconds' | 'sums'> => ({ seconds: new Map(), sums: new Map() });
  const found = [mine, ...(tcg === undefined ? [] : [tcg])].map((peer): Contender => {
    const { name, command } = peer;
    const args = peer.args({ kernel, ramdisk, memory: MEMORY });
    return { kind: 'linux', name, command, args, kernels: KERNELS, boots, rounds, ...results() };
  });
  const words = Array.from({ length: rounds }, () => BARE_KERNELS).flat();
  found.push({
    kind: 'processor',
    name: 'the processor itself',
    command: binary,
    args: [...words, DONE],
    kernels: BARE_KERNELS,
    boots,
    rounds,
    ...results(),
  });
  if (tcg === undefined) report.missing('kernels under QEMU TCG: there is no qemu-system-x86_64');
  for (const peer of peers.bare) {
    const [times, each] = peer.once ? [1, 1] : [boots, rounds];
    const image = buildBare(folder, each);
    if (image === undefined) {
      report.missing(`${peer.name}: gcc cannot build 32-bit kernels`);
      continue;
    }
    found.push({
      kind: 'bare',
      name: peer.name,
      command: peer.command,
      args: peer.args(image),
      kernels: BARE_KERNELS,
      boots: times,
      rounds: each,
      ...results(),
    });
  }
  for (const what of peers.missing.kernels) report.missing(what);
  return found;
}

/** The median times of two machines, of the kernels that both ran. */
function* inBoth(a: Contender, b: Contender): Generator<readonly [string, number, number]> {
  for (const name of b.kernels) {
    const [first, second] = [a.seconds.get(name), b.seconds.get(name)];
    if (first !== undefined && second !== undefined) yield [name, median(first), median(second)];
  }
}

/** The times of one machine, with what they are to ours; their geometric mean. */
function against(report: Report, own: Contender, other: Contender, goal: GoalName | undefined): void {
  if (other.failed !== undefined) {
    report.missing(`${other.name}: ${other.failed}`);
    if (other.seconds.size === 0) return;
  }
  // Against the slow, how much slower they are.
  const slow = other.kind === 'bare';
  const ratios = new Map<string, number>();
  let samples = 0;
  for (const [name, mine, theirs] of inBoth(own, other)) {
    const times = other.seconds.get(name) ?? [];
    report.figure(
      `${name}: ${other.name}`,
      'ms',
      times.map((s) => s * 1000),
    );
    if (own.sums.get(name) !== other.sums.get(name)) {
      const [here, there] = [own, other].map(({ sums }) => sums.get(name) ?? 'nothing');
      report.missing(`${name}: ${here ?? ''} here, ${there ?? ''} on ${other.name}: that is a defect`);
      continue;
    }
    const ratio = slow ? theirs / mine : mine / theirs;
    samples = times.length;
    ratios.set(name, ratio);
    report.derived(slow ? `${name}: its time in ours` : `${name}: ours in its time`, '×', ratio, samples);
  }
  if (ratios.size === 0) return;
  const all = [...ratios.values()];
  report.derived(`geometric mean of the ${all.length.toString()}, ${other.name}`, '×', geometricMean(all), samples, goal); // prettier-ignore
  if (other.kind !== 'linux') return;
  const processor = BARE_KERNELS.flatMap((name) => ratios.get(name) ?? []);
  report.derived(`… of the ${processor.length.toString()} that need no system`, '×', geometricMean(processor), samples); // prettier-ignore
}

/** How much faster than a slow machine the processor itself is: about the most that could be reached against it. */
function most(report: Report, processor: Contender, slow: Contender): void {
  const both = [...inBoth(processor, slow)];
  if (both.length === 0) return;
  const ratio = geometricMean(both.map(([, fast, theirs]) => theirs / fast));
  const samples = Math.min(...both.map(([name]) => slow.seconds.get(name)?.length ?? 0));
  report.derived(`its time in the processor's own, geometric mean, ${slow.name}`, '×', ratio, samples);
}

/** Two boots of each machine in turn, with `runs` counted rounds in all. */
export async function kernelTimes(report: Report, peers: Peers, runs: number, folder: string): Promise<void> {
  report.section('CPU kernels in the booted guest, processor time (scripts/bench/kernels.c)');
  const all = contenders(report, peers, runs, folder);
  const [own, ...others] = all ?? [];
  if (all === undefined || own === undefined) return;
  for (let i = 0; i < Math.max(...all.map((it) => it.boots)); i++) {
    for (const it of all) {
      if (i >= it.boots || it.failed !== undefined) continue;
      report.progress(`boot ${(i + 1).toString()} of ${it.boots.toString()}, ${it.name}`);
      try {
        await boot(it);
      } catch (error) {
        it.failed = error instanceof Error ? error.message : String(error);
      }
    }
  }
  if (own.failed !== undefined) report.missing(`${own.name}: ${own.failed}`);
  for (const name of KERNELS) {
    const samples = own.seconds.get(name) ?? [];
    if (samples.length === 0) continue;
    report.figure(
      `${name}: ${own.name}`,
      'ms',
      samples.map((s) => s * 1000),
    );
  }
  const processor = all.find((it) => it.kind === 'processor');
  for (const other of others) {
    const goal = other.kind === 'linux' ? 'kernels' : other.name.startsWith('v86') ? 'v86' : undefined;
    against(report, own, other, goal);
    if (other.kind === 'bare' && processor !== undefined) most(report, processor, other);
  }
}
