/**
 * The same kernel and initramfs on this machine and on others: how each is started, and which are there. QEMU's
 * processor is translated to native code (TCG) in every case, as ours is emulated; no hardware virtualization.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { guestCache } from '../fetch-guests';
import { findBarePeers, type BarePeer } from './bare';

export interface Boot {
  readonly kernel: string;
  readonly ramdisk: string;
  /** MiB of the domain, or of the machine when there is no hypervisor. */
  readonly memory: number;
}

export interface Peer {
  readonly name: string;
  /** What the guest finds at /sys/hypervisor/type. */
  readonly hypervisor: 'xen' | '';
  readonly command: string;
  args(boot: Boot): readonly string[];
}

export interface Peers {
  /** Machines that boot the same kernel. */
  readonly all: readonly Peer[];
  /** Machines that run 32-bit kernels. */
  readonly bare: readonly BarePeer[];
  /** Which are not here, and what would bring them; by what they are peers of. */
  readonly missing: { readonly boot: readonly string[]; readonly kernels: readonly string[] };
  has(name: string): boolean;
  dispose(): void;
}

const CLI = join(guestCache, '..', '..', 'dist', 'cli.js');

export const ours = (...more: readonly string[]): Peer => ({
  name: 'Hyperstep',
  hypervisor: 'xen',
  command: process.execPath,
  args: ({ kernel, ramdisk, memory }) => [
    CLI, 'run', kernel, '--ramdisk', ramdisk, '--memory', `${memory.toString()}M`,
    // As TCG, which unpacks at each boot.
    '--cmdline', 'console=hvc0', '--quiet', '--no-keep', ...more,
  ], // prettier-ignore
});

/** 7.2 breaks 64-bit PV under Xen with SMAP; without a network card there is no wait for PXE. */
const MACHINE = ['-accel', 'tcg', '-cpu', 'max,-smap', '-smp', '1', '-nic', 'none', '-display', 'none'];
const CONSOLE = ['-serial', 'stdio', '-no-reboot'];
const QEMU = 'qemu-system-x86_64';
/** What Xen keeps for itself, generously. */
const XEN_ROOM = 256;

/** What the package xen-hypervisor-4.17-amd64 installs, or `fetch-guests.ts xen` unpacks. */
function findXen(): string | undefined {
  for (const folder of ['/boot', join(guestCache, 'xen-hypervisor-4.17-amd64', 'boot')]) {
    if (!existsSync(folder)) continue;
    const file = readdirSync(folder).find((name) => /^xen-4\.17.*\.gz$/.test(name));
    if (file !== undefined) return join(folder, file);
  }
  return undefined;
}

/** Peers of the boot, and a folder of theirs to remove. */
function findBooting(without: readonly string[]): {
  readonly all: readonly Peer[];
  readonly missing: readonly string[];
  readonly folder?: string;
} {
  const { status, stdout } = spawnSync(QEMU, ['--version'], { encoding: 'utf8' });
  if (status !== 0)
    return { all: [], missing: [`QEMU TCG, alone and under Xen: there is no ${QEMU} (Debian package qemu-system-x86)`] }; // prettier-ignore
  const version = /version ([\d.]+)/.exec(stdout)?.[1] ?? '?';
  const bare: Peer = {
    name: `QEMU ${version} TCG`,
    hypervisor: '',
    command: QEMU,
    args: ({ kernel, ramdisk, memory }) => [
      ...MACHINE, '-m', memory.toString(), ...CONSOLE,
      '-kernel', kernel, '-initrd', ramdisk, '-append', 'console=ttyS0',
    ], // prettier-ignore
  };
  if (without.includes('xen')) return { all: [bare], missing: ['real Xen under QEMU TCG: left out'] };
  const packed = findXen();
  if (packed === undefined) {
    const fetch = 'xen-hypervisor-4.17-amd64 is not installed (npx tsx scripts/fetch-guests.ts xen)';
    return { all: [bare], missing: [`real Xen under QEMU TCG: ${fetch}`] };
  }
  // QEMU loads a multiboot image only when it is not compressed.
  const folder = mkdtempSync(join(tmpdir(), 'bench-xen-'));
  const xen = join(folder, 'xen');
  writeFileSync(xen, gunzipSync(readFileSync(packed)));
  const dom0: Peer = {
    name: `Xen 4.17 + dom0, QEMU ${version} TCG`,
    hypervisor: 'xen',
    command: QEMU,
    args: ({ kernel, ramdisk, memory }) => [
      ...MACHINE, '-m', (memory + XEN_ROOM).toString(), ...CONSOLE,
      '-kernel', xen, '-append', 'console=com1 com1=115200,8n1', '-initrd', `${kernel} console=hvc0,${ramdisk}`,
    ], // prettier-ignore
  };
  return { all: [dom0, bare], missing: [], folder };
}

export function findPeers(without: readonly string[]): Peers {
  const booting = findBooting(without);
  const bare = findBarePeers(without);
  const names = new Set(bare.found.map((peer) => peer.key));
  return {
    all: booting.all,
    bare: bare.found,
    missing: { boot: booting.missing, kernels: bare.missing },
    has: (name) => names.has(name),
    dispose: () => {
      if (booting.folder !== undefined) rmSync(booting.folder, { recursive: true, force: true });
    },
  };
}
