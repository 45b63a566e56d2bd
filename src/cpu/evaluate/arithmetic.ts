import type { Cond, OpsOf, Var } from '../ops';
import { bitmask, joinLanes, not, shuffle, splitLanes, vecBinary, vecShift } from './lanes';

/** The part of `Ops` that is arithmetic and control, over bigints: unsigned 64-bit values, 128-bit vectors. */
export type Arithmetic = Pick<
  OpsOf<bigint, bigint>,
  | 'k' | 'add' | 'sub' | 'mul' | 'mulhu' | 'mulhs' | 'and' | 'or' | 'xor' | 'not' | 'neg' | 'shl' | 'shr' | 'sar' | 'clz' | 'ctz'
  | 'popcnt' | 'divu' | 'remu' | 'divs' | 'rems' | 'cmp' | 'eqz' | 'select' | 'zx' | 'sx' | 'var' | 'if' | 'choose' | 'while'
  | 'vec' | 'vecNot' | 'bitmask' | 'vecShift' | 'shuffle' | 'lane' | 'withLane' | 'laneAt' | 'withLaneAt' | 'splat' | 'x' | 'kx'
>; // prettier-ignore

const u = (v: bigint): bigint => BigInt.asUintN(64, v);
const s = (v: bigint): bigint => BigInt.asIntN(64, v);
const count = (n: bigint): bigint => n & 63n;
const truth = (b: boolean): bigint => (b ? 1n : 0n);

const COMPARE: Readonly<Record<Cond, (a: bigint, b: bigint) => boolean>> = {
  eq: (a, b) => a === b,
  ne: (a, b) => a !== b,
  ltu: (a, b) => a < b,
  leu: (a, b) => a <= b,
  lts: (a, b) => s(a) < s(b),
  les: (a, b) => s(a) <= s(b),
};

/** A division that WebAssembly would trap on is a bug of the semantics: say so instead of inventing a result. */
function checkDivision(a: bigint, b: bigint, isSigned: boolean): void {
  if (b === 0n || (isSigned && s(b) === -1n && s(a) === -(1n << 63n)))
    throw new Error(`semantics divide 0x${a.toString(16)} by 0x${b.toString(16)}`);
}

const leadingZeros = (a: bigint): bigint => BigInt(64 - (a === 0n ? 0 : a.toString(2).length));
function trailingZeros(a: bigint): bigint {
  let n = 0n;
  while (n < 64n && ((a >> n) & 1n) === 0n) n++;
  return n;
}

const laneOf = (w: number, a: bigint, i: number): bigint => splitLanes(w, a)[i % (128 / w)] ?? 0n;
const withLaneOf = (w: number, a: bigint, i: number, v: bigint): bigint =>
  joinLanes(
    w,
    splitLanes(w, a).map((old, n) => (n === i % (128 / w) ? v : old)),
  );

export function arithmetic(): Arithmetic {
  return {
    k: (n) => u(BigInt(n)),
    add: (a, b) => u(a + b),
    sub: (a, b) => u(a - b),
    mul: (a, b) => u(a * b),
    mulhu: (a, b) => (a * b) >> 64n,
    mulhs: (a, b) => u((s(a) * s(b)) >> 64n),
    and: (a, b) => a & b,
    or: (a, b) => a | b,
    xor: (a, b) => a ^ b,
    not: (a) => u(~a),
    neg: (a) => u(-a),
    shl: (a, n) => u(a << count(n)),
    shr: (a, n) => a >> count(n),
    sar: (a, n) => u(s(a) >> count(n)),
    clz: leadingZeros,
    ctz: trailingZeros,
    popcnt: (a) => BigInt(a.toString(2).replaceAll('0', '').length),
    divu(a, b) {
      checkDivision(a, b, false);
      return a / b;
    },
    remu(a, b) {
      checkDivision(a, b, false);
      return a % b;
    },
    divs(a, b) {
      checkDivision(a, b, true);
      return u(s(a) / s(b));
    },
    rems(a, b) {
      checkDivision(a, b, true);
      return u(s(a) % s(b));
    },
    cmp: (c, a, b) => truth(COMPARE[c](a, b)),
    eqz: (a) => truth(a === 0n),
    select: (c, a, b) => (c !== 0n ? a : b),
    zx: (w, a) => BigInt.asUintN(w, a),
    sx: (w, a) => u(BigInt.asIntN(w, a)),
    var(initial): Var<bigint> {
      let value = initial;
      return {
        get: () => value,
        set(v) {
          value = v;
        },
      };
    },
    if(c, then, otherwise) {
      if (c !== 0n) then();
      else otherwise?.();
    },
    choose: (c, then, otherwise) => (c !== 0n ? then() : otherwise()),
    while(c, body) {
      while (c() !== 0n) body();
    },
    vec: vecBinary,
    vecNot: not,
    bitmask,
    vecShift,
    shuffle,
    lane: laneOf,
    withLane: withLaneOf,
    laneAt: (w, a, i) => laneOf(w, a, Number(i % BigInt(128 / w))),
    withLaneAt: (w, a, i, v) => withLaneOf(w, a, Number(i % BigInt(128 / w)), v),
    splat: (w, v) => joinLanes(w, new Array<bigint>(128 / w).fill(v)),
    x: (lo, hi) => lo | (hi << 64n),
    kx: (lo, hi) => u(lo) | (u(hi) << 64n),
  };
}
