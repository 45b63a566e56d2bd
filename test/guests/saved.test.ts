/** Real guests in files: what goes on elsewhere from where it was saved is what goes on here, to the bit. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeInitramfs } from '../../scripts/make-initramfs';
import { guestPath } from '../support/guests';
import { linuxAtShell } from '../support/linux-shell';
import { domain, runTo, watch } from '../support/machines';
import { outcomeOf } from '../support/outcome';

const typed = (text: string): Uint8Array => new TextEncoder().encode(text);

/** The machine of a file, in a process of its own, until so many instructions have retired. */
function elsewhere(path: string, until: bigint): string {
  const script = `
    const { inProcessTarget } = require('./src/host/machine.ts');
    const { runTo } = require('./test/support/machines.ts');
    const { outcomeOf } = require('./test/support/outcome.ts');
    (async () => {
      const target = await inProcessTarget({ domains: [], saved: { path: ${JSON.stringify(path)} } });
      await runTo(target, ${until}n);
      console.log(await outcomeOf(target));
    })();`;
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--require', 'tsx/cjs', '-e', script], {
    encoding: 'utf8',
  });
  assert.equal(status, 0, stderr);
  return stdout.trim();
}

describe('A saved guest goes on in another process to the same bit', function () {
  this.timeout(900_000);
  let folder = '';
  let file = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'saved-guests-'));
    file = join(folder, 'guest.hys');
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('GRUB, with a command half typed', async function () {
    const { target } = await watch(domain(guestPath('grub', this), { memory: 64 << 20 }));
    await target.consoleInput(1, typed('echo hel'));
    await runTo(target, 60_000_000n);
    await target.save(file);
    await runTo(target, 90_000_000n);
    assert.equal(elsewhere(file, 90_000_000n), await outcomeOf(target));
    await target.dispose();
  });

  it('Linux on two vCPUs, in the midst of its boot', async function () {
    const kernel = guestPath('linux', this);
    guestPath('busybox', this);
    const { target } = await watch(
      domain(kernel, {
        memory: 128 << 20,
        vcpus: 2,
        ramdisk: { name: 'initrd', bytes: makeInitramfs('') },
        cmdline: 'console=hvc0',
      }),
    );
    const [save, end] = [500_000_000n, 560_000_000n];
    await runTo(target, save);
    await target.save(file);
    await runTo(target, end);
    assert.equal(elsewhere(file, end), await outcomeOf(target));
    await target.dispose();
  });

  it('Linux at its shell, with a disk that it writes to', async function () {
    const shell = await linuxAtShell(this);
    const { target } = shell;
    assert.equal(await shell.say('mount -t ext4 /dev/xvda /mnt && cat /mnt/hello'), 'hello from the disk\n');
    await target.consoleInput(
      1,
      typed('for i in 1 2 3 4; do echo $i > /mnt/new$i; sync; sleep 0.01; done; umount /mnt\n'),
    );
    const { retired } = await target.now();
    await runTo(target, retired + 5_000_000n);
    await target.save(file);
    await runTo(target, retired + 40_000_000n);
    assert.equal(elsewhere(file, retired + 40_000_000n), await outcomeOf(target));
    assert.equal(await shell.say('mount -t ext4 -r /dev/xvda /mnt && cat /mnt/new4'), '4\n');
    await target.dispose();
  });
});
