import { ByteView, bytesToNumber, numberToBytes } from '../base/bytes';
import type { ImmediateHost, Location, Place } from '../guest/dwarf/expression';
import { Unavailable, joinPieces, locationNow, numberNow, piecesFor } from '../guest/dwarf/expression';
import type { StopState } from './conditions';
import { ExpressionError } from './expressions';
import { registerName } from './register-names';
import type { Scalar, ScalarType } from './scalars';
import { DOUBLE, binary, converted, isTrue, literal, toInteger, unary } from './scalars';

// Conditions over the guest's C variables, as the debugger hands them over: names, types and members are gone, and
// what is left is where things are, how wide they are, and what is done with them. Meant for one instruction, at which
// the registers are those of the function that the names were looked up in.

/** What location expressions of one frame depend on. */
export interface CompiledFrame {
  readonly offsetSize: 4 | 8;
  /** DWARF expressions. */
  readonly base: Uint8Array | undefined;
  readonly cfa: { readonly register: number; readonly offset: bigint } | Uint8Array | undefined;
  /** Of .debug_addr, by index. */
  readonly addresses: Readonly<Record<number, bigint>>;
  /** By offset in the unit. */
  readonly types: Readonly<Record<number, ReturnType<ImmediateHost['baseType']>>>;
}

/** Something with a place, or a part of it. */
export interface Stored {
  readonly base:
    | { readonly kind: 'address'; readonly code: Code }
    | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
    | { readonly kind: 'located'; readonly expression: Uint8Array; readonly frame: CompiledFrame };
  readonly offset: number;
  /** Elements: `index` times `size` bytes further, in arrays that are not in memory only up to `count`. */
  readonly elements: readonly { readonly index: Code; readonly size: number; readonly count: number }[];
}

export interface Bits {
  readonly at: number;
  readonly width: number;
}

/** `at` counts characters of what was typed. */
export type Code =
  | { readonly kind: 'number'; readonly value: bigint | number; readonly type?: ScalarType; readonly literal?: true } // prettier-ignore
  | { readonly kind: 'register'; readonly name: string; readonly at: number }
  /** `dom` and `vcpu`. */
  | { readonly kind: 'whereabouts'; readonly name: 'dom' | 'vcpu' }
  /** Memory without a type, unsigned. */
  | { readonly kind: 'memory'; readonly address: Code; readonly bytes: number; readonly at: number }
  | { readonly kind: 'value'; readonly of: Stored; readonly type: ScalarType; readonly bits?: Bits; readonly at: number } // prettier-ignore
  | { readonly kind: 'address'; readonly of: Stored; readonly type: ScalarType; readonly at: number }
  | { readonly kind: 'unary'; readonly operator: string; readonly of: Code; readonly at: number }
  /** Also `&&` and `||`, which look at their right side only where they must. */
  | { readonly kind: 'binary'; readonly operator: string; readonly left: Code; readonly right: Code; readonly at: number } // prettier-ignore
  | { readonly kind: 'conditional'; readonly test: Code; readonly then: Code; readonly otherwise: Code }
  | { readonly kind: 'converted'; readonly type: ScalarType; readonly of: Code }
  /** A text, and the characters at an address up to the NUL. */
  | { readonly kind: 'same text'; readonly text: string; readonly address: Code; readonly wanted: boolean };

const wrap = (value: bigint): bigint => BigInt.asUintN(64, value);
/** Characters of a text that are compared. */
const MAX_TEXT = 4096;

/** What is looked at: a vCPU between two instructions. */
export type CompiledState = Pick<StopState, 'own' | 'register' | 'bytes'>;

function registerOf(state: CompiledState, number: number): bigint {
  const name = registerName(number);
  const value = name === undefined ? undefined : state.register?.(name);
  if (value === undefined) throw new Unavailable(`register ${number.toString()} is not kept`);
  return value;
}
const bytesAt = (state: CompiledState, address: bigint, length: number): Uint8Array =>
  state.bytes?.(wrap(address), length) ?? new Uint8Array();
/** All of them, or an error. */
function needBytes(state: CompiledState, address: bigint, length: number): Uint8Array {
  const found = bytesAt(state, address, length);
  if (found.length < length)
    throw new Unavailable(`0x${wrap(address + BigInt(found.length)).toString(16)} is not mapped`);
  return found;
}

function hostOf(state: CompiledState, frame: CompiledFrame): ImmediateHost {
  const context = { offsetSize: frame.offsetSize, addressSize: 8 } as const;
  const view = (bytes: Uint8Array): ByteView => new ByteView(bytes, 'a location');
  const host: ImmediateHost = {
    register: (number) => registerOf(state, number),
    memory: (address, length) => bytesAt(state, address, length),
    frameBase: () => {
      if (frame.base === undefined) throw new Unavailable('its function does not say where its frame is');
      return numberNow(view(frame.base), context, {
        ...host,
        frameBase: () => {
          throw new Unavailable('its frame is described by itself');
        },
      });
    },
    cfa: () => {
      const { cfa } = frame;
      if (cfa === undefined) throw new Unavailable('there is no frame information for its function');
      return cfa instanceof Uint8Array
        ? numberNow(view(cfa), context, host)
        : wrap(registerOf(state, cfa.register) + cfa.offset);
    },
    entryValue: () => {
      throw new Unavailable('only its value at the function’s entry was known');
    },
    indexedAddress: (index) => {
      const address = frame.addresses[index];
      if (address === undefined) throw new Unavailable('its address is not known');
      return address;
    },
    baseType: (offset) => frame.types[offset] ?? { size: 8, signed: false, float: false },
  };
  return host;
}

function locationOf({ base }: Stored, state: CompiledState): Location {
  if (base.kind === 'address') return { kind: 'memory', address: wrap(toInteger(run(base.code, state))) };
  if (base.kind === 'bytes') return { kind: 'value', bytes: base.bytes };
  const { expression, frame } = base;
  return locationNow(
    new ByteView(expression, 'a location'),
    { offsetSize: frame.offsetSize, addressSize: 8 },
    hostOf(state, frame),
  );
}

/** Bytes from the start of the whole object. */
function offsetOf({ offset, elements }: Stored, inMemory: boolean, state: CompiledState): number {
  let sum = offset;
  for (const { index, size, count } of elements) {
    const position = toInteger(run(index, state));
    if (!inMemory && (position < 0n || position >= BigInt(count)))
      throw new Unavailable(`there is no element ${position.toString()}`);
    sum += Number(position) * size;
  }
  return sum;
}

function bytesOf(place: Place, offset: number, length: number, state: CompiledState): Uint8Array {
  switch (place.kind) {
    case 'memory':
      return needBytes(state, place.address + BigInt(offset), length);
    case 'register':
      return numberToBytes(registerOf(state, place.register) >> BigInt(offset * 8), length);
    case 'value': {
      const bytes = new Uint8Array(length);
      bytes.set(place.bytes.subarray(offset, offset + length));
      return bytes;
    }
    case 'implicit pointer':
      throw new Unavailable('it points to something that was optimized out');
    case 'nowhere':
      throw new Unavailable('optimized out');
  }
}

/** Bits of an object that lies in several places, from its start. */
function assembled(
  pieces: Extract<Location, { kind: 'pieces' }>['pieces'],
  wanted: number,
  state: CompiledState,
): bigint {
  const needed = piecesFor(pieces, wanted);
  return joinPieces(
    needed,
    needed.map(({ piece, start, length }) => bytesOf(piece.place, start, length, state)),
  );
}

function floatOf(bits: bigint, size: number): number {
  const view = new DataView(new ArrayBuffer(16));
  view.setBigUint64(0, BigInt.asUintN(64, bits), true);
  view.setBigUint64(8, bits >> 64n, true);
  if (size === 4) return view.getFloat32(0, true);
  if (size === 8) return view.getFloat64(0, true);
  throw new Unavailable(`floating-point numbers of ${size.toString()} bytes are not read here`);
}

function valueOf({ of, type, bits }: Extract<Code, { kind: 'value' }>, state: CompiledState): Scalar {
  const location = locationOf(of, state);
  const offset = offsetOf(of, location.kind === 'memory', state);
  const size = bits === undefined ? type.size : Math.ceil((bits.at + bits.width) / 8);
  const raw =
    location.kind === 'pieces'
      ? assembled(location.pieces, (offset + size) * 8, state) >> BigInt(offset * 8)
      : bytesToNumber(bytesOf(location, offset, size, state));
  if (bits === undefined && type.float === true)
    return { value: floatOf(raw, type.size), type, literal: false };
  const width = bits?.width ?? type.size * 8;
  const shifted = raw >> BigInt(bits?.at ?? 0);
  const value = type.signed ? BigInt.asIntN(width, shifted) : BigInt.asUintN(width, shifted);
  return { value, type, literal: false };
}

function addressOf({ of, type }: Extract<Code, { kind: 'address' }>, state: CompiledState): Scalar {
  const location = locationOf(of, state);
  if (location.kind !== 'memory') throw new Unavailable('it has no address');
  const offset = offsetOf(of, true, state);
  return { value: wrap(location.address + BigInt(offset)), type, literal: false };
}

function textAt(address: bigint, state: CompiledState): string {
  const bytes = bytesAt(state, address, MAX_TEXT);
  const nul = bytes.indexOf(0);
  return String.fromCharCode(...bytes.subarray(0, nul < 0 ? bytes.length : nul));
}

const untyped = (value: bigint): Scalar => ({ value, type: undefined, literal: false });
const bool = (value: boolean): Scalar => literal(value ? 1n : 0n);

const runners: {
  readonly [K in Code['kind']]: (code: Extract<Code, { kind: K }>, state: CompiledState) => Scalar;
} = {
  number: ({ value, type, literal: isLiteral }) => ({
    value,
    type: typeof value === 'number' ? (type ?? DOUBLE) : type,
    literal: isLiteral === true,
  }),
  register: ({ name, at }, state) => {
    const value = state.register?.(name);
    if (value === undefined) throw new ExpressionError(`there is no '${name}' here`, at);
    return untyped(value);
  },
  whereabouts: ({ name }, { own }) => {
    const value = own?.[name];
    return literal(typeof value === 'bigint' ? value : 0n);
  },
  memory: ({ address, bytes }, state) =>
    untyped(bytesToNumber(needBytes(state, toInteger(run(address, state)), bytes))),
  value: valueOf,
  address: addressOf,
  unary: ({ operator, of, at }, state) => unary(operator, run(of, state), at),
  binary: ({ operator, left, right, at }, state) => {
    if (operator === '&&') return bool(isTrue(run(left, state)) && isTrue(run(right, state)));
    if (operator === '||') return bool(isTrue(run(left, state)) || isTrue(run(right, state)));
    return binary(operator, run(left, state), run(right, state), at);
  },
  conditional: ({ test, then, otherwise }, state) => run(isTrue(run(test, state)) ? then : otherwise, state),
  converted: ({ type, of }, state) => converted(type, run(of, state).value),
  'same text': ({ text, address, wanted }, state) =>
    bool((textAt(toInteger(run(address, state)), state) === text) === wanted),
};
const run = (code: Code, state: CompiledState): Scalar =>
  (runners[code.kind] as (code: Code, state: CompiledState) => Scalar)(code, state);

/** Throws an ExpressionError where something has no value now. */
export function runCompiled(code: Code, state: CompiledState): Scalar {
  try {
    return run(code, state);
  } catch (error) {
    if (error instanceof Unavailable) throw new ExpressionError(error.message, 0);
    throw error;
  }
}
