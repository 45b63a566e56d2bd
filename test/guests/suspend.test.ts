/** Debian's kernel suspends itself when it is asked to, and goes on in both of the ways that Xen's toolstack has. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inProcessTarget } from '../../src/host/machine';
import type { Resumption } from '../../src/machine/target';
import { linuxAtShell, shellOf, type LinuxShell } from '../support/linux-shell';

async function suspend(shell: LinuxShell): Promise<void> {
  await shell.target.askGuest(1, 'suspend');
  const stop = await shell.until(/(?!)/);
  assert.ok(stop?.reason.kind === 'shutdown' && stop.reason.reason === 'suspend', shell.console());
  const [suspended] = await shell.target.domains();
  assert.equal(suspended?.asked, undefined, 'the guest has acknowledged');
}

/** What a guest would notice of having been away: processes, time and timers, its disk, its processors, complaints. */
async function isAlive(shell: LinuxShell, vcpus: number, round: number): Promise<void> {
  assert.equal(await shell.say('cat /tmp/kept'), 'kept\n');
  const slept = await shell.say('a=$(date +%s); sleep 2; b=$(date +%s); echo $((b-a))');
  assert.ok(['2\n', '3\n'].includes(slept), `${slept} s passed while 2 were slept`);
  const disk = `echo round ${round} > /mnt/round && sync; echo 3 > /proc/sys/vm/drop_caches; cat /mnt/round /mnt/hello`;
  assert.equal(await shell.say(disk), `round ${round}\nhello from the disk\n`);
  assert.equal(await shell.say('nproc'), `${vcpus}\n`);
  assert.equal(await shell.say('dmesg | grep -ciE "oops|bug:|call trace|i/o error"'), '0\n');
}

describe('Linux suspends', function () {
  this.timeout(900_000);
  let folder = '';
  before(() => (folder = mkdtempSync(join(tmpdir(), 'suspend-'))));
  after(() => rmSync(folder, { recursive: true, force: true }));

  for (const vcpus of [1, 2]) {
    it(`and goes on, cancelled and anew, with ${vcpus} processors and a disk`, async function () {
      const shell = await linuxAtShell(this, { vcpus });
      const { target } = shell;
      await assert.rejects(target.resumeDomain(1, 'anew'), /domain 1 is not suspended/);
      await shell.say('echo kept > /tmp/kept; mount -t ext4 /dev/xvda /mnt');
      const file = join(folder, `${vcpus}.hys`);
      const ways: readonly Resumption[] = ['cancelled', 'anew', 'anew', 'cancelled'];
      for (const [round, how] of ways.entries()) {
        await suspend(shell);
        if (round === 0) await target.save(file);
        await target.resumeDomain(1, how);
        await isAlive(shell, vcpus, round);
      }
      await target.dispose();

      // As `xl save` and `xl restore` have it: from a file, anew.
      const other = shellOf(await inProcessTarget({ domains: [], saved: { path: file } }));
      await other.target.resumeDomain(1, 'anew');
      await isAlive(other, vcpus, ways.length);
      await other.target.dispose();
    });
  }
});
