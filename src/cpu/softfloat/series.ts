/**
 * Elementary functions on fixed-point bigints with W fraction bits. Errors are
 * some units in the last place: far below what a 64-bit significand, even the
 * worst case for correct rounding, can see.
 */
import { integerSqrt } from './arithmetic';
import { bitLength } from './format';

/** Fraction bits of every fixed-point value here. */
export const W = 256;
const w = BigInt(W);
export const ONE = 1n << w;

/** pi and ln 2 with W fraction bits, truncated. */
export const PI = 0x3243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89452821e638d01377n >> 64n;
export const LN2 = 0xb17217f7d1cf79abc9e3b39803f2f6af40f343267298b62d8a0d175b8baafa2be7b876206debac98n >> 64n;

/** A positive number significand * 2^exponent, carrying at least W significant bits unless exact. */
export interface Scaled {
  readonly significand: bigint;
  readonly exponent: number;
}

export const scaled = (significand: bigint, exponent: number): Scaled => ({ significand, exponent });

/** A Scaled as fixed point, truncated; for values below 2 or so. */
export function toFixed(x: Scaled): bigint {
  const shift = x.exponent + W;
  return shift >= 0 ? x.significand << BigInt(shift) : x.significand >> BigInt(Math.min(-shift, 1 << 20));
}

/** x * f for fixed-point f. */
export const times = (x: Scaled, f: bigint): Scaled => scaled(x.significand * f, x.exponent - W);

/** a / b to W + 16 bits, truncated. */
export function ratio(a: Scaled, b: Scaled): Scaled {
  const shift = Math.max(0, W + 16 + bitLength(b.significand) - bitLength(a.significand));
  return scaled((a.significand << BigInt(shift)) / b.significand, a.exponent - b.exponent - shift);
}

/** sum of (-1)^k t^k * c(k), where each term follows from the one before by `next`. */
function sum(first: bigint, next: (term: bigint, k: bigint) => bigint): bigint {
  let total = first;
  let term = first;
  for (let k = 1n; ; k++) {
    term = next(term, k);
    if (term === 0n) return total;
    total += term;
  }
}

/** A correction too small for W bits still makes the value inexact, on the side of `sign`. */
const nudged = (value: bigint, exact: boolean, sign: bigint): bigint => (exact ? value + sign : value);

/** sin(r) / r given r squared; r below 1. */
export function sineOverArgument(square: bigint): bigint {
  const value = sum(ONE, (term, k) => -((term * square) >> w) / (2n * k * (2n * k + 1n)));
  return nudged(value, value === ONE, -1n);
}

/** cos(r) given r squared. */
export function cosine(square: bigint): bigint {
  const value = sum(ONE, (term, k) => -((term * square) >> w) / ((2n * k - 1n) * (2n * k)));
  return nudged(value, value === ONE, -1n);
}

/** (e^z - 1) / z for |z| < 1. */
export function expm1OverArgument(z: bigint): bigint {
  const value = sum(ONE, (term, k) => (term * z) / (ONE * (k + 1n)));
  return nudged(value, value === ONE, z < 0n ? -1n : 1n);
}

/** atanh(s) / s given s squared (s below 0.2): ln((1+s)/(1-s)) = 2 atanh(s). */
export function atanhOverArgument(square: bigint): bigint {
  let power = ONE;
  const value = sum(ONE, (_, k) => {
    power = (power * square) >> w;
    return power / (2n * k + 1n);
  });
  return nudged(value, value === ONE, 1n);
}

/** atan(q) for 0 < q <= 1. */
export function arctangent(q: Scaled): Scaled {
  let x = q;
  let doublings = 0;
  // Halve the angle until the series gains more than six bits a term: tan(a/2) = t / (1 + sqrt(1 + t^2)).
  while (x.exponent + bitLength(x.significand) > -3) {
    const t = toFixed(x);
    const root = integerSqrt((ONE << w) + t * t);
    x = ratio(scaled(t, -W), scaled(ONE + root, -W));
    doublings++;
  }
  const t = toFixed(x);
  const square = (t * t) >> w;
  let power = ONE;
  const value = sum(ONE, (_, k) => {
    power = -((power * square) >> w);
    return power / (2n * k + 1n);
  });
  const angle = times(x, nudged(value, value === ONE, -1n));
  return scaled(angle.significand, angle.exponent + doublings);
}
