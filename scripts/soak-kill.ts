/**
 * Kills the adapter again and again while its guest writes to a disk, and looks each time whether the disk has
 * what the guest was told was safe: `npx tsx scripts/soak-kill.ts [--kills N] [--seed S]`. Status 1 if it has not.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildJournal, killAgainAndAgain } from '../test/support/journal';
import { seeded } from '../test/support/random';

const { values } = parseArgs({
  options: { kills: { type: 'string', default: '100' }, seed: { type: 'string', default: '1' } },
});

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'kill-'));
  const started = Date.now();
  try {
    const image = join(folder, 'disk.raw');
    const { kills, steps } = await killAgainAndAgain(
      buildJournal(folder),
      image,
      seeded(Number(values.seed)),
      Number(values.kills),
    );
    const seconds = ((Date.now() - started) / 1000).toFixed(0);
    console.log(`${kills} kills in ${seconds} s: all of ${steps} acknowledged flushes were there each time`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
