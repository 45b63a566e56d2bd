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

export async function debugFile(report: Report): Promise<void> {
  report.section('Debian’s kernel debug package');
  const [kernel, symbols] = [findGuest('linux'), findGuest('linux-debug')];
  if (kernel === undefined || symbols === undefined) {
    report.missing('the kernel debug package: npx tsx scripts/fetch-guests.ts linux linux-debug');
    return;
  }
  const size = statSync(symbols).size;
  report.figure('debug file', 'MiB', [size / MIB]);

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
  const places = { kernelPath: kernel, given: [symbols] };
  // The image itself is unpacked each time; what is held of that is not the debug file's.
  const plain = await guestSymbols(image);
  const before = held();
  const began = milliseconds();
  const index = await guestSymbols(image, places, open);
  const opened = milliseconds();
  const file = index.filesNamed('main.c').find((name) => name.endsWith('init/main.c')) ?? '';
  const code = index.code(file, LINE);
  const bound = milliseconds();
  const bytes = read;
  report.figure('symbols opened, with unpacking the image', 'ms', [opened - began]);
  report.figure('a source line found in it', 'ms', [bound - opened]);
  report.figure('read of it by then', 'MiB', [bytes / MIB]);
  report.figure('memory for it', 'MiB', [Math.max(0, held() - before)]);
  const [address] = code?.addresses ?? [];
  if (address === undefined) throw new Error(`${FILE}:${LINE} has no code`);
  const asked = milliseconds();
  index.debug?.scopes.at(address);
  index.debug?.frames.at(address);
  index.debug?.findType('struct', 'task_struct', undefined);
  report.figure('scopes and frame there, and struct task_struct', 'ms', [milliseconds() - asked]);
  report.figure('read of it by then', 'MiB', [read / MIB]);
  index.dispose?.();
  plain.dispose?.();

  const client = inlineClient(adapterHost());
  await client.request('initialize', { adapterID: 'hyperstep', linesStartAt1: true, columnsStartAt1: true });
  const started = milliseconds();
  const cpu = process.cpuUsage();
  const launched = client.request('launch', { kernel, symbols: [symbols], stopOnEntry: true });
  await client.event('initialized');
  const { breakpoints } = await client.request<{ breakpoints: readonly { verified: boolean }[] }>(
    'setBreakpoints',
    { source: { path: FILE }, breakpoints: [{ line: LINE }] },
  );
  const done = milliseconds();
  const { user, system } = process.cpuUsage(cpu);
  const processor = (user + system) / 1000;
  await launched;
  await client.request('disconnect');
  await client.close();
  if (breakpoints[0]?.verified !== true) throw new Error(`${FILE}:${LINE} is not bound`);
  report.figure('launch to a bound source breakpoint', 'ms', [done - started]);
  report.figure('… processor time, with building the domain', 'ms', [processor]);
}
