import { decompress } from 'fzstd';
import { ByteView } from '../../base/bytes';
import { ImageError } from '../error';
import type { Decompressor } from './codec';
import { fail } from './codec';

/** Frame_Content_Size in bytes (RFC 8878 §3.1.1.1), or undefined where the frame does not say. */
function contentSize(view: ByteView): number | undefined {
  const descriptor = view.u8(4);
  const singleSegment = (descriptor & 0x20) !== 0;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] ?? 0;
  const at = 5 + (singleSegment ? 0 : 1) + dictionaryBytes;
  switch (descriptor >>> 6) {
    case 0:
      return singleSegment ? view.u8(at) : undefined;
    case 1:
      return view.u16(at) + 256;
    case 2:
      return view.u32(at);
    default:
      return Number(view.u64(at));
  }
}

/**
 * One zstd frame. The whole output is one buffer that serves as the window, since kernels are compressed with
 * windows as large as themselves. The frame's XXH64 is not checked: the length is. It
 * comes as a whole: the library's other way, block by block, moves the window for each block.
 */
export const zstd: Decompressor = (input, { what, limit, expected, tools }) => {
  const view = new ByteView(input, what, (thing) => new ImageError(thing, 'zstd frame', 'truncated'));
  const size = contentSize(view) ?? expected;
  if (size === undefined) {
    throw new ImageError(
      what,
      'zstd frame header',
      'does not say how large the content is',
      'Compress it from a file, not from a pipe',
    );
  }
  if (size > limit)
    throw new ImageError(what, 'zstd frame header', `content of ${size} bytes is over the limit of ${limit}`);
  if (size === 0) throw new ImageError(what, 'zstd frame header', 'the content is empty');
  // fzstd reports damage and truncation, and hands the same buffer back for exactly one frame.
  const output = tools?.allocate?.(size) ?? new Uint8Array(size);
  try {
    const got = decompress(input, output);
    if (got !== output) throw new Error('it is not one frame');
  } catch (error) {
    fail(what, 'zstd frame', error);
  }
  return Promise.resolve(output);
};
