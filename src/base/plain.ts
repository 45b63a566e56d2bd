/**
 * Plain data as bytes: records, lists, maps, numbers, bigints, texts and typed arrays, with the names of records in
 * them, so that what is read back says of itself what it is. Written and read as a stream of pieces, since what a
 * machine keeps can be larger than one would like to have twice.
 *
 * A value is a tag byte and what it needs. Lengths and small integers are base-128 with the low bits first, a set
 * high bit saying that more follow. A record's name is a number: 0 and the text the first time, then 1 for the
 * first name met, 2 for the second, and so on.
 */

/** Bytes a piece has at most. */
export const PIECE = 1 << 20;

/** A value that is no plain data, or bytes that are no value; `at` names the place in the data. */
export class PlainError extends Error {
  override readonly name = 'PlainError';
  constructor(
    readonly at: string,
    readonly problem: string,
  ) {
    super(`${at}: ${problem}`);
  }
}

const TAG = {
  undefined: 0,
  false: 1,
  true: 2,
  /** An integer, zigzag. */
  integer: 3,
  /** An IEEE 754 double. */
  double: 4,
  /** A bigint that is not negative, as bytes with the lowest first; and one that is. */
  natural: 5,
  negative: 6,
  text: 7,
  list: 8,
  record: 9,
  map: 10,
  bytes: 11,
  int32s: 12,
  uint16s: 13,
  uint32s: 14,
  uint64s: 15,
} as const;

type TypedArray = Uint8Array | Int32Array | Uint16Array | Uint32Array | BigUint64Array;
/** Numbers in typed arrays stand as in memory: little-endian, as everything that runs this is. */
const ARRAYS: readonly {
  readonly tag: number;
  readonly type: { new (buffer: ArrayBuffer): TypedArray; readonly BYTES_PER_ELEMENT: number };
}[] = [
  { tag: TAG.bytes, type: Uint8Array },
  { tag: TAG.int32s, type: Int32Array },
  { tag: TAG.uint16s, type: Uint16Array },
  { tag: TAG.uint32s, type: Uint32Array },
  { tag: TAG.uint64s, type: BigUint64Array },
];

/** Deeper than any state is, and shallower than any stack. */
const MAX_DEPTH = 100;

export interface PlainWriter {
  /** Throws a PlainError for what is no plain data. */
  value(value: unknown, at: string): void;
  /** Bytes as they are. */
  bytes(bytes: Uint8Array): void;
  /** Emits what has not been, as the last piece; it may be empty. */
  end(): void;
}

/** @param emit gets pieces of at most PIECE bytes, valid until it returns */
export function plainWriter(emit: (piece: Uint8Array, last: boolean) => void): PlainWriter {
  const piece = new Uint8Array(PIECE);
  const view = new DataView(piece.buffer);
  const names = new Map<string, number>();
  const encoder = new TextEncoder();
  let used = 0;

  const emitPiece = (last: boolean): void => {
    emit(piece.subarray(0, used), last);
    used = 0;
  };
  const room = (size: number): void => {
    if (used + size > PIECE) emitPiece(false);
  };
  const byte = (value: number): void => {
    room(1);
    piece[used++] = value;
  };
  const bytes = (given: Uint8Array): void => {
    for (let done = 0; done < given.length;) {
      room(1);
      const n = Math.min(given.length - done, PIECE - used);
      piece.set(given.subarray(done, done + n), used);
      used += n;
      done += n;
    }
  };
  /** An integer below 2^53. */
  const count = (value: number): void => {
    let rest = value;
    while (rest >= 0x80) {
      byte((rest % 0x80) | 0x80);
      rest = Math.floor(rest / 0x80);
    }
    byte(rest);
  };
  const text = (given: string): void => {
    const encoded = encoder.encode(given);
    count(encoded.length);
    bytes(encoded);
  };
  const nameOf = (name: string): void => {
    const known = names.get(name);
    if (known !== undefined) {
      count(known);
      return;
    }
    names.set(name, names.size + 1);
    count(0);
    text(name);
  };
  const number = (value: number): void => {
    if (Number.isInteger(value) && Math.abs(value) < 2 ** 52 && !Object.is(value, -0)) {
      byte(TAG.integer);
      count(value < 0 ? -value * 2 - 1 : value * 2);
      return;
    }
    byte(TAG.double);
    room(8);
    view.setFloat64(used, value, true);
    used += 8;
  };
  const big = (value: bigint): void => {
    byte(value < 0n ? TAG.negative : TAG.natural);
    const digits = (value < 0n ? -value : value).toString(16);
    const whole = digits.length % 2 === 0 ? digits : `0${digits}`;
    const length = whole === '00' ? 0 : whole.length / 2;
    count(length);
    for (let i = length - 1; i >= 0; i--) byte(parseInt(whole.slice(2 * i, 2 * i + 2), 16));
  };

  const simple: Readonly<Record<string, (value: never) => void>> = {
    undefined: () => byte(TAG.undefined),
    boolean: (value: boolean) => byte(value ? TAG.true : TAG.false),
    number,
    bigint: big,
    string: (value: string) => {
      byte(TAG.text);
      text(value);
    },
  };

  function write(value: unknown, at: string, depth: number): void {
    const easy = simple[typeof value];
    if (easy !== undefined) {
      easy(value as never);
      return;
    }
    if (depth > MAX_DEPTH) throw new PlainError(at, 'it is nested too deeply');
    if (Array.isArray(value)) {
      byte(TAG.list);
      count(value.length);
      value.forEach((one: unknown, i) => write(one, `${at}[${i}]`, depth + 1));
      return;
    }
    if (value instanceof Map) {
      byte(TAG.map);
      count(value.size);
      for (const [key, one] of value as Map<unknown, unknown>) {
        write(key, `${at}, a key`, depth + 1);
        write(one, `${at}.${String(key)}`, depth + 1);
      }
      return;
    }
    const array = ARRAYS.find(({ type }) => value instanceof type);
    if (array !== undefined) {
      const { buffer, byteOffset, byteLength } = value as TypedArray;
      byte(array.tag);
      count(byteLength / array.type.BYTES_PER_ELEMENT);
      bytes(new Uint8Array(buffer, byteOffset, byteLength));
      return;
    }
    const isRecord =
      typeof value === 'object' &&
      value !== null &&
      (Object.getPrototypeOf(value) === Object.prototype || Object.getPrototypeOf(value) === null);
    if (!isRecord) throw new PlainError(at, `a ${typeof value} is no plain data`);
    const entries = Object.entries(value);
    byte(TAG.record);
    count(entries.length);
    for (const [name, one] of entries) {
      nameOf(name);
      write(one, `${at}.${name}`, depth + 1);
    }
  }

  return { value: (value, at) => write(value, at, 0), bytes, end: () => emitPiece(true) };
}

export interface PlainReader {
  /** The next value. Throws a PlainError for bytes that are none, or that end too early. */
  value(at: string): unknown;
  /** Fills `into`, or as much of it as there is; @returns how much */
  bytes(into: Uint8Array): number;
  /** Throws a PlainError when bytes are left. */
  end(at: string): void;
}

/** @param pull gives the next piece, or undefined after the last */
export function plainReader(pull: () => Uint8Array | undefined): PlainReader {
  let piece: Uint8Array = new Uint8Array(0);
  let used = 0;
  const names: string[] = [];
  const decoder = new TextDecoder();

  const more = (): boolean => {
    while (used === piece.length) {
      const next = pull();
      if (next === undefined) return false;
      piece = next;
      used = 0;
    }
    return true;
  };
  const fill = (into: Uint8Array): number => {
    let done = 0;
    while (done < into.length && more()) {
      const n = Math.min(into.length - done, piece.length - used);
      into.set(piece.subarray(used, used + n), done);
      used += n;
      done += n;
    }
    return done;
  };
  const truncated = (at: string): never => {
    throw new PlainError(at, 'the data end in the middle of it');
  };
  const byte = (at: string): number => {
    if (!more()) return truncated(at);
    return piece[used++] ?? 0;
  };
  const count = (at: string): number => {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 8; i++) {
      const next = byte(at);
      value += (next & 0x7f) * scale;
      if (next < 0x80) {
        if (!Number.isSafeInteger(value)) break;
        return value;
      }
      scale *= 0x80;
    }
    throw new PlainError(at, 'a number in it is too large');
  };
  /** Grows with what is there, so that a length that lies costs nothing. */
  const bytes = (length: number, at: string): Uint8Array<ArrayBuffer> => {
    let all = new Uint8Array(Math.min(length, PIECE));
    let done = fill(all);
    while (done === all.length && done < length) {
      const larger = new Uint8Array(Math.min(length, 2 * all.length));
      larger.set(all);
      all = larger;
      done += fill(all.subarray(done));
    }
    return done === length ? all : truncated(at);
  };
  const text = (at: string): string => decoder.decode(bytes(count(at), at));
  const nameOf = (at: string): string => {
    const n = count(at);
    const known = n === 0 ? text(at) : names[n - 1];
    if (known === undefined) throw new PlainError(at, `there is no name ${n}`);
    if (known === '__proto__') throw new PlainError(at, `a record has no ${known}`);
    if (n === 0) names.push(known);
    return known;
  };
  const big = (at: string): bigint => {
    const digits = [...bytes(count(at), at)].reverse().map((b) => b.toString(16).padStart(2, '0'));
    return digits.length === 0 ? 0n : BigInt(`0x${digits.join('')}`);
  };

  const readers: Readonly<Record<number, (at: string, depth: number) => unknown>> = {
    [TAG.undefined]: () => undefined,
    [TAG.false]: () => false,
    [TAG.true]: () => true,
    [TAG.integer]: (at) => {
      const n = count(at);
      return n % 2 === 0 ? n / 2 : -(n + 1) / 2;
    },
    [TAG.double]: (at) => new DataView(bytes(8, at).buffer).getFloat64(0, true),
    [TAG.natural]: big,
    [TAG.negative]: (at) => -big(at),
    [TAG.text]: text,
    [TAG.list]: (at, depth) => {
      const length = count(at);
      const all: unknown[] = [];
      for (let i = 0; i < length; i++) all.push(read(`${at}[${i}]`, depth + 1));
      return all;
    },
    [TAG.map]: (at, depth) => {
      const size = count(at);
      const all = new Map<unknown, unknown>();
      for (let i = 0; i < size; i++) {
        const key = read(`${at}, a key`, depth + 1);
        all.set(key, read(`${at}.${String(key)}`, depth + 1));
      }
      return all;
    },
    [TAG.record]: (at, depth) => {
      const size = count(at);
      const all: Record<string, unknown> = {};
      for (let i = 0; i < size; i++) {
        const name = nameOf(at);
        if (Object.hasOwn(all, name)) throw new PlainError(at, `it has two of ${name}`);
        all[name] = read(`${at}.${name}`, depth + 1);
      }
      return all;
    },
  };

  function read(at: string, depth: number): unknown {
    if (depth > MAX_DEPTH) throw new PlainError(at, 'it is nested too deeply');
    const tag = byte(at);
    const array = ARRAYS.find((a) => a.tag === tag);
    if (array !== undefined) {
      const { BYTES_PER_ELEMENT: size } = array.type;
      return new array.type(bytes(count(at) * size, at).buffer);
    }
    const reader = readers[tag];
    if (reader === undefined) throw new PlainError(at, `there is no kind of value ${tag}`);
    return reader(at, depth);
  }

  return {
    value: (at) => read(at, 0),
    bytes: fill,
    end(at) {
      if (more()) throw new PlainError(at, 'more follows than belongs there');
    },
  };
}
