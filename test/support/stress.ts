// The stress program (test/guests/stress): built by this machine's compiler, for guests and for the host itself.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { makeDisk, makeInitramfs } from '../../scripts/make-initramfs';
import type { TraceSummary } from '../../src/machine/target';
import { domain, plain, watch } from './machines';

const sources = join(__dirname, '..', 'guests', 'stress');

/** Why it cannot be built or run here, or undefined. */
export function whyNoStress(): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'this is not Linux on x86-64';
  const cc = spawnSync('cc', ['-dumpmachine'], { encoding: 'utf8' });
  return cc.status === 0 ? undefined : 'there is no cc';
}

/** @returns the program's path */
export function buildStress(folder: string): string {
  const program = join(folder, 'stress');
  const files = readdirSync(sources)
    .filter((name) => name.endsWith('.c'))
    .map((name) => join(sources, name));
  const flags = [
    '-std=gnu11',
    '-O2',
    '-Wall',
    '-Wextra',
    '-Werror',
    '-static',
    '-pthread',
    '-fno-strict-aliasing',
  ];
  execFileSync('cc', [...flags, '-o', program, ...files]);
  return program;
}

/** What it says on this machine: its own lines, and that of looking at its files once more. */
export function runStress(
  program: string,
  folder: string,
  scale: number,
  parts: readonly string[] = [],
): string {
  const files = join(folder, 'files');
  mkdirSync(files, { recursive: true });
  const run = (...words: string[]): string => {
    const { status, stdout } = spawnSync(program, words, { encoding: 'utf8', timeout: 300_000 });
    assert.equal(status, 0, stdout);
    return stdout;
  };
  return run(files, String(scale), ...parts) + run('verify', files);
}

const MIB = 2 ** 20;

export interface GuestRun {
  /** The program's lines, and what is behind them when something went wrong. */
  readonly said: string;
  readonly console: string;
  readonly processors: number;
  readonly retired: bigint;
  readonly calls: TraceSummary['calls'];
  readonly traps: TraceSummary['traps'];
}

/** The same in a guest: Debian's kernel, the files on an ext4 disk that the guest mounts anew in between. */
export async function runStressInGuest(
  kernel: string,
  program: string,
  folder: string,
  { scale, vcpus, parts = [] }: { scale: number; vcpus: number; parts?: readonly string[] },
): Promise<GuestRun> {
  const image = join(folder, 'stress.ext4');
  makeDisk(image, {}, 64);
  const commands = `
echo "PROCESSORS $(nproc)"
mount -t ext4 /dev/xvda /mnt || echo "FAILED mount"
mkdir /mnt/files
echo "STRESS BEGIN"
stress /mnt/files ${scale} ${parts.join(' ')}
umount /mnt && mount -t ext4 /dev/xvda /mnt
stress verify /mnt/files
echo "STRESS END"
umount /mnt
echo "PROBLEMS $(dmesg | grep -ciE 'ext4-fs error|I/O error|oops|BUG:|WARNING:|soft lockup|rcu.*stall')"
`;
  const { target, console: text } = await watch(
    domain(kernel, {
      ramdisk: {
        name: 'initrd',
        bytes: makeInitramfs(commands, { programs: { stress: readFileSync(program) } }),
      },
      cmdline: 'console=hvc0 quiet',
      memory: 256 * MIB,
      vcpus,
      disks: [
        { vdev: 'xvda', image: { name: image, path: image }, format: 'raw', access: 'overlay', cdrom: false },
      ],
    }),
  );
  const stop = await target.run({});
  const { retired } = await target.now();
  const { calls, traps } = await target.traceSummary();
  await target.dispose();
  const seen = plain(text());
  assert.ok(stop.reason.kind === 'shutdown' && stop.reason.reason === 'poweroff', seen);
  assert.match(seen, /^PROBLEMS 0$/m);
  return {
    said: /^STRESS BEGIN\n([^]*)^STRESS END$/m.exec(seen)?.[1] ?? assert.fail(seen),
    console: seen,
    processors: Number(/^PROCESSORS (\d+)$/m.exec(seen)?.[1]),
    retired,
    calls,
    traps,
  };
}
