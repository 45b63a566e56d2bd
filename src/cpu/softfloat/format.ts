/**
 * The three binary floating-point formats of the x86 (SDM Vol 1 §4.2.2 and
 * table 4-3) as data, and the one place where encodings are taken apart,
 * rounded and put together. Encodings are bigints of `bits` bits.
 */
import { type FpEnv, INEXACT, OVERFLOW, UNDERFLOW, raise } from './env';

export interface Format {
  readonly name: 'f32' | 'f64' | 'f80';
  /** Width of the whole encoding. */
  readonly bits: number;
  /** Significand bits, counting the integer bit. */
  readonly precision: number;
  readonly exponentBits: number;
  /** The 80-bit format stores the integer bit; the others imply it. */
  readonly explicitInteger: boolean;
  /** Width of the stored significand field. */
  readonly fieldBits: number;
  readonly bias: number;
  /** Biased exponent of infinities and NaNs. */
  readonly maxExponent: number;
  readonly signBit: bigint;
  readonly fieldMask: bigint;
  readonly integerBit: bigint;
  /** Most significant fraction bit: set in a quiet NaN. */
  readonly quietBit: bigint;
  readonly infinity: bigint;
  /** The QNaN real indefinite (SDM Vol 1 table 4-3). */
  readonly indefinite: bigint;
}

function format(name: Format['name'], bits: number, precision: number, exponentBits: number): Format {
  const fieldBits = bits - 1 - exponentBits;
  const explicitInteger = fieldBits === precision;
  const maxExponent = 2 ** exponentBits - 1;
  const signBit = 1n << BigInt(bits - 1);
  const integerBit = 1n << BigInt(precision - 1);
  const quietBit = 1n << BigInt(precision - 2);
  const infinity = (BigInt(maxExponent) << BigInt(fieldBits)) | (explicitInteger ? integerBit : 0n);
  return {
    name,
    bits,
    precision,
    exponentBits,
    explicitInteger,
    fieldBits,
    maxExponent,
    signBit,
    integerBit,
    quietBit,
    infinity,
    bias: 2 ** (exponentBits - 1) - 1,
    fieldMask: (1n << BigInt(fieldBits)) - 1n,
    indefinite: signBit | infinity | quietBit,
  };
}

export const f32: Format = format('f32', 32, 24, 8);
export const f64: Format = format('f64', 64, 53, 11);
export const f80: Format = format('f80', 80, 64, 15);

/** What an encoding stands for; ordered so that `kind >= Kind.quietNaN` means "no value". */
export const Kind = {
  zero: 0,
  normal: 1,
  denormal: 2,
  infinity: 3,
  quietNaN: 4,
  signalingNaN: 5,
  unsupported: 6,
} as const;
export type Kind = (typeof Kind)[keyof typeof Kind];

/**
 * An encoding taken apart. Where it has a finite value, that is
 * `(-1)^sign * significand * 2^exponent` (the exponent of the unit in the last place).
 */
export interface Unpacked {
  readonly kind: Kind;
  readonly sign: boolean;
  readonly exponent: number;
  readonly significand: bigint;
  readonly encoding: bigint;
}

/**
 * Take an encoding apart. The 80-bit encodings that the processor does not
 * support (pseudo-NaN, pseudo-infinity, unnormal: SDM Vol 1 §8.2.2) come out as
 * `unsupported`; pseudo-denormals as `denormal`, with the value they have.
 */
export function unpack(f: Format, encoding: bigint): Unpacked {
  const sign = (encoding & f.signBit) !== 0n;
  const biased = Number((encoding >> BigInt(f.fieldBits)) & BigInt(f.maxExponent));
  const field = encoding & f.fieldMask;
  const fraction = f.explicitInteger ? field & ~f.integerBit : field;
  const integer = f.explicitInteger ? field !== fraction : biased !== 0;
  let kind: Kind;
  if (biased === 0) kind = field === 0n ? Kind.zero : Kind.denormal;
  else if (!integer) kind = Kind.unsupported;
  else if (biased !== f.maxExponent) kind = Kind.normal;
  else if (fraction === 0n) kind = Kind.infinity;
  else kind = (fraction & f.quietBit) !== 0n ? Kind.quietNaN : Kind.signalingNaN;
  const significand = integer && !f.explicitInteger ? field | f.integerBit : field;
  return {
    kind,
    sign,
    exponent: (biased === 0 ? 1 : biased) - f.bias - f.precision + 1,
    significand,
    encoding,
  };
}

export const isNaNKind = (u: Unpacked): boolean => u.kind === Kind.quietNaN || u.kind === Kind.signalingNaN;
export const isFinite = (u: Unpacked): boolean => u.kind <= Kind.denormal;

/** What denormals-are-zeros does to an operand before the operation looks at it (SDM Vol 1 §10.2.3.4). */
export function flushOperand(f: Format, encoding: bigint, env: FpEnv): bigint {
  if (!env.daz) return encoding;
  const biased = (encoding >> BigInt(f.fieldBits)) & BigInt(f.maxExponent);
  return biased === 0n ? encoding & f.signBit : encoding;
}

export const zero = (f: Format, sign: boolean): bigint => (sign ? f.signBit : 0n);
export const infinity = (f: Format, sign: boolean): bigint => (sign ? f.signBit | f.infinity : f.infinity);
export const one = (f: Format, sign: boolean): bigint =>
  zero(f, sign) | (BigInt(f.bias) << BigInt(f.fieldBits)) | (f.explicitInteger ? f.integerBit : 0n);
export const quieted = (f: Format, encoding: bigint): bigint => encoding | f.quietBit;

const probe = new DataView(new ArrayBuffer(8));

/** Number of bits of a non-negative bigint (0 for 0). */
export function bitLength(value: bigint): number {
  if (value === 0n) return 0;
  if (value >> 960n !== 0n) {
    // Too long for a double: measure by hexadecimal digits.
    const digits = value.toString(16);
    return 4 * digits.length - Math.clz32(parseInt(digits.charAt(0), 16)) + 28;
  }
  probe.setFloat64(0, Number(value));
  const length = (probe.getUint32(0) >>> 20) - 1022;
  // Conversion to a double may have rounded up to the next power of two.
  return value >> BigInt(length - 1) === 0n ? length - 1 : length;
}

/** `value` shifted right, with every bit lost kept as a 1 in the last place ("jamming"). */
export function shiftRightJam(value: bigint, count: number): bigint {
  if (count <= 0) return value << BigInt(-count);
  const shift = BigInt(count);
  const shifted = value >> shift;
  return shifted << shift === value ? shifted : shifted | 1n;
}

/**
 * Divide by 2^shift (shift > 0) rounding to an integer in the direction of env.rc.
 * @returns the integer; sets env.roundedUp when the magnitude grew.
 */
function roundShift(sign: boolean, value: bigint, shift: number, env: FpEnv): bigint {
  const s = BigInt(shift);
  const floor = value >> s;
  const rest = value - (floor << s);
  if (rest === 0n) return floor;
  const half = 1n << (s - 1n);
  let up: boolean;
  if (env.rc === 0) up = rest > half || (rest === half && (floor & 1n) === 1n);
  else if (env.rc === 3) up = false;
  else up = sign === (env.rc === 1);
  env.roundedUp = up;
  return up ? floor + 1n : floor;
}

/** Round significand * 2^exponent to a multiple of 2^quantum; says whether anything was lost. */
export function roundToQuantum(
  sign: boolean,
  significand: bigint,
  exponent: number,
  quantum: number,
  env: FpEnv,
): { readonly units: bigint; readonly inexact: boolean } {
  env.roundedUp = false;
  const shift = quantum - exponent;
  if (shift <= 0 || significand === 0n)
    return { units: significand << BigInt(Math.max(-shift, 0)), inexact: false };
  // Beyond all its bits a value is only "something": keep the shift small.
  const length = bitLength(significand);
  if (shift > length + 2) return { units: roundShift(sign, 1n, 2, env), inexact: true };
  const units = roundShift(sign, significand, shift, env);
  return { units, inexact: (significand & ((1n << BigInt(shift)) - 1n)) !== 0n };
}

function assemble(f: Format, sign: boolean, units: bigint, quantum: number): bigint {
  const head = sign ? f.signBit : 0n;
  if (units === 0n) return head;
  if ((units & f.integerBit) === 0n) return head | units; // denormal: biased exponent 0
  const biased = BigInt(quantum + f.precision - 1 + f.bias) << BigInt(f.fieldBits);
  return head | biased | (f.explicitInteger ? units : units & ~f.integerBit);
}

/** Exponent adjustment of the unmasked x87 overflow and underflow responses (SDM Vol 1 §8.5.4, §8.5.5). */
const WRAP = 24576;

/**
 * Round (-1)^sign * significand * 2^exponent (significand > 0, inexact values
 * carry a jammed last bit well below the rounding position) into format `f`,
 * raising overflow, underflow and precision. Tininess is detected after
 * rounding (SDM Vol 1 §4.9.1.5). `precision` narrows the significand for x87
 * precision control; the exponent range stays that of `f` (SDM Vol 1 §8.1.5.2).
 */
export function round(
  f: Format,
  env: FpEnv,
  sign: boolean,
  significand: bigint,
  exponent: number,
  precision: number = f.precision,
): bigint {
  const minimum = 1 - f.bias;
  const top = exponent + bitLength(significand) - 1;
  const full = f.precision - precision;
  if (top < minimum) {
    const ideal = roundToQuantum(sign, significand, exponent, top - precision + 1, env);
    const tiny = top < minimum - 1 || bitLength(ideal.units) <= precision;
    if (tiny && (env.masks & UNDERFLOW) === 0) {
      raise(env, UNDERFLOW);
      if (!f.explicitInteger) {
        if (ideal.inexact) raise(env, INEXACT);
        return zero(f, sign);
      }
      if (top + WRAP >= minimum) return roundNormal(f, env, sign, significand, exponent + WRAP, precision);
      raise(env, INEXACT);
      env.roundedUp = false;
      return zero(f, sign);
    }
    if (tiny && env.ftz) {
      raise(env, UNDERFLOW | INEXACT);
      return zero(f, sign);
    }
    const quantum = minimum - precision + 1;
    const { units, inexact } = roundToQuantum(sign, significand, exponent, quantum, env);
    if (inexact) raise(env, tiny ? UNDERFLOW | INEXACT : INEXACT);
    return assemble(f, sign, units << BigInt(full), quantum - full);
  }
  return roundNormal(f, env, sign, significand, exponent, precision);
}

function roundNormal(
  f: Format,
  env: FpEnv,
  sign: boolean,
  significand: bigint,
  exponent: number,
  precision: number,
): bigint {
  const top = exponent + bitLength(significand) - 1;
  let quantum = top - precision + 1;
  const rounded = roundToQuantum(sign, significand, exponent, quantum, env);
  let units = rounded.units;
  if (units >> BigInt(precision) !== 0n) {
    units >>= 1n;
    quantum++;
  }
  const full = BigInt(f.precision - precision);
  const biased = quantum + precision - 1 + f.bias;
  if (biased < f.maxExponent) {
    if (rounded.inexact) raise(env, INEXACT);
    return assemble(f, sign, units << full, quantum - Number(full));
  }
  raise(env, OVERFLOW);
  if ((env.masks & OVERFLOW) === 0) {
    if (rounded.inexact) raise(env, INEXACT);
    if (f.explicitInteger && biased - WRAP < f.maxExponent) {
      return assemble(f, sign, units << full, quantum - Number(full) - WRAP);
    }
    if (f.explicitInteger) raise(env, INEXACT);
    env.roundedUp = true;
    return infinity(f, sign);
  }
  raise(env, INEXACT);
  const away = env.rc === 0 || (env.rc !== 3 && sign === (env.rc === 1));
  env.roundedUp = away;
  if (away) return infinity(f, sign);
  const largest = ((1n << BigInt(precision)) - 1n) << full;
  return assemble(f, sign, largest, f.maxExponent - 1 - f.bias - f.precision + 1);
}

/** A NaN's sign and fraction carried into another format, aligned at the top of the fraction. */
export function carryNaN(from: Format, to: Format, u: Unpacked): bigint {
  const fraction = u.encoding & (from.integerBit - 1n);
  const up = to.precision - from.precision;
  return infinity(to, u.sign) | (up >= 0 ? fraction << BigInt(up) : fraction >> BigInt(-up));
}

/**
 * Take an operand of format `from` apart for an operation in format `to`, raising
 * nothing: its value and kind (a denormal stays one) are those of `from`, a NaN's bits those of `to`.
 */
export function unpackAs(from: Format, to: Format, encoding: bigint): Unpacked {
  const u = unpack(from, encoding);
  if (from === to || (u.kind !== Kind.quietNaN && u.kind !== Kind.signalingNaN)) return u;
  return { ...unpack(to, carryNaN(from, to, u)), kind: u.kind };
}
