import type { ByteView } from '../../base/bytes';
import { ByteReader, bytesToNumber, numberToBytes } from '../../base/bytes';
import { hex } from '../error';
import type { FormContext } from './forms';
import { address, offsetNumber } from './forms';

// DWARF expressions and location descriptions (DWARF 5, 2.5 and 2.6; GNU's opcodes that became version 5's).

/** Why a value is not to be had, in words for the person who asked for it. */
export class Unavailable extends Error {
  constructor(reason: string) {
    super(reason);
    this.name = 'Unavailable';
  }
}

/** Where an object is, or what it is. */
export type Place =
  | { readonly kind: 'memory'; readonly address: bigint }
  | { readonly kind: 'register'; readonly register: number }
  /** Little-endian bytes that are nowhere in the machine. */
  | { readonly kind: 'value'; readonly bytes: Uint8Array }
  /** A pointer to something that is itself nowhere; the entry is described at `entry` of .debug_info. */
  | { readonly kind: 'implicit pointer'; readonly entry: number; readonly offset: bigint }
  | { readonly kind: 'nowhere' };

export interface Piece {
  readonly place: Place;
  /** Bits; from the place's own start. */
  readonly size: number;
  readonly offset: number;
}
export type Location = Place | { readonly kind: 'pieces'; readonly pieces: readonly Piece[] };

/** What is to be read of a piece's place, to have the piece: `length` bytes from `start`. */
export interface PieceBytes {
  readonly piece: Piece;
  readonly start: number;
  readonly length: number;
}

/** What is to be read for the first `bits` of an object in pieces. Throws Unavailable where they are not all there. */
export function piecesFor(pieces: readonly Piece[], bits: number): PieceBytes[] {
  const needed: PieceBytes[] = [];
  let at = 0;
  for (const piece of pieces) {
    if (at >= bits) break;
    const { size, offset } = piece;
    needed.push({ piece, start: Math.floor(offset / 8), length: Math.ceil(((offset % 8) + size) / 8) });
    at += size;
  }
  if (at < bits) throw new Unavailable('a part of it was optimized out');
  return needed;
}

/** The object, of what was read for each of its pieces: bit by bit, as they need not be whole bytes. */
export function joinPieces(needed: readonly PieceBytes[], read: readonly Uint8Array[]): bigint {
  let value = 0n;
  let at = 0n;
  needed.forEach(({ piece: { size, offset } }, i) => {
    const bits = bytesToNumber(read[i] ?? new Uint8Array()) >> BigInt(offset % 8);
    value |= BigInt.asUintN(size, bits) << at;
    at += BigInt(size);
  });
  return value;
}

/** What an expression can ask for. What cannot be had throws Unavailable with the reason. */
export interface ExpressionHost {
  /** In the frame that is looked at, by DWARF's number. */
  register(number: number): bigint;
  memory(address: bigint, length: number): Uint8Array | Promise<Uint8Array>;
  frameBase(): bigint | Promise<bigint>;
  cfa(): bigint;
  /** The value that an expression had when the function was entered. */
  entryValue(expression: ByteView): bigint | Promise<bigint>;
  indexedAddress(index: number): bigint;
  /** Bytes and signedness of the base type at an offset of the unit. */
  baseType(offset: number): { readonly size: number; readonly signed: boolean; readonly float: boolean };
}

const wrap = (value: bigint): bigint => BigInt.asUintN(64, value);
const signed = (value: bigint): bigint => BigInt.asIntN(64, value);
const bool = (value: boolean): bigint => (value ? 1n : 0n);

/** Steps of one expression; with branches it could go on for ever. */
const MAX_STEPS = 10_000;
const MAX_STACK = 4096;

/** What reading an expression depends on. */
export type ExpressionContext = Pick<FormContext, 'offsetSize' | 'addressSize'>;

interface Machine {
  readonly stack: bigint[];
  readonly reader: ByteReader;
  readonly host: ExpressionHost;
  readonly context: ExpressionContext;
  /** What the expression turned out to describe besides an address. */
  place: Place | undefined;
  readonly pieces: Piece[];
}
type Step = (m: Machine) => void | Promise<void>;

/** At once where the value is there: a host that waits for nothing is served without waiting. */
function after<T>(value: T | Promise<T>, work: (value: T) => void): void | Promise<void> {
  if (value instanceof Promise) return value.then(work);
  work(value);
}

const pop = ({ stack }: Machine): bigint => {
  const value = stack.pop();
  if (value === undefined) throw new Unavailable('its location expression is damaged: the stack is empty');
  return value;
};
const push = (m: Machine, value: bigint): void => {
  if (m.stack.length >= MAX_STACK)
    throw new Unavailable('its location expression is damaged: the stack overflows');
  m.stack.push(wrap(value));
};
const pick = (m: Machine, depth: number): void => {
  const value = m.stack[m.stack.length - 1 - depth];
  if (value === undefined)
    throw new Unavailable('its location expression is damaged: the stack is too short');
  push(m, value);
};
const constant =
  (read: (reader: ByteReader) => bigint): Step =>
  (m) =>
    push(m, read(m.reader));
const unary =
  (work: (a: bigint) => bigint): Step =>
  (m) =>
    push(m, work(pop(m)));
/** `b` was on top. */
const binary =
  (work: (a: bigint, b: bigint) => bigint): Step =>
  (m) => {
    const b = pop(m);
    push(m, work(pop(m), b));
  };
const divide = (work: (a: bigint, b: bigint) => bigint): Step =>
  binary((a, b) => {
    if (b === 0n) throw new Unavailable('its location expression divides by zero');
    return work(a, b);
  });
const compare = (work: (a: bigint, b: bigint) => boolean): Step =>
  binary((a, b) => bool(work(signed(a), signed(b))));
const unavailable =
  (reason: string): Step =>
  () => {
    throw new Unavailable(reason);
  };

const load = (m: Machine, size: number, isSigned = false): void | Promise<void> =>
  after(m.host.memory(pop(m), size), (bytes) => {
    if (bytes.length < size) throw new Unavailable('memory that its location is computed from is not mapped');
    const value = bytesToNumber(bytes);
    push(m, isSigned ? BigInt.asIntN(size * 8, value) : value);
  });
function block(m: Machine): ByteView {
  const size = m.reader.ulebNumber();
  const at = m.reader.offset;
  m.reader.skip(size);
  return m.reader.view.view(at, size, m.reader.view.thing);
}
function jump(m: Machine): void {
  const distance = Number(BigInt.asIntN(16, BigInt(m.reader.u16())));
  const to = m.reader.offset + distance;
  if (to < 0 || to > m.reader.end)
    throw new Unavailable('its location expression is damaged: it jumps outside');
  m.reader.offset = to;
}
const entryValue: Step = (m) => after(m.host.entryValue(block(m)), (value) => push(m, value));
const implicitPointer: Step = (m) => {
  const entry = offsetNumber(m.reader, m.context);
  m.place = { kind: 'implicit pointer', entry, offset: m.reader.sleb() };
};
const typed = (m: Machine): { readonly size: number; readonly signed: boolean } => {
  const type = m.host.baseType(m.reader.ulebNumber());
  if (type.float) throw new Unavailable('it is computed in floating point, which is not followed here');
  return type;
};
const constType: Step = (m) => {
  const type = typed(m);
  const at = m.reader.offset + 1;
  const size = m.reader.u8();
  m.reader.skip(size);
  const value = bytesToNumber(m.reader.view.slice(at, size));
  push(m, type.signed ? BigInt.asIntN(size * 8, value) : value);
};
const registerType: Step = (m) => {
  const register = m.reader.ulebNumber();
  const { size, signed: isSigned } = typed(m);
  const value = m.host.register(register);
  push(m, isSigned ? BigInt.asIntN(size * 8, value) : BigInt.asUintN(size * 8, value));
};
const derefType: Step = (m) => {
  const size = m.reader.u8();
  return load(m, size, typed(m).signed);
};
const convert: Step = (m) => {
  const at = m.reader.offset;
  if (m.reader.ulebNumber() === 0) return;
  m.reader.offset = at;
  const { size, signed: isSigned } = typed(m);
  const value = pop(m);
  push(m, isSigned ? BigInt.asIntN(size * 8, value) : BigInt.asUintN(size * 8, value));
};
const finishPiece = (m: Machine, size: number, offset: number): void => {
  const top = m.stack.pop();
  const place: Place =
    m.place ?? (top === undefined ? { kind: 'nowhere' } : { kind: 'memory', address: top });
  m.pieces.push({ place, size, offset });
  m.place = undefined;
  m.stack.length = 0;
};

const single: Readonly<Record<number, Step>> = {
  0x03: (m) => push(m, address(m.reader, m.context)), // addr
  0x06: (m) => load(m, 8), // deref
  0x08: constant((r) => BigInt(r.u8())), // const1u
  0x09: constant((r) => BigInt.asIntN(8, BigInt(r.u8()))),
  0x0a: constant((r) => BigInt(r.u16())),
  0x0b: constant((r) => BigInt.asIntN(16, BigInt(r.u16()))),
  0x0c: constant((r) => BigInt(r.u32())),
  0x0d: constant((r) => BigInt.asIntN(32, BigInt(r.u32()))),
  0x0e: constant((r) => r.u64()),
  0x0f: constant((r) => r.u64()),
  0x10: constant((r) => r.uleb()), // constu
  0x11: constant((r) => r.sleb()), // consts
  0x12: (m) => pick(m, 0), // dup
  0x13: (m) => void pop(m), // drop
  0x14: (m) => pick(m, 1), // over
  0x15: (m) => pick(m, m.reader.u8()), // pick
  0x16: (m) => {
    const a = pop(m);
    const b = pop(m);
    push(m, a);
    push(m, b);
  }, // swap
  0x17: (m) => {
    const [a, b, c] = [pop(m), pop(m), pop(m)];
    push(m, a);
    push(m, c);
    push(m, b);
  }, // rot
  0x19: unary((a) => (signed(a) < 0n ? -signed(a) : a)), // abs
  0x1a: binary((a, b) => a & b),
  0x1b: divide((a, b) => signed(a) / signed(b)), // div
  0x1c: binary((a, b) => a - b),
  0x1d: divide((a, b) => a % b), // mod
  0x1e: binary((a, b) => a * b),
  0x1f: unary((a) => -a), // neg
  0x20: unary((a) => ~a), // not
  0x21: binary((a, b) => a | b),
  0x22: binary((a, b) => a + b),
  0x23: (m) => push(m, pop(m) + m.reader.uleb()), // plus_uconst
  0x24: binary((a, b) => (b > 63n ? 0n : a << b)), // shl
  0x25: binary((a, b) => (b > 63n ? 0n : a >> b)), // shr
  0x26: binary((a, b) => signed(a) >> (b > 63n ? 63n : b)), // shra
  0x27: binary((a, b) => a ^ b),
  0x28: (m) => {
    const at = m.reader.offset;
    const taken = pop(m) !== 0n;
    if (taken) jump(m);
    else m.reader.offset = at + 2;
  }, // bra
  0x29: compare((a, b) => a === b),
  0x2a: compare((a, b) => a >= b),
  0x2b: compare((a, b) => a > b),
  0x2c: compare((a, b) => a <= b),
  0x2d: compare((a, b) => a < b),
  0x2e: compare((a, b) => a !== b),
  0x2f: jump, // skip
  0x90: (m) => void (m.place = { kind: 'register', register: m.reader.ulebNumber() }), // regx
  0x91: (m) => {
    const distance = m.reader.sleb();
    return after(m.host.frameBase(), (base) => push(m, base + distance));
  }, // fbreg
  0x92: (m) => {
    const register = m.reader.ulebNumber();
    push(m, m.host.register(register) + m.reader.sleb());
  }, // bregx
  0x93: (m) => finishPiece(m, m.reader.ulebNumber() * 8, 0), // piece
  0x94: (m) => load(m, m.reader.u8()), // deref_size
  0x96: () => undefined, // nop
  0x97: unavailable('it is described by the object it belongs to'), // push_object_address
  0x98: unavailable('its location is another entry’s expression'), // call2
  0x99: unavailable('its location is another entry’s expression'),
  0x9a: unavailable('its location is another entry’s expression'),
  0x9b: unavailable('it is thread-local'), // form_tls_address
  0x9c: (m) => push(m, m.host.cfa()), // call_frame_cfa
  0x9d: (m) => {
    const size = m.reader.ulebNumber();
    finishPiece(m, size, m.reader.ulebNumber());
  }, // bit_piece
  0x9e: (m) => void (m.place = { kind: 'value', bytes: block(m).bytes.slice() }), // implicit_value
  0x9f: (m) => void (m.place = { kind: 'value', bytes: numberToBytes(pop(m), 8) }), // stack_value
  0xa0: implicitPointer,
  0xa1: (m) => push(m, m.host.indexedAddress(m.reader.ulebNumber())), // addrx
  0xa2: (m) => push(m, m.host.indexedAddress(m.reader.ulebNumber())), // constx
  0xa3: entryValue,
  0xa4: constType,
  0xa5: registerType,
  0xa6: derefType,
  0xa8: convert,
  0xa9: convert, // reinterpret: the same for integers
  0xe0: unavailable('it is thread-local'), // GNU_push_tls_address
  0xf0: unavailable('its value was lost'), // GNU_uninit
  0xf2: implicitPointer,
  0xf3: entryValue,
  0xf4: constType,
  0xf5: registerType,
  0xf6: derefType,
  0xf7: convert,
  0xf9: convert,
  0xfa: unavailable('it is a parameter that was optimized away'), // GNU_parameter_ref
  0xfb: (m) => push(m, m.host.indexedAddress(m.reader.ulebNumber())), // GNU_addr_index
  0xfc: (m) => push(m, m.host.indexedAddress(m.reader.ulebNumber())), // GNU_const_index
};

/** The three runs of 32 opcodes that hold a number themselves. */
function numbered(opcode: number, m: Machine): boolean {
  if (opcode < 0x30 || opcode > 0x8f) return false;
  const number = opcode & 0x1f;
  const kind = (opcode - 0x30) >> 5;
  // 0x30, 0x50 and 0x70: their low five bits begin at 0x10.
  const value = (number + 0x10) & 0x1f;
  if (kind === 0) push(m, BigInt(value));
  else if (kind === 1) m.place = { kind: 'register', register: value };
  else push(m, m.host.register(value) + m.reader.sleb());
  return true;
}

const begin = (
  expression: ByteView,
  context: ExpressionContext,
  host: ExpressionHost,
  initial: bigint | undefined,
): Machine => ({
  stack: initial === undefined ? [] : [initial],
  reader: new ByteReader(expression),
  host,
  context,
  place: undefined,
  pieces: [],
});
function* operations(m: Machine): Generator<void | Promise<void>> {
  for (let steps = 0; !m.reader.done; steps++) {
    if (steps >= MAX_STEPS) throw new Unavailable('its location expression does not come to an end');
    const opcode = m.reader.u8();
    if (numbered(opcode, m)) continue;
    const step = single[opcode];
    if (step === undefined) throw new Unavailable(`its location uses the unknown operation ${hex(opcode)}`);
    yield step(m);
  }
}
const result = (m: Machine): Location =>
  m.pieces.length > 0
    ? { kind: 'pieces', pieces: m.pieces }
    : (m.place ?? { kind: 'memory', address: pop(m) });

/**
 * Where an expression says that something is. Rejects with Unavailable where it cannot be told.
 * @param initial on the stack before it, as frame information has the CFA
 */
export async function evaluateLocation(
  expression: ByteView,
  context: ExpressionContext,
  host: ExpressionHost,
  initial?: bigint,
): Promise<Location> {
  if (expression.size === 0) return { kind: 'nowhere' };
  const m = begin(expression, context, host, initial);
  for (const waiting of operations(m)) if (waiting !== undefined) await waiting;
  return result(m);
}

/** What waits for nothing. */
type Immediate<H> = {
  readonly [K in keyof H]: H[K] extends (...args: infer A) => infer R
    ? (...args: A) => Exclude<R, Promise<unknown>>
    : H[K];
};
export type ImmediateHost = Immediate<ExpressionHost>;

/** The same, at once. Throws Unavailable. */
export function locationNow(
  expression: ByteView,
  context: ExpressionContext,
  host: ImmediateHost,
  initial?: bigint,
): Location {
  if (expression.size === 0) return { kind: 'nowhere' };
  const m = begin(expression, context, host, initial);
  const steps = operations(m);
  while (steps.next().done !== true);
  return result(m);
}

const toNumber = (location: Location, host: Pick<ExpressionHost, 'register'>): bigint => {
  if (location.kind === 'memory') return location.address;
  if (location.kind === 'register') return host.register(location.register);
  if (location.kind === 'value') return bytesToNumber(location.bytes);
  throw new Unavailable('it was optimized away');
};

/** The value that an expression computes: for frame bases, rules of frame information and call-site values. */
export const evaluateNumber = async (
  expression: ByteView,
  context: ExpressionContext,
  host: ExpressionHost,
  initial?: bigint,
): Promise<bigint> => toNumber(await evaluateLocation(expression, context, host, initial), host);

/** The same, at once. Throws Unavailable. */
export const numberNow = (
  expression: ByteView,
  context: ExpressionContext,
  host: ImmediateHost,
  initial?: bigint,
): bigint => toNumber(locationNow(expression, context, host, initial), host);
