import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { ImageError } from '../../src/guest/error';
import { loadImage } from '../../src/guest/image';
import { kernelSymbols } from '../../src/guest/symbols';
import {
  VIRT_BASE,
  bzImage,
  concat,
  pvKernel,
  pvNotes,
  symbolSections,
  words,
  xenNote,
} from '../support/elf-builder';
import { guestPath } from '../support/guests';
import type { Random } from '../support/random';
import { createRandom } from '../support/random';
import * as fixtures from './decompress/fixtures';

/** Values that break arithmetic more often than random ones do. */
const nasty = [
  0n,
  1n,
  7n,
  0x7fn,
  0xffn,
  0xfff0n,
  0xffffn,
  0x7fffffffn,
  0x80000000n,
  0xffffffffn,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 63n,
  2n ** 64n - 1n,
  2n ** 64n - 0x1000n,
];

interface Undo {
  readonly at: number;
  readonly bytes: Uint8Array;
}

/** Damages `bytes` in place in one to four spots of [0, reach); returns how to put it right. */
function mutate(bytes: Uint8Array, reach: number, random: Random): Undo[] {
  const undo: Undo[] = [];
  for (let spots = 1 + random.next(4); spots > 0; spots--) {
    const at = random.next(Math.min(reach, bytes.length));
    const width = random.pick([1, 2, 4, 8] as const);
    const aligned = at - (at % random.pick([1, width]));
    const value =
      random.next(2) === 0
        ? random.pick(nasty)
        : (BigInt(random.next(2 ** 32)) << 32n) | BigInt(random.next(2 ** 32));
    const patch = words(width, [value]).subarray(0, bytes.length - aligned);
    undo.push({ at: aligned, bytes: bytes.slice(aligned, aligned + patch.length) });
    bytes.set(patch, aligned);
  }
  return undo.reverse();
}

async function attempt(bytes: Uint8Array, symbols: boolean): Promise<'loaded' | 'refused'> {
  try {
    const image = await loadImage(bytes, 'mutant');
    if (symbols) kernelSymbols(image).table.at(image.entry);
    return 'loaded';
  } catch (error) {
    if (error instanceof ImageError) return 'refused';
    throw error;
  }
}

async function fuzz(
  original: Uint8Array,
  options: { rounds: number; seed: number; reach?: number; symbols?: boolean; cut?: boolean },
): Promise<void> {
  const random = createRandom(options.seed);
  const bytes = original.slice();
  const count = { loaded: 0, refused: 0 };
  for (let round = 0; round < options.rounds; round++) {
    const undo = mutate(bytes, options.reach ?? bytes.length, random);
    const shown =
      options.cut !== false && random.next(4) === 0 ? bytes.subarray(0, random.next(bytes.length)) : bytes;
    const started = performance.now();
    try {
      count[await attempt(shown, options.symbols ?? true)]++;
    } catch (error) {
      assert.fail(
        `seed ${options.seed}, round ${round}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
      );
    }
    const took = performance.now() - started;
    assert.ok(took < 4000, `seed ${options.seed}, round ${round}: took ${took.toFixed(0)} ms`);
    for (const { at, bytes: old } of undo) bytes.set(old, at);
  }
  assert.deepEqual(bytes, original, 'the test itself went wrong');
  // A fuzz run that only ever sees one side tests nothing.
  assert.ok(count.refused > 0, 'nothing was refused');
}

const rich = pvKernel(
  {
    sections: [
      ...symbolSections(
        [
          { name: 'start', value: VIRT_BASE + 0x100000n, size: 16n },
          { name: 'data', value: VIRT_BASE + 0x100020n, info: 1 },
        ],
        2,
      ),
      { name: '.note.Xen', type: 7, data: pvNotes(xenNote(13, words(8, [1n, 1n]))) },
      { name: '__xen_guest', data: new Uint8Array(8) },
    ],
  },
  xenNote(1, VIRT_BASE + 0x100000n),
  xenNote(2, VIRT_BASE + 0x100000n),
  xenNote(10, '!writable_page_tables|pae_pgdir_above_4gb'),
  xenNote(15, 0x8000000000n),
);

describe('guest/image under mutation', function () {
  this.timeout(30000);

  it('small ELF images: an ImageError or success, nothing else', () => fuzz(rich, { rounds: 6000, seed: 1 }));
  it('ELF headers only', () => fuzz(rich, { rounds: 6000, seed: 2, reach: 64 + 2 * 56, cut: false }));
  it('bzImages with a gzip payload', () =>
    fuzz(bzImage(concat([gzipSync(rich)])), { rounds: 2000, seed: 3 }));
  it('bzImage headers', () =>
    fuzz(bzImage(concat([gzipSync(rich)])), { rounds: 2000, seed: 4, reach: 0x250 }));

  for (const name of ['xzKernel', 'xzBlocks', 'zstdFile', 'lz4Legacy', 'gzip'] as const) {
    it(`${name}: damaged streams`, () => fuzz(fixtures[name], { rounds: 400, seed: 5 }));
  }

  it("GRUB's headers and notes", async function () {
    const bytes = new Uint8Array(readFileSync(guestPath('grub', this)));
    await fuzz(bytes, { rounds: 2000, seed: 6, reach: 0x280, cut: false, symbols: false });
    // The notes are the file's end.
    const tail = bytes.subarray(bytes.length - 0x200);
    const random = createRandom(7);
    for (let round = 0; round < 1000; round++) {
      const undo = mutate(tail, tail.length, random);
      await attempt(bytes, false);
      for (const { at, bytes: old } of undo) tail.set(old, at);
    }
  });

  it("Linux's ELF headers and notes", async function () {
    const image = await loadImage(new Uint8Array(readFileSync(guestPath('linux-cloud', this))), 'linux');
    const bytes = image.elf.file.read(0, image.elf.file.size);
    await fuzz(bytes, { rounds: 300, seed: 8, reach: 64 + 5 * 56, cut: false, symbols: false });
    const notes = image.elf.sections.find(({ name }) => name === '.notes');
    assert.ok(notes);
    const part = bytes.subarray(notes.offset, notes.offset + notes.size);
    const random = createRandom(9);
    for (let round = 0; round < 1000; round++) {
      const undo = mutate(part, part.length, random);
      await attempt(bytes, false);
      for (const { at, bytes: old } of undo) part.set(old, at);
    }
  });
});
