/** Figures of a machine in this process: small guests that do one thing, start-up. */
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadImage } from '../../src/guest/image';
import { adapterHost } from '../../src/host/adapter';
import { interpreterModule } from '../../src/host/machine';
import { assembleMachine } from '../../src/machine/assemble';
import type { Machine } from '../../src/machine/machine';
import type { SliceEnd } from '../../src/machine/session';
import type { MachineConfig } from '../../src/machine/target';
import { findGuest, guestCache } from '../fetch-guests';
import { LOOPS, loopGuest, memoryAndBranches, canAssemble, type Loop } from './guests';
import { endedProcessesSeconds } from './process';
import { median, type Report } from './report';

const milliseconds = (): number => Number(process.hrtime.bigint()) / 1e6;
const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

export const machineFor = (kernel: Uint8Array, tier?: MachineConfig['tier']): Promise<Machine> =>
  assembleMachine(
    {
      ...(tier === undefined ? {} : { tier }),
      domains: [
        {
          name: 'bench',
          kernel: { name: 'bench.elf', bytes: kernel },
          cmdline: '',
          memory: 32 << 20,
          vcpus: 1,
        },
      ],
    },
    { interpreter: interpreterModule(), log: () => undefined },
  );

const why = (end: SliceEnd): string =>
  end.kind === 'stop' ? JSON.stringify(end.stop.reason) : `it is ${end.kind}`;

/**
 * Milliseconds of processor time that `instructions` take: the machine runs in this thread and waits for nothing,
 * and what else the computer does meanwhile is not its business.
 */
export function timed(machine: Machine, instructions: bigint): number {
  const session = machine.run({});
  const started = process.cpuUsage();
  const end = session.slice(instructions, true);
  if (end.kind !== 'slice') throw new Error(`the bench guest ended: ${why(end)}`);
  const { user, system } = process.cpuUsage(started);
  return (user + system) / 1000;
}

export async function interpreterSpeed(report: Report, runs: number): Promise<void> {
  report.section('A loop of loads, stores, branches and calls');
  for (const tier of ['interpret', 'compile'] as const) {
    const machine = await machineFor(memoryAndBranches(), tier);
    const n = 20_000_000n;
    timed(machine, n);
    report.figure(
      `tier '${tier}'`,
      'million instr/s',
      range(runs).map(() => Number(n) / 1e3 / timed(machine, n)),
    );
  }
}

/** Samples with the trace and without it, in turn, so that drift of the computer falls on both. */
export function inTurn(
  machine: Machine,
  times: number,
  sample: () => number,
): readonly [traced: readonly number[], untraced: readonly number[]] {
  const [traced, untraced]: [number[], number[]] = [[], []];
  for (const _ of range(times))
    for (const into of [traced, untraced]) {
      machine.trace.enabled = into === traced;
      into.push(sample());
    }
  return [traced, untraced];
}

async function roundTrips(report: Report, runs: number, loop: Loop): Promise<void> {
  const machine = await machineFor(loopGuest(loop));
  const rounds = BigInt(Math.ceil(40_000 / loop.times));
  const round = (): number =>
    (timed(machine, rounds * loop.instructions) * 1e6) / Number(rounds) / loop.times;
  range(4).forEach(round);
  if (loop.traceToo !== true) {
    report.figure(loop.name, 'ns', range(3 * runs).map(round));
    return;
  }
  const [traced, untraced] = inTurn(machine, 5 * runs, round);
  report.figure(loop.name, 'ns', traced, 'nullHypercall');
  // What one disturbance adds is more than what the trace costs: the least of each is what they have in common.
  const added = (Math.min(...traced) / Math.min(...untraced) - 1) * 100;
  report.derived('what the trace adds to it', '%', added, traced.length, 'traceNull');
}

export async function boundary(report: Report, runs: number): Promise<void> {
  report.section('Crossing the boundary, round trips of processor time, trace on');
  if (!canAssemble(report, 'the loops')) return;
  for (const loop of LOOPS) await roundTrips(report, runs, loop);
}

/** The same round trips; first what the others are compared with, then that once more: what is noise here. */
const CROSSINGS = [
  { what: '', bundle: 'bench-crossing.js', args: [] },
  { what: 'the code without them, against itself', bundle: 'bench-crossing.js', args: [] },
  { what: 'never armed', bundle: 'bench-crossing-probed.js', args: [] },
  { what: 'no longer armed', bundle: 'bench-crossing-probed.js', args: ['after'] },
] as const;

/** What the probes before the hypervisor's statements cost while nobody steps there: the same code with and without. */
export function probes(report: Report, runs: number): void {
  report.section("The hypervisor's probes, unarmed: what they add to a round trip");
  if (!canAssemble(report, 'the loops')) return;
  const taken = CROSSINGS.map((): Readonly<Record<string, number>>[] => []);
  // A median of fewer says nothing here.
  for (const i of range(Math.max(runs, 5)))
    // In turn, each at each place of the turn.
    for (const at of CROSSINGS.keys()) {
      const which = (at + i) % CROSSINGS.length;
      const { bundle, args } = CROSSINGS[which] ?? CROSSINGS[0];
      const said = execFileSync(process.execPath, [join(__dirname, bundle), ...args], { encoding: 'utf8' });
      taken[which]?.push(JSON.parse(said) as Readonly<Record<string, number>>);
    }
  const [without = [], ...others] = taken;
  const names = LOOPS.filter(({ probed }) => probed === true).map(({ name }) => name);
  const added = (name: string, samples: readonly Readonly<Record<string, number>>[]): number[] =>
    samples.map((ns, i) => ((ns[name] ?? NaN) / (without[i]?.[name] ?? NaN) - 1) * 100);
  const whats = CROSSINGS.slice(1).map(({ what }) => what);
  for (const name of names)
    for (const [at, samples] of others.entries())
      report.figure(`${name}: ${whats[at] ?? ''}`, '%', added(name, samples));
  for (const [at, samples] of others.entries()) {
    const all = names.flatMap((name) => added(name, samples));
    const goal = at === others.length - 1 ? 'probes' : undefined;
    report.derived(`the middle of all these: ${whats[at] ?? ''}`, '%', median(all), all.length, goal);
  }
}

const dist = join(guestCache, '..', '..', 'dist');
const CLI = join(dist, 'cli.js');
const ADAPTER = join(dist, 'adapter.js');

/** A process of its own, from its start to its end. */
function aProcess(report: Report, runs: number, name: string, args: readonly string[]): void {
  const wall: number[] = [];
  const cpu: number[] = [];
  for (const _ of range(runs)) {
    const [began, used] = [milliseconds(), endedProcessesSeconds()];
    spawnSync(process.execPath, args, { stdio: 'ignore' });
    wall.push(milliseconds() - began);
    cpu.push((endedProcessesSeconds() - used) * 1000);
  }
  report.figure(`${name}, wall time`, 'ms', wall);
  if (cpu.every(Number.isFinite)) report.figure('… processor time', 'ms', cpu);
}

export async function start(report: Report, runs: number): Promise<void> {
  report.section('Start');
  aProcess(report, runs, 'the adapter, nothing asked of it', [ADAPTER]);
  const first = ['--max-instructions', '1', '--quiet'];
  const sample = join(dist, '..', 'media', 'samples', 'first-hypercall', 'first-hypercall.elf');
  aProcess(report, runs, 'hyperstep run, to the first instruction: the sample', [
    CLI,
    'run',
    sample,
    ...first,
  ]);
  const linux = findGuest('linux');
  if (linux !== undefined) {
    const args = [CLI, 'run', linux, '--memory', '512M', ...first];
    aProcess(report, runs, "… of Debian's bzImage, 512 MiB, unpacked each time", [...args, '--no-keep']);
    // The first of all may be the one that keeps it.
    spawnSync(process.execPath, args, { stdio: 'ignore' });
    aProcess(report, runs, '… kept unpacked from the launch before', args);
  }
  const kernel = await adapterHost().sampleGuest();
  const samples: number[] = [];
  for (const _ of range(runs)) {
    const started = milliseconds();
    const machine = await assembleMachine(
      { domains: [{ name: 'sample', kernel, cmdline: '', memory: 256 << 20, vcpus: 1 }] },
      { interpreter: interpreterModule(), log: () => undefined },
    );
    machine.run({}).slice(1n, true);
    samples.push(milliseconds() - started);
  }
  report.figure('sample image to its first instruction, in a process that runs, 256 MiB', 'ms', samples);
  for (const name of ['linux', 'linux-cloud'] as const) {
    const path = findGuest(name);
    if (path === undefined) {
      report.missing(`unpacking of ${name}: npx tsx scripts/fetch-guests.ts ${name}`);
      continue;
    }
    const bytes = readFileSync(path);
    const unpacking: number[] = [];
    for (const _ of range(runs)) {
      const started = milliseconds();
      await loadImage(bytes, name);
      unpacking.push(milliseconds() - started);
    }
    report.figure(`Debian's ${name} bzImage unpacked and read`, 'ms', unpacking);
  }
}
