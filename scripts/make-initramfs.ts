/**
 * Makes what a Linux guest needs to show its PV disk, from the guests in the cache:
 * `npx tsx scripts/make-initramfs.ts FOLDER` writes `initrd.gz` (busybox, the disk's modules, an /init that
 * checks the disk), `disk.ext4` and the files' checksums. The archive is the "newc" format of cpio(5); no tool,
 * no root and no loop device are needed, but for mke2fs.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { findGuest, guestCache } from './fetch-guests';

interface Entry {
  readonly name: string;
  /** st_mode */
  readonly mode: number;
  readonly data?: Uint8Array;
  /** Major and minor number of a device node. */
  readonly device?: readonly [number, number];
}

export const directory = (name: string): Entry => ({ name, mode: 0o040755 });
export const program = (name: string, data: Uint8Array): Entry => ({ name, mode: 0o100755, data });
export const node = (name: string, major: number, minor: number): Entry => ({
  name,
  mode: 0o020600,
  device: [major, minor],
});

/** A "newc" archive (the kernel's Documentation/driver-api/early-userspace/buffer-format.rst). */
export function cpio(entries: readonly Entry[]): Buffer {
  const parts: Buffer[] = [];
  const padded = (data: Uint8Array): void => {
    parts.push(Buffer.from(data), Buffer.alloc(-data.length & 3));
  };
  [...entries, { name: 'TRAILER!!!', mode: 0 }].forEach((entry: Entry, i) => {
    const { name, mode, data = new Uint8Array(0), device = [0, 0] } = entry;
    const nameBytes = Buffer.from(`${name}\0`);
    // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
    const numbers = [i + 1, mode, 0, 0, 1, 0, data.length, 0, 0, ...device, nameBytes.length, 0];
    const header = `070701${numbers.map((n) => n.toString(16).padStart(8, '0')).join('')}`;
    padded(Buffer.concat([Buffer.from(header), nameBytes]));
    padded(data);
  });
  return Buffer.concat(parts);
}

/** In the order in which they are loaded. */
const DISK_MODULES = [
  'drivers/block/xen-blkfront',
  'crypto/crc32c_generic',
  'lib/crc16',
  'fs/mbcache',
  'fs/jbd2/jbd2',
  'fs/ext4/ext4',
];

/** A file of a kernel module's, whatever Debian compressed it with. */
function moduleBytes(folder: string, path: string): Uint8Array {
  const file = join(folder, `${path}.ko`);
  for (const [suffix, tool] of [
    ['', ''],
    ['.xz', 'xz'],
    ['.zst', 'zstd'],
  ] as const) {
    try {
      return tool === ''
        ? readFileSync(file)
        : execFileSync(tool, ['-dc', file + suffix], { maxBuffer: 2 ** 28 });
    } catch (error) {
      if (suffix === '.zst') throw error;
    }
  }
  throw new Error(`there is no module ${path}`);
}

const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** Loads the modules, mounts what every Linux has, runs `commands` and ends the machine. */
const initScript = (commands: string, modules: readonly string[], disk: boolean): string => `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc none /proc; mount -t sysfs none /sys; mount -t devtmpfs none /dev
echo 1 > /proc/sys/kernel/printk
for m in ${modules.map(nameOf).join(' ')}; do insmod /lib/$m.ko || echo "FAILED insmod $m"; done
${disk ? 'i=0; while [ ! -b /dev/xvda ] && [ $i -lt 50 ]; do sleep 0.1; i=$((i+1)); done' : ''}
${commands}
poweroff -f
`;

export interface InitramfsOptions {
  /** Whether the modules of disk and file system are wanted, and /dev/xvda is waited for. Default true. */
  readonly disk?: boolean;
  /** Kernel modules beyond the disk's and ext4, as paths below kernel/, in the order in which they are loaded. */
  readonly modules?: readonly string[];
  /** Programs for /bin, by name. */
  readonly programs?: Readonly<Record<string, Uint8Array>>;
}

/** @param commands shell lines that /init runs once the disks are there */
export function makeInitramfs(
  commands: string,
  { disk = true, modules: more = [], programs = {} }: InitramfsOptions = {},
): Buffer {
  const modules = [...(disk ? DISK_MODULES : []), ...more];
  const busybox = findGuest('busybox');
  if (busybox === undefined || findGuest('linux') === undefined)
    throw new Error('fetch the guests first: npx tsx scripts/fetch-guests.ts linux busybox');
  const all = join(guestCache, 'linux-image-amd64', 'lib', 'modules');
  const [release] = readdirSync(all);
  if (release === undefined) throw new Error(`${all} is empty`);
  const folder = join(all, release, 'kernel');
  return gzipSync(
    cpio([
      ...['bin', 'dev', 'lib', 'mnt', 'proc', 'sys', 'tmp'].map(directory),
      node('dev/console', 5, 1),
      program('bin/busybox', readFileSync(busybox)),
      program('init', Buffer.from(initScript(commands, modules, disk))),
      ...Object.entries(programs).map(([name, bytes]) => program(`bin/${name}`, bytes)),
      ...modules.map((m) => program(`lib/${nameOf(m)}.ko`, moduleBytes(folder, m))),
    ]),
  );
}

/** Why no file system can be made here, or undefined. */
export const whyNoDisk = (): string | undefined =>
  spawnSync('mke2fs', ['-V'], { stdio: 'ignore' }).status === 0
    ? undefined
    : 'there is no mke2fs (package e2fsprogs)';

/** An ext4 image with these files, by name. */
export function makeDisk(
  image: string,
  files: Readonly<Record<string, Uint8Array>>,
  mebibytes: number,
): void {
  const tree = mkdtempSync(join(tmpdir(), 'disk-'));
  try {
    for (const [name, bytes] of Object.entries(files)) writeFileSync(join(tree, name), bytes);
    execFileSync('mke2fs', ['-q', '-F', '-t', 'ext4', '-d', tree, image, `${mebibytes}M`], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  } finally {
    rmSync(tree, { recursive: true, force: true });
  }
}

export const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');

/** Bytes that no file system and no zero page could be taken for. */
export function sampleBytes(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let x = 1;
  for (let i = 0; i < length; i++) {
    x = (Math.imul(x, 1_103_515_245) + 12_345) >>> 0;
    bytes[i] = x >>> 24;
  }
  return bytes;
}

export const DISK_CHECK = `
echo "SECTORS $(cat /sys/block/xvda/size)"
mount -t ext4 /dev/xvda /mnt && echo MOUNTED
echo "READ $(md5sum < /mnt/sample)"
cp /mnt/sample /mnt/copy && cat /mnt/sample >> /mnt/copy && sync
echo 3 > /proc/sys/vm/drop_caches
echo "WROTE $(md5sum < /mnt/copy)"
rm /mnt/sample; sync
umount /mnt && mount -t ext4 /dev/xvda /mnt && echo "AGAIN $(md5sum < /mnt/copy)" && ls /mnt
umount /mnt && echo UNMOUNTED
`;

function main(folder: string): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'initrd.gz'), makeInitramfs(DISK_CHECK));
  const why = whyNoDisk();
  if (why !== undefined) {
    process.stderr.write(`no disk image: ${why}\n`);
    return;
  }
  const sample = sampleBytes(1_000_000);
  makeDisk(join(folder, 'disk.ext4'), { sample }, 16);
  process.stdout.write(
    `sample ${md5(sample)}, twice ${md5(Buffer.concat([sample, sample]))}; boot with:\n` +
      `  hyperstep run VMLINUZ --ramdisk ${folder}/initrd.gz --disk ${folder}/disk.ext4 --memory 256M --cmdline console=hvc0\n`,
  );
}

if (require.main === module) {
  const [folder] = process.argv.slice(2);
  if (folder === undefined) {
    process.stderr.write('usage: npx tsx scripts/make-initramfs.ts FOLDER\n');
    process.exitCode = 2;
  } else main(folder);
}
