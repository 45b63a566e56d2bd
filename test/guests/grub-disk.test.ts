/** GRUB's own block front end and file system drivers on our disks, and a disk in marks and state hashes. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { StopPoint } from '../../src/machine/target';
import { makeDisk, whyNoDisk } from '../../scripts/make-initramfs';
import { guestPath } from '../support/guests';
import { domain, plain, runTo, watch, type Watched } from '../support/machines';
import { skipBecause } from '../support/skip';

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const TYPED = 'ls\ncat (xen/xvdb)/hello\n';

describe('GRUB on PV disks', function () {
  this.timeout(120_000);
  let folder = '';
  before(() => (folder = mkdtempSync(join(tmpdir(), 'grub-disk-'))));
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('lists them, reads a file, and does so again from a mark to the same state', async function () {
    const kernel = guestPath('grub', this);
    const why = whyNoDisk();
    if (why !== undefined) skipBecause(this, why);
    const path = join(folder, 'disk.ext4');
    makeDisk(path, { hello: bytesOf('hello from the disk\n') }, 4);
    const boot = (): Promise<Watched> =>
      watch(
        domain(kernel, {
          memory: 64 * 2 ** 20,
          disks: [
            { vdev: 'xvdb', image: { name: path, path }, format: 'raw', access: 'overlay', cdrom: false },
            {
              vdev: 'hdc',
              image: { name: 'nothing', bytes: new Uint8Array(2048) },
              format: 'raw',
              access: 'read-only',
              cdrom: true,
            },
          ],
        }),
      );
    /** To just before the file is read; a fixed number, so that both runs are given their input alike. */
    const BEFORE = 60_000_000n;
    const { target, console: text } = await boot();
    await target.consoleInput(1, bytesOf(TYPED));
    await runTo(target, BEFORE);
    assert.doesNotMatch(text(), /hello from/);
    const mark = await target.mark();
    let read = BEFORE;
    // GRUB eats what is typed while it shows a file.
    for (; !/hello from the disk[^]*grub>/.test(text()) && read < 10n * BEFORE; read += 10_000_000n)
      await runTo(target, read + 10_000_000n);
    await target.consoleInput(1, bytesOf('halt\n'));
    const first = await target.run({});
    assert.equal(first.reason.kind, 'shutdown', text());
    const seen = plain(text());
    assert.match(seen, /\(xen\/xvdb\) \(xen\/hdc\)/);
    assert.match(seen, /^.*hello from the disk$/m);
    const hash = await target.stateHash();
    await target.seek(mark);
    // Replayed with stops at the requests in the disks' rings: they are told, and leave no trace.
    const ring = (id: number, request: string, more: Partial<StopPoint> = {}): StopPoint =>
      ({ kind: 'event', id, filter: 'ring-request', only: { device: 'vbd/51728', request }, ...more }) as StopPoint; // prettier-ignore
    await target.setStops([
      ring(1, 'read'),
      ring(2, 'read', { condition: "device == 'vbd/51728' && sector >= 0", hits: '2' }),
      ring(3, 'write'),
    ]);
    const rings: { readonly ids: readonly number[]; readonly text: string }[] = [];
    let stop = await target.run({});
    for (; stop.reason.kind === 'event'; stop = await target.run({}))
      rings.push({ ids: stop.reason.ids, text: stop.reason.text ?? '' });
    await target.setStops([]);
    assert.deepEqual(stop, first, 'from the mark, the input replayed');
    assert.ok(rings.length > 2);
    for (const { ids, text: said } of rings) {
      assert.match(said, /^d1 vbd\/51728: read, sector \d+$/);
      assert.ok(ids.includes(1) && !ids.includes(3), said);
    }
    assert.deepEqual(
      rings.flatMap(({ ids }, index) => (ids.includes(2) ? [index] : [])),
      [1],
      'the second, once',
    );
    assert.equal(await target.stateHash(), hash);
    await target.dispose();

    const again = await boot();
    await again.target.consoleInput(1, bytesOf(TYPED));
    await runTo(again.target, read);
    await again.target.consoleInput(1, bytesOf('halt\n'));
    assert.deepEqual(await again.target.run({}), first);
    assert.equal(await again.target.stateHash(), hash, 'a run without the mark');
    await again.target.dispose();
  });
});
