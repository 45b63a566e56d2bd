/** Machines that run 32-bit kernels: which are there, and the kernels of kernels.c as one that needs nothing else. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { guestCache } from '../fetch-guests';
import { findBochs } from './bochs';

const sources = join(guestCache, '..', '..', 'scripts', 'bench');
const cache = join(guestCache, '..', 'bench');

export interface BarePeer {
  /** As `--without` has it. */
  readonly key: string;
  readonly name: string;
  readonly command: string;
  /** So slow that one run of each kernel has to do. */
  readonly once?: true;
  args(image: string): readonly string[];
}

/** A multiboot kernel that runs each of the kernels so many times. Undefined when gcc cannot make it. */
export function buildBare(folder: string, rounds: number): string | undefined {
  const image = join(folder, `kernels32-${rounds.toString()}`);
  const flags =
    '-m32 -O2 -msse2 -mfpmath=sse -ffreestanding -fno-pic -no-pie -fno-stack-protector -nostdlib -static';
  const linking = ['-Wl,--build-id=none', `-Wl,-T,${join(sources, 'bare.ld')}`];
  const { status } = spawnSync(
    'gcc',
    [...flags.split(' '), ...linking, `-DBARE=${rounds}`, '-o', image, join(sources, 'kernels.c')],
    { stdio: 'ignore' },
  );
  return status === 0 ? image : undefined;
}

/** Of npm; BSD-2-Clause. Fetched by whoever runs the bench, and no part of anything else. */
const V86 = 'v86@0.5.462';

function findV86(): BarePeer | undefined {
  const folder = join(cache, V86);
  const build = join(folder, 'package', 'build');
  if (!existsSync(join(build, 'v86.wasm'))) {
    mkdirSync(folder, { recursive: true });
    const packed = spawnSync('npm', ['pack', V86], { cwd: folder, encoding: 'utf8' });
    const file = packed.stdout.trim().split('\n').at(-1) ?? '';
    if (packed.status !== 0 || spawnSync('tar', ['xzf', file], { cwd: folder }).status !== 0)
      return undefined;
  }
  return {
    key: 'v86',
    name: `${V86}, 32 bits`,
    command: process.execPath,
    args: (image) => [join(sources, 'v86.mjs'), build, image],
  };
}

const FINDERS: readonly (readonly [string, () => BarePeer | string])[] = [
  ['v86', () => findV86() ?? `v86: npm cannot fetch ${V86}`],
  ['bochs', () => findBochs(sources)],
];

export function findBarePeers(without: readonly string[]): {
  readonly found: readonly BarePeer[];
  /** Which are not here, and why. */
  readonly missing: readonly string[];
} {
  const peers = FINDERS.map(([key, find]) => (without.includes(key) ? `${key}: left out` : find()));
  return {
    found: peers.filter((peer) => typeof peer !== 'string'),
    missing: peers.filter((peer) => typeof peer === 'string'),
  };
}
