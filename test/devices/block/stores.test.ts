import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { overlayStore } from '../../../src/devices/block/overlay';
import { isQcow2, qcow2Store } from '../../../src/devices/block/qcow2';
import { memoryFile, rawStore, type BlockStore } from '../../../src/devices/block/store';
import { inflateRaw } from '../../../src/guest/decompress/inflate';
import { openDiskFile } from '../../../src/host/disk-file';
import { seeded } from '../../support/random';
import { skipBecause } from '../../support/skip';

const contents = (store: BlockStore): Uint8Array => {
  const all = new Uint8Array(store.sectors * 512);
  store.read(0, all);
  return all;
};
const noise = (length: number, seed = 1): Uint8Array => {
  const random = seeded(seed);
  return Uint8Array.from({ length }, () => random.below(256));
};

describe('devices: overlay', () => {
  for (const writeThrough of [false, true]) {
    it(`equals a plain array through random writes, discards and marks${writeThrough ? ', as does the file' : ''}`, () => {
      const random = seeded(writeThrough ? 3 : 4);
      const sectors = 8 * 600 + 5;
      const original = noise(sectors * 512);
      const file = original.slice();
      const store = overlayStore(rawStore(memoryFile(file, true)), { writeThrough });
      let model = original.slice();
      const marks: { state: ReturnType<typeof store.save>; model: Uint8Array }[] = [];
      for (let step = 0; step < 400; step++) {
        const sector = random.below(sectors);
        const count = 1 + random.below(Math.min(40, sectors - sector));
        const action = random.below(10);
        if (action < 5) {
          const bytes = noise(count * 512, step);
          store.write(sector, bytes);
          model.set(bytes, sector * 512);
        } else if (action < 7) {
          store.discard(sector, count);
          model.fill(0, sector * 512, (sector + count) * 512);
        } else if (action === 7) marks.push({ state: store.save(), model: model.slice() });
        else if (action === 8 && marks.length > 0) {
          const mark = marks[random.below(marks.length)] ?? assert.fail();
          store.restore(mark.state);
          model = mark.model.slice();
          if (writeThrough) assert.ok(Buffer.compare(file, model) === 0, `the file after mark, step ${step}`);
        } else {
          const read = new Uint8Array(count * 512);
          store.read(sector, read);
          assert.ok(
            Buffer.compare(read, model.subarray(sector * 512, (sector + count) * 512)) === 0,
            `step ${step}`,
          );
        }
      }
      assert.ok(Buffer.compare(contents(store), model) === 0);
      assert.ok(Buffer.compare(file, writeThrough ? model : original) === 0);
      assert.ok(marks.length > 10);
    });
  }

  it('refuses what would not fit into memory, and stays usable', () => {
    const store = overlayStore(rawStore(memoryFile(new Uint8Array(65536))), { limit: 8192 });
    store.write(0, new Uint8Array(8192).fill(1));
    assert.throws(() => store.write(16, new Uint8Array(512)), /does not fit/);
    store.write(8, new Uint8Array(512).fill(2));
    assert.deepEqual([contents(store)[0], contents(store)[4096]], [1, 2]);
  });
});

describe('devices: raw images and qcow2', () => {
  let folder = '';
  before(() => (folder = mkdtempSync(join(tmpdir(), 'stores-'))));
  after(() => rmSync(folder, { recursive: true }));

  it('reads the end of a file that is no whole sector as zeroes', () => {
    const path = join(folder, 'odd');
    writeFileSync(path, new Uint8Array(700).fill(7));
    const file = openDiskFile(path, false);
    const store = rawStore(file);
    assert.equal(store.sectors, 2);
    assert.equal(store.readOnly, true);
    const all = contents(store);
    assert.deepEqual([all[699], all[700], all[1023]], [7, 0, 0]);
    file.close();
  });

  it('fails to read what somebody cut off the file meanwhile', () => {
    const path = join(folder, 'shorter');
    writeFileSync(path, new Uint8Array(8192).fill(7));
    const file = openDiskFile(path, true);
    const store = rawStore(file);
    truncateSync(path, 4096);
    const sector = new Uint8Array(512);
    store.read(7, sector);
    assert.equal(sector[511], 7);
    assert.throws(() => store.read(8, sector), /the file ends at byte 4096; it had 8192/);
    assert.throws(() => store.read(0, new Uint8Array(8192)), /ends at byte 4096/);
    // Written anew, it is there again.
    store.write(15, sector);
    store.read(8, sector);
    assert.equal(sector[0], 0);
    file.close();
  });

  it('writes a file only where it was opened for that', () => {
    const path = join(folder, 'file');
    writeFileSync(path, new Uint8Array(1024));
    const file = openDiskFile(path, true);
    const store = rawStore(file);
    store.write(1, new Uint8Array(512).fill(9));
    store.flush();
    file.close();
    assert.equal(readFileSync(path)[512], 9);
    assert.throws(() => rawStore(openDiskFile(path, false)).write(0, new Uint8Array(512)), /read-only/);
    assert.throws(() => openDiskFile(folder, false), /not a plain file|directory/);
    assert.throws(() => openDiskFile(join(folder, 'none'), false), /no such file/);
  });

  const converted = (test: { skip(): never }, options: readonly string[], bytes: Uint8Array): Uint8Array => {
    const raw = join(folder, 'in.raw');
    const out = join(folder, 'out.qcow2');
    writeFileSync(raw, bytes);
    const made = spawnSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', ...options, raw, out]);
    if (made.error !== undefined) skipBecause(test, 'there is no qemu-img (package qemu-utils)');
    assert.equal(made.status, 0, made.stderr.toString());
    return readFileSync(out);
  };
  for (const [what, options] of [
    ['version 3', []],
    ['version 2', ['-o', 'compat=0.10']],
    ['compressed clusters', ['-c']],
    ['small clusters', ['-o', 'cluster_size=512']],
    ['large compressed clusters', ['-c', '-o', 'cluster_size=2M']],
  ] as const) {
    it(`reads what qemu-img made: ${what}`, function () {
      const bytes = new Uint8Array(3_000_320);
      bytes.set(noise(300_000, 5), 100_000);
      bytes.fill(0x55, 1_000_000, 1_500_000);
      bytes.set(noise(320, 6), 3_000_000);
      const file = memoryFile(converted(this, options, bytes));
      assert.ok(isQcow2(file));
      const store = qcow2Store(file, 'image', inflateRaw);
      assert.equal(store.sectors, 3_000_320 / 512);
      assert.ok(Buffer.compare(contents(store), bytes) === 0);
    });
  }

  /** A version 3 header, and its L1 table of one entry, which names an L2 table at 64 KiB. */
  function image(change: (view: DataView) => void): Uint8Array {
    const bytes = new Uint8Array(3 * 65536);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, 0x514649fb);
    view.setUint32(4, 3);
    view.setUint32(20, 16);
    view.setBigUint64(24, 1n << 20n);
    view.setUint32(36, 1);
    view.setBigUint64(40, 512n);
    view.setUint32(100, 104);
    view.setBigUint64(512, 65536n | (1n << 63n));
    view.setBigUint64(65536, 131072n | (1n << 63n));
    bytes.fill(0x77, 131072);
    change(view);
    return bytes;
  }
  const open = (change: (view: DataView) => void): BlockStore =>
    qcow2Store(memoryFile(image(change)), 'disk.qcow2', inflateRaw);

  it('reads allocated, zero and missing clusters', () => {
    const store = open((view) => view.setBigUint64(65536 + 8, 131073n));
    const all = contents(store);
    assert.deepEqual([all[0], all[65535], all[65536], all[131072]], [0x77, 0x77, 0, 0]);
    assert.throws(() => store.write(0, new Uint8Array(512)), /only read/);
  });

  for (const [what, change, why] of [
    ['another file', (v: DataView) => v.setUint8(0, 0), /no qcow2/],
    ['version 1', (v: DataView) => v.setUint32(4, 1), /version 1/],
    ['a backing file', (v: DataView) => v.setBigUint64(8, 200n), /backing file/],
    ['encryption', (v: DataView) => v.setUint32(32, 1), /encrypted/],
    ['clusters of a byte', (v: DataView) => v.setUint32(20, 0), /clusters of 2\^0/],
    ['enormous clusters', (v: DataView) => v.setUint32(20, 63), /clusters of 2\^63/],
    ['an external data file', (v: DataView) => v.setBigUint64(72, 4n), /another file/],
    ['zstd', (v: DataView) => new Uint8Array(v.buffer).set([8, ...new Uint8Array(24), 1], 79), /compressed/],
    ['extended L2 entries', (v: DataView) => v.setBigUint64(72, 16n), /extended L2/],
    ['an unknown feature', (v: DataView) => v.setBigUint64(72, 1n << 40n), /feature 40/],
    [
      'a size that its table is too small for',
      (v: DataView) => v.setBigUint64(24, 1n << 40n),
      /does not fit its size/,
    ],
    ['a size beyond numbers', (v: DataView) => v.setBigUint64(24, (1n << 64n) - 1n), /does not fit its size/],
    ['an enormous table', (v: DataView) => v.setUint32(36, 0xffff_ffff), /does not fit its size/],
    ['a table beyond the end', (v: DataView) => v.setBigUint64(40, 1n << 50n), /ends before/],
  ] as const) {
    it(`refuses ${what}`, () => assert.throws(() => open(change), why));
  }

  for (const [what, change] of [
    ['an L2 table beyond the end', (v: DataView) => v.setBigUint64(512, 1n << 40n)],
    ['a cluster beyond the end', (v: DataView) => v.setBigUint64(65536, 1n << 40n)],
    [
      'a compressed cluster beyond the end',
      (v: DataView) => v.setBigUint64(65536, (1n << 62n) | (1n << 40n)),
    ],
    ['a compressed cluster that is none', (v: DataView) => v.setBigUint64(65536, (1n << 62n) | 131072n)],
  ] as const) {
    it(`fails to read ${what}, naming the image where it can`, () => {
      const store = open(change);
      assert.throws(() => store.read(0, new Uint8Array(512)));
    });
  }
});
