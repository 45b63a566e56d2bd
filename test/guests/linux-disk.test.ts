/**
 * Debian's own kernel with its own block front end on five disks of ours: an ext4 file system written through to
 * its image, a raw disk whose writes are to be forgotten, a read-only qcow2 image, and a root file system of stock
 * packages twice: as a squashfs CD and as an ext4 disk on an overlay. Bash is process 1 there, and a program that
 * strains processes, memory, signals, files and floating point must say what it says on the host. One boot.
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
import { makeRootfs, whyNoRootfs, type Rootfs } from '../../scripts/make-rootfs';
import { guestPath } from '../support/guests';
import { domain, plain, watch } from '../support/machines';
import type { DiskInput } from '../../src/devices';
import type { DiskConfig } from '../../src/machine/target';
import { skipBecause } from '../support/skip';
import { buildStress, runStress, whyNoStress } from '../support/stress';

const MIB = 2 ** 20;

/** A qcow2 image (version 2) of one cluster, and another that was cut off: enough to see that it is read as such. */
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
  view.setBigUint64(65544, BigInt(MIB));
  bytes.set(cluster, 131072);
  return bytes;
}

/** With nothing but what /init has. */
const DISKS = `
dmesg | grep 'blkfront: xvda' | sed 's/.*blkfront/BLKFRONT/'
${DISK_CHECK}
dd if=/dev/zero of=/dev/xvdb bs=64k count=4 conv=fsync 2>/dev/null
echo 3 > /proc/sys/vm/drop_caches
echo "OVERLAY $(md5sum < /dev/xvdb)"
echo "RO $(cat /sys/block/xvdc/ro) $(cat /sys/block/xvdc/size)"
echo "QCOW2 $(dd if=/dev/xvdc bs=64k count=1 2>/dev/null | md5sum) $(dd if=/dev/xvdc bs=64k skip=2 2>/dev/null | md5sum)"
dd if=/dev/xvdc of=/dev/null bs=64k skip=1 count=1 2>&1 | sed 's/^dd:/CUT OFF/'
echo "CUT OFF IN $(dmesg | grep -o 'I/O error, dev xvdc, sector [0-9]*' | head -1)"
blkdiscard /dev/xvdb && echo "DISCARDED $(md5sum < /dev/xvdb)"
await() { i=0; until eval "$1" || [ $i = 200 ]; do sleep 0.05; i=$((i+1)); done; }
echo "PLEASE resize"
await '[ $(cat /sys/block/xvdb/size) = 8192 ]'
echo "RESIZED $(cat /sys/block/xvdb/size)"
echo beyond | dd of=/dev/xvdb bs=1M seek=3 conv=fsync 2>/dev/null
echo "PLEASE unplug"
await '[ ! -e /sys/block/xvdb ]'
echo "UNPLUGGED $(ls /sys/block | grep -c xvdb)"
echo "PLEASE plug"
await '[ -b /dev/xvdb ] && [ "$(cat /sys/block/xvdb/size)" != 0 ]'
echo "PLUGGED $(cat /sys/block/xvdb/size) $(dd if=/dev/xvdb bs=1M skip=3 2>/dev/null | head -1)"
`;

/** What bash does in the read-only image: it has no place to write to but /run. */
const READ_ONLY = `
echo "RO-VERSION $(cat /etc/debian_version) $BASH_VERSION"
echo "RO-TOUCH $(touch /here 2>&1)"
echo "RO-SUM $(cd /usr/bin; sha256sum [a-c]* | sha256sum)"
`;

/** What bash does as process 1 on the ext4 image. */
const READ_WRITE = `
export PATH=/usr/bin:/bin:/usr/sbin:/sbin HOME=/root
mount -t proc none /proc; mount -t sysfs none /sys; mount -t devtmpfs none /dev; mount -t tmpfs none /tmp
echo "PID $$ $(readlink /proc/1/exe)"
echo "ROOT $(findmnt -no SOURCE,FSTYPE /)"
echo "SUM $(cd /usr/bin; sha256sum [a-c]* | sha256sum)"
echo "PACKAGES $(dpkg --list 2>/dev/null | grep -c '^iU')"
echo "PI $(echo 'scale=40; 4*a(1)' | bc -l)"
echo "PERL $(perl -e 'my %h; $h{$_ % 97} += $_ for 1..2000; print join " ", map { $h{$_} } 0..3')"
echo "AWK $(seq 100 | awk '{ s += $1 * $1 } END { print s }')"
sqlite3 /root/test.db 'create table t(a integer primary key, b text);
  with recursive n(i) as (select 1 union all select i + 1 from n where i < 1000)
  insert into t select i, hex(i) from n;'
mkdir /root/tree /root/stress
tar -C /usr/lib/x86_64-linux-gnu -cf - perl-base/File | gzip -1 > /root/tree.tgz
sync; echo 3 > /proc/sys/vm/drop_caches
echo "SQLITE $(sqlite3 /root/test.db 'select count(*), sum(a) from t; pragma integrity_check' | tr '\\n' ' ')"
tar -C /root/tree -xzmf /root/tree.tgz
diff -r /usr/lib/x86_64-linux-gnu/perl-base/File /root/tree/perl-base/File && echo "TAR same"
echo "STRESS BEGIN"
/run/stress /root/stress 1
sync; echo 3 > /proc/sys/vm/drop_caches
/run/stress verify /root/stress
echo "STRESS END"
echo "PROBLEMS $(dmesg | grep -v xvdc | grep -ciE 'ext4-fs error|I/O error|squashfs error|oops|BUG:|WARNING:')"
/run/busybox poweroff -f
`;

/** Runs one in the CD's image, and becomes the other in the disk's. */
const USERLAND = `
mkdir /ro /new
mount -t squashfs -o ro /dev/xvde /ro || echo "FAILED squashfs"
mount -t tmpfs none /ro/run && cat > /ro/run/script <<'SCRIPT'
${READ_ONLY}
SCRIPT
chroot /ro /bin/bash /run/script
umount /ro/run; umount /ro || echo "FAILED umount"
mount -t ext4 /dev/xvdd /new || echo "FAILED ext4"
mount -t tmpfs none /new/run
cp /bin/busybox /bin/stress /new/run
cat > /new/run/script <<'SCRIPT'
${READ_WRITE}
SCRIPT
umount /sys /dev /proc
exec switch_root /new /bin/bash /run/script
`;

describe('Debian’s kernel on PV disks', function () {
  // A minute on two idle cores; other work beside it makes that several.
  this.timeout(900_000);
  let folder = '';
  let seen = '';
  let onHost = '';
  let images: Rootfs = { ext4: '', squashfs: '' };
  let imagesBefore: readonly string[] = [];
  const file = (name: string): string => join(folder, name);
  const sample = sampleBytes(1_000_000);

  before(async function () {
    const kernel = guestPath('linux', this);
    guestPath('busybox', this);
    const why = whyNoDisk() ?? whyNoRootfs() ?? whyNoStress();
    if (why !== undefined) skipBecause(this, why);

    folder = mkdtempSync(join(tmpdir(), 'linux-disk-'));
    images = makeRootfs();
    imagesBefore = [images.ext4, images.squashfs].map((path) => md5(readFileSync(path)));
    const stress = buildStress(folder);
    onHost = runStress(stress, folder, 1);
    makeDisk(file('through.ext4'), { sample }, 16);
    writeFileSync(file('forgotten.raw'), new Uint8Array(2 * MIB).fill(0x41));
    writeFileSync(file('given.qcow2'), qcow2(new Uint8Array(65536).fill(0x42)));

    const disk = (
      vdev: string,
      path: string,
      access: DiskConfig['access'],
      more: Partial<DiskConfig> = {},
    ): DiskConfig => ({ vdev, image: { name: path, path }, format: 'raw', access, cdrom: false, ...more });
    const { target, console: text } = await watch(
      domain(kernel, {
        ramdisk: {
          name: 'initrd',
          bytes: makeInitramfs(DISKS + USERLAND, {
            modules: ['fs/squashfs/squashfs'],
            programs: { stress: readFileSync(stress) },
          }),
        },
        cmdline: 'console=hvc0 quiet',
        memory: 256 * MIB,
        disks: [
          disk('xvda', file('through.ext4'), 'write-through'),
          disk('xvdb', file('forgotten.raw'), 'overlay'),
          disk('xvdc', file('given.qcow2'), 'read-only', { format: 'qcow2' }),
          disk('xvdd', images.ext4, 'overlay'),
          disk('xvde', images.squashfs, 'read-only', { cdrom: true }),
        ],
      }),
    );
    const wishes: DiskInput[] = [
      { domain: 1, vdev: 'xvdb', change: 'resize', sectors: 8192 },
      { domain: 1, vdev: 'xvdb', change: 'unplug' },
      { domain: 1, vdev: 'xvdb', change: 'plug' },
    ];
    target.onConsole(() => {
      const [next] = wishes;
      if (next === undefined || !text().includes(`PLEASE ${next.change}`)) return;
      wishes.shift();
      void target.diskInput(next);
    });
    const stop = await target.run({});
    await target.dispose();
    seen = plain(text());
    assert.ok(stop.reason.kind === 'shutdown' && stop.reason.reason === 'poweroff', seen);
    assert.ok(!/^FAILED/m.test(seen), seen);
  });
  after(() => {
    if (folder !== '') rmSync(folder, { recursive: true, force: true });
  });

  /** The rest of the line that begins with `word`. */
  const said = (word: string): string =>
    new RegExp(`^${word} (.*)$`, 'm').exec(seen)?.[1]?.trim() ?? assert.fail(`no ${word} in:\n${seen}`);
  const sum = (word: string): string => said(word).split(' ')[0] ?? '';

  it('mounts, reads, writes, flushes and discards', () => {
    const twice = md5(Buffer.concat([sample, sample]));
    assert.match(
      said('BLKFRONT:'),
      /xvda: flush diskcache: enabled; persistent grants: enabled; indirect descriptors: enabled/,
    );
    assert.equal(said('SECTORS'), '32768');
    assert.equal(sum('READ'), md5(sample));
    assert.equal(sum('WROTE'), twice);
    assert.equal(sum('AGAIN'), twice);
    assert.match(seen, /^UNMOUNTED$/m);
    const overlaid = new Uint8Array(2 * MIB).fill(0x41).fill(0, 0, 4 * 65536);
    assert.equal(sum('OVERLAY'), md5(overlaid));
    assert.equal(said('RO'), `1 ${MIB / 512}`);
    assert.equal(
      said('QCOW2').replaceAll('  -', ''),
      `${md5(new Uint8Array(65536).fill(0x42))} ${md5(new Uint8Array(MIB - 2 * 65536))}`,
    );
    // What the image lacks is an error for whoever reads it, and for nobody else.
    assert.match(said('CUT OFF'), /I\/O error|Input\/output error/);
    // Linux reads ahead, so which request failed first is its affair.
    assert.match(said('CUT OFF IN'), /^I\/O error, dev xvdc, sector \d+$/);
    assert.equal(sum('DISCARDED'), md5(new Uint8Array(2 * MIB)));
  });

  it('is told of a disk that grows, lets one go, and finds it again', () => {
    assert.equal(said('RESIZED'), '8192');
    assert.equal(said('UNPLUGGED'), '0');
    assert.equal(said('PLUGGED'), '8192 beyond');
  });

  it('leaves one image as the guest left it, and the others as they were', () => {
    const through = file('through.ext4');
    const checked = spawnSync('e2fsck', ['-fn', through], { encoding: 'utf8' });
    assert.equal(checked.status, 0, checked.stdout);
    const copy = execFileSync('debugfs', ['-R', 'cat /copy', through], {
      maxBuffer: 2 ** 24,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    assert.equal(md5(copy), md5(Buffer.concat([sample, sample])));
    assert.ok(readFileSync(file('forgotten.raw')).every((byte) => byte === 0x41));
    assert.equal(md5(readFileSync(file('given.qcow2'))), md5(qcow2(new Uint8Array(65536).fill(0x42))));
    const now = [images.ext4, images.squashfs].map((path) => md5(readFileSync(path)));
    assert.deepEqual(now, imagesBefore);
  });

  it('runs Debian’s userland from a squashfs CD', () => {
    assert.match(said('RO-VERSION'), /^\d+\.\d+ 5\./);
    assert.match(said('RO-TOUCH'), /Read-only file system/);
    assert.match(sum('RO-SUM'), /^[0-9a-f]{64}$/);
  });

  it('runs Debian’s userland from an ext4 disk, with bash as process 1', () => {
    assert.equal(said('PID'), '1 /usr/bin/bash');
    assert.equal(said('ROOT'), '/dev/xvdd ext4');
    assert.equal(sum('SUM'), sum('RO-SUM'));
    assert.ok(Number(said('PACKAGES')) > 40, seen);
    assert.equal(said('PI'), '3.1415926535897932384626433832795028841968');
    const those = (rest: number): number =>
      Array.from({ length: 2000 }, (_, i) => i + 1).reduce((s, n) => (n % 97 === rest ? s + n : s), 0);
    assert.equal(said('PERL'), [0, 1, 2, 3].map(those).join(' '));
    assert.equal(said('AWK'), String((100 * 101 * 201) / 6));
    assert.equal(said('SQLITE'), '1000|500500 ok');
    assert.equal(said('TAR'), 'same');
    assert.equal(said('PROBLEMS'), '0', seen);
  });

  it('strains processes, memory, signals, files and floating point as the host does', () => {
    assert.match(onHost, /^stress done$/m);
    assert.equal(/^STRESS BEGIN\n([^]*)^STRESS END$/m.exec(seen)?.[1], onHost);
  });
});
