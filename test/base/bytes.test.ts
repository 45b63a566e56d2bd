import assert from 'node:assert/strict';
import { ByteReader, ByteView, OutOfBoundsError, latin1, startsWith } from '../../src/base/bytes';

const bytes = Uint8Array.from([0x01, 0x02, 0x03, 0x04, 0x85, 0x86, 0x87, 0x88, 0x00, 0x41]);
const view = new ByteView(bytes, 'ten bytes');

describe('base/bytes', () => {
  it('reads little-endian integers', () => {
    assert.equal(view.u8(4), 0x85);
    assert.equal(view.u16(0), 0x0201);
    assert.equal(view.u32(4), 0x88878685);
    assert.equal(view.i32(4), 0x88878685 | 0);
    assert.equal(view.u64(0), 0x8887868504030201n);
    assert.equal(view.i64(0), BigInt.asIntN(64, 0x8887868504030201n));
    assert.equal(view.cString(7), '\x88');
    assert.equal(view.cString(9), 'A');
  });

  it('names the thing, the offset and the size when it is asked for more', () => {
    assert.throws(
      () => view.u32(8),
      (error: unknown) => {
        assert.ok(error instanceof OutOfBoundsError);
        assert.deepEqual([error.thing, error.offset, error.length, error.size], ['ten bytes', 8, 4, 10]);
        assert.match(error.message, /ten bytes: 4 bytes at offset 0x8 lie outside its 10 bytes/);
        return true;
      },
    );
    for (const offset of [-1, 10, 0.5, NaN, Infinity, 2 ** 53])
      assert.throws(() => view.u8(offset), OutOfBoundsError);
    assert.equal(view.has(0, 11), false);
    assert.equal(view.has(10, 0), true);
    assert.equal(view.has(1, Number.MAX_SAFE_INTEGER), false);
  });

  it('counts a part from its own start and keeps the kind of failure', () => {
    const own = new ByteView(bytes, 'whole', (thing, offset) => new TypeError(`${thing}@${offset}`));
    const part = own.view(4, 4, 'part');
    assert.equal(part.u8(0), 0x85);
    assert.throws(() => part.u16(3), new TypeError('part@3'));
  });

  it('reads LEB128 as DWARF 5 figures 7.19 and 7.20 have it', () => {
    const reader = (...values: number[]) => new ByteReader(new ByteView(Uint8Array.from(values), 'leb'));
    for (const [value, ...encoded] of [
      [2, 2],
      [127, 127],
      [128, 0x80, 1],
      [129, 0x81, 1],
      [12857, 0xb9, 0x64],
    ] as const) {
      assert.equal(reader(...encoded).uleb(), BigInt(value));
    }
    for (const [value, ...encoded] of [
      [2, 2],
      [-2, 0x7e],
      [127, 0xff, 0],
      [-127, 0x81, 0x7f],
      [128, 0x80, 1],
      [-128, 0x80, 0x7f],
    ] as const) {
      assert.equal(reader(...encoded).sleb(), BigInt(value));
    }
    assert.equal(reader(...new Array<number>(9).fill(0xff), 1).uleb(), 2n ** 64n - 1n);
    assert.throws(() => reader(0x80, 0x80).uleb(), OutOfBoundsError);
    assert.throws(() => reader(...new Array<number>(9).fill(0xff), 1).ulebNumber(), OutOfBoundsError);
  });

  it('keeps a reader within its end', () => {
    const reader = new ByteReader(view, 2, 5);
    assert.equal(reader.u16(), 0x0403);
    assert.throws(() => reader.u16(), OutOfBoundsError);
    assert.equal(reader.u8(), 0x85);
    assert.equal(reader.done, true);
    assert.throws(() => reader.cString(), OutOfBoundsError);
  });

  it('keeps every byte of text and compares prefixes', () => {
    const all = Uint8Array.from({ length: 0x5000 }, (_, index) => index & 0xff);
    assert.deepEqual(
      Uint8Array.from(latin1(all), (c) => c.charCodeAt(0)),
      all,
    );
    assert.equal(startsWith(bytes, [0x04, 0x85], 3), true);
    assert.equal(startsWith(bytes, [0x41, 0x42], 9), false);
  });
});
