/** Debian's kernel suspends itself when it is asked to, and goes on in both of the ways that Xen's toolstack has. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inProcessTarget } from '../../src/host/node';
import type { GuestRequest, ShutdownReason } from '../../src/machine/target';
import { linuxAtShell, shellOf, type LinuxShell } from '../support/linux-shell';

async function ended(shell: LinuxShell, request: GuestRequest): Promise<ShutdownReason | undefined> {
  await shell.target.askGuest(1, request);
  const stop = await shell.until(/(?!)/);
  return stop?.reason.kind === 'shutdown' ? stop.reason.reason : undefined;
}

/** Everything that a guest notices of having been away: processes, time, timers, disk, console. */
async function isAlive(shell: LinuxShell, round: number): Promise<void> {
  assert.equal(await shell.say('cat /tmp/kept'), 'kept\n');
  const times = await shell.say('a=$(date +%s); sleep 2; b=$(date +%s); echo $((b-a))');
  assert.ok(['2\n', '3\n'].includes(times), `${times} s passed while 2 were slept`);
  assert.equal(
    await shell.say(
      `echo round ${round} > /mnt/round && sync && echo 3 > /proc/sys/vm/drop_caches; cat /mnt/round /mnt/hello`,
    ),
    `round ${round}\nhello from the disk\n`,
  );
  assert.equal(await shell.say('dmesg | grep -ciE "oops|bug:|call trace|i/o error"'), '0\n');
}

describe('Linux suspends', function () {
  this.timeout(900_000);
  let folder = '';
  before(() => (folder = mkdtempSync(join(tmpdir(), 'suspend-'))));
  after(() => rmSync(folder, { recursive: true, force: true }));

  for (const vcpus of [1, 2]) {
    it(`and goes on, cancelled or anew, on ${vcpus} vCPUs`, async function () {
      const shell = await linuxAtShell(this, { vcpus });
      const { target } = shell;
      await assert.rejects(target.resumeDomain(1, 'anew'), /domain 1 is not suspended/);
      await shell.say('echo kept > /tmp/kept; mount -t ext4 /dev/xvda /mnt');
      await isAlive(shell, 0);

      assert.equal(await ended(shell, 'suspend'), 'suspend');
      const [suspended] = await target.domains();
      assert.equal(suspended?.shutdown, 'suspend');
      assert.equal(suspended.asked, undefined, 'the guest has acknowledged');
      const path = join(folder, 'suspended.hys');
      await target.save(path);
      await target.resumeDomain(1, 'cancelled');
      await isAlive(shell, 1);
      assert.equal(await ended(shell, 'suspend'), 'suspend');
      await target.resumeDomain(1, 'anew');
      await isAlive(shell, 2);
      assert.equal(await shell.say('nproc'), `${vcpus}\n`);
      assert.equal(await ended(shell, 'poweroff'), 'poweroff');
      await target.dispose();

      // As `xl save` and `xl restore` would have it: from a file, anew.
      const other = shellOf(await inProcessTarget({ domains: [], saved: { path } }));
      await other.target.resumeDomain(1, 'anew');
      await isAlive(other, 3);
      await other.target.dispose();
    });
  }
});
