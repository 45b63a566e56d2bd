/**
 * Debian's kernel on four vCPUs: what strains one strains them all, with memory shared between processes and
 * between threads, and says what it says on the host. On one vCPU: linux-disk.test.ts; for millions of hypercalls:
 * scripts/soak-stress.ts.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { whyNoDisk } from '../../scripts/make-initramfs';
import { guestPath } from '../support/guests';
import { skipBecause } from '../support/skip';
import { buildStress, runStress, runStressInGuest, whyNoStress } from '../support/stress';

describe('The stress program on four vCPUs', function () {
  this.timeout(900_000);
  let folder = '';
  before(() => (folder = mkdtempSync(join(tmpdir(), 'stress-'))));
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('says what it says on the host', async function () {
    const kernel = guestPath('linux', this);
    guestPath('busybox', this);
    const why = whyNoDisk() ?? whyNoStress();
    if (why !== undefined) skipBecause(this, why);
    const program = buildStress(folder);
    const onHost = runStress(program, folder, 1);
    const inGuest = await runStressInGuest(kernel, program, folder, { scale: 1, vcpus: 4 });
    assert.equal(inGuest.processors, 4);
    assert.match(onHost, /^stress done$/m);
    assert.equal(inGuest.said, onHost);
  });
});
