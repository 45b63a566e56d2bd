import { ImageError } from '../error';

/** What a host may have that does a part of the work faster than what is here. */
export interface DecompressTools {
  /** Memory for the output: where others see it, say. */
  readonly allocate?: (bytes: number) => Uint8Array;
  /** CRC-32 of IEEE 802.3, going on from `before`. */
  readonly crc32?: (bytes: Uint8Array, before?: number) => number;
  /** All members of RFC 1952, checked, handed out as they come. Rejects for damage, and with what `write` throws. */
  readonly gunzip?: (bytes: Uint8Array, write: (chunk: Uint8Array) => void) => Promise<void>;
  /**
   * Told how many bytes of the output are as they stay, while it is being made. They are not checked before the end,
   * and lie in what was allocated last.
   */
  readonly arrived?: (end: number) => void;
}

export interface DecompressContext {
  /** What is being decompressed, for messages. */
  readonly what: string;
  /** Largest output, in bytes, that is believed; anything above it is refused. */
  readonly limit: number;
  /** Length of the output in bytes where something outside the stream says it. */
  readonly expected?: number;
  readonly tools?: DecompressTools;
}

/** Rejects or throws with an ImageError for damaged, truncated or oversized input. */
export type Decompressor = (input: Uint8Array, context: DecompressContext) => Promise<Uint8Array>;

/** Rethrows a library's error in this project's terms. */
export function fail(what: string, where: string, error: unknown): never {
  if (error instanceof ImageError) throw error;
  const problem = error instanceof Error ? error.message : String(error);
  throw new ImageError(what, where, `cannot be decompressed: ${problem}`);
}

export interface Sink {
  readonly length: number;
  write(chunk: Uint8Array): void;
  bytes(): Uint8Array;
  /** From `start` on, with what is yet to be written. */
  room(start: number): Uint8Array;
}

/** Collects output up to the context's limit. */
export function createSink(context: DecompressContext, where: string): Sink {
  const { what, limit, expected } = context;
  const allocate = context.tools?.allocate ?? ((bytes): Uint8Array => new Uint8Array(bytes));
  let buffer = allocate(expected ?? 1 << 16);
  let length = 0;
  return {
    get length() {
      return length;
    },
    write(chunk) {
      const end = length + chunk.length;
      if (end > limit) throw new ImageError(what, where, `expands to more than the limit of ${limit} bytes`);
      if (end > buffer.length) {
        const larger = allocate(Math.max(end, Math.min(limit, buffer.length * 2)));
        larger.set(buffer.subarray(0, length));
        buffer = larger;
      }
      buffer.set(chunk, length);
      length = end;
    },
    bytes: () => buffer.subarray(0, length),
    room: (start) => buffer.subarray(start),
  };
}
