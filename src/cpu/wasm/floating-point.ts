import type { FpOp, Node } from '../ir/nodes';
import type { Recorder } from '../ir/recorder';
import type { FpArithmetic, FpFmt } from '../ops';
import { field, type Routines } from './routines';

/** Floating-point operations, numbered for the exact path. */
export const FP_OPS: readonly FpOp[] = [
  ...([32, 64] as const).flatMap((f): FpOp[] => [
    `add${f}`, `sub${f}`, `mul${f}`, `div${f}`, `min${f}`, `max${f}`, `sqrt${f}`, `compare${f}`, `comi${f}`, `ucomi${f}`,
    `toInt${f}_32`, `toInt${f}_64`, `toInt${f}_32_truncate`, `toInt${f}_64_truncate`, `fromInt32_${f}`, `fromInt64_${f}`,
  ]),
  'convert32_64',
  'convert64_32',
]; // prettier-ignore

/** Operands of an operation; compare takes the predicate first. */
export const fpArity = (op: FpOp): number =>
  op.startsWith('compare') ? 3 : /^(add|sub|mul|div|min|max|u?comi)/.test(op) ? 2 : 1;

/** One IEEE format as WebAssembly sees it. */
interface Shape {
  readonly fmt: FpFmt;
  readonly float: 'f32' | 'f64';
  readonly int: 'i32' | 'i64';
  readonly magnitude: bigint;
  readonly minNormal: bigint;
  readonly infinity: bigint;
}
const SHAPES: Readonly<Record<FpFmt, Shape>> = {
  32: {
    fmt: 32,
    float: 'f32',
    int: 'i32',
    magnitude: 0x7fff_ffffn,
    minNormal: 1n << 23n,
    infinity: 0xffn << 23n,
  },
  64: {
    fmt: 64,
    float: 'f64',
    int: 'i64',
    magnitude: (1n << 63n) - 1n,
    minNormal: 1n << 52n,
    infinity: 0x7ffn << 52n,
  },
};

/**
 * MXCSR under which the host's arithmetic is the guest's (SDM Vol. 1 §10.2.3): all exceptions masked, precision
 * already flagged (so that an inexact result changes nothing), rounding to nearest, no DAZ, no FTZ.
 */
const MXCSR_MASK = 0x1f80 | 0x6000 | 0x8000 | 0x40 | 0x20;
const MXCSR_PLAIN = 0x1f80 | 0x20;

/** Whether that is how `mxcsr` (an i32) is. */
export const plainMxcsr = (r: Recorder, mxcsr: Node): Node =>
  r.n('i32.eq', r.n('i32.and', mxcsr, r.i32(MXCSR_MASK)), r.i32(MXCSR_PLAIN));

/** A value in both guises. */
interface Number_ {
  readonly bits: Node;
  readonly float: Node;
  /** Bits without the sign. */
  readonly magnitude: Node;
}

/** Vocabulary of the fast paths over one format. */
function language(r: Recorder, s: Shape) {
  const c = (v: bigint): Node => r.constant(s.int, v);
  const or = (...bools: readonly Node[]): Node => bools.reduce((a, b) => r.n('i32.or', a, b));
  const and = (...bools: readonly Node[]): Node => bools.reduce((a, b) => r.n('i32.and', a, b));
  const fromBits = (bits: Node): Number_ => ({
    bits,
    float: r.n(`${s.float}.reinterpret_${s.int}`, bits),
    magnitude: r.n(`${s.int}.and`, bits, c(s.magnitude)),
  });
  const zero = (x: Number_): Node => r.n(`${s.int}.eqz`, x.magnitude);
  /** low ≤ magnitude < high */
  const between = (x: Number_, low: bigint, high: bigint): Node =>
    r.n(`${s.int}.lt_u`, r.n(`${s.int}.sub`, x.magnitude, c(low)), c(high - low));
  return {
    or,
    and,
    c,
    zero,
    fromBits,
    operand: (v: Node): Number_ => fromBits(s.int === 'i32' ? r.wrap(v) : v),
    fromFloat: (float: Node): Number_ => fromBits(r.n(`${s.int}.reinterpret_${s.float}`, float)),
    result: (bits: Node): Node => (s.int === 'i32' ? r.bool(bits) : bits),
    /** Zero or normal. */
    plain: (x: Number_): Node => or(zero(x), between(x, s.minNormal, s.infinity)),
    /** A denormal operand is flagged, even when that is all that happens (SDM Vol. 1 §4.9.1.2). */
    noDenormal: (x: Number_): Node =>
      r.n(`${s.int}.ge_u`, r.n(`${s.int}.sub`, x.magnitude, c(1n)), c(s.minNormal - 1n)),
    /** Neither NaN nor denormal. */
    ordered: (x: Number_): Node => or(zero(x), between(x, s.minNormal, s.infinity + 1n)),
    /** Normal, and not the smallest: that one may be the rounding of something tiny (SDM Vol. 1 §4.9.1.5). */
    solid: (x: Number_): Node => between(x, s.minNormal + 1n, s.infinity),
  };
}

/** The host's result, and whether it is surely right. All nodes are pure; conditions are i32. */
export interface Plain {
  readonly value: Node;
  /** Only under a plain MXCSR. */
  readonly rounds: boolean;
  /** Where this does not hold, `ok` does, and needs not be computed. */
  readonly doubt?: Node;
  readonly ok: () => Node;
  /** That it is right says that it is no denormal. */
  readonly number?: true;
}
type Fast = (r: Recorder, s: Shape, operands: readonly Node[], known: ReadonlySet<Node>) => Plain | undefined;

const EXPONENT = {
  32: { mask: 0xffn << 23n, step: 1n << 23n },
  64: { mask: 0x7ffn << 52n, step: 1n << 52n },
} as const;
/**
 * An exponent that far from zero's and the denormals', of operands and result, and a finite result: looked at first, since
 * most are so. An operand that is known to be no denormal is not looked at.
 */
const SAFE = 3n;

const arithmetic =
  (op: 'add' | 'sub' | 'mul' | 'div'): Fast =>
  (r, s, [x, y], known) => {
    if (!x || !y) return undefined;
    const l = language(r, s);
    const float = (n: Node): Node => r.n(`${s.float}.reinterpret_${s.int}`, s.int === 'i32' ? r.wrap(n) : n);
    const v = r.n(`${s.int}.reinterpret_${s.float}`, r.n(`${s.float}.${op}`, float(x), float(y)));
    const { mask, step } = EXPONENT[s.fmt];
    const exponent = (n: Node): Node => r.n(`${s.int}.and`, n, l.c(mask));
    const small = (n: Node): Node => r.n(`${s.int}.sub`, exponent(n), l.c(SAFE * step));
    const unknown = [x, y].filter((n) => !known.has(n)).map((n) => (s.int === 'i32' ? r.wrap(n) : n));
    const infinite = r.n(`${s.int}.add`, exponent(v), l.c(step));
    // Negative where one of them is not so.
    const signs = [...unknown, v].map(small).reduce((p, q) => r.n(`${s.int}.or`, p, q), infinite);
    return {
      value: l.result(v),
      rounds: true,
      number: true,
      doubt: r.n(`${s.int}.lt_s`, signs, l.c(0n)),
      ok: () => {
        const [p, q, w] = [l.operand(x), l.operand(y), l.fromBits(v)];
        // Sums that vanish are exact; products and quotients only when an operand was zero.
        const exact =
          op === 'div'
            ? [l.zero(p), r.n('i32.eqz', l.zero(q))]
            : op === 'mul'
              ? [l.or(l.zero(p), l.zero(q))]
              : [];
        // Infinities and NaNs make no such results.
        return l.and(l.noDenormal(p), l.noDenormal(q), l.or(l.solid(w), l.and(l.zero(w), ...exact)));
      },
    };
  };

/** MIN and MAX give the second operand when neither is less (SDM Vol. 2B MINSD). */
const extreme =
  (less: 'lt' | 'gt'): Fast =>
  (r, s, [x, y]) => {
    if (!x || !y) return undefined;
    const l = language(r, s);
    const [a, b] = [l.operand(x), l.operand(y)];
    const v = r.n('select', a.bits, b.bits, r.n(`${s.float}.${less}`, a.float, b.float));
    return { rounds: false, ok: () => l.and(l.ordered(a), l.ordered(b)), value: l.result(v) };
  };

const squareRoot: Fast = (r, s, [x]) => {
  if (!x) return undefined;
  const l = language(r, s);
  const a = l.operand(x);
  const positive = r.n(`${s.int}.eq`, a.bits, a.magnitude);
  const v = l.fromFloat(r.n(`${s.float}.sqrt`, a.float));
  return { rounds: true, ok: () => l.and(l.plain(a), l.or(positive, l.zero(a))), value: l.result(v.bits) };
};

/** Predicates 0–3 are EQ, LT, LE, UNORD; 4–7 their negations (SDM Vol. 2A CMPPD). */
const comparison: Fast = (r, s, [predicate, x, y]) => {
  if (!predicate || !x || !y) return undefined;
  const l = language(r, s);
  const [a, b] = [l.operand(x), l.operand(y)];
  const p = r.wrap(predicate);
  const eq = r.n(`${s.float}.eq`, a.float, b.float);
  const lt = r.n(`${s.float}.lt`, a.float, b.float);
  const is = (n: number): Node => r.n('i32.eq', r.n('i32.and', p, r.i32(3)), r.i32(n));
  const holds = r.n('select', eq, r.n('select', lt, l.and(r.n('i32.or', lt, eq), is(2)), is(1)), is(0));
  const answer = r.n('i32.xor', holds, r.n('i32.and', r.n('i32.shr_u', p, r.i32(2)), r.i32(1)));
  return {
    rounds: false,
    ok: () => l.and(l.ordered(a), l.ordered(b)),
    value: l.result(r.n('select', l.c(-1n), l.c(0n), answer)),
  };
};

/** CF, PF, ZF in their RFLAGS places: less CF, equal ZF (SDM Vol. 2A COMISD). */
const flagged: Fast = (r, s, [x, y]) => {
  if (!x || !y) return undefined;
  const l = language(r, s);
  const [a, b] = [l.operand(x), l.operand(y)];
  const lt = r.n(`${s.float}.lt`, a.float, b.float);
  const eq = r.n(`${s.float}.eq`, a.float, b.float);
  const f = r.n('i32.or', lt, r.n('i32.shl', eq, r.i32(6)));
  return { rounds: false, ok: () => l.and(l.ordered(a), l.ordered(b)), value: r.bool(f) };
};

const toInteger =
  (w: 32 | 64, truncate: boolean): Fast =>
  (r, s, [x]) => {
    if (!x) return undefined;
    const l = language(r, s);
    const a = l.operand(x);
    const limit = s.fmt === 64 ? (w === 32 ? 0x41e0_0000_0000_0000n : 0x43e0_0000_0000_0000n) : w === 32 ? 0x4f00_0000n : 0x5f00_0000n; // prettier-ignore
    // 2^(w−1) by its bits; NaN compares false.
    const bound = r.n(`${s.float}.reinterpret_${s.int}`, l.c(limit));
    const rounded = truncate ? a.float : r.n(`${s.float}.nearest`, a.float);
    const v = r.n(`i64.trunc_sat_${s.float}_s`, rounded);
    const fits = r.n(`${s.float}.lt`, r.n(`${s.float}.abs`, rounded), bound);
    return { rounds: true, ok: () => fits, value: w === 32 ? r.bool(r.wrap(v)) : v };
  };

const fromInteger =
  (w: 32 | 64): Fast =>
  (r, s, [x]) => {
    if (!x) return undefined;
    const l = language(r, s);
    const v = l.fromFloat(r.n(`${s.float}.convert_i64_s`, w === 32 ? r.n('i64.extend32_s', x) : x));
    // 32 bits always fit a double.
    return { rounds: w === 64 || s.fmt === 32, ok: () => r.i32(1), value: l.result(v.bits) };
  };

const promote: Fast = (r, _s, [x]) => {
  if (!x) return undefined;
  const l = language(r, SHAPES[32]);
  const a = l.operand(x);
  return {
    rounds: false,
    ok: () => l.ordered(a),
    value: r.n('i64.reinterpret_f64', r.n('f64.promote_f32', a.float)),
  };
};
const demote: Fast = (r, _s, [x]) => {
  if (!x) return undefined;
  const l = language(r, SHAPES[64]);
  const to = language(r, SHAPES[32]);
  const a = l.operand(x);
  const v = to.fromFloat(r.n('f32.demote_f64', a.float));
  return {
    rounds: true,
    ok: () => l.and(l.plain(a), l.or(to.solid(v), l.zero(a))),
    value: to.result(v.bits),
  };
};

const FAST: ReadonlyMap<FpOp, { fast: Fast; fmt: FpFmt }> = new Map<FpOp, { fast: Fast; fmt: FpFmt }>([
  ...([32, 64] as const).flatMap((fmt): [FpOp, { fast: Fast; fmt: FpFmt }][] => [
    [`add${fmt}`, { fast: arithmetic('add'), fmt }],
    [`sub${fmt}`, { fast: arithmetic('sub'), fmt }],
    [`mul${fmt}`, { fast: arithmetic('mul'), fmt }],
    [`div${fmt}`, { fast: arithmetic('div'), fmt }],
    [`min${fmt}`, { fast: extreme('lt'), fmt }],
    [`max${fmt}`, { fast: extreme('gt'), fmt }],
    [`sqrt${fmt}`, { fast: squareRoot, fmt }],
    [`compare${fmt}`, { fast: comparison, fmt }],
    [`comi${fmt}`, { fast: flagged, fmt }],
    [`ucomi${fmt}`, { fast: flagged, fmt }],
    [`toInt${fmt}_32`, { fast: toInteger(32, false), fmt }],
    [`toInt${fmt}_64`, { fast: toInteger(64, false), fmt }],
    [`toInt${fmt}_32_truncate`, { fast: toInteger(32, true), fmt }],
    [`toInt${fmt}_64_truncate`, { fast: toInteger(64, true), fmt }],
    [`fromInt32_${fmt}`, { fast: fromInteger(32), fmt }],
    [`fromInt64_${fmt}`, { fast: fromInteger(64), fmt }],
  ]),
  ['convert32_64', { fast: promote, fmt: 32 }],
  ['convert64_32', { fast: demote, fmt: 64 }],
]);

/** The host's operation for one of the guest's, where there is one; `known` are operands that are surely no denormals. */
export function plainResult(
  r: Recorder,
  op: FpOp,
  operands: readonly Node[],
  known: ReadonlySet<Node>,
): Plain | undefined {
  const path = FAST.get(op);
  return path?.fast(r, SHAPES[path.fmt], operands, known);
}

/** All lanes of a packed operation at once, under the conditions of the scalar ones. */
export function plainPacked(
  r: Recorder,
  op: FpArithmetic,
  fmt: FpFmt,
  a: Node,
  b: Node,
  known: ReadonlySet<Node>,
): Plain {
  const s = SHAPES[fmt];
  const lanes = fmt === 64 ? 'i64x2' : 'i32x4';
  const all = (v: bigint): Node => r.constant('v128', fmt === 64 ? v * ((1n << 64n) + 1n) : v * 0x1_0000_0001_0000_0001_0000_0001n); // prettier-ignore
  const and = (x: Node, y: Node): Node => r.n('v128.and', x, y);
  const or = (x: Node, y: Node): Node => r.n('v128.or', x, y);
  const value = r.n(`f${fmt}x${128 / fmt}.${op}`, a, b);
  const { mask, step } = EXPONENT[fmt];
  const exponent = (x: Node): Node => and(x, all(mask));
  // Exponents are in the upper 16 bits of their lanes, and no sign is among them.
  const least = [a, b, value]
    .filter((x) => !known.has(x))
    .map(exponent)
    .reduce((x, y) => r.n('i16x8.min_s', x, y));
  const signs = or(r.n(`${lanes}.sub`, least, all(SAFE * step)), r.n(`${lanes}.add`, exponent(value), all(step))); // prettier-ignore
  return {
    value,
    rounds: true,
    number: true,
    doubt: r.n(`${lanes}.bitmask`, signs),
    ok: () => {
      const magnitude = (x: Node): Node => and(x, all(s.magnitude));
      // Magnitudes are positive: signed comparison will do.
      const gt = (x: Node, y: Node): Node => r.n(`${lanes}.gt_s`, x, y);
      const zero = (m: Node): Node => r.n(`${lanes}.eq`, m, all(0n));
      const denormal = (m: Node): Node => and(gt(all(s.minNormal), m), gt(m, all(0n)));
      const [ma, mb, mv] = [magnitude(a), magnitude(b), magnitude(value)];
      const solid = and(gt(mv, all(s.minNormal)), gt(all(s.infinity), mv));
      const exact =
        op === 'div'
          ? and(zero(mv), r.n('v128.andnot', zero(ma), zero(mb)))
          : op === 'mul'
            ? and(zero(mv), or(zero(ma), zero(mb)))
            : zero(mv);
      const bad = or(or(denormal(ma), denormal(mb)), r.n('v128.not', or(solid, exact)));
      return r.n('i32.eqz', r.n('v128.any_true', bad));
    },
  };
}

const NOTHING: ReadonlySet<Node> = new Set();

/** `fp_<op>(vcpu, …operands) → result`: the host's operation where the result is surely the same, else the exact path. */
export function defineFloatingPoint(t: Routines): void {
  FP_OPS.forEach((op, number) => {
    const arity = fpArity(op);
    t.define(`fp_${op}`, ['i32', ...Array<'i64'>(arity).fill('i64')], ['i64'], (r, cpu, ...operands) => {
      const plain = plainResult(r, op, operands, NOTHING);
      if (plain !== undefined) {
        const ok = plain.ok();
        const mxcsr = plain.rounds ? [plainMxcsr(r, field(r, 'mxcsr'))] : [];
        r.if(
          mxcsr.reduce((p, q) => r.n('i32.and', p, q), ok),
          () => r.return(plain.value),
        );
      }
      const padded = [0, 1, 2].map((i) => operands[i] ?? r.i64(0));
      return r.call('fp', [cpu, r.i32(number), ...padded], 'i64');
    });
  });
}
