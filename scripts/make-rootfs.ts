/**
 * Makes a small Debian userland from Debian's own packages: `npx tsx scripts/make-rootfs.ts [--update]` leaves
 * `.cache/rootfs/debian.ext4` and `.cache/rootfs/debian.squashfs`, which a guest can have as its PV disks.
 *
 * apt resolves what the named packages need against an empty system and downloads it (about 22 MB); no root, no
 * chroot and no loop device are needed. Packages are unpacked, not configured: what their maintainer scripts would
 * have done and a shell needs (users, the name awk) is done here.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { whyNoFetching } from './fetch-guests';

/** A shell and what it is of use with; bc and sqlite3 are programs that reckon and that write to a disk. */
const PACKAGES = [
  'base-files', 'base-passwd', 'bash', 'bc', 'coreutils', 'debianutils', 'diffutils', 'findutils', 'grep', 'gzip',
  'hostname', 'libc-bin', 'mawk', 'mount', 'ncurses-base', 'perl-base', 'procps', 'sed', 'sqlite3', 'tar',
  'usr-is-merged', 'util-linux',
]; // prettier-ignore

/** Nothing reads these in a guest that nobody sits at. */
const LEFT_OUT = ['usr/share/doc', 'usr/share/info', 'usr/share/locale', 'usr/share/man'];

/** Of the ext4 image: the files take about 75 MiB. */
const EXT4_SIZE = '192M';

const folder = resolve(__dirname, '..', '.cache', 'rootfs');
export interface Rootfs {
  readonly ext4: string;
  readonly squashfs: string;
}
export const rootfs: Rootfs = {
  ext4: join(folder, 'debian.ext4'),
  squashfs: join(folder, 'debian.squashfs'),
};

const runs = (tool: string, argument: string): boolean =>
  spawnSync(tool, [argument], { stdio: 'ignore' }).error === undefined;

/** Why the images cannot be made here, or undefined. */
export function whyNoRootfs(): string | undefined {
  const obstacle = whyNoFetching();
  if (obstacle !== undefined) return obstacle;
  if (!runs('mke2fs', '-V')) return 'there is no mke2fs (package e2fsprogs)';
  if (!runs('mksquashfs', '-version')) return 'there is no mksquashfs (package squashfs-tools)';
  return undefined;
}

/** @returns the packages' files, in no order that matters */
function download(work: string): string[] {
  const archives = join(work, 'archives');
  mkdirSync(join(archives, 'partial'), { recursive: true });
  const status = join(work, 'status');
  writeFileSync(status, '');
  const get = (): string | undefined => {
    const got = spawnSync(
      'apt-get',
      [
        '-qq', '-y', '--download-only',
        '-o', `Dir::State::status=${status}`,
        '-o', `Dir::Cache::archives=${archives}`,
        '-o', 'Debug::NoLocking=true',
        '-o', 'APT::Sandbox::User=root',
        '-o', 'APT::Install-Recommends=false',
        'install', ...PACKAGES,
      ], // prettier-ignore
      { encoding: 'utf8', stdio: ['ignore', 'ignore', 'pipe'] },
    );
    return got.status === 0 ? undefined : got.stderr.trim();
  };
  let problem = get();
  if (problem !== undefined && process.getuid?.() === 0) {
    // apt's lists can be empty or old on a fresh machine; only root may fill them.
    spawnSync('apt-get', ['update', '-qq'], { stdio: 'inherit' });
    problem = get();
  }
  if (problem !== undefined) throw new Error(`apt-get: ${problem}`);
  return readdirSync(archives)
    .filter((name) => name.endsWith('.deb'))
    .sort()
    .map((name) => join(archives, name));
}

function unpack(packages: readonly string[], tree: string): void {
  // /bin and its like are links into /usr, as in every Debian since 12, and stay so.
  for (const name of ['bin', 'sbin', 'lib', 'lib64']) {
    mkdirSync(join(tree, 'usr', name), { recursive: true });
    symlinkSync(`usr/${name}`, join(tree, name));
  }
  const limit = { maxBuffer: 2 ** 28 };
  const known: string[] = [];
  for (const deb of packages) {
    const files = execFileSync('dpkg-deb', ['--fsys-tarfile', deb], limit);
    execFileSync('tar', ['-x', '--keep-directory-symlink', '-C', tree], { input: files });
    const fields = execFileSync('dpkg-deb', ['--field', deb], { encoding: 'utf8' });
    known.push(`${fields.trimEnd()}\nStatus: install ok unpacked\n`);
  }
  for (const name of LEFT_OUT) rmSync(join(tree, name), { recursive: true, force: true });
  // What `dpkg --list` shows.
  mkdirSync(join(tree, 'var/lib/dpkg'), { recursive: true });
  writeFileSync(join(tree, 'var/lib/dpkg/status'), known.join('\n'));
  for (const name of ['passwd', 'group'])
    copyFileSync(join(tree, `usr/share/base-passwd/${name}.master`), join(tree, 'etc', name));
  symlinkSync('mawk', join(tree, 'usr/bin/awk'));
}

/** Makes the images where they are missing. @throws Error that says why that cannot be done */
export function makeRootfs({ update = false } = {}): Rootfs {
  if (!update && existsSync(rootfs.ext4) && existsSync(rootfs.squashfs)) return rootfs;
  const why = whyNoRootfs();
  if (why !== undefined) throw new Error(`no root file system can be made here: ${why}`);
  mkdirSync(folder, { recursive: true });
  const work = mkdtempSync(join(folder, '.making-'));
  try {
    const tree = join(work, 'tree');
    unpack(download(work), tree);
    const ext4 = join(work, 'ext4');
    const squashfs = join(work, 'squashfs');
    execFileSync('mke2fs', ['-q', '-t', 'ext4', '-E', 'root_owner=0:0', '-d', tree, ext4, EXT4_SIZE], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    execFileSync('mksquashfs', [tree, squashfs, '-quiet', '-no-progress', '-all-root'], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    renameSync(ext4, rootfs.ext4);
    renameSync(squashfs, rootfs.squashfs);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return rootfs;
}

if (require.main === module) {
  const { ext4, squashfs } = makeRootfs({ update: process.argv.includes('--update') });
  process.stdout.write(`${ext4}\n${squashfs}\n`);
}
