import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RESULT_SIZE, Result, TEST_SIZE, type Test } from './protocol';

/** The host's processor. */
export interface Oracle {
  run(tests: readonly Test[]): Result[];
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
  execFileSync(process.env['CC'] ?? 'cc', ['-O1', '-static', '-o', program, source]);
  return {
    run(tests) {
      const input = new Uint8Array(tests.length * TEST_SIZE);
      tests.forEach((t, i) => input.set(t.bytes, i * TEST_SIZE));
      const { stdout, status, signal } = spawnSync(program, { input, maxBuffer: 1 << 30 });
      const results = Array.from({ length: Math.floor(stdout.length / RESULT_SIZE) }, (_, i) => new Result(new Uint8Array(stdout.subarray(i * RESULT_SIZE, (i + 1) * RESULT_SIZE)))); // prettier-ignore
      if (results.length !== tests.length) {
        const at = tests[results.length];
        const code = at ? Buffer.from(at.code).toString('hex') : '';
        throw new Error(`the oracle ended early (status ${status}, signal ${signal}) near instruction ${code} of a batch; ${results.length} of ${tests.length} results`); // prettier-ignore
      }
      return results;
    },
  };
}
