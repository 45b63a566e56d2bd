/** What a person waits for: launches, steps, stacks and breakpoints over the protocol, the machine in its worker. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inlineClient, type InlineClient } from '../../src/cli/inline-client';
import { adapterHost } from '../../src/host/adapter';
import { findGuest } from '../fetch-guests';
import { COUNTING_AT, countingInC, countingLoop } from './guests';
import { median, quantile, type Report } from './report';

const milliseconds = (): number => Number(process.hrtime.bigint()) / 1e6;
/** Of processor time, all threads together. */
function processorMilliseconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

interface Stopped {
  readonly threadId: number;
  readonly reason: string;
}
interface Frames {
  readonly totalFrames?: number;
  readonly stackFrames: readonly { readonly name: string; readonly instructionPointerReference?: string }[];
}

/** A machine that is stopped. */
interface Stand {
  readonly client: InlineClient;
  readonly threadId: number;
  /** Sends a request that lets it run; comes back when it has stopped again, or has ended. */
  go(command: string, args?: object): Promise<Stopped | undefined>;
  stack(): Promise<Frames>;
  end(): Promise<void>;
}

async function launch(args: object, before: (client: InlineClient) => Promise<unknown>): Promise<Stand> {
  const client = inlineClient(adapterHost());
  await client.request('initialize', { adapterID: 'hyperstep', linesStartAt1: true, columnsStartAt1: true });
  const launched = client.request('launch', args);
  await client.event('initialized');
  await before(client);
  await client.request('configurationDone');
  await launched;
  const { threadId } = await client.event<Stopped>('stopped');
  return {
    client,
    threadId,
    async go(command, more = {}) {
      await client.request(command, { threadId, ...more });
      return Promise.race([
        client.event<Stopped>('stopped'),
        client.event('terminated').then(() => undefined),
      ]);
    },
    stack: () => client.request<Frames>('stackTrace', { threadId }),
    async end() {
      await client.request('disconnect');
      await client.close();
    },
  };
}

const nothing = (): Promise<void> => Promise.resolve();

async function timed(into: number[], work: () => Promise<unknown>): Promise<void> {
  const began = milliseconds();
  await work();
  into.push(milliseconds() - began);
}

function percentiles(report: Report, name: string, samples: readonly number[]): void {
  report.derived(`${name}, p50`, 'ms', quantile(samples, 0.5), samples.length);
  report.derived(`${name}, p99`, 'ms', quantile(samples, 0.99), samples.length);
}

async function launching(report: Report, runs: number): Promise<void> {
  const guests = [
    ['the sample', {}],
    [
      "Debian's kernel, unpacked each time",
      { kernel: findGuest('linux'), cmdline: 'console=hvc0', memory: '256M', keepUnpacked: false },
    ],
    [
      "Debian's kernel, kept unpacked",
      { kernel: findGuest('linux'), cmdline: 'console=hvc0', memory: '256M' },
    ],
  ] as const;
  for (const [name, args] of guests) {
    if ('kernel' in args && args.kernel === undefined) {
      report.missing(`launch of ${name}: npx tsx scripts/fetch-guests.ts linux`);
      continue;
    }
    // The first of all may be the one that keeps it.
    if ('kernel' in args && !('keepUnpacked' in args))
      await launch({ ...args, stopOnEntry: true }, nothing).then((stand) => stand.end());
    const wall: number[] = [];
    const cpu: number[] = [];
    for (let i = 0; i < runs; i++) {
      const [began, used] = [milliseconds(), processorMilliseconds()];
      const stand = await launch({ ...args, stopOnEntry: true }, nothing);
      wall.push(milliseconds() - began);
      cpu.push(processorMilliseconds() - used);
      await stand.end();
    }
    report.figure(`launch of ${name} to the stop at its entry, wall time`, 'ms', wall);
    report.figure(`… processor time`, 'ms', cpu);
  }
}

async function stepping(report: Report): Promise<void> {
  const stand = await launch({ stopOnEntry: true }, nothing);
  const instructions: number[] = [];
  for (let i = 0; i < 400; i++)
    await timed(instructions, () => stand.go('stepIn', { granularity: 'instruction' }));
  percentiles(report, 'instruction step, request to stopped', instructions.slice(100));
  await stand.end();

  const lines: number[] = [];
  while (lines.length < 150) {
    const sample = await launch({ stepIntoHypervisor: false }, (client) =>
      client.request('setFunctionBreakpoints', { breakpoints: [{ name: 'build_page_table' }] }),
    );
    for (let i = 0; i < 60; i++) {
      const began = milliseconds();
      const stopped = await sample.go(i % 3 === 2 ? 'next' : 'stepIn');
      if (stopped === undefined) break;
      lines.push(milliseconds() - began);
    }
    await sample.end();
  }
  percentiles(report, 'line step, request to stopped', lines.slice(20));

  const into: number[] = [];
  const out: number[] = [];
  while (into.length < 40) {
    const sample = await launch({}, (client) =>
      client.request('setFunctionBreakpoints', { breakpoints: [{ name: 'hypercall:*' }] }),
    );
    const inside = async (): Promise<boolean> =>
      (await sample.stack()).stackFrames[0]?.name.endsWith('(hypervisor)') === true;
    for (let i = 0; i < 20; i++) {
      await timed(into, () => sample.go('stepIn'));
      if (!(await inside())) into.pop();
      else {
        const began = milliseconds();
        let looking = 0;
        for (let within = true; within;) {
          await sample.go('stepOut');
          const looked = milliseconds();
          within = await inside();
          looking += milliseconds() - looked;
        }
        out.push(milliseconds() - began - looking);
      }
      if ((await sample.go('continue')) === undefined) break;
    }
    await sample.end();
  }
  percentiles(report, 'step into the hypervisor', into);
  percentiles(report, 'all the way out of it', out);
}

/** Each stack is asked for anew after a step of an instruction. */
async function deepStack(report: Report): Promise<void> {
  const kernel = findGuest('linux');
  if (kernel === undefined) {
    report.missing('a deep kernel stack: npx tsx scripts/fetch-guests.ts linux');
    return;
  }
  const stand = await launch({ kernel, cmdline: 'console=hvc0 quiet', memory: '256M' }, (client) =>
    client.request('setFunctionBreakpoints', {
      breakpoints: [{ name: 'kernfs_add_one', hitCondition: '200' }],
    }),
  );
  const samples: number[] = [];
  let frames = 0;
  for (let i = 0; i < 60; i++) {
    await stand.go('stepIn', { granularity: 'instruction' });
    await timed(samples, async () => (frames = Math.max(frames, (await stand.stack()).stackFrames.length)));
  }
  await stand.end();
  percentiles(report, `stack of ${frames} frames of Debian's kernel, by ORC`, samples.slice(10));
}

const MANY = 10_000;
const MILLION = 1_000_000;

async function breakpoints(report: Report, runs: number, folder: string): Promise<void> {
  const kernel = join(folder, 'count.elf');
  writeFileSync(kernel, countingLoop());
  const at = `0x${COUNTING_AT.toString(16)}`;
  const stand = await launch({ kernel, memory: '32M', stopOnEntry: true }, nothing);
  const set = (points: readonly object[]): Promise<unknown> =>
    stand.client.request('setInstructionBreakpoints', { breakpoints: points });
  let before = 0;
  for (const times of [MANY, MILLION]) {
    const took: number[] = [];
    for (let i = 0; i < runs; i++) {
      before += times;
      await set([{ instructionReference: at, condition: `$rcx == ${before}` }]);
      await timed(took, () => stand.go('continue'));
    }
    const seconds = took.map((ms) => ms / 1000);
    report.figure(`a condition that is false ${times.toLocaleString('en')} times`, 's', seconds);
    if (median(seconds) > 2 && times < MILLION) {
      report.missing('a million times: at this rate it takes minutes');
      break;
    }
  }
  await inC(report, runs, folder);
  // Where nothing runs.
  const far = Array.from({ length: MANY }, (_, i) => ({
    instructionReference: `0x${(COUNTING_AT + 0x1000n + BigInt(i)).toString(16)}`,
  }));
  const setting: number[] = [];
  for (let i = 0; i < runs; i++) {
    await set([]);
    await timed(setting, () => set(far));
  }
  report.figure(`${MANY.toLocaleString('en')} instruction breakpoints, request to response`, 'ms', setting);
  const samples: number[] = [];
  for (let i = 0; i < 200; i++)
    await timed(samples, () => stand.go('stepIn', { granularity: 'instruction' }));
  percentiles(report, 'instruction step with them', samples.slice(50));
  await stand.end();
}

/** The same where the condition names variables of C's. */
async function inC(report: Report, runs: number, folder: string): Promise<void> {
  const guest = countingInC(folder);
  if (guest === undefined) {
    report.missing('a condition over C variables: gcc (Debian package gcc) makes the guest');
    return;
  }
  const { kernel, source } = guest;
  const line = 1 + readFileSync(source, 'utf8').split('\n').findIndex((text) => text.includes('rounds++;')); // prettier-ignore
  const stand = await launch({ kernel, memory: '32M', stopOnEntry: true }, nothing);
  let before = 0;
  for (const times of [MANY, MILLION]) {
    const took: number[] = [];
    for (let i = 0; i < runs; i++) {
      before += times;
      const condition = `i == ${before} && p->len > 3`;
      await stand.client.request('setBreakpoints', {
        source: { path: source },
        breakpoints: [{ line, condition }],
      });
      await timed(took, () => stand.go('continue'));
    }
    const seconds = took.map((ms) => ms / 1000);
    report.figure(`… over C variables, ${times.toLocaleString('en')} times`, 's', seconds);
    if (median(seconds) > 10 && times < MILLION) {
      report.missing('a million times: at this rate it takes minutes');
      break;
    }
  }
  await stand.end();
}

export async function debugging(report: Report, runs: number, folder: string): Promise<void> {
  report.section('The debug adapter, its machine in a worker');
  await launching(report, runs);
  report.progress('steps');
  await stepping(report);
  report.progress('a deep stack');
  await deepStack(report);
  report.progress('breakpoints');
  await breakpoints(report, runs, folder);
}
