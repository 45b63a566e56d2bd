/** The stock kernel to its init and to a shell: here, as dom0 of real Xen under TCG, and without Xen under TCG. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { RunSummary } from '../../src/cli/run';
import { cpio, directory, node, program } from '../make-initramfs';
import { findGuest } from '../fetch-guests';
import type { GoalName } from './goals';
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
read hypervisor < /sys/hypervisor/type
echo "${INIT} on '$hypervisor'."
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

/** One of the machines compared. */
interface Booting {
  readonly peer: Peer;
  /** Of each boot, when each mark was passed. */
  readonly runs: (readonly Passing[])[];
  failed?: string;
}

const GOAL_OF: Readonly<Record<Peer['hypervisor'], GoalName>> = { xen: 'bootXen', '': 'bootBare' };

function compare(report: Report, mine: Booting, others: readonly Booting[]): void {
  for (const kind of ['cpu', 'wall'] as const) {
    const at = ({ runs }: Booting, mark: number): number[] => runs.map((r) => r[mark]?.[kind] ?? NaN);
    if (at(mine, 0).some(Number.isNaN)) continue;
    WHAT.forEach((what, mark) => {
      const said = `to ${what}, ${kind === 'cpu' ? 'processor time' : 'wall time'}`;
      for (const it of [mine, ...others]) report.figure(`${said}: ${it.peer.name}`, 's', at(it, mark));
      for (const it of others) {
        const ratio = median(at(mine, mark)) / median(at(it, mark));
        const goal = kind === 'cpu' && what === 'init' ? GOAL_OF[it.peer.hypervisor] : undefined;
        report.derived(`${said}: ours in that of ${it.peer.name}`, '×', ratio, it.runs.length, goal);
      }
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
  const mine: Booting = { peer: ours('--until', SHELL, '--json', json), runs: [] };
  const others = peers.all.map((peer): Booting => ({ peer, runs: [] }));
  const resident: NonNullable<ReturnType<typeof residentBytes>>[] = [];
  const once = async ({ peer, runs: into }: Booting): Promise<void> => {
    const own = peer === mine.peer;
    const { marks, text } = await passMarks({
      command: peer.command,
      args: peer.args({ kernel, ramdisk, memory: MEMORY }),
      marks: [INIT, SHELL],
      limit: 600,
      ownEnd: own,
      atEnd: (pid) => {
        const bytes = own ? residentBytes(pid) : undefined;
        if (bytes !== undefined) resident.push(bytes);
      },
    });
    const on = new RegExp(`${INIT} on '(\\w*)'`).exec(text)?.[1];
    if (on !== peer.hypervisor) throw new Error(`its guest finds the hypervisor '${on ?? '?'}'`);
    into.push(marks);
  };
  for (let i = 0; i < runs; i++) {
    for (const it of [mine, ...others]) {
      if (it.failed !== undefined) continue;
      report.progress(`boot ${(i + 1).toString()} of ${runs.toString()}, ${it.peer.name}`);
      try {
        await once(it);
      } catch (error) {
        it.failed = error instanceof Error ? error.message : String(error);
        report.missing(`${it.peer.name}: ${it.failed}`);
      }
    }
  }
  for (const peer of peers.missing.boot) report.missing(peer);
  if (mine.runs.length === 0) return;
  const summary = JSON.parse(readFileSync(json, 'utf8')) as RunSummary;
  report.derived('guest instructions to the shell', 'instr', summary.retired, mine.runs.length);
  const calls = summary.hypercalls.reduce((sum, c) => sum + c.count, 0);
  report.derived('hypercalls to the shell', 'calls', calls, mine.runs.length);
  const traps = summary.traps.reduce((sum, t) => sum + t.count, 0);
  report.derived('emulated instructions, faults and upcalls to the shell', 'traps', traps, mine.runs.length);
  compare(
    report,
    mine,
    others.filter((it) => it.runs.length > 0),
  );
  if (resident.length === 0) report.missing('memory: /proc does not tell');
  else {
    const MiB = 2 ** 20;
    const each = (what: 'others' | 'files' | 'largest' | 'peak'): number[] =>
      resident.map((r) => r[what] / MiB);
    report.figure("memory at the shell, beside the machine's own", 'MiB', each('others'), 'memory');
    report.figure("… of which pages of files, Node's program above all, which its processes share", 'MiB', each('files')); // prettier-ignore
    report.figure("the machine's memory, resident", 'MiB', each('largest'));
    report.figure('peak of all, the guest included', 'MiB', each('peak'));
  }
}
