import { ByteView } from '../../base/bytes';
import { ImageError, hex } from '../error';
import type { Decompressor } from './codec';

const LEGACY_MAGIC = 0x184c2102;
/** lz4_Frame_format.md, "Legacy frame": every block but the last expands to 8 MiB. */
const LEGACY_BLOCK = 8 << 20;
const MIN_MATCH = 4;

/**
 * One LZ4 block (lz4_Block_format.md) from `input` to `output` at `start`.
 * @returns the end of what it wrote; -1 for data that is damaged or does not fit.
 */
export function lz4Block(input: Uint8Array, output: Uint8Array, start: number): number {
  const inEnd = input.length;
  const outEnd = output.length;
  let from = 0;
  let to = start;
  const byte = (): number => input[from++] ?? 0;
  while (from < inEnd) {
    const token = byte();
    let literals = token >>> 4;
    if (literals === 15) {
      let more: number;
      do {
        more = byte();
        literals += more;
      } while (more === 255);
    }
    if (literals > inEnd - from || literals > outEnd - to) return -1;
    output.set(input.subarray(from, from + literals), to);
    from += literals;
    to += literals;
    if (from === inEnd) return to;
    const distance = byte() | (byte() << 8);
    let length = (token & 15) + MIN_MATCH;
    if ((token & 15) === 15) {
      let more: number;
      do {
        more = byte();
        length += more;
      } while (more === 255);
    }
    // Matches may not reach before the block: blocks of the legacy format stand alone.
    if (from > inEnd || distance === 0 || distance > to - start || length > outEnd - to) return -1;
    if (distance >= length) {
      output.copyWithin(to, to - distance, to - distance + length);
      to += length;
    } else {
      for (const end = to + length; to < end; to++) output[to] = output[to - distance] ?? 0;
    }
  }
  return to;
}

/** The legacy frame, which is what the kernel's build makes (`lz4 -l`). */
export const lz4: Decompressor = (input, { what, limit, expected, tools }) => {
  const view = new ByteView(
    input,
    what,
    (thing, offset) => new ImageError(thing, `lz4 stream, offset ${hex(offset)}`, 'truncated'),
  );
  const allocate = tools?.allocate ?? ((bytes): Uint8Array => new Uint8Array(bytes));
  let output = allocate(expected ?? Math.min(limit, LEGACY_BLOCK));
  let end = 0;
  for (let at = 4; at < view.size;) {
    const size = view.u32(at);
    at += 4;
    if (size === LEGACY_MAGIC) continue;
    const block = view.slice(at, size);
    if (expected === undefined && output.length - end < LEGACY_BLOCK && output.length < limit) {
      const larger = allocate(Math.min(limit, Math.max(output.length * 2, end + LEGACY_BLOCK)));
      larger.set(output.subarray(0, end));
      output = larger;
    }
    const next = lz4Block(block, output.subarray(0, Math.min(output.length, end + LEGACY_BLOCK)), end);
    if (next < 0) {
      throw new ImageError(
        what,
        `lz4 block at offset ${hex(at)}`,
        'damaged data, or more of it than announced',
      );
    }
    end = next;
    tools?.arrived?.(end);
    at += size;
  }
  return Promise.resolve(output.subarray(0, end));
};
