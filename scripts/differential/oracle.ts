import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RESULT_SIZE, Result, TEST_SIZE, type Test } from './protocol';

/** The host's processor. */
export interface Oracle {
  /** undefined for a test that the harness did not survive (a store into its own memory, say). */
  run(tests: readonly Test[]): (Result | undefined)[];
}

/** Builds the native harness; throws with the reason where that cannot be (no x86-64 Linux, no compiler). */
export function hostOracle(): Oracle {
  if (process.platform !== 'linux' || process.arch !== 'x64') throw new Error(`the oracle needs x86-64 Linux, not ${process.platform} ${process.arch}`); // prettier-ignore
  const scratch = mkdtempSync(join(tmpdir(), 'oracle-'));
  process.on('exit', () => {
    rmSync(scratch, { recursive: true, force: true });
  });
  const program = join(scratch, 'oracle');
  const source = join(__dirname, '../native/oracle.c');
  // Position-independent, so that it lies where random pointers do not point.
  execFileSync(process.env['CC'] ?? 'cc', ['-O1', '-fPIE', '-pie', '-o', program, source]);
  const attempt = (tests: readonly Test[]): Result[] => {
    const input = new Uint8Array(tests.length * TEST_SIZE);
    tests.forEach((t, i) => {
      input.set(t.bytes, i * TEST_SIZE);
    });
    const { stdout } = spawnSync(program, { input, maxBuffer: 1 << 30 });
    const all = new Uint8Array(stdout);
    return Array.from({ length: Math.floor(all.length / RESULT_SIZE) }, (_, i) => new Result(all.slice(i * RESULT_SIZE, (i + 1) * RESULT_SIZE))); // prettier-ignore
  };
  const run = (tests: readonly Test[]): (Result | undefined)[] => {
    const results = attempt(tests);
    if (results.length === tests.length) return results;
    // One of them has hit the harness itself: halve until it is found.
    if (tests.length === 1) return [undefined];
    const middle = tests.length >> 1;
    return [...run(tests.slice(0, middle)), ...run(tests.slice(middle))];
  };
  return { run };
}
