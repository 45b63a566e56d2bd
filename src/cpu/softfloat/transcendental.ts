/**
 * The x87 transcendental instructions, correctly rounded (SDM Vol 1 §8.3.10
 * promises less than one unit in the last place; processors differ below that).
 */
import { type FpEnv, INEXACT, UNDERFLOW, ZERO_DIVIDE, raise } from './env';
import { type Unpacked, Kind, bitLength, f80, infinity, one, round, unpack, zero } from './format';
import { binaryNaN, denormalOperands, invalid, unaryNaN } from './nan';
import {
  LN2,
  ONE,
  PI,
  W,
  type Scaled,
  arctangent,
  atanhOverArgument,
  cosine,
  expm1OverArgument,
  ratio,
  scaled,
  sineOverArgument,
  times,
  toFixed,
} from './series';

const magnitude = (u: Unpacked): Scaled => scaled(u.significand, u.exponent);

/** Round an inexact value: the jammed bit stands for the digits that never end. */
const inexact = (env: FpEnv, sign: boolean, x: Scaled): bigint =>
  round(f80, env, sign, (x.significand << 2n) | 1n, x.exponent - 2);

/** Exponent of the leading bit of a finite non-zero operand. */
const power = (u: Unpacked): number => u.exponent + bitLength(u.significand) - 1;

/** The processor's own pi, 66 significant bits, in units of 2^-64 (SDM Vol 1 §8.3.8). */
const PI_66 = 0x3243f6a8885a308d3n;

interface Reduced {
  /** Angle left, at most pi/4 in magnitude. */
  readonly sign: boolean;
  readonly rest: Scaled;
  /** Quarter turns taken off, modulo 4. */
  readonly quadrant: number;
}

/** |x| modulo a quarter turn, with the 66-bit pi; exact. The sign of x is left to the caller. */
function reduce(x: Scaled): Reduced {
  if (x.exponent + bitLength(x.significand) < 0) return { sign: false, rest: x, quadrant: 0 };
  const unit = Math.min(x.exponent, -66);
  const value = x.significand << BigInt(x.exponent - unit);
  const quarter = PI_66 << BigInt(-65 - unit);
  const turns = (2n * value + quarter) / (2n * quarter);
  const rest = value - turns * quarter;
  return { sign: rest < 0n, rest: scaled(rest < 0n ? -rest : rest, unit), quadrant: Number(turns & 3n) };
}

const squared = (x: Scaled): bigint => toFixed(scaled(x.significand * x.significand, 2 * x.exponent));
const sineOf = (r: Scaled): Scaled => times(r, sineOverArgument(squared(r)));
const cosineOf = (r: Scaled): Scaled => scaled(cosine(squared(r)), -W);

/** The result of an operation that gives up (C2 = 1, st(0) unchanged) at |x| >= 2^63. */
export interface Angle {
  readonly result: bigint;
  readonly outOfRange: boolean;
}

type Prepared = { readonly done: Angle } | { readonly u: Unpacked; readonly done?: undefined };

function prepareAngle(a: bigint, env: FpEnv): Prepared {
  const u = unpack(f80, a);
  env.roundedUp = false;
  const nan = unaryNaN(f80, u, env);
  if (nan !== undefined) return { done: { result: nan, outOfRange: false } };
  if (u.kind === Kind.infinity) return { done: { result: invalid(f80, env), outOfRange: false } };
  if (u.kind !== Kind.zero && power(u) >= 63) return { done: { result: a, outOfRange: true } };
  if (denormalOperands(env, u)) return { done: { result: a, outOfRange: false } };
  return { u };
}

function sinValue(u: Unpacked, env: FpEnv): bigint {
  if (u.kind === Kind.zero) return u.encoding;
  const { sign, rest, quadrant } = reduce(magnitude(u));
  const negative = (u.sign !== quadrant >= 2) !== (sign && (quadrant & 1) === 0);
  return inexact(env, negative, (quadrant & 1) === 0 ? sineOf(rest) : cosineOf(rest));
}

function cosValue(u: Unpacked, env: FpEnv): bigint {
  if (u.kind === Kind.zero) return one(f80, false);
  const { sign, rest, quadrant } = reduce(magnitude(u));
  const negative = (quadrant === 1 || quadrant === 2) !== (sign && (quadrant & 1) === 1);
  return inexact(env, negative, (quadrant & 1) === 0 ? cosineOf(rest) : sineOf(rest));
}

export function sin(a: bigint, env: FpEnv): Angle {
  const p = prepareAngle(a, env);
  return p.done ?? { result: sinValue(p.u, env), outOfRange: false };
}

export function cos(a: bigint, env: FpEnv): Angle {
  const p = prepareAngle(a, env);
  return p.done ?? { result: cosValue(p.u, env), outOfRange: false };
}

/** FSINCOS: sine replaces st(0), cosine is pushed. */
export function sincos(
  a: bigint,
  env: FpEnv,
): { readonly sin: bigint; readonly cos: bigint; readonly outOfRange: boolean } {
  const p = prepareAngle(a, env);
  if (p.done !== undefined) return { sin: p.done.result, cos: p.done.result, outOfRange: p.done.outOfRange };
  return { sin: sinValue(p.u, env), cos: cosValue(p.u, env), outOfRange: false };
}

/** FPTAN: the tangent replaces st(0); the caller pushes 1.0 (a NaN pushes itself). */
export function ptan(a: bigint, env: FpEnv): Angle & { readonly pushed: bigint } {
  const p = prepareAngle(a, env);
  if (p.done !== undefined) return { ...p.done, pushed: p.done.result };
  if (p.u.kind === Kind.zero) return { result: a, outOfRange: false, pushed: one(f80, false) };
  const { sign, rest, quadrant } = reduce(magnitude(p.u));
  const s = sineOf(rest);
  const c = cosineOf(rest);
  const odd = (quadrant & 1) === 1;
  const result = inexact(env, (p.u.sign !== sign) !== odd, odd ? ratio(c, s) : ratio(s, c));
  return { result, outOfRange: false, pushed: one(f80, false) };
}

/** FPATAN: the angle of the point (x = st(0), y = st(1)), in (-pi, pi] (SDM Vol 2A table 3-30). */
export function patan(y: bigint, x: bigint, env: FpEnv): bigint {
  const uy = unpack(f80, y);
  const ux = unpack(f80, x);
  env.roundedUp = false;
  const nan = binaryNaN(f80, ux, uy, env);
  if (nan !== undefined) return nan;
  if (denormalOperands(env, ux, uy)) return x;
  const fraction = (numerator: bigint, denominator: bigint): bigint =>
    inexact(env, uy.sign, scaled((PI * numerator) / denominator, -W));
  const wideX = ux.kind === Kind.infinity;
  if (uy.kind === Kind.infinity) return wideX ? fraction(ux.sign ? 3n : 1n, 4n) : fraction(1n, 2n);
  if (uy.kind === Kind.zero || wideX) return ux.sign ? fraction(1n, 1n) : zero(f80, uy.sign);
  if (ux.kind === Kind.zero) return fraction(1n, 2n);
  const my = magnitude(uy);
  const mx = magnitude(ux);
  const unit = Math.min(my.exponent, mx.exponent);
  const steep = my.significand << BigInt(my.exponent - unit) > mx.significand << BigInt(mx.exponent - unit);
  const angle = arctangent(steep ? ratio(mx, my) : ratio(my, mx));
  if (!steep && !ux.sign) return inexact(env, uy.sign, angle);
  const base = steep ? PI >> 1n : PI;
  const fixed = toFixed(angle);
  const turned = steep === ux.sign ? base + fixed : base - fixed - 1n;
  return inexact(env, uy.sign, scaled(turned, -W));
}

/** F2XM1: 2^x - 1 for -1 <= x <= 1; the SDM leaves the rest undefined (here: computed all the same up to the format's range). */
export function f2xm1(a: bigint, env: FpEnv): bigint {
  const u = unpack(f80, a);
  env.roundedUp = false;
  const nan = unaryNaN(f80, u, env);
  if (nan !== undefined) return nan;
  if (u.kind === Kind.zero) return a;
  if (u.kind === Kind.infinity) return u.sign ? one(f80, true) : a;
  if (denormalOperands(env, u)) return a;
  const p = power(u);
  if (p >= 0) raise(env, INEXACT);
  if (p > 0 || (p === 0 && u.significand !== f80.integerBit)) return a;
  if (p === 0) return u.sign ? round(f80, env, true, 1n, -1) : one(f80, false);
  const z = times(magnitude(u), LN2);
  const fixed = toFixed(z);
  return inexact(env, u.sign, times(z, expm1OverArgument(u.sign ? -fixed : fixed)));
}

interface Logarithm {
  readonly sign: boolean;
  readonly value: Scaled;
  readonly exact: boolean;
}

/** ln(1 + d) / ln 2 for a signed d of small magnitude, relative precision kept. */
function log2Near1(sign: boolean, d: Scaled): Logarithm {
  // s = d / (2 + d), ln(1 + d) = 2 atanh(s)
  const unit = Math.min(d.exponent, 0);
  const fraction = d.significand << BigInt(d.exponent - unit);
  const two = 2n << BigInt(-unit);
  const s = ratio(d, scaled(sign ? two - fraction : two + fraction, unit));
  const ln = times(scaled(s.significand, s.exponent + 1), atanhOverArgument(squared(s)));
  return { sign, value: ratio(ln, scaled(LN2, -W)), exact: false };
}

/** log2 of a positive value, with relative precision; exact for powers of two. */
function log2(x: Scaled): Logarithm {
  const length = bitLength(x.significand);
  let k = x.exponent + length - 1;
  const leading = 1n << BigInt(length - 1);
  if (x.significand === leading) return { sign: k < 0, value: scaled(BigInt(Math.abs(k)), 0), exact: true };
  // m = significand / 2^(length-1), in [1, 2); above 1.5 take it as 2 * (m / 2).
  let base = leading;
  if (x.significand > leading + (leading >> 1n)) {
    base <<= 1n;
    k++;
  }
  const d = x.significand - base;
  const near = log2Near1(d < 0n, scaled(d < 0n ? -d : d, 1 - bitLength(base)));
  if (k === 0) return near;
  const part = toFixed(near.value);
  const total = BigInt(k) * ONE + (near.sign ? -part : part);
  return { sign: total < 0n, value: scaled(total < 0n ? -total : total, -W), exact: false };
}

function scaleLog(uy: Unpacked, log: Logarithm, env: FpEnv): bigint {
  const sign = uy.sign !== log.sign;
  const product = scaled(uy.significand * log.value.significand, uy.exponent + log.value.exponent);
  if (!log.exact) return inexact(env, sign, product);
  // The processor reports an exact product (x a power of two) as inexact too: measured.
  const encoding = round(f80, env, sign, product.significand, product.exponent);
  raise(env, unpack(f80, encoding).kind === Kind.denormal ? INEXACT | UNDERFLOW : INEXACT);
  return encoding;
}

/** FYL2X: y * log2(x), x = st(0), y = st(1) (SDM Vol 2A table 3-47). */
export function yl2x(y: bigint, x: bigint, env: FpEnv): bigint {
  const uy = unpack(f80, y);
  const ux = unpack(f80, x);
  env.roundedUp = false;
  const nan = binaryNaN(f80, ux, uy, env);
  if (nan !== undefined) return nan;
  if (ux.kind === Kind.zero) {
    if (uy.kind === Kind.zero) return invalid(f80, env);
    if (uy.kind === Kind.infinity) return infinity(f80, !uy.sign);
    raise(env, ZERO_DIVIDE); // and not denormal operand, as for division: measured
    return infinity(f80, !uy.sign);
  }
  if (ux.sign) return invalid(f80, env);
  const isOne = ux.kind === Kind.normal && x === one(f80, false);
  if (uy.kind === Kind.infinity && isOne) return invalid(f80, env);
  if (ux.kind === Kind.infinity && uy.kind === Kind.zero) return invalid(f80, env);
  if (denormalOperands(env, ux, uy)) return x;
  const below = ux.kind !== Kind.infinity && power(ux) < 0;
  if (ux.kind === Kind.infinity || uy.kind === Kind.infinity) return infinity(f80, uy.sign !== below);
  if (uy.kind === Kind.zero || isOne) return zero(f80, uy.sign !== below);
  return scaleLog(uy, log2(magnitude(ux)), env);
}

/** FYL2XP1: y * log2(1 + x), for |x| < 1 - sqrt(1/2); beyond it, as far as 1 + x is positive, the same function. */
export function yl2xp1(y: bigint, x: bigint, env: FpEnv): bigint {
  const uy = unpack(f80, y);
  const ux = unpack(f80, x);
  env.roundedUp = false;
  const nan = binaryNaN(f80, ux, uy, env);
  if (nan !== undefined) return nan;
  if (ux.kind === Kind.zero) {
    if (uy.kind === Kind.infinity) return invalid(f80, env);
    if (denormalOperands(env, uy)) return x;
    return zero(f80, ux.sign !== uy.sign);
  }
  if (ux.kind === Kind.infinity) {
    if (ux.sign || uy.kind === Kind.zero) return invalid(f80, env);
    if (denormalOperands(env, uy)) return x;
    return infinity(f80, uy.sign);
  }
  if (denormalOperands(env, ux, uy)) return x;
  if (uy.kind === Kind.infinity) return infinity(f80, ux.sign !== uy.sign);
  if (uy.kind === Kind.zero) return zero(f80, ux.sign !== uy.sign);
  if (power(ux) < -1) return scaleLog(uy, log2Near1(ux.sign, magnitude(ux)), env);
  const unit = Math.min(ux.exponent, 0);
  const fraction = ux.significand << BigInt(ux.exponent - unit);
  const total = (1n << BigInt(-unit)) + (ux.sign ? -fraction : fraction);
  if (total <= 0n) {
    // No logarithm; undefined by the SDM. Measured: x itself, inexact.
    raise(env, INEXACT);
    return x;
  }
  return scaleLog(uy, log2(scaled(total, unit)), env);
}
