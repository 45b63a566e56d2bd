import { ByteView } from '../base/bytes';

/** The file that was offered cannot be used; says what, where, and what to do about it where that is known. */
export class ImageError extends Error {
  constructor(
    /** The thing that is wrong: an image by name, or a structure of it. */
    readonly thing: string,
    /** The place: a field's name, an offset, a line; empty when the whole thing is meant. */
    readonly where: string,
    /** What is wrong there, a clause without a full stop. */
    readonly problem: string,
    readonly fix?: string,
  ) {
    super(`${thing}${where === '' ? '' : `, ${where}`}: ${problem}${fix === undefined ? '' : `. ${fix}`}`);
    this.name = 'ImageError';
  }
}

export const hex = (value: number | bigint): string => `0x${value.toString(16)}`;

/** A view whose bad reads are {@link ImageError}s. */
export function imageView(bytes: Uint8Array, thing: string): ByteView {
  return new ByteView(
    bytes,
    thing,
    (what, offset, length, size) =>
      new ImageError(
        what,
        `offset ${hex(offset)}`,
        `needs ${length} bytes, and only ${size} are there: truncated, or a lying offset`,
      ),
  );
}
