/** Conversions between formats, to and from integers, and to and from packed decimal. */
import { type FpEnv, INEXACT, INVALID, OVERFLOW, UNDERFLOW, defaultEnv, raise, unmaskedPending } from './env';
import {
  type Format,
  type Unpacked,
  Kind,
  bitLength,
  carryNaN,
  f80,
  flushOperand,
  infinity,
  quieted,
  round,
  roundToQuantum,
  unpack,
  zero,
} from './format';
import { denormalOperands } from './nan';

/**
 * Convert as CVTSS2SD, CVTSD2SS, FLD m32/m64 and FST m32/m64 do. Storing from an
 * x87 register raises no denormal-operand exception (SDM Vol 2A FST lists none).
 */
export function convert(from: Format, to: Format, a: bigint, env: FpEnv): bigint {
  const u = unpack(from, flushOperand(from, a, env));
  env.roundedUp = false;
  switch (u.kind) {
    case Kind.zero:
      return zero(to, u.sign);
    case Kind.infinity:
      return infinity(to, u.sign);
    case Kind.unsupported:
      raise(env, INVALID);
      return to.indefinite;
    case Kind.signalingNaN:
      raise(env, INVALID);
      return quieted(to, carryNaN(from, to, u));
    case Kind.quietNaN:
      return carryNaN(from, to, u);
    default:
      // FLD delivers the value even where the denormal operand is unmasked: measured; it is exact.
      if (!from.explicitInteger && denormalOperands(env, u) && !to.explicitInteger) return 0n;
      return round(to, env, u.sign, u.significand, u.exponent);
  }
}

/**
 * FST m32/m64: as `convert`, but an unmasked overflow or underflow, which leaves
 * memory alone, reports neither precision nor a rounding.
 */
export function storeNarrow(to: Format, a: bigint, env: FpEnv): bigint {
  const encoding = convert(f80, to, a, env);
  if ((unmaskedPending(env) & (OVERFLOW | UNDERFLOW)) !== 0) {
    env.flags &= ~INEXACT;
    env.roundedUp = false;
  }
  return encoding;
}

/** A signed integer in format `f`, rounded by env.rc where it does not fit (CVTSI2SS, CVTSI2SD, FILD). */
export function fromInteger(f: Format, value: bigint, env: FpEnv): bigint {
  if (value === 0n) return 0n;
  return round(f, env, value < 0n, value < 0n ? -value : value, 0);
}

/** An integer of at most 64 bits as f80, exactly (FILD, FIADD and relatives). */
export const widenInteger = (value: bigint): bigint => fromInteger(f80, value, EXACT);
const EXACT = defaultEnv();

/** Integer nearest to a finite value in the direction of env.rc (or toward zero). */
function integral(
  u: Unpacked,
  env: FpEnv,
  truncate: boolean,
): { readonly value: bigint; readonly inexact: boolean } {
  const rc = env.rc;
  if (truncate) env.rc = 3;
  const { units, inexact } = roundToQuantum(u.sign, u.significand, u.exponent, 0, env);
  env.rc = rc;
  return { value: u.sign ? -units : units, inexact };
}

/**
 * To a signed integer of `width` bits, as its two's complement encoding. NaN,
 * infinity and values out of range give invalid and the integer indefinite
 * (SDM Vol 1 table 4-1, §4.8.3.6).
 */
export function toInteger(f: Format, a: bigint, width: 16 | 32 | 64, env: FpEnv, truncate = false): bigint {
  const u = unpack(f, flushOperand(f, a, env));
  env.roundedUp = false;
  const limit = 1n << BigInt(width - 1);
  if (u.kind < Kind.infinity && u.exponent <= width) {
    const { value, inexact } = integral(u, env, truncate);
    if (value >= -limit && value < limit) {
      if (inexact) raise(env, INEXACT);
      return BigInt.asUintN(width, value);
    }
  }
  env.roundedUp = false;
  raise(env, INVALID);
  return limit;
}

/** FRNDINT: to an integral value in the same format, by env.rc. */
export function roundToIntegral(f: Format, u: Unpacked, env: FpEnv): bigint {
  if (u.exponent >= 0) return u.encoding;
  const { units, inexact } = roundToQuantum(u.sign, u.significand, u.exponent, 0, env);
  if (inexact) raise(env, INEXACT);
  if (units === 0n) return zero(f, u.sign);
  const up = env.roundedUp;
  const encoding = round(f, env, u.sign, units, 0);
  env.roundedUp = up;
  return encoding;
}

const BCD_LIMIT = 10n ** 18n;
/** Packed BCD indefinite (SDM Vol 1 table 4-4). */
const BCD_INDEFINITE = 0xffffc000000000000000n;

/** Eighteen packed decimal digits and a sign to f80; exact. Digits above 9 are undefined by the SDM: they count as their value. */
export function fromBcd(f: Format, bcd: bigint, env: FpEnv): bigint {
  let value = 0n;
  for (let digit = 17; digit >= 0; digit--) value = value * 10n + ((bcd >> BigInt(4 * digit)) & 15n);
  const sign = (bcd >> 79n) & 1n;
  if (value === 0n) return zero(f, sign === 1n);
  return round(f, env, sign === 1n, value, 0);
}

/** f80 to packed decimal, rounded by env.rc; invalid and the indefinite where 18 digits do not hold it (FBSTP). */
export function toBcd(f: Format, a: bigint, env: FpEnv): bigint {
  const u = unpack(f, a);
  env.roundedUp = false;
  if (u.kind < Kind.infinity && u.exponent + bitLength(u.significand) <= 61) {
    const { value, inexact } = integral(u, env, false);
    let magnitude = value < 0n ? -value : value;
    if (magnitude < BCD_LIMIT) {
      if (inexact) raise(env, INEXACT);
      let bcd = u.sign ? 1n << 79n : 0n;
      for (let shift = 0n; magnitude !== 0n; shift += 4n, magnitude /= 10n) bcd |= (magnitude % 10n) << shift;
      return bcd;
    }
  }
  env.roundedUp = false;
  raise(env, INVALID);
  return BCD_INDEFINITE;
}
