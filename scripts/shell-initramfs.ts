/**
 * Makes a ramdisk with which a Linux guest comes up to a shell on its console, as busybox's own init has it:
 * `npx tsx scripts/shell-initramfs.ts FILE`. The shell has the console for its controlling terminal, so that Ctrl-C
 * and job control work, and is started again when it ends. `poweroff`, `reboot` and `halt` do what they say.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { findGuest } from './fetch-guests';
import { cpio, directory, node, program } from './make-initramfs';

const START = `#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
hostname guest
`;

/** inittab of busybox: a login shell on hvc0, again and again. */
const INITTAB = `::sysinit:/etc/start
hvc0::respawn:-/bin/sh
::ctrlaltdel:/bin/reboot
`;

/**
 * A Xen console has no size. `resize` (busybox as Debian builds it has none) asks the terminal at the other end where
 * its cursor is after a move far beyond the edge, and leaves the cursor where it was.
 */
export const RESIZE = String.raw`resize() {
  old=$(stty -g)
  stty raw -echo min 0 time 20
  printf '\0337\033[999;999H\033[6n'
  IFS= read -r -d R at
  printf '\0338'
  stty "$old"
  at=${'$'}{at##*[}
  [ -n "$at" ] && stty rows ${'$'}{at%;*} columns ${'$'}{at#*;}
}
`;
const PROFILE = `export PATH=/bin HOME=/root TERM=xterm\n${RESIZE}`;

export function shellInitramfs(): Buffer {
  const busybox = findGuest('busybox');
  if (busybox === undefined) throw new Error('fetch it first: npx tsx scripts/fetch-guests.ts busybox');
  const file = (name: string, text: string): Parameters<typeof cpio>[0][number] => ({
    name,
    mode: 0o100644,
    data: Buffer.from(text),
  });
  return gzipSync(
    cpio([
      ...['bin', 'dev', 'etc', 'proc', 'root', 'sys', 'tmp'].map(directory),
      node('dev/console', 5, 1),
      program('bin/busybox', readFileSync(busybox)),
      { name: 'init', mode: 0o120777, data: Buffer.from('bin/busybox') },
      program('etc/start', Buffer.from(START)),
      file('etc/inittab', INITTAB),
      file('etc/profile', PROFILE),
    ]),
  );
}

if (require.main === module) {
  const [file] = process.argv.slice(2);
  if (file === undefined) {
    process.stderr.write('usage: npx tsx scripts/shell-initramfs.ts FILE\n');
    process.exitCode = 2;
  } else writeFileSync(file, shellInitramfs());
}
