import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import { gzipSync } from 'node:zlib';
import {
  NotArriving,
  newArriving,
  tellArrived,
  tellComplete,
  waitForAll,
  waitForBytes,
  type Arriving,
} from '../../src/guest/arriving';
import { decompress, sniffCodec } from '../../src/guest/decompress';
import { x86FilterUndo } from '../../src/guest/decompress/x86-filter';
import { announceImage, loadImage, readImage, unpackImage, type UnpackedImage } from '../../src/guest/image';
import { interpreterModule } from '../../src/host/machine';
import { NODE_TOOLS } from '../../src/host/unpacking-thread';
import { assembleMachine } from '../../src/machine/assemble';
import type { Machine } from '../../src/machine/machine';
import type { KernelFile } from '../../src/machine/target';
import { VIRT_BASE, buildElf, bzImage, noteSegment, pvNotes, xenNote } from '../support/elf-builder';
import * as fixtures from './decompress/fixtures';

const kernel = buildElf({
  entry: VIRT_BASE + 0x100000n,
  segments: [
    {
      vaddr: VIRT_BASE + 0x100000n,
      paddr: 0x100000n,
      data: Uint8Array.from({ length: 300_000 }, (_, i) => i),
      memsz: 400_000n,
    },
    noteSegment(pvNotes(xenNote(3, VIRT_BASE))),
  ],
});

/** A thread that has `content` come in pieces, a while apart. */
function deliver({ bytes, progress }: Arriving, content: Uint8Array, right = true): Promise<void> {
  const code = `
    const { workerData: { bytes, progress, content, right } } = require('node:worker_threads');
    const pause = new Int32Array(new SharedArrayBuffer(4));
    for (let at = 0; at < content.length; ) {
      const end = Math.min(content.length, at + 20000);
      bytes.set(content.subarray(at, end), at);
      at = end;
      Atomics.store(progress, 0, at);
      Atomics.notify(progress, 0);
      Atomics.wait(pause, 0, 0, 2);
    }
    Atomics.store(progress, 1, right ? 1 : 2);
    Atomics.store(progress, 0, right ? content.length + 1 : -1);
    Atomics.notify(progress, 0);`;
  const worker = new Worker(code, { eval: true, workerData: { bytes, progress, content, right } });
  return new Promise((resolve, reject) => {
    worker.once('exit', () => {
      resolve();
    });
    worker.once('error', reject);
  });
}

const coming = (arriving: Arriving): UnpackedImage => ({
  ...arriving,
  format: 'bzImage',
  compression: 'gzip',
  kernelVersion: '',
});

describe('contents that are on their way', () => {
  it('are waited for, and refused when they do not come', () => {
    const arriving = newArriving(100);
    tellArrived(arriving, 40);
    waitForBytes(arriving, 40);
    tellComplete(arriving, false);
    assert.throws(() => {
      waitForBytes(arriving, 10);
    }, NotArriving);
    assert.throws(() => {
      waitForAll(arriving);
    }, NotArriving);
    const other = newArriving(100);
    tellComplete(other, true);
    waitForBytes(other, 100);
    waitForAll(other);
  });

  for (const [name, stream] of Object.entries({
    xzKernel: fixtures.xzKernel,
    xzBlocks: fixtures.xzBlocks,
    lz4Legacy: fixtures.lz4Legacy,
    gzip: fixtures.gzip,
  })) {
    for (const tools of [{}, NODE_TOOLS]) {
      it(`are told by ${name} only once they are as they stay${tools === NODE_TOOLS ? ', with what Node has' : ''}`, async () => {
        const codec = sniffCodec(stream);
        assert.ok(codec);
        const memory = new Uint8Array(fixtures.content().length);
        const told: { end: number; bytes: Uint8Array }[] = [];
        const result = await decompress(codec, stream, {
          what: 'k',
          limit: 1 << 20,
          expected: memory.length,
          tools: {
            ...tools,
            allocate: () => memory,
            arrived: (end) => void told.push({ end, bytes: memory.slice(0, end) }),
          },
        });
        assert.deepEqual(result, fixtures.content());
        assert.ok(told.length > 0);
        told.forEach(({ end, bytes }, i) => {
          assert.ok(end >= (told[i - 1]?.end ?? 0), 'they only become more');
          assert.deepEqual(bytes, result.subarray(0, end));
        });
        assert.equal(told.at(-1)?.end, result.length);
      });
    }
  }

  it('pass the x86 filter the same in any pieces', () => {
    const whole = fixtures.content();
    x86FilterUndo(whole)(whole.length);
    for (const step of [1, 3, 7, 64, 1000]) {
      const data = fixtures.content();
      const undo = x86FilterUndo(data);
      for (let there = 0; there < data.length;) {
        there = Math.min(data.length, there + step);
        const settled = undo(there);
        assert.deepEqual(data.subarray(0, settled), whole.subarray(0, settled), `step ${step}`);
      }
      assert.deepEqual(data, whole);
    }
  });

  it('are announced by a bzImage, not by what is damaged', () => {
    const file = bzImage(gzipSync(kernel));
    assert.equal(announceImage(file, 'k')?.size, kernel.length);
    assert.equal(announceImage(file.subarray(0, 600), 'k'), undefined);
    assert.equal(announceImage(kernel, 'k'), undefined);
  });

  it('are read as a kernel while they come', async () => {
    const arriving = newArriving(kernel.length);
    const thread = deliver(arriving, kernel);
    const image = readImage(coming(arriving), 'k');
    const now = await loadImage(kernel, 'k');
    assert.deepEqual(image.layout, now.layout);
    const [segment] = image.segments;
    segment?.wait?.(segment.data.length);
    assert.deepEqual(Uint8Array.from(segment?.data ?? []), now.segments[0]?.data);
    assert.deepEqual(image.elf.sections, now.elf.sections);
    waitForAll(arriving);
    await thread;
  });

  const machine = (file: KernelFile): ReturnType<typeof assembleMachine> =>
    assembleMachine(
      { domains: [{ name: 'k', kernel: file, cmdline: '', memory: 8 << 20, vcpus: 1 }] },
      { interpreter: interpreterModule(), log: () => undefined },
    );

  const framesHash = ({ cpu: { mem } }: Machine): string =>
    createHash('sha256')
      .update(mem.bytes.subarray(mem.framesBase, mem.framesBase + mem.frameCount * 4096))
      .digest('hex');

  it('make the same machine as when they are there already', async () => {
    const file = { name: 'k', bytes: bzImage(gzipSync(kernel)) };
    const arriving = newArriving(kernel.length);
    const thread = deliver(arriving, kernel);
    const made = await machine({ ...file, unpacked: coming(arriving) });
    await thread;
    const other = await machine({ ...file, unpacked: await unpackImage(file.bytes, 'k') });
    assert.equal(framesHash(made), framesHash(other));
  });

  it('are unpacked by the machine when they come damaged, and refused in its words when the file is', async () => {
    const packed = gzipSync(kernel);
    const file = { name: 'k', bytes: bzImage(packed) };
    const garbage = new Uint8Array(kernel.length).fill(0x55);
    for (const content of [kernel, garbage]) {
      const arriving = newArriving(kernel.length);
      const thread = deliver(arriving, content, false);
      const made = await machine({ ...file, unpacked: coming(arriving) });
      await thread;
      assert.equal(framesHash(made), framesHash(await machine(file)));
    }
    packed[packed.length - 7] = (packed[packed.length - 7] ?? 0) ^ 1;
    const arriving = newArriving(kernel.length);
    tellComplete(arriving, false);
    await assert.rejects(
      machine({ name: 'k', bytes: bzImage(packed), unpacked: coming(arriving) }),
      /gzip trailer.*CRC-32/,
    );
  });
});
