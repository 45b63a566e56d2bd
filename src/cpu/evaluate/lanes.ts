import type { VecBinary, VecShift } from '../ops';

/** 128-bit vectors as bigints, lane by lane: WebAssembly SIMD, spelled out (WebAssembly Core 2.0 §4.3.4–4.3.6). */
const ALL = (1n << 128n) - 1n;

export const splitLanes = (w: number, v: bigint): bigint[] =>
  Array.from({ length: 128 / w }, (_, i) => BigInt.asUintN(w, v >> BigInt(i * w)));

export const joinLanes = (w: number, lanes: readonly bigint[]): bigint =>
  lanes.reduce((v, lane, i) => v | (BigInt.asUintN(w, lane) << BigInt(i * w)), 0n);

const signed = (w: number, v: bigint): bigint => BigInt.asIntN(w, v);
const clamp = (v: bigint, low: bigint, high: bigint): bigint => (v < low ? low : v > high ? high : v);
const clampSigned = (w: number, v: bigint): bigint =>
  clamp(v, -(1n << BigInt(w - 1)), (1n << BigInt(w - 1)) - 1n);
const clampUnsigned = (w: number, v: bigint): bigint => clamp(v, 0n, (1n << BigInt(w)) - 1n);
const smaller = (a: bigint, b: bigint): bigint => (a < b ? a : b);
const larger = (a: bigint, b: bigint): bigint => (a > b ? a : b);

/** Lane by lane; operands zero-extended, the result is cut. */
const LANEWISE: Readonly<Record<string, (w: number, a: bigint, b: bigint) => bigint>> = {
  add: (_w, a, b) => a + b,
  sub: (_w, a, b) => a - b,
  mul: (_w, a, b) => a * b,
  add_sat_s: (w, a, b) => clampSigned(w, signed(w, a) + signed(w, b)),
  add_sat_u: (w, a, b) => clampUnsigned(w, a + b),
  sub_sat_s: (w, a, b) => clampSigned(w, signed(w, a) - signed(w, b)),
  sub_sat_u: (w, a, b) => clampUnsigned(w, a - b),
  eq: (_w, a, b) => (a === b ? -1n : 0n),
  gt_s: (w, a, b) => (signed(w, a) > signed(w, b) ? -1n : 0n),
  min_u: (_w, a, b) => smaller(a, b),
  max_u: (_w, a, b) => larger(a, b),
  min_s: (w, a, b) => smaller(signed(w, a), signed(w, b)),
  max_s: (w, a, b) => larger(signed(w, a), signed(w, b)),
  avgr_u: (_w, a, b) => (a + b + 1n) >> 1n,
};

const narrow = (to: number, unsigned: boolean, a: bigint, b: bigint): bigint => {
  const from = to * 2;
  const cut = unsigned ? clampUnsigned : clampSigned;
  return joinLanes(
    to,
    [...splitLanes(from, a), ...splitLanes(from, b)].map((v) => cut(to, signed(from, v))),
  );
};

const extendedProducts = (to: number, high: boolean, isSigned: boolean, a: bigint, b: bigint): bigint => {
  const from = to / 2;
  const count = 128 / to;
  const half = (v: bigint): bigint[] => {
    const lanes = splitLanes(from, v).slice(high ? count : 0, high ? 2 * count : count);
    return isSigned ? lanes.map((x) => signed(from, x)) : lanes;
  };
  const right = half(b);
  return joinLanes(
    to,
    half(a).map((x, i) => x * (right[i] ?? 0n)),
  );
};

const OTHERS: Readonly<Record<string, (a: bigint, b: bigint) => bigint>> = {
  'v128.and': (a, b) => a & b,
  'v128.or': (a, b) => a | b,
  'v128.xor': (a, b) => a ^ b,
  'v128.andnot': (a, b) => a & (ALL ^ b),
  'i8x16.narrow_i16x8_s': (a, b) => narrow(8, false, a, b),
  'i8x16.narrow_i16x8_u': (a, b) => narrow(8, true, a, b),
  'i16x8.narrow_i32x4_s': (a, b) => narrow(16, false, a, b),
  'i8x16.swizzle'(a, b) {
    const from = splitLanes(8, a);
    return joinLanes(
      8,
      splitLanes(8, b).map((i) => from[Number(i)] ?? 0n),
    );
  },
  'i32x4.dot_i16x8_s'(a, b) {
    const x = splitLanes(16, a).map((v) => signed(16, v));
    const y = splitLanes(16, b).map((v) => signed(16, v));
    const product = (i: number): bigint => (x[i] ?? 0n) * (y[i] ?? 0n);
    return joinLanes(
      32,
      [0, 2, 4, 6].map((i) => product(i) + product(i + 1)),
    );
  },
};

const laneBits = (op: string): number => Number(/^i(\d+)x/.exec(op)?.[1] ?? 0);

export function vecBinary(op: VecBinary, a: bigint, b: bigint): bigint {
  const other = OTHERS[op];
  if (other) return other(a, b);
  const w = laneBits(op);
  const name = op.slice(op.indexOf('.') + 1);
  const extend = /^extmul_(low|high)_i\d+x\d+_([su])$/.exec(name);
  if (extend) return extendedProducts(w, extend[1] === 'high', extend[2] === 's', a, b);
  const run = LANEWISE[name];
  if (!run) throw new Error(`vector operation ${op} is not in the table`);
  const right = splitLanes(w, b);
  return joinLanes(
    w,
    splitLanes(w, a).map((x, i) => run(w, x, right[i] ?? 0n)),
  );
}

export function vecShift(op: VecShift, a: bigint, n: bigint): bigint {
  const w = laneBits(op);
  const count = n & BigInt(w - 1);
  const name = op.slice(op.indexOf('.') + 1);
  const run = (v: bigint): bigint =>
    name === 'shl' ? v << count : name === 'shr_u' ? v >> count : signed(w, v) >> count;
  return joinLanes(w, splitLanes(w, a).map(run));
}

/** Top bit of each lane. */
export const bitmask = (w: number, a: bigint): bigint =>
  splitLanes(w, a).reduce((m, v, i) => m | ((v >> BigInt(w - 1)) << BigInt(i)), 0n);

export function shuffle(a: bigint, b: bigint, lanes: readonly number[]): bigint {
  const from = [...splitLanes(8, a), ...splitLanes(8, b)];
  return joinLanes(
    8,
    lanes.map((i) => from[i] ?? 0n),
  );
}

export const not = (a: bigint): bigint => ALL ^ a;
