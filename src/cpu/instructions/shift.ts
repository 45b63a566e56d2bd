import type { Instruction } from '../instruction';
import { each } from '../instruction';
import type { Ops, Value, Width } from '../ops';
import { setSzp, toTop } from './flags';

/**
 * Shifts and rotates (SDM Vol. 2 SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR, SHLD, SHRD). The count is masked to 5 bits, 6 at
 * 64; a masked count of zero changes no flag, but the destination is written all the same.
 * OF is defined for a count of 1 only; for others we do what falls out of the formula.
 */
interface Result {
  readonly r: Value;
  readonly cf: Value;
  /** OF in bit 63. */
  readonly of: Value;
}
/** `a` zero-extended at `w`, `n` the masked count; the flags are used only if n is not zero. */
type Shift = (o: Ops, w: Width, a: Value, n: Value) => Result;

const one = (o: Ops): Value => o.k(1);
const cfTop = (o: Ops, cf: Value): Value => o.shl(cf, o.k(63));
const topXorCf = (o: Ops, w: Width, r: Value, cf: Value): Value => o.xor(toTop(o, w, r), cfTop(o, cf));
const topTwo = (o: Ops, w: Width, r: Value): Value => {
  const t = toTop(o, w, r);
  return o.xor(t, o.shl(t, one(o)));
};
const lowBit = (o: Ops, v: Value): Value => o.and(v, one(o));
const highBit = (o: Ops, w: Width, v: Value): Value => o.shr(toTop(o, w, v), o.k(63));

const shl: Shift = (o, w, a, n) => {
  const wide = o.shl(a, n);
  const r = o.zx(w, wide);
  const cf = lowBit(o, w === 64 ? o.shr(a, o.sub(o.k(64), n)) : o.shr(wide, o.k(w)));
  return { r, cf, of: topXorCf(o, w, r, cf) };
};
const shr: Shift = (o, w, a, n) => {
  const r = o.shr(a, n);
  // For a count of 1 this is the sign of the operand, as the top bit of the result is clear.
  return { r, cf: lowBit(o, o.shr(a, o.sub(n, one(o)))), of: topTwo(o, w, r) };
};
const sar: Shift = (o, w, a, n) => {
  const s = o.sx(w, a);
  return { r: o.zx(w, o.sar(s, n)), cf: lowBit(o, o.sar(s, o.sub(n, one(o)))), of: o.k(0) };
};

const rol: Shift = (o, w, a, n) => {
  const k = w >= 32 ? n : o.and(n, o.k(w - 1));
  const r = o.zx(w, o.or(o.shl(a, k), o.shr(a, o.sub(o.k(w), k))));
  const cf = lowBit(o, r);
  return { r, cf, of: topXorCf(o, w, r, cf) };
};
const ror: Shift = (o, w, a, n) => {
  const k = w >= 32 ? n : o.and(n, o.k(w - 1));
  const r = o.zx(w, o.or(o.shr(a, k), o.shl(a, o.sub(o.k(w), k))));
  return { r, cf: highBit(o, w, r), of: topTwo(o, w, r) };
};

/** Rotation of the w + 1 bits CF:operand to the left by `k`, which is at most w. */
function throughCarry(o: Ops, w: Width, a: Value, k: Value): { r: Value; cf: Value } {
  const cf = o.get('cf');
  if (w === 64) {
    const back = o.sub(o.k(64), k);
    // k = 0 leaves everything (the caller may come with 0; shifts by 64 are shifts by 0).
    const r = o.or(o.or(o.shl(a, k), o.shl(cf, o.sub(k, one(o)))), o.shr(o.shr(a, one(o)), back));
    const zero = o.eqz(k);
    return { r: o.select(zero, a, r), cf: o.select(zero, cf, lowBit(o, o.shr(a, back))) };
  }
  const x = o.or(a, o.shl(cf, o.k(w)));
  const y = o.or(o.shl(x, k), o.shr(x, o.sub(o.k(w + 1), k)));
  return { r: o.zx(w, y), cf: lowBit(o, o.shr(y, o.k(w))) };
}
const carryCount = (o: Ops, w: Width, n: Value): Value => (w >= 32 ? n : o.remu(n, o.k(w + 1)));

const rcl: Shift = (o, w, a, n) => {
  const { r, cf } = throughCarry(o, w, a, carryCount(o, w, n));
  return { r, cf, of: topXorCf(o, w, r, cf) };
};
const rcr: Shift = (o, w, a, n) => {
  // Right by k is left by w + 1 − k; at 64 bits that would be 65 for k = 0, so it goes by the mirror image.
  if (w === 64) {
    const cf = o.get('cf');
    const back = o.sub(o.k(64), n);
    const r = o.or(o.or(o.shr(a, n), o.shl(cf, back)), o.shl(o.shl(a, one(o)), back));
    const zero = o.eqz(n);
    const result = o.select(zero, a, r);
    const out = o.select(zero, cf, lowBit(o, o.shr(a, o.sub(n, one(o)))));
    return { r: result, cf: out, of: topTwo(o, w, result) };
  }
  const k = carryCount(o, w, n);
  const { r, cf } = throughCarry(o, w, a, o.select(k, o.sub(o.k(w + 1), k), k));
  return { r, cf, of: topTwo(o, w, r) };
};

const countMask = (w: Width): number => (w === 64 ? 63 : 31);

/** D0/D1 by one, D2/D3 by CL, C0/C1 by imm8. */
const groupTwo = (n: number): string[] =>
  ['c0 rm8,imm8', 'c1 rmv,imm8', 'd0 rm8,one', 'd1 rmv,one', 'd2 rm8,cl', 'd3 rmv,cl'].map((e) =>
    e.replace(' ', ` /${n} `),
  );

const rotate = (mnemonic: string, n: number, f: Shift): Instruction => ({
  mnemonic,
  doc: 'SDM 2B RCL/RCR/ROL/ROR: SF, ZF, AF, PF are unaffected',
  encodings: groupTwo(n),
  undefinedFlags: ['of'],
  semantics(o, { w }, dst, count) {
    const a = dst.rmw();
    const n = o.and(count.get(), o.k(countMask(w)));
    const { r, cf, of } = f(o, w, a, n);
    dst.set(r);
    o.if(n, () => {
      o.set('cf', cf);
      o.set('of', of);
    });
  },
});

const shift = (mnemonic: string, digits: readonly number[], f: Shift): Instruction => ({
  mnemonic,
  doc: 'SDM 2B SAL/SAR/SHL/SHR; /6 is an alias of /4 (APM 3 A.2)',
  encodings: digits.flatMap(groupTwo),
  undefinedFlags: ['af', 'of', 'cf'],
  semantics(o, { w }, dst, count) {
    const a = dst.rmw();
    const n = o.and(count.get(), o.k(countMask(w)));
    const { r, cf, of } = f(o, w, a, n);
    dst.set(r);
    o.if(n, () => {
      o.set('cf', cf);
      o.set('of', of);
      o.set('af', o.k(0));
      setSzp(o, w, r);
    });
  },
});

/**
 * SHLD/SHRD. At 16 bits a count above 16 is undefined; bits of the source come in again behind it, as on AMD
 * processors (measured).
 */
const double = (mnemonic: string, opcodes: readonly [string, string], left: boolean): Instruction => ({
  mnemonic,
  doc: 'SDM 2B SHLD/SHRD',
  encodings: [`0f ${opcodes[0]} /r rmv,rv,imm8`, `0f ${opcodes[1]} /r rmv,rv,cl`],
  undefinedFlags: ['af', 'of', 'cf'],
  semantics(o, { w }, dst, src, count) {
    const a = dst.rmw();
    const b = src.get();
    const n = o.and(count.get(), o.k(countMask(w)));
    const k = o.k(w);
    let r: Value;
    let cf: Value;
    if (w === 64) {
      const back = o.sub(k, n);
      const moved = left ? o.or(o.shl(a, n), o.shr(b, back)) : o.or(o.shr(a, n), o.shl(b, back));
      r = o.select(n, moved, a);
      cf = lowBit(o, left ? o.shr(a, back) : o.shr(a, o.sub(n, one(o))));
    } else if (left) {
      const lower = w === 16 ? o.or(o.shl(b, k), b) : b;
      const all = o.or(o.shl(a, o.k(32)), lower);
      const moved = o.shl(all, n);
      r = o.zx(w, o.shr(moved, o.k(32)));
      // The last bit out: at 32 bits it may be bit 64, so look for it before the move.
      cf = lowBit(o, o.shr(all, o.sub(o.k(32 + w), n)));
    } else {
      const all = o.or(a, o.or(o.shl(b, k), w === 16 ? o.shl(b, o.k(32)) : o.k(0)));
      r = o.zx(w, o.shr(all, n));
      cf = lowBit(o, o.shr(all, o.sub(n, one(o))));
    }
    dst.set(r);
    o.if(n, () => {
      o.set('cf', cf);
      o.set('of', o.xor(toTop(o, w, r), toTop(o, w, a)));
      o.set('af', o.k(0));
      setSzp(o, w, r);
    });
  },
});

export const shifts: readonly Instruction[] = [
  ...each(
    [
      { name: 'rol', f: rol },
      { name: 'ror', f: ror },
      { name: 'rcl', f: rcl },
      { name: 'rcr', f: rcr },
    ].map((row, n) => ({ ...row, n })),
    ({ name, f, n }) => rotate(name, n, f),
  ),
  shift('shl', [4, 6], shl),
  shift('shr', [5], shr),
  shift('sar', [7], sar),
  double('shld', ['a4', 'a5'], true),
  double('shrd', ['ac', 'ad'], false),
];
