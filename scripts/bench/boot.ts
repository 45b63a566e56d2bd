/** The stock kernel to its init and to a shell: here, as dom0 of real Xen under TCG, and without Xen under TCG. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { RunSummary } from '../../src/cli/run';
import { cpio, directory, node, program } from '../make-initramfs';
import { findGuest } from '../fetch-guests';
import { ours, type Peer, type Peers } from './peers';
import { passMarks, residentBytes, type Passing } from './process';
import { median, type Report } from './report';

export const MEMORY = 512;
const INIT = 'BENCH-INIT';
const SHELL = 'BENCH-SHELL # ';

const script = `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin PS1='${SHELL}'
mount -t proc none /proc; mount -t sysfs none /sys; mount -t devtmpfs none /dev
echo ${INIT}
exec sh -i
`;

/** An initramfs of busybox and these files. */
export function initramfs(
  init: string,
  files: Readonly<Record<string, Uint8Array>> = {},
): Buffer | undefined {
  const busybox = findGuest('busybox');
  if (busybox === undefined) return undefined;
  return gzipSync(
    cpio([
      ...['bin', 'dev', 'proc', 'sys', 'tmp'].map(directory),
      node('dev/console', 5, 1),
      program('bin/busybox', readFileSync(busybox)),
      program('init', Buffer.from(init)),
      ...Object.entries(files).map(([name, bytes]) => program(name, bytes)),
    ]),
  );
}

const WHAT = ['init', 'shell'] as const;

function compare(report: Report, of: ReadonlyMap<string, readonly (readonly Passing[])[]>): void {
  const [mine = [], ...others] = of.values();
  const names = [...of.keys()].slice(1);
  for (const kind of ['cpu', 'wall'] as const) {
    const at = (runs: readonly (readonly Passing[])[], mark: number): number[] =>
      runs.map((r) => r[mark]?.[kind] ?? NaN);
    if (at(mine, 0).some(Number.isNaN)) continue;
    WHAT.forEach((what, mark) => {
      const said = kind === 'cpu' ? 'processor time' : 'wall time';
      for (const [name, runs] of of) report.figure(`to ${what}, ${said}: ${name}`, 's', at(runs, mark));
      others.forEach((runs, i) => {
        const ratio = median(at(mine, mark)) / median(at(runs, mark));
        report.figure(
          `to ${what}, ${said}: ratio to ${names[i] ?? ''}`,
          '×',
          [ratio],
          i === 0 ? '≤ 0.5 ×' : '≤ 1.0 ×',
        );
      });
    });
  }
}

/** Boots in turn on this machine and on each peer, `runs` times. `folder` is for files of its own. */
export async function bootToShell(report: Report, peers: Peers, runs: number, folder: string): Promise<void> {
  report.section(`Debian's stock bzImage and a busybox initramfs, ${MEMORY} MiB, 1 vCPU`);
  const kernel = findGuest('linux');
  const made = initramfs(script);
  if (kernel === undefined || made === undefined) {
    report.missing('boot to shell: fetch the guests first (npx tsx scripts/fetch-guests.ts linux busybox)');
    return;
  }
  const ramdisk = join(folder, 'boot.cpio.gz');
  writeFileSync(ramdisk, made);
  const json = join(folder, 'boot.json');
  const mine = ours('--until', SHELL, '--json', json);
  const all: readonly Peer[] = [mine, ...peers.all];
  const passed = new Map<string, (readonly Passing[])[]>(all.map((p) => [p.name, []]));
  const resident: NonNullable<ReturnType<typeof residentBytes>>[] = [];
  for (let i = 0; i < runs; i++) {
    for (const peer of all) {
      const { marks } = await passMarks({
        command: peer.command,
        args: peer.args({ kernel, ramdisk, memory: MEMORY }),
        marks: [INIT, SHELL],
        limit: 600,
        ownEnd: peer === mine,
        atEnd: (pid) => {
          const bytes = peer === mine ? residentBytes(pid) : undefined;
          if (bytes !== undefined) resident.push(bytes);
        },
      });
      passed.get(peer.name)?.push(marks);
    }
  }
  const summary = JSON.parse(readFileSync(json, 'utf8')) as RunSummary;
  report.figure('guest instructions to the shell', 'instr', [summary.retired]);
  const calls = summary.hypercalls.reduce((sum, c) => sum + c.count, 0);
  report.figure('hypercalls to the shell', 'calls', [calls]);
  const traps = summary.traps.reduce((sum, t) => sum + t.count, 0);
  report.figure('emulated instructions, faults and upcalls to the shell', 'traps', [traps]);
  compare(report, passed);
  for (const peer of peers.missing) report.missing(peer);
  if (resident.length === 0) report.missing('memory: /proc does not tell');
  else {
    const MiB = 2 ** 20;
    report.figure(
      "memory at the shell, beside the machine's own",
      'MiB',
      resident.map((r) => r.others / MiB),
      '≤ 150 MiB, with the next',
    );
    report.figure(
      "the machine's memory, resident",
      'MiB',
      resident.map((r) => r.largest / MiB),
    );
    report.figure(
      'peak of all, the guest included',
      'MiB',
      resident.map((r) => r.peak / MiB),
    );
  }
}
