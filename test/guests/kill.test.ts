/**
 * Writes of an acknowledged flush survive the end of the adapter at any moment. The adapter's process is killed
 * while its guest writes, flushes, and says what is safe; `scripts/soak-kill.ts` does it for longer.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildJournal, killAgainAndAgain, whyNoJournal } from '../support/journal';
import { seeded } from '../support/random';
import { skipBecause } from '../support/skip';

describe('A disk that is written through, and an adapter that is killed', function () {
  this.timeout(180_000);
  let folder = '';
  before(() => (folder = mkdtempSync(join(tmpdir(), 'kill-'))));
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('has everything that was acknowledged, after each of 12 kills', async function () {
    const why = whyNoJournal();
    if (why !== undefined) skipBecause(this, why);
    const guest = buildJournal(folder);
    const { steps } = await killAgainAndAgain(guest, join(folder, 'disk.raw'), seeded(12), 12);
    assert.ok(steps > 100, `only ${steps} steps`);
  });
});
