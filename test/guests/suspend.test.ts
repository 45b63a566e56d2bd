/** Debian's kernel suspends itself when it is asked to, and goes on in both of the ways that Xen's toolstack has. */
import assert from 'node:assert/strict';
import { linuxAtShell } from '../support/linux-shell';

describe('Linux suspends', function () {
  this.timeout(900_000);

  for (const how of ['cancelled', 'anew'] as const) {
    it(`and goes on, ${how}: its shell answers`, async function () {
      const shell = await linuxAtShell(this);
      const { target } = shell;
      await assert.rejects(target.resumeDomain(1, how), /domain 1 is not suspended/);
      await shell.say('echo kept > /tmp/kept');
      await target.askGuest(1, 'suspend');
      const stop = await shell.until(/(?!)/);
      assert.ok(stop?.reason.kind === 'shutdown' && stop.reason.reason === 'suspend', shell.console());
      const [suspended] = await target.domains();
      assert.equal(suspended?.asked, undefined, 'the guest has acknowledged');
      await target.resumeDomain(1, how);
      assert.equal(await shell.say('cat /tmp/kept'), 'kept\n');
      await target.dispose();
    });
  }
});
