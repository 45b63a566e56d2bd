/** The x87-only operations that are exact or rounded once: FRNDINT, FSCALE, FXTRACT, FPREM, FPREM1 and the constants. */
import { type FpEnv, ZERO_DIVIDE, defaultEnv, raise } from './env';
import { type Unpacked, Kind, bitLength, f80, infinity, one, round, unpack, zero } from './format';
import { roundToIntegral } from './convert';
import { binaryNaN, denormalOperands, invalid, unaryNaN } from './nan';

export function rndint(a: bigint, env: FpEnv): bigint {
  const u = unpack(f80, a);
  env.roundedUp = false;
  const nan = unaryNaN(f80, u, env);
  if (nan !== undefined) return nan;
  if (u.kind === Kind.zero || u.kind === Kind.infinity) return a;
  if (denormalOperands(env, u)) return a;
  return roundToIntegral(f80, u, env);
}

/** Exponent changes beyond this overflow or vanish from any starting point, wrapped responses included. */
const SCALE_LIMIT = 0x10000n;

/** FSCALE: st(0) * 2^trunc(st(1)) (SDM Vol 2A table 3-28). */
export function scale(a: bigint, b: bigint, env: FpEnv): bigint {
  const ua = unpack(f80, a);
  const ub = unpack(f80, b);
  env.roundedUp = false;
  const nan = binaryNaN(f80, ua, ub, env);
  if (nan !== undefined) return nan;
  if (ub.kind === Kind.infinity) {
    if (ub.sign ? ua.kind === Kind.infinity : ua.kind === Kind.zero) return invalid(f80, env);
    if (denormalOperands(env, ua)) return a;
    return ub.sign ? zero(f80, ua.sign) : infinity(f80, ua.sign);
  }
  if (denormalOperands(env, ua, ub)) return a;
  if (ua.kind === Kind.infinity || ua.kind === Kind.zero) return a;
  return round(f80, env, ua.sign, ua.significand, ua.exponent + clampedInteger(ub));
}

function clampedInteger(u: Unpacked): number {
  const magnitude = u.exponent > 0 ? SCALE_LIMIT : u.significand >> BigInt(Math.min(-u.exponent, 64));
  const value = Number(magnitude > SCALE_LIMIT ? SCALE_LIMIT : magnitude);
  return u.sign ? -value : value;
}

/** FXTRACT: the unbiased exponent (replaces st(0)) and the significand (pushed). */
export function xtract(a: bigint, env: FpEnv): { readonly exponent: bigint; readonly significand: bigint } {
  const u = unpack(f80, a);
  env.roundedUp = false;
  const nan = unaryNaN(f80, u, env);
  if (nan !== undefined) return { exponent: nan, significand: nan };
  if (u.kind === Kind.infinity) return { exponent: infinity(f80, false), significand: a };
  if (u.kind === Kind.zero) {
    raise(env, ZERO_DIVIDE);
    return { exponent: infinity(f80, true), significand: a };
  }
  if (denormalOperands(env, u)) return { exponent: a, significand: a };
  const length = bitLength(u.significand);
  const power = u.exponent + length - 1;
  const quiet = defaultEnv();
  return {
    exponent: power === 0 ? 0n : round(f80, quiet, power < 0, BigInt(Math.abs(power)), 0),
    significand: round(f80, quiet, u.sign, u.significand, 1 - length),
  };
}

export interface Remainder {
  readonly result: bigint;
  /** Three low bits of the quotient's magnitude: C1 = bit 0, C3 = bit 1, C0 = bit 2. Zero while partial. */
  readonly quotient: number;
  /** C2: the exponents were too far apart, repeat. */
  readonly partial: boolean;
  /** A quotient was found (not so for NaNs and invalid operands, which leave C0 and C3 alone: measured). */
  readonly complete: boolean;
}

/** Exponent difference reduced by one partial step: the SDM leaves 32..63 to the implementation. */
const partialStep = (difference: number): number => 32 + (difference % 32);

function remainder(a: bigint, b: bigint, env: FpEnv, nearest: boolean): Remainder {
  const ua = unpack(f80, a);
  const ub = unpack(f80, b);
  env.roundedUp = false;
  const whole = (result: bigint, complete = true): Remainder => ({
    result,
    quotient: 0,
    partial: false,
    complete,
  });
  const nan = binaryNaN(f80, ua, ub, env);
  if (nan !== undefined) return whole(nan, false);
  if (ua.kind === Kind.infinity || ub.kind === Kind.zero) return whole(invalid(f80, env), false);
  if (denormalOperands(env, ua, ub)) return whole(a, false);
  if (ua.kind === Kind.zero) return whole(a);
  if (ub.kind === Kind.infinity) return whole(round(f80, env, ua.sign, ua.significand, ua.exponent));
  const difference = ua.exponent + bitLength(ua.significand) - (ub.exponent + bitLength(ub.significand));
  if (difference >= 64) {
    // Subtract b * 2^(D-N) * trunc(a / (b * 2^(D-N))): the quotient's bits below are left for later rounds.
    const exponent = ub.exponent + difference - partialStep(difference);
    const unit = Math.min(ua.exponent, exponent);
    const left = (ua.significand << BigInt(ua.exponent - unit)) % (ub.significand << BigInt(exponent - unit));
    const result = left === 0n ? zero(f80, ua.sign) : round(f80, env, ua.sign, left, unit);
    return { result, quotient: 0, partial: true, complete: false };
  }
  if (difference < -1) return whole(round(f80, env, ua.sign, ua.significand, ua.exponent));
  const unit = Math.min(ua.exponent, ub.exponent);
  const dividend = ua.significand << BigInt(ua.exponent - unit);
  const divisor = ub.significand << BigInt(ub.exponent - unit);
  let quotient = dividend / divisor;
  let left = dividend - quotient * divisor;
  let sign = ua.sign;
  if (nearest && (2n * left > divisor || (2n * left === divisor && (quotient & 1n) === 1n))) {
    quotient++;
    left = divisor - left;
    sign = !sign;
  }
  const result = left === 0n ? zero(f80, ua.sign) : round(f80, env, sign, left, unit);
  return { result, quotient: Number(quotient & 7n), partial: false, complete: true };
}

export const prem = (a: bigint, b: bigint, env: FpEnv): Remainder => remainder(a, b, env, false);
export const prem1 = (a: bigint, b: bigint, env: FpEnv): Remainder => remainder(a, b, env, true);

/** The FLD constants: significand (truncated, one jammed bit below) and its exponent; rounded by RC, no flags (SDM Vol 1 §8.3.8). */
const CONSTANTS = {
  fldl2t: [0xd49a784bcd1b8afe492bn, -78],
  fldl2e: [0xb8aa3b295c17f0bbbe87n, -79],
  fldpi: [0xc90fdaa22168c234c4c7n, -78],
  fldlg2: [0x9a209a84fbcff7988f89n, -81],
  fldln2: [0xb17217f7d1cf79abc9e3n, -80],
} as const;

export type Constant = keyof typeof CONSTANTS | 'fld1' | 'fldz';

export function constant(name: Constant, env: FpEnv): bigint {
  if (name === 'fldz') return 0n;
  if (name === 'fld1') return one(f80, false);
  const [significand, exponent] = CONSTANTS[name];
  const quiet = { ...env, flags: 0, masks: 0x3f };
  return round(f80, quiet, false, significand, exponent);
}
