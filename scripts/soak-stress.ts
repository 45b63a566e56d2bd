/**
 * Runs the stress program in a Linux guest and on this machine, and compares what they say:
 * `npx tsx scripts/soak-stress.ts [--scale N] [--vcpus N] [PART…]`. Prints what the run took, hypercalls by name;
 * status 1 if anything differs.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildStress, runStress, runStressInGuest } from '../test/support/stress';
import { findGuest } from './fetch-guests';

const { values, positionals: parts } = parseArgs({
  allowPositionals: true,
  options: { scale: { type: 'string', default: '20' }, vcpus: { type: 'string', default: '1' } },
});

const numbers = (counted: readonly { name: string; count: number }[]): string =>
  [...counted]
    .sort((a, b) => b.count - a.count)
    .map(({ name, count }) => `${name} ${count}`)
    .join(', ');

async function main(): Promise<void> {
  const kernel = findGuest('linux');
  if (kernel === undefined) throw new Error('fetch the guests first: npx tsx scripts/fetch-guests.ts');
  const scale = Number(values.scale);
  const vcpus = Number(values.vcpus);
  const folder = mkdtempSync(join(tmpdir(), 'stress-'));
  try {
    const program = buildStress(folder);
    const onHost = runStress(program, folder, scale, parts);
    const before = process.cpuUsage();
    const { said, retired, calls, traps } = await runStressInGuest(kernel, program, folder, {
      scale,
      vcpus,
      parts,
    });
    const { user, system } = process.cpuUsage(before);
    const total = calls.reduce((sum, { count }) => sum + count, 0);
    console.log(said.trimEnd());
    console.log(
      `scale ${scale}, ${vcpus} vCPUs: ${retired} instructions, ${total} hypercalls, ` +
        `${((user + system) / 1e6).toFixed(0)} s of processor time`,
    );
    console.log(`hypercalls: ${numbers(calls)}`);
    console.log(`traps: ${numbers(traps)}`);
    if (said !== onHost) throw new Error(`on the host:\n${onHost}`);
    console.log('the same on the host');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
