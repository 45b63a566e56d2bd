// The stress program (test/guests/stress): built by this machine's compiler, for guests and for the host itself.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

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
