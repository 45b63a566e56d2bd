/** What a snapshot costs: a mark, going back to it, a file, going on from it. Debian's kernel at its shell, 256 MiB. */
import { join } from 'node:path';
import { inProcessTarget } from '../../src/host/machine';
import type { Target } from '../../src/machine/target';
import { findGuest } from '../fetch-guests';
import { makeInitramfs } from '../make-initramfs';
import { readFileSync } from 'node:fs';
import type { Report } from './report';

const MIB = 2 ** 20;
const LOOK = 5_000_000n;
/** What runs between a mark and going back: about a command's worth. */
const BETWEEN = 20_000_000n;

/** Milliseconds of processor time, threads that compress included. */
async function cost(work: () => Promise<unknown>): Promise<number> {
  const from = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(from);
  return (user + system) / 1000;
}

async function atShell(linux: string): Promise<Target> {
  const initrd = makeInitramfs('while :; do setsid cttyhack sh; done');
  const target = await inProcessTarget({
    domains: [
      {
        name: 'linux',
        kernel: { name: 'vmlinuz', bytes: readFileSync(linux) },
        ramdisk: { name: 'initrd', bytes: initrd },
        cmdline: 'console=hvc0 quiet',
        memory: 256 * MIB,
        vcpus: 1,
      },
    ],
  });
  let shown = '';
  target.onConsole((_domain, data) => (shown += Buffer.from(data).toString('latin1')));
  while (!shown.includes('/ # ')) await target.run({ instructions: LOOK, skipUpcalls: false });
  return target;
}

export async function saved(report: Report, runs: number, folder: string): Promise<void> {
  report.section('snapshots of Linux at its shell, 256 MiB');
  const linux = findGuest('linux');
  if (linux === undefined || findGuest('busybox') === undefined) {
    report.missing('snapshots: fetch the guests first (npx tsx scripts/fetch-guests.ts linux busybox)');
    return;
  }
  const target = await atShell(linux);
  const file = join(folder, 'shell.hys');
  const samples: Record<'mark' | 'seek' | 'save' | 'load', number[]> = {
    mark: [],
    seek: [],
    save: [],
    load: [],
  };
  const run = (): Promise<unknown> => target.run({ instructions: BETWEEN, skipUpcalls: false });
  let [bytes, raw, beyond] = [0, 0, 0];
  for (let i = 0; i < runs; i++) {
    const mark = await (async () => {
      let made = 0;
      samples.mark.push(await cost(async () => (made = await target.mark())));
      return made;
    })();
    await run();
    samples.seek.push(await cost(() => target.seek(mark)));
    await target.dropMark(mark);

    const before = process.memoryUsage().arrayBuffers;
    const off = target.onSaving(() => {
      beyond = Math.max(beyond, process.memoryUsage().arrayBuffers - before);
    });
    samples.save.push(await cost(async () => ({ bytes, raw } = await target.save(file))));
    off();
    samples.load.push(
      await cost(async () => {
        const other = await inProcessTarget({ domains: [], saved: { path: file } });
        await other.run({ instructions: 1n });
        await other.dispose();
      }),
    );
  }
  await target.dispose();
  report.figure('a mark', 'ms CPU', samples.mark);
  report.figure('going back to it', 'ms CPU', samples.seek);
  report.figure('saving to a file', 'ms CPU', samples.save);
  report.figure('from the file to the next instruction', 'ms CPU', samples.load);
  report.derived('the file', 'MiB', bytes / MIB, 1);
  report.derived('what is in it', 'MiB', raw / MIB, 1);
  report.derived("memory that saving takes beside the machine's, at most", 'MiB', beyond / MIB, runs);
}
