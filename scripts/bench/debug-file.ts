/** A debug file of the size of a distribution's: Debian's kernel with the debugging information of its package. */
import { readFileSync, statSync } from 'node:fs';
import { inlineClient } from '../../src/cli/inline-client';
import { guestSymbols } from '../../src/debugger/guest-symbols';
import { adapterHost } from '../../src/host/adapter';
import { openForReading } from '../../src/host/guest-file';
import { findGuest } from '../fetch-guests';
import type { Report } from './report';

const MIB = 2 ** 20;
const FILE = '/build/linux/init/main.c';
/** Somewhere in start_kernel(): the line that follows has code in any version. */
const LINE = 960;
const milliseconds = (): number => performance.now();
const held = (): number => {
  const { rss } = process.memoryUsage();
  return rss / MIB;
};

/** A launch to a breakpoint at a source line: milliseconds on the clock, and of processor time. */
async function toABoundLine(
  kernel: string,
  symbols: string,
): Promise<{ readonly wall: number; readonly cpu: number }> {
  const client = inlineClient(adapterHost());
  await client.request('initialize', { adapterID: 'hyperstep', linesStartAt1: true, columnsStartAt1: true });
  const started = milliseconds();
  const from = process.cpuUsage();
  const launched = client.request('launch', { kernel, symbols: [symbols], stopOnEntry: true });
  await client.event('initialized');
  const { breakpoints } = await client.request<{ breakpoints: readonly { verified: boolean }[] }>(
    'setBreakpoints',
    { source: { path: FILE }, breakpoints: [{ line: LINE }] },
  );
  const wall = milliseconds() - started;
  const { user, system } = process.cpuUsage(from);
  await launched;
  await client.request('disconnect');
  await client.close();
  if (breakpoints[0]?.verified !== true) throw new Error(`${FILE}:${LINE} is not bound`);
  return { wall, cpu: (user + system) / 1000 };
}

export async function debugFile(report: Report, runs: number): Promise<void> {
  report.section('Debian’s kernel debug package');
  const [kernel, symbols] = [findGuest('linux'), findGuest('linux-debug')];
  if (kernel === undefined || symbols === undefined) {
    report.missing('the kernel debug package: npx tsx scripts/fetch-guests.ts linux linux-debug');
    return;
  }
  report.derived('debug file', 'MiB', statSync(symbols).size / MIB, 1);

  const image = { name: 'linux', bytes: new Uint8Array(readFileSync(kernel)) };
  let read = 0;
  const open = (path: string): ReturnType<typeof openForReading> => {
    const file = openForReading(path);
    if (file === undefined) return undefined;
    return {
      ...file,
      read: (offset, length) => {
        const bytes = file.read(offset, length);
        read += bytes.length;
        return bytes;
      },
    };
  };
  const samples = { opened: [] as number[], bound: [] as number[], named: [] as number[] };
  const memory: number[] = [];
  const reads = { bound: 0, all: 0 };
  for (let i = 0; i < runs; i++) {
    // The image itself is unpacked each time; what is held of that is not the debug file's.
    const plain = await guestSymbols(image);
    const before = held();
    read = 0;
    const began = milliseconds();
    const index = await guestSymbols(image, { kernelPath: kernel, given: [symbols] }, open);
    const opened = milliseconds();
    const file = index.filesNamed('main.c').find((name) => name.endsWith('init/main.c')) ?? '';
    const [address] = index.code(file, LINE)?.addresses ?? [];
    const bound = milliseconds();
    reads.bound = read;
    if (address === undefined) throw new Error(`${FILE}:${LINE} has no code`);
    memory.push(Math.max(0, held() - before));
    const asked = milliseconds();
    index.debug?.scopes.at(address);
    index.debug?.frames.at(address);
    index.debug?.findType('struct', 'task_struct', undefined);
    samples.opened.push(opened - began);
    samples.bound.push(bound - opened);
    samples.named.push(milliseconds() - asked);
    reads.all = read;
    index.dispose?.();
    plain.dispose?.();
  }
  report.figure('symbols opened, with unpacking the image', 'ms', samples.opened);
  report.figure('a source line found in it', 'ms', samples.bound);
  report.derived('read of it by then', 'MiB', reads.bound / MIB, runs);
  report.derived('memory for it, the first time', 'MiB', memory[0] ?? NaN, 1);
  report.figure('scopes and frame there, and struct task_struct', 'ms', samples.named);
  report.derived('read of it by then', 'MiB', reads.all / MIB, runs);

  const launches: Awaited<ReturnType<typeof toABoundLine>>[] = [];
  for (let i = 0; i < runs; i++) launches.push(await toABoundLine(kernel, symbols));
  report.figure(
    'launch to a bound source breakpoint',
    'ms',
    launches.map(({ wall }) => wall),
  );
  report.figure(
    '… processor time, with building the domain',
    'ms',
    launches.map(({ cpu }) => cpu),
  );
}
