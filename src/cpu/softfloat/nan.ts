/** NaN operands: which one comes out (SDM Vol 1 §4.8.3.5, table 4-7) and what they raise. */
import { type FpEnv, DENORMAL, INVALID, raise } from './env';
import { type Format, type Unpacked, Kind, isNaNKind, quieted } from './format';

/** Raise invalid and answer with the real indefinite. */
export function invalid(f: Format, env: FpEnv): bigint {
  raise(env, INVALID);
  return f.indefinite;
}

/** One NaN or unsupported operand: its quiet form. `undefined` when the operand has a value. */
export function unaryNaN(f: Format, a: Unpacked, env: FpEnv): bigint | undefined {
  if (a.kind < Kind.quietNaN) return undefined;
  if (a.kind === Kind.unsupported) return invalid(f, env);
  if (a.kind === Kind.signalingNaN) raise(env, INVALID);
  return quieted(f, a.encoding);
}

/**
 * Two operands of which at least one may be a NaN. `undefined` when both have
 * values. The SSE rule (f32, f64) takes the first NaN operand; the x87 rule (f80)
 * a quiet one over a signaling one, then the larger significand, then the positive.
 */
export function binaryNaN(f: Format, a: Unpacked, b: Unpacked, env: FpEnv): bigint | undefined {
  if (a.kind < Kind.quietNaN && b.kind < Kind.quietNaN) return undefined;
  if (a.kind === Kind.unsupported || b.kind === Kind.unsupported) return invalid(f, env);
  if (a.kind === Kind.signalingNaN || b.kind === Kind.signalingNaN) raise(env, INVALID);
  const chosen = f.explicitInteger ? largerNaN(a, b) : isNaNKind(a) ? a : b;
  return quieted(f, chosen.encoding);
}

function largerNaN(a: Unpacked, b: Unpacked): Unpacked {
  if (!isNaNKind(b)) return a;
  if (!isNaNKind(a)) return b;
  if (a.kind !== b.kind) return a.kind === Kind.quietNaN ? a : b;
  if (a.significand !== b.significand) return a.significand > b.significand ? a : b;
  return a.sign ? b : a;
}

/** Raise the denormal-operand exception if due; true when it is unmasked and the operation must stop. */
export function denormalOperands(env: FpEnv, a: Unpacked, b: Unpacked = a): boolean {
  return (a.kind === Kind.denormal || b.kind === Kind.denormal) && raise(env, DENORMAL);
}
