/** A PV disk from within Debian's kernel: `dd` to and from it, timed by the processor time of this process. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inProcessTarget } from '../../src/host/machine';
import type { DiskConfig } from '../../src/machine/target';
import { findGuest } from '../fetch-guests';
import { makeInitramfs } from '../make-initramfs';
import type { Report } from './report';

const MEBIBYTES = 64;
const MARK = 'BENCH-DISK';

/** What is timed, and the shell's words for it. Nothing is in the guest's cache before it. */
const JOBS: readonly (readonly [string, string])[] = [
  ['sequential read, raw image', `dd if=/dev/xvda of=/dev/null bs=1M count=${MEBIBYTES}`],
  ['sequential write and fsync, overlay', `dd if=/dev/zero of=/dev/xvda bs=1M count=${MEBIBYTES} conv=fsync`],
  [
    'sequential write and fsync, written through',
    `dd if=/dev/zero of=/dev/xvdb bs=1M count=${MEBIBYTES} conv=fsync`,
  ],
];

const seconds = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

export async function disk(report: Report, runs: number, folder: string): Promise<void> {
  report.section(`PV disks under Linux's xen-blkfront, ${MEBIBYTES.toString()} MiB each`);
  const kernel = findGuest('linux');
  if (kernel === undefined || findGuest('busybox') === undefined) {
    report.missing('disks: npx tsx scripts/fetch-guests.ts linux busybox');
    return;
  }
  const image = (name: string, access: DiskConfig['access'], vdev: string): DiskConfig => {
    const path = join(folder, name);
    writeFileSync(path, new Uint8Array(MEBIBYTES << 20).fill(0x5a));
    return { vdev, image: { name, path }, format: 'raw', access, cdrom: false };
  };
  const commands = JOBS.map(
    ([, job], i) =>
      `sync; echo 3 > /proc/sys/vm/drop_caches; echo ${MARK}-${i.toString()}; ${job} 2>/dev/null; echo ${MARK}-end`,
  ).join('\n');
  const target = await inProcessTarget({
    domains: [
      {
        name: 'bench',
        kernel: { name: 'vmlinuz', bytes: readFileSync(kernel) },
        ramdisk: {
          name: 'initrd',
          bytes: makeInitramfs(`for run in $(seq ${runs.toString()}); do\n${commands}\ndone`),
        },
        cmdline: 'console=hvc0 quiet',
        memory: 256 << 20,
        vcpus: 1,
        disks: [image('overlay.raw', 'overlay', 'xvda'), image('through.raw', 'write-through', 'xvdb')],
      },
    ],
  });
  const samples = JOBS.map((): number[] => []);
  let text = '';
  let job: number | undefined;
  let started = 0;
  target.onConsole((_domain, data) => {
    text += Buffer.from(data).toString('latin1');
    const lines = text.split('\n');
    text = lines.pop() ?? '';
    for (const line of lines) {
      const what = new RegExp(`^${MARK}-(\\w+)`).exec(line)?.[1];
      if (what === undefined) continue;
      if (what === 'end') {
        if (job !== undefined) samples[job]?.push((MEBIBYTES << 20) / 1e6 / (seconds() - started));
        job = undefined;
      } else {
        job = Number(what);
        started = seconds();
      }
    }
  });
  await target.run({});
  await target.dispose();
  JOBS.forEach(([name], i) => {
    const measured = samples[i] ?? [];
    if (measured.length === 0) report.missing(`disk: ${name}: the guest did not say`);
    else report.figure(name, 'MB/s', measured);
  });
}
