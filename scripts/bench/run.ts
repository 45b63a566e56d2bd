/**
 * `npm run bench`: figures of this machine, now. Timings on a shared machine are noise: medians of several runs,
 * and ratios taken within one run. Prints a table and writes the same as JSON (--json F). Never fails on time.
 */
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { inlineClient } from '../../src/cli/inline-client';
import { adapterHost } from '../../src/host/adapter';
import { interpreterModule } from '../../src/host/node';
import { assembleMachine } from '../../src/machine/assemble';
import type { Machine } from '../../src/machine/machine';
import { memoryAndBranches, nullHypercall, NULL_ROUND } from './guests';

const { values } = parseArgs({
  options: { json: { type: 'string' }, runs: { type: 'string', default: '5' } },
});
const RUNS = Number(values.runs);

interface Figure {
  readonly name: string;
  readonly unit: string;
  readonly median: number;
  readonly least: number;
  readonly most: number;
  readonly goal?: string;
}
const figures: Figure[] = [];

const milliseconds = (): number => Number(process.hrtime.bigint()) / 1e6;
const sorted = (of: readonly number[]): number[] => [...of].sort((a, b) => a - b);
const quantile = (of: readonly number[], q: number): number =>
  sorted(of)[Math.min(of.length - 1, Math.floor(q * of.length))] ?? NaN;

function report(name: string, unit: string, samples: readonly number[], goal?: string): void {
  const figure: Figure = {
    name,
    unit,
    median: quantile(samples, 0.5),
    least: Math.min(...samples),
    most: Math.max(...samples),
    ...(goal === undefined ? {} : { goal }),
  };
  figures.push(figure);
  const number = (n: number): string => (n >= 100 ? n.toFixed(0) : n.toPrecision(3));
  const text = `${number(figure.median)} ${unit}`.padStart(16);
  process.stdout.write(
    `${name.padEnd(52)}${text}   [${number(figure.least)} … ${number(figure.most)}]${goal === undefined ? '' : `   goal ${goal}`}\n`,
  );
}

const machineFor = (kernel: Uint8Array, traceRecords?: number): Promise<Machine> =>
  assembleMachine(
    {
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
    {
      interpreter: interpreterModule(),
      log: () => undefined,
      ...(traceRecords === undefined ? {} : { traceRecords }),
    },
  );

/**
 * Milliseconds of processor time that `instructions` take: the machine runs in this thread and waits for nothing,
 * and what else the computer does meanwhile is not its business.
 */
function timed(machine: Machine, instructions: bigint): number {
  const session = machine.run({});
  const started = process.cpuUsage();
  const end = session.slice(instructions, true);
  if (end.kind !== 'slice')
    throw new Error(
      `the bench guest ended: ${JSON.stringify(end, (_k, v: unknown) => (typeof v === 'bigint' ? v.toString() : undefined))}`,
    );
  const { user, system } = process.cpuUsage(started);
  return (user + system) / 1000;
}

async function interpreterSpeed(): Promise<void> {
  const machine = await machineFor(memoryAndBranches());
  const n = 20_000_000n;
  timed(machine, n);
  report(
    'interpreter, memory and branches',
    'million instr/s',
    Array.from({ length: RUNS }, () => Number(n) / 1e3 / timed(machine, n)),
  );
}

async function nullHypercalls(): Promise<void> {
  const rounds = 50_000n;
  const machine = await machineFor(nullHypercall());
  timed(machine, rounds * NULL_ROUND);
  timed(machine, rounds * NULL_ROUND);
  const traced: number[] = [];
  const untraced: number[] = [];
  // In turn, so that drift of the machine falls on both.
  for (let i = 0; i < 3 * RUNS; i++) {
    for (const [enabled, into] of [
      [true, traced],
      [false, untraced],
    ] as const) {
      machine.trace.enabled = enabled;
      into.push((timed(machine, rounds * NULL_ROUND) * 1e6) / Number(rounds));
    }
  }
  report('null hypercall, round trip with trace', 'ns', traced);
  // What one disturbance adds is more than what the trace costs: the least of each is what they have in common.
  report(
    'trace overhead on null hypercalls',
    '%',
    [(Math.min(...traced) / Math.min(...untraced) - 1) * 100],
    '≤ 5 %',
  );
}

async function steps(): Promise<void> {
  const client = inlineClient(adapterHost());
  await client.request('initialize', { adapterID: 'hyperstep', linesStartAt1: true, columnsStartAt1: true });
  const launched = client.request('launch', { stopOnEntry: true });
  await client.event('initialized');
  await client.request('configurationDone');
  await launched;
  const { threadId } = await client.event<{ threadId: number }>('stopped');
  const samples: number[] = [];
  for (let i = 0; i < 400; i++) {
    const started = milliseconds();
    await client.request('stepIn', { threadId, granularity: 'instruction' });
    await client.event('stopped');
    if (i >= 100) samples.push(milliseconds() - started);
  }
  await client.request('disconnect');
  await client.close();
  report('DAP instruction step, request to stopped, p50', 'ms', [quantile(samples, 0.5)], '< 1 ms');
  report('DAP instruction step, request to stopped, p99', 'ms', [quantile(samples, 0.99)]);
}

async function start(): Promise<void> {
  const kernel = await adapterHost().sampleGuest();
  const samples: number[] = [];
  for (let i = 0; i < RUNS; i++) {
    const started = milliseconds();
    const machine = await assembleMachine(
      { domains: [{ name: 'sample', kernel, cmdline: '', memory: 256 << 20, vcpus: 1 }] },
      { interpreter: interpreterModule(), log: () => undefined },
    );
    machine.run({}).slice(1n, true);
    samples.push(milliseconds() - started);
  }
  report('sample image to its first instruction, 256 MiB', 'ms', samples);
}

async function main(): Promise<void> {
  process.stdout.write(
    `${cpus()[0]?.model ?? '?'} × ${cpus().length}, Node ${process.version}; median of ${RUNS} [least … most]\n\n`,
  );
  for (const figure of [start, interpreterSpeed, nullHypercalls, steps]) await figure();
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(figures, null, 2)}\n`);
}

void main();
