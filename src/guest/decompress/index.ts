import { startsWith } from '../../base/bytes';
import { ImageError } from '../error';
import type { DecompressContext, Decompressor } from './codec';
import { gzip } from './gzip';
import { lz4 } from './lz4';
import { xz } from './xz';
import { zstd } from './zstd';

export type { DecompressContext, DecompressTools } from './codec';

export interface Codec {
  readonly name: string;
  readonly magic: readonly number[];
  /** Absent: known by name, and refused. */
  readonly decompress?: Decompressor;
}

/** The compressions a kernel build can choose (Linux, init/Kconfig "Kernel compression mode"). */
export const codecs = [
  { name: 'gzip', magic: [0x1f, 0x8b], decompress: gzip },
  { name: 'xz', magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], decompress: xz },
  { name: 'zstd', magic: [0x28, 0xb5, 0x2f, 0xfd], decompress: zstd },
  { name: 'lz4', magic: [0x02, 0x21, 0x4c, 0x18], decompress: lz4 },
  { name: 'lz4 frame', magic: [0x04, 0x22, 0x4d, 0x18] },
  { name: 'bzip2', magic: [0x42, 0x5a, 0x68] },
  { name: 'lzma', magic: [0x5d, 0x00, 0x00] },
  { name: 'lzo', magic: [0x89, 0x4c, 0x5a, 0x4f, 0x00, 0x0d, 0x0a, 0x1a, 0x0a] },
] as const satisfies readonly Codec[];

export type CodecName = (typeof codecs)[number]['name'];

/** The codec whose magic `bytes` start with. */
export const sniffCodec = (bytes: Uint8Array): (Codec & { readonly name: CodecName }) | undefined =>
  codecs.find((codec) => startsWith(bytes, codec.magic));

/** Decompresses, or refuses by name what there is no decompressor for. Rejects with an ImageError. */
export async function decompress(
  codec: Codec,
  input: Uint8Array,
  context: DecompressContext,
): Promise<Uint8Array> {
  if (codec.decompress === undefined) {
    const served = (codecs as readonly Codec[])
      .filter((each) => each.decompress !== undefined)
      .map((each) => each.name);
    throw new ImageError(
      context.what,
      'compression',
      `is ${codec.name}, for which there is no decompressor here`,
      `Decompress it first, or recompress it with one of ${served.join(', ')}`,
    );
  }
  const { expected, limit, what } = context;
  if (expected !== undefined && expected > limit) {
    throw new ImageError(
      what,
      `${codec.name} stream`,
      `announces ${expected} bytes, over the limit of ${limit}`,
    );
  }
  const output = await codec.decompress(input, context);
  if (expected !== undefined && output.length !== expected) {
    throw new ImageError(
      what,
      `${codec.name} stream`,
      `expands to ${output.length} bytes where ${expected} are announced: damaged or truncated`,
    );
  }
  return output;
}
