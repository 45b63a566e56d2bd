/**
 * Debian's own kernel with its own block front end on our disks: an ext4 file system written through to its image,
 * a raw disk whose writes are to be forgotten, and a read-only qcow2 image. One boot, about 3.5 × 10⁹ instructions.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  DISK_CHECK,
  makeDisk,
  makeInitramfs,
  md5,
  sampleBytes,
  whyNoDisk,
} from '../../scripts/make-initramfs';
import { guestPath } from '../support/guests';
import { domain, plain, watch } from '../support/machines';
import { skipBecause } from '../support/skip';

const MIB = 2 ** 20;

/** The lines of `text` that begin with `word`, without it. */
const said = (text: string, word: string): string[] =>
  text
    .split('\n')
    .filter((line) => line.startsWith(`${word} `))
    .map((line) => line.slice(word.length + 1).trim());

/** A qcow2 image (version 2) of one cluster: enough to see that it is read as such. */
function qcow2(cluster: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(3 * 65536);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0x514649fb);
  view.setUint32(4, 2);
  view.setUint32(20, 16);
  view.setBigUint64(24, BigInt(MIB));
  view.setUint32(36, 1);
  view.setBigUint64(40, 512n);
  view.setBigUint64(512, 65536n);
  view.setBigUint64(65536, 131072n);
  bytes.set(cluster, 131072);
  return bytes;
}

describe('Debian’s kernel on PV disks', function () {
  // A minute on two idle cores; other work beside it makes that several.
  this.timeout(900_000);
  let folder = '';
  before(() => (folder = mkdtempSync(join(tmpdir(), 'linux-disk-'))));
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('mounts, reads, writes, flushes and discards; the images hold afterwards what they should', async function () {
    const kernel = guestPath('linux', this);
    guestPath('busybox', this);
    const why = whyNoDisk();
    if (why !== undefined) skipBecause(this, why);

    const sample = sampleBytes(1_000_000);
    const through = join(folder, 'through.ext4');
    const forgotten = join(folder, 'forgotten.raw');
    const given = join(folder, 'given.qcow2');
    makeDisk(through, { sample }, 16);
    writeFileSync(forgotten, new Uint8Array(2 * MIB).fill(0x41));
    writeFileSync(given, qcow2(new Uint8Array(65536).fill(0x42)));

    const commands = `
dmesg | grep 'blkfront: xvda' | sed 's/.*blkfront/BLKFRONT/'
${DISK_CHECK}
dd if=/dev/zero of=/dev/xvdb bs=64k count=4 conv=fsync 2>/dev/null
echo 3 > /proc/sys/vm/drop_caches
echo "OVERLAY $(md5sum < /dev/xvdb)"
echo "RO $(cat /sys/block/xvdc/ro) $(cat /sys/block/xvdc/size)"
echo "QCOW2 $(md5sum < /dev/xvdc)"
blkdiscard /dev/xvdb && echo "DISCARDED $(md5sum < /dev/xvdb)"
`;
    const file = (path: string): { name: string; path: string } => ({ name: path, path });
    const { target, console: text } = await watch(
      domain(kernel, {
        ramdisk: { name: 'initrd', bytes: makeInitramfs(commands) },
        cmdline: 'console=hvc0 quiet',
        memory: 256 * MIB,
        disks: [
          { vdev: 'xvda', image: file(through), format: 'raw', access: 'write-through', cdrom: false },
          { vdev: 'xvdb', image: file(forgotten), format: 'raw', access: 'overlay', cdrom: false },
          { vdev: 'xvdc', image: file(given), format: 'qcow2', access: 'read-only', cdrom: false },
        ],
      }),
    );
    const stop = await target.run({});
    await target.dispose();
    const seen = plain(text());
    assert.ok(stop.reason.kind === 'shutdown' && stop.reason.reason === 'poweroff', seen);

    const sum = (word: string): string | undefined => said(seen, word)[0]?.split(' ')[0];
    const twice = md5(Buffer.concat([sample, sample]));
    assert.match(
      said(seen, 'BLKFRONT:').join(),
      /xvda: flush diskcache: enabled; persistent grants: enabled; indirect descriptors: enabled/,
      seen,
    );
    assert.equal(sum('SECTORS'), '32768', seen);
    assert.equal(sum('READ'), md5(sample), seen);
    assert.equal(sum('WROTE'), twice, seen);
    assert.equal(sum('AGAIN'), twice, seen);
    assert.match(seen, /^UNMOUNTED$/m);
    const overlaid = new Uint8Array(2 * MIB).fill(0x41).fill(0, 0, 4 * 65536);
    assert.equal(sum('OVERLAY'), md5(overlaid), seen);
    assert.deepEqual(said(seen, 'RO'), [`1 ${MIB / 512}`], seen);
    const cluster = new Uint8Array(MIB).fill(0x42, 0, 65536);
    assert.equal(sum('QCOW2'), md5(cluster), seen);
    assert.equal(sum('DISCARDED'), md5(new Uint8Array(2 * MIB)), seen);

    // What is on the host: one image as the guest left it, the others as they were.
    const checked = spawnSync('e2fsck', ['-fn', through], { encoding: 'utf8' });
    assert.equal(checked.status, 0, checked.stdout);
    const copy = execFileSync('debugfs', ['-R', 'cat /copy', through], {
      maxBuffer: 2 ** 24,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    assert.equal(md5(copy), twice);
    assert.ok(readFileSync(forgotten).every((byte) => byte === 0x41));
    assert.equal(md5(readFileSync(given)), md5(qcow2(new Uint8Array(65536).fill(0x42))));
  });
});
