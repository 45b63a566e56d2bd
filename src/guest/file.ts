import { waitForBytes, type Arriving } from './arriving';
import { ImageError, hex, imageView } from './error';
import type { ByteView } from '../base/bytes';

/** A file that is read piece by piece: a kernel's debug file is larger than what anyone wants in memory. */
export interface GuestFile {
  /** What to call it in messages. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** The bytes at `offset`; fewer where the file ends before. Throws the host's error when it cannot be read. */
  read(offset: number, length: number): Uint8Array;
  close?(): void;
  /** What is asked for may have to be waited for. */
  readonly arriving?: true;
}

export const memoryFile = (bytes: Uint8Array, name: string): GuestFile => ({
  name,
  size: bytes.length,
  read: (offset, length) => bytes.subarray(offset, offset + length),
});

export const arrivingFile = (arriving: Arriving, name: string): GuestFile => ({
  name,
  size: arriving.bytes.length,
  read: (offset, length) => {
    waitForBytes(arriving, Math.min(offset + length, arriving.bytes.length));
    return arriving.bytes.subarray(offset, offset + length);
  },
  arriving: true,
});

/**
 * A view of a part of a file, which counts offsets from the part's start.
 * @throws ImageError when the part is not all there
 */
export function fileView(file: GuestFile, offset: number, length: number, thing: string): ByteView {
  const bytes = offset <= file.size && length <= file.size - offset ? file.read(offset, length) : undefined;
  if (bytes?.length !== length)
    throw new ImageError(
      thing,
      `offset ${hex(offset)}`,
      `${length} bytes reach beyond the file's ${file.size}: truncated, or a lying header`,
    );
  return imageView(bytes, thing);
}
