/** A read outside a {@link ByteView}; `offset` counts from the view's start, in bytes. */
export class OutOfBoundsError extends RangeError {
  constructor(
    readonly thing: string,
    readonly offset: number,
    readonly length: number,
    readonly size: number,
  ) {
    super(`${thing}: ${length} bytes at offset 0x${offset.toString(16)} lie outside its ${size} bytes`);
    this.name = 'OutOfBoundsError';
  }
}

/** Makes the error for a bad read, so that each reader fails in its own terms. */
export type BoundsFailure = (thing: string, offset: number, length: number, size: number) => Error;

const outOfBounds: BoundsFailure = (thing, offset, length, size) =>
  new OutOfBoundsError(thing, offset, length, size);

/**
 * Little-endian reads with bounds, for formats that may lie. Offsets are bytes from the view's start; every
 * read outside it throws what `failure` makes (an {@link OutOfBoundsError} by default).
 */
export class ByteView {
  readonly size: number;
  private readonly data: DataView;

  constructor(
    readonly bytes: Uint8Array,
    /** What this is a view of, as the error shall name it. */
    readonly thing: string,
    private readonly failure: BoundsFailure = outOfBounds,
  ) {
    this.size = bytes.byteLength;
    this.data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Whether `length` bytes from `offset` are all inside. False, too, for negative or fractional numbers. */
  has(offset: number, length: number): boolean {
    return (
      Number.isSafeInteger(offset) &&
      Number.isSafeInteger(length) &&
      offset >= 0 &&
      length >= 0 &&
      length <= this.size - offset
    );
  }

  check(offset: number, length: number): void {
    if (!this.has(offset, length)) this.fail(offset, length);
  }

  fail(offset: number, length: number): never {
    throw this.failure(this.thing, offset, length, this.size);
  }

  u8(offset: number): number {
    this.check(offset, 1);
    return this.data.getUint8(offset);
  }

  u16(offset: number): number {
    this.check(offset, 2);
    return this.data.getUint16(offset, true);
  }

  u32(offset: number): number {
    this.check(offset, 4);
    return this.data.getUint32(offset, true);
  }

  i32(offset: number): number {
    this.check(offset, 4);
    return this.data.getInt32(offset, true);
  }

  u64(offset: number): bigint {
    this.check(offset, 8);
    return this.data.getBigUint64(offset, true);
  }

  i64(offset: number): bigint {
    this.check(offset, 8);
    return this.data.getBigInt64(offset, true);
  }

  /** The bytes themselves, not a copy. */
  slice(offset: number, length: number): Uint8Array {
    this.check(offset, length);
    return this.bytes.subarray(offset, offset + length);
  }

  /** A view of a part, which names itself in errors and counts offsets from its own start. */
  view(offset: number, length: number, thing: string): ByteView {
    return new ByteView(this.slice(offset, length), thing, this.failure);
  }

  /** Bytes up to a NUL, each as one Latin-1 character; `limit` and the end of the view end it, too. */
  cString(offset: number, limit = this.size): string {
    this.check(offset, 0);
    const stop = Math.min(this.size, offset + limit);
    let end = offset;
    while (end < stop && this.bytes[end] !== 0) end++;
    return latin1(this.bytes.subarray(offset, end));
  }
}

/** A little-endian number of as many bytes as there are. */
export const bytesToNumber = (bytes: Uint8Array): bigint => {
  let value = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i] ?? 0);
  return value;
};

/** Little-endian, truncated to `length` bytes. */
export function numberToBytes(value: bigint, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let rest = BigInt.asUintN(length * 8, value);
  for (let i = 0; i < length; i++, rest >>= 8n) bytes[i] = Number(rest & 0xffn);
  return bytes;
}

/** One character per byte, so that no byte is lost and no decoder can refuse. */
export function latin1(bytes: Uint8Array): string {
  const chunk = 0x2000;
  let text = '';
  for (let at = 0; at < bytes.length; at += chunk) {
    text += String.fromCharCode(...bytes.subarray(at, at + chunk));
  }
  return text;
}

/** The opposite of {@link latin1}. */
export const ascii = (text: string): Uint8Array =>
  Uint8Array.from(text, (character) => character.charCodeAt(0));

/** Whether `bytes` hold `pattern` at `offset`. */
export function startsWith(bytes: Uint8Array, pattern: readonly number[], offset = 0): boolean {
  return pattern.every((value, index) => bytes[offset + index] === value);
}

/** A position moving through a view. The variable-length readers are DWARF's (DWARF 5, 7.6). */
export class ByteReader {
  constructor(
    readonly view: ByteView,
    public offset = 0,
    readonly end: number = view.size,
  ) {}

  get done(): boolean {
    return this.offset >= this.end;
  }

  private take(length: number): number {
    const at = this.offset;
    if (length > this.end - at) this.view.fail(at, length);
    this.offset = at + length;
    return at;
  }

  skip(length: number): void {
    this.view.check(this.offset, length);
    this.take(length);
  }

  u8(): number {
    return this.view.u8(this.take(1));
  }

  i8(): number {
    return (this.u8() << 24) >> 24;
  }

  u16(): number {
    return this.view.u16(this.take(2));
  }

  u32(): number {
    return this.view.u32(this.take(4));
  }

  u64(): bigint {
    return this.view.u64(this.take(8));
  }

  slice(length: number): Uint8Array {
    return this.view.slice(this.take(length), length);
  }

  cString(): string {
    const text = this.view.cString(this.offset, this.end - this.offset);
    this.take(text.length + 1);
    return text;
  }

  uleb(): bigint {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.u8();
      if (shift < 64n) value |= BigInt(byte & 0x7f) << shift;
      if ((byte & 0x80) === 0) return BigInt.asUintN(64, value);
    }
  }

  sleb(): bigint {
    let value = 0n;
    for (let shift = 0n; ;) {
      const byte = this.u8();
      if (shift < 64n) value |= BigInt(byte & 0x7f) << shift;
      shift += 7n;
      if ((byte & 0x80) !== 0) continue;
      if ((byte & 0x40) !== 0 && shift < 64n) value -= 1n << shift;
      return BigInt.asIntN(64, value);
    }
  }

  /** An unsigned LEB128 that must fit a JavaScript integer; used for counts, indices and lengths. */
  ulebNumber(): number {
    // Nearly all are of one or two bytes, and reading them is most of what a debug file costs.
    const first = this.u8();
    if (first < 0x80) return first;
    const second = this.u8();
    if (second < 0x80) return (first & 0x7f) | (second << 7);
    this.offset -= 2;
    const value = this.uleb();
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) this.view.fail(this.offset, Number.MAX_SAFE_INTEGER);
    return Number(value);
  }
}
