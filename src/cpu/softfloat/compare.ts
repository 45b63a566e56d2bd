/** Comparison, minimum and maximum. */
import { type FpEnv, INVALID, raise } from './env';
import { type Format, type Unpacked, Kind, flushOperand, unpack, zero } from './format';
import { denormalOperands } from './nan';

export const Relation = { less: 0, equal: 1, greater: 2, unordered: 3 } as const;
export type Relation = (typeof Relation)[keyof typeof Relation];

/** Order of two finite or infinite values, zeros being equal whatever their signs. */
function order(a: Unpacked, b: Unpacked): Relation {
  if (a.kind === Kind.zero && b.kind === Kind.zero) return Relation.equal;
  const sign = a.kind === Kind.zero ? !b.sign : a.sign;
  if (a.kind === Kind.zero || b.kind === Kind.zero || a.sign !== b.sign)
    return sign ? Relation.less : Relation.greater;
  const larger = sign ? Relation.less : Relation.greater;
  const smaller = sign ? Relation.greater : Relation.less;
  if (a.kind === Kind.infinity || b.kind === Kind.infinity) {
    if (a.kind === b.kind) return Relation.equal;
    return a.kind === Kind.infinity ? larger : smaller;
  }
  // Align to the smaller unit; formats may differ, exponents of one format by at most 32,829.
  const gap = a.exponent - b.exponent;
  const x = gap > 0 ? a.significand << BigInt(gap) : a.significand;
  const y = gap < 0 ? b.significand << BigInt(-gap) : b.significand;
  if (x === y) return Relation.equal;
  return x > y ? larger : smaller;
}

function compareUnpacked(a: Unpacked, b: Unpacked, env: FpEnv, signalQuiet: boolean): Relation {
  if (a.kind >= Kind.quietNaN || b.kind >= Kind.quietNaN) {
    if (signalQuiet || a.kind > Kind.quietNaN || b.kind > Kind.quietNaN) raise(env, INVALID);
    return Relation.unordered;
  }
  denormalOperands(env, a, b);
  return order(a, b);
}

/**
 * Compare `a` with `b`. A signaling NaN (or unsupported encoding) raises invalid;
 * a quiet one only when `signalQuiet` (COMISx, FCOM, FTST: true; UCOMISx, FUCOM: false;
 * SDM Vol 1 §4.8.3.4). `fb` is b's format where a memory operand's differs.
 */
export function compare(
  f: Format,
  a: bigint,
  b: bigint,
  env: FpEnv,
  signalQuiet: boolean,
  fb: Format = f,
): Relation {
  return compareUnpacked(
    unpack(f, flushOperand(f, a, env)),
    unpack(fb, flushOperand(fb, b, env)),
    env,
    signalQuiet,
  );
}

/** The relations under which each CMPPS/CMPSS/CMPPD/CMPSD predicate holds (SDM Vol 2A table 3-1). */
const PREDICATES: readonly { readonly holds: readonly Relation[]; readonly signalQuiet: boolean }[] = [
  /* 0 EQ    */ { holds: [Relation.equal], signalQuiet: false },
  /* 1 LT    */ { holds: [Relation.less], signalQuiet: true },
  /* 2 LE    */ { holds: [Relation.less, Relation.equal], signalQuiet: true },
  /* 3 UNORD */ { holds: [Relation.unordered], signalQuiet: false },
  /* 4 NEQ   */ { holds: [Relation.less, Relation.greater, Relation.unordered], signalQuiet: false },
  /* 5 NLT   */ { holds: [Relation.equal, Relation.greater, Relation.unordered], signalQuiet: true },
  /* 6 NLE   */ { holds: [Relation.greater, Relation.unordered], signalQuiet: true },
  /* 7 ORD   */ { holds: [Relation.less, Relation.equal, Relation.greater], signalQuiet: false },
];

/** Whether predicate `imm & 7` of the CMPcc family holds between a and b. */
export function comparePredicate(f: Format, a: bigint, b: bigint, imm: number, env: FpEnv): boolean {
  const predicate = PREDICATES[imm & 7];
  if (predicate === undefined) throw new RangeError(`comparison predicate ${String(imm)}`);
  return predicate.holds.includes(compare(f, a, b, env, predicate.signalQuiet));
}

/**
 * MINSS and relatives: the second operand whenever either is a NaN (invalid is raised
 * even for a quiet one) or both are zeros (SDM Vol 2B MINPS).
 */
function select(wanted: Relation) {
  return (f: Format, a: bigint, b: bigint, env: FpEnv): bigint => {
    const x = flushOperand(f, a, env);
    const y = flushOperand(f, b, env);
    return compareUnpacked(unpack(f, x), unpack(f, y), env, true) === wanted ? x : y;
  };
}
export const min = select(Relation.less);
export const max = select(Relation.greater);

/** FXAM's classes, as the condition-code bits C3 (4), C2 (2), C0 (1) (SDM Vol 2A FXAM). */
export function examine(f: Format, a: bigint): number {
  return EXAMINED[unpack(f, a).kind];
}
const EXAMINED = {
  [Kind.zero]: 4,
  [Kind.normal]: 2,
  [Kind.denormal]: 6,
  [Kind.infinity]: 3,
  [Kind.quietNaN]: 1,
  [Kind.signalingNaN]: 1,
  [Kind.unsupported]: 0,
} as const;

export const isZero = (f: Format, a: bigint): boolean => (a & ~f.signBit) === zero(f, false);
