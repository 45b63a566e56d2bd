/** Addition, subtraction, multiplication, division and square root (SDM Vol 1 §4.8, §5.4-5.6, §8.3). */
import { type FpEnv, ZERO_DIVIDE, raise } from './env';
import { FAST, fast } from './fast';
import {
  type Format,
  type Unpacked,
  Kind,
  bitLength,
  flushOperand,
  infinity,
  round,
  shiftRightJam,
  unpack,
  unpackAs,
  zero,
} from './format';
import { binaryNaN, denormalOperands, invalid, unaryNaN } from './nan';

type Binary = (f: Format, a: Unpacked, b: Unpacked, env: FpEnv) => bigint;

/** Only the 80-bit format obeys precision control. */
const precisionFor = (f: Format, env: FpEnv): number => (f.explicitInteger ? env.pc : f.precision);

/**
 * A two-operand operation in format `f`. `fa` and `fb` are the operands' own formats:
 * an x87 memory operand keeps its narrower one, which decides whether it is denormal.
 */
function binary(operate: Binary, quick: Parameters<typeof fast>[0]) {
  return (f: Format, a: bigint, b: bigint, env: FpEnv, fa: Format = f, fb: Format = f): bigint => {
    const result = fast(quick, f, a, b, env);
    if (result !== undefined) return result;
    const ua = unpackAs(fa, f, flushOperand(fa, a, env));
    const ub = unpackAs(fb, f, flushOperand(fb, b, env));
    env.roundedUp = false;
    return binaryNaN(f, ua, ub, env) ?? operate(f, ua, ub, env);
  };
}

const negated = (u: Unpacked): Unpacked => ({ ...u, sign: !u.sign });

/** Exponents further apart than this leave the smaller operand as a sticky bit only. */
const FAR = 140;

const addValues: Binary = (f, a, b, env) => {
  if (a.kind === Kind.infinity || b.kind === Kind.infinity) {
    if (a.kind === b.kind && a.sign !== b.sign) return invalid(f, env);
    if (denormalOperands(env, a, b)) return 0n;
    return infinity(f, a.kind === Kind.infinity ? a.sign : b.sign);
  }
  if (denormalOperands(env, a, b)) return 0n;
  if (a.kind === Kind.zero && b.kind === Kind.zero) return zero(f, a.sign === b.sign ? a.sign : env.rc === 1);
  if (a.kind === Kind.zero) return round(f, env, b.sign, b.significand, b.exponent, precisionFor(f, env));
  if (b.kind === Kind.zero) return round(f, env, a.sign, a.significand, a.exponent, precisionFor(f, env));
  const [high, low] = a.exponent >= b.exponent ? [a, b] : [b, a];
  const gap = high.exponent - low.exponent;
  let exponent = low.exponent;
  let big = high.significand;
  let small = low.significand;
  if (gap > FAR) {
    big <<= BigInt(FAR);
    small = 1n;
    exponent = high.exponent - FAR;
  } else {
    big <<= BigInt(gap);
  }
  const sum = (high.sign ? -big : big) + (low.sign ? -small : small);
  if (sum === 0n) return zero(f, env.rc === 1);
  return round(f, env, sum < 0n, sum < 0n ? -sum : sum, exponent, precisionFor(f, env));
};

const mulValues: Binary = (f, a, b, env) => {
  const sign = a.sign !== b.sign;
  const infinite = a.kind === Kind.infinity || b.kind === Kind.infinity;
  const none = a.kind === Kind.zero || b.kind === Kind.zero;
  if (infinite && none) return invalid(f, env);
  if (denormalOperands(env, a, b)) return 0n;
  if (infinite) return infinity(f, sign);
  if (none) return zero(f, sign);
  return round(f, env, sign, a.significand * b.significand, a.exponent + b.exponent, precisionFor(f, env));
};

const divValues: Binary = (f, a, b, env) => {
  const sign = a.sign !== b.sign;
  if (a.kind === b.kind && (a.kind === Kind.zero || a.kind === Kind.infinity)) return invalid(f, env);
  if (b.kind === Kind.zero) {
    // A denormal dividend goes unreported here: measured, and the order of SDM Vol 1 §4.9.2.
    if (a.kind !== Kind.infinity) raise(env, ZERO_DIVIDE);
    return infinity(f, sign);
  }
  if (denormalOperands(env, a, b)) return 0n;
  if (a.kind === Kind.infinity) return infinity(f, sign);
  if (a.kind === Kind.zero || b.kind === Kind.infinity) return zero(f, sign);
  const { quotient, exponent } = divide(a.significand, b.significand, f.precision + 3);
  return round(f, env, sign, quotient, a.exponent - b.exponent + exponent, precisionFor(f, env));
};

/** a / b with at least `bits` bits, the remainder jammed into the last place. */
export function divide(
  a: bigint,
  b: bigint,
  bits: number,
): { readonly quotient: bigint; readonly exponent: number } {
  const shift = Math.max(0, bits + bitLength(b) - bitLength(a) + 1);
  const dividend = a << BigInt(shift);
  const quotient = dividend / b;
  return { quotient: quotient * b === dividend ? quotient : quotient | 1n, exponent: -shift };
}

/** Integer square root, rounded down. */
export function integerSqrt(value: bigint): bigint {
  if (value < 2n) return value;
  // Start from a double's root: each Newton step doubles its ~50 good bits.
  const excess = Math.max(0, (bitLength(value) - 100) & ~1);
  let root = (BigInt(Math.floor(Math.sqrt(Number(value >> BigInt(excess))))) + 1n) << BigInt(excess / 2);
  for (;;) {
    const next = (root + value / root) >> 1n;
    if (next >= root) break;
    root = next;
  }
  while (root * root > value) root--;
  return root;
}

export const add = binary(addValues, FAST.add);
export const sub = binary((f, a, b, env) => addValues(f, a, negated(b), env), FAST.sub);
export const mul = binary(mulValues, FAST.mul);
export const div = binary(divValues, FAST.div);

export function sqrt(f: Format, a: bigint, env: FpEnv): bigint {
  const result = fast(FAST.sqrt, f, 0n, a, env);
  if (result !== undefined) return result;
  const u = unpack(f, flushOperand(f, a, env));
  env.roundedUp = false;
  const nan = unaryNaN(f, u, env);
  if (nan !== undefined) return nan;
  if (u.kind === Kind.zero) return u.encoding;
  if (u.sign) return invalid(f, env);
  if (denormalOperands(env, u)) return 0n;
  if (u.kind === Kind.infinity) return u.encoding;
  let shift = 2 * (f.precision + 2) - bitLength(u.significand);
  if (((u.exponent - shift) & 1) !== 0) shift++;
  const radicand = shiftRightJam(u.significand, -shift);
  const root = integerSqrt(radicand);
  const jammed = root * root === radicand ? root : root | 1n;
  return round(f, env, false, jammed, (u.exponent - shift) / 2, precisionFor(f, env));
}
