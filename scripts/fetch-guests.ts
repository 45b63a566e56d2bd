/**
 * Fetches the real guests that tests boot: `npx tsx scripts/fetch-guests.ts [--update] [guest…]`.
 *
 * Debian packages come through the machine's own `apt-get download` (which checks their hashes and
 * needs no root) and are unpacked with `dpkg -x` into `.cache/guests/<package>/`, which git ignores.
 * A guest already there is left alone unless `--update` is given.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';

export const guestCache = resolve(__dirname, '..', '.cache', 'guests');

interface GuestSource {
  /** Package asked for; also the folder's name in the cache. */
  readonly package: string;
  /** Where the package is only a pointer: what its real dependency's name looks like. */
  readonly dependency?: RegExp;
  /** Folder and file name of the guest inside the unpacked package. */
  readonly folder: string;
  readonly file: RegExp;
  /** Fetched only when named: no test needs it. */
  readonly optional?: true;
  /** What is unpacked of a package that is larger than anyone wants on disk: patterns of tar(1). */
  readonly only?: readonly string[];
}

/** Every real guest by the short name tests use. Order is fetching order: small ones first. */
export const guestSources = {
  grub: { package: 'grub-xen-host', folder: 'usr/lib/grub-xen', file: /^grub-x86_64-xen\.bin$/ },
  busybox: { package: 'busybox-static', folder: 'bin', file: /^busybox$/ },
  linux: {
    package: 'linux-image-amd64',
    dependency: /^linux-image-\d[\w.+-]*-amd64$/,
    folder: 'boot',
    file: /^vmlinuz-/,
  },
  'linux-cloud': {
    package: 'linux-image-cloud-amd64',
    dependency: /^linux-image-\d[\w.+-]*-cloud-amd64$/,
    folder: 'boot',
    file: /^vmlinuz-/,
  },
  /** Real Xen, which the bench boots the same kernel on. */
  xen: {
    package: 'xen-hypervisor-4.17-amd64',
    folder: 'boot',
    file: /^xen-4\.17.*\.gz$/,
    optional: true,
  },
  /** The debugging information of `linux`: 860 MB to download, 650 MB of it kept. */
  'linux-debug': {
    package: 'linux-image-amd64-dbg',
    dependency: /^linux-image-\d[\w.+-]*-amd64-dbg$/,
    folder: 'usr/lib/debug/boot',
    file: /^vmlinux-/,
    optional: true,
    only: ['./usr/lib/debug/boot/vmlinux-*', '*/xen-blkfront.ko', '*/xen-netfront.ko', '*/ext4.ko'],
  },
} as const satisfies Record<string, GuestSource>;

export type GuestName = keyof typeof guestSources;
export const guestNames = Object.keys(guestSources) as GuestName[];

/** The guest's file in the cache, or undefined when it has not been fetched. */
export function findGuest(name: GuestName): string | undefined {
  const source: GuestSource = guestSources[name];
  const folder = join(guestCache, source.package, source.folder);
  if (!existsSync(folder)) return undefined;
  const file = readdirSync(folder).find((entry) => source.file.test(entry));
  return file === undefined ? undefined : join(folder, file);
}

/** Why this machine cannot fetch guests, or undefined when it can. */
export function whyNoFetching(): string | undefined {
  for (const tool of ['apt-get', 'apt-cache', 'dpkg']) {
    if (spawnSync(tool, ['--version'], { stdio: 'ignore' }).status !== 0) {
      return `this is not a Debian machine (no ${tool})`;
    }
  }
  const architecture = execFileSync('dpkg', ['--print-architecture'], { encoding: 'utf8' }).trim();
  return architecture === 'amd64'
    ? undefined
    : `packages for amd64 are needed, apt here serves ${architecture}`;
}

function depends(name: string): string[] {
  const shown = spawnSync('apt-cache', ['--no-all-versions', 'show', name], { encoding: 'utf8' });
  const line = /^Depends: (.*)$/m.exec(shown.stdout);
  return (line?.[1] ?? '').split(/[,|]/).map((entry) => entry.trim().replace(/ .*$/, ''));
}

function isKnown(name: string): boolean {
  const policy = spawnSync('apt-cache', ['policy', name], { encoding: 'utf8' });
  return /Candidate: (?!\(none\))/.test(policy.stdout);
}

/** apt's lists can be empty on a fresh machine; only root may fill them. */
function refreshLists(say: (line: string) => void): void {
  if (process.getuid?.() !== 0) return;
  say('apt lists are empty or stale: apt-get update');
  spawnSync('apt-get', ['update', '-qq'], { stdio: 'inherit' });
}

function resolvePackage(source: GuestSource): string | undefined {
  if (!isKnown(source.package)) return undefined;
  const { dependency } = source;
  return dependency === undefined
    ? source.package
    : depends(source.package).find((name) => dependency.test(name));
}

function fetchGuest(name: GuestName, say: (line: string) => void): string {
  const source: GuestSource = guestSources[name];
  mkdirSync(guestCache, { recursive: true });
  const work = mkdtempSync(join(guestCache, '.fetching-'));
  try {
    const download = (): string | undefined => {
      const real = resolvePackage(source);
      if (real === undefined) return undefined;
      const got = spawnSync('apt-get', ['download', '-q', '-o', 'APT::Sandbox::User=root', real], {
        cwd: work,
        stdio: ['ignore', 'ignore', 'pipe'],
        encoding: 'utf8',
      });
      if (got.status !== 0) say(`${name}: apt-get download ${real}: ${got.stderr.trim()}`);
      return readdirSync(work).find((entry) => entry.endsWith('.deb'));
    };
    let deb = download();
    if (deb === undefined) {
      refreshLists(say);
      deb = download();
    }
    if (deb === undefined) throw new Error(`${name}: apt has no package ${source.package} to download`);
    const tree = join(work, 'tree');
    unpack(join(work, deb), tree, source.only);
    writeFileSync(join(tree, '.package'), `${deb}\n`);
    const home = join(guestCache, source.package);
    rmSync(home, { recursive: true, force: true });
    renameSync(tree, home);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  const found = findGuest(name);
  if (found === undefined) {
    throw new Error(
      `${name}: package ${source.package} has no ${source.folder}/ file like ${String(source.file)}`,
    );
  }
  return found;
}

function unpack(deb: string, tree: string, only: readonly string[] | undefined): void {
  if (only === undefined) {
    execFileSync('dpkg', ['-x', deb, tree]);
    return;
  }
  mkdirSync(tree, { recursive: true });
  const script = 'dpkg --fsys-tarfile "$1" | tar -x -C "$2" --wildcards --no-anchored "${@:3}"';
  execFileSync('bash', ['-o', 'pipefail', '-c', script, 'unpack', deb, tree, ...only]);
}

/** Fetches what is missing (or everything named, with `update`). Says a line for each guest. */
export function fetchGuests(
  names: readonly GuestName[],
  options: { update?: boolean; say: (line: string) => void },
): { missing: GuestName[] } {
  const { say } = options;
  const missing: GuestName[] = [];
  const obstacle = whyNoFetching();
  for (const name of names) {
    const there = findGuest(name);
    if (there !== undefined && options.update !== true) {
      const stamp = join(guestCache, guestSources[name].package, '.package');
      say(`${name}: already there (${existsSync(stamp) ? readFileSync(stamp, 'utf8').trim() : there})`);
      continue;
    }
    if (obstacle !== undefined) {
      say(`${name}: not fetched: ${obstacle}`);
      missing.push(name);
      continue;
    }
    try {
      const file = fetchGuest(name, say);
      say(`${name}: fetched ${file}`);
    } catch (error) {
      say(`${name}: not fetched: ${error instanceof Error ? error.message : String(error)}`);
      missing.push(name);
    }
  }
  return { missing };
}

function main(args: readonly string[]): number {
  const unknown = args.filter((arg) => arg !== '--update' && !(arg in guestSources));
  if (unknown.length > 0) {
    process.stderr.write(`unknown guest ${unknown.join(', ')}; known: ${guestNames.join(', ')}\n`);
    return 2;
  }
  const named = guestNames.filter((name) => args.includes(name));
  const needed = guestNames.filter((name) => !('optional' in guestSources[name]));
  const { missing } = fetchGuests(named.length > 0 ? named : needed, {
    update: args.includes('--update'),
    say: (line) => process.stdout.write(`${line}\n`),
  });
  // Away from CI a machine without the guests still runs every other test.
  return missing.length > 0 && process.env['CI'] === 'true' ? 1 : 0;
}

if (require.main === module) process.exitCode = main(process.argv.slice(2));
