import type { Context, Instruction } from '../instruction';
import type { Operand, Ops, Value, Width } from '../ops';
import { VECTOR } from '../ops';

/** SDM Vol. 2 MUL, IMUL, DIV, IDIV. */
const OTHER_FLAGS = ['sf', 'zf', 'af', 'pf'] as const;
const ALL_FLAGS = ['cf', 'of', ...OTHER_FLAGS] as const;

const setOverflow = (o: Ops, yes: Value): void => {
  o.set('cf', yes);
  o.set('of', o.shl(yes, o.k(63)));
};

/** Low `w` bits of rAX or rDX as a 16/32/64-bit write leaves it. */
const put = (o: Ops, name: 'rax' | 'rdx', w: Width, v: Value): void => {
  o.set(name, w === 16 ? o.or(o.and(o.get(name), o.k(~0xffffn)), o.zx(16, v)) : o.zx(w, v));
};

/** A double-width result: AX at 8 bits, rDX:rAX else. */
function putPair(o: Ops, w: Width, hi: Value, lo: Value): void {
  if (w === 8) {
    put(o, 'rax', 16, o.or(o.shl(o.zx(8, hi), o.k(8)), o.zx(8, lo)));
    return;
  }
  put(o, 'rax', w, lo);
  put(o, 'rdx', w, hi);
}

function multiply(o: Ops, { w }: Context, src: Operand, signed: boolean): void {
  const rax = o.get('rax');
  if (w === 64) {
    const b = src.get();
    const lo = o.mul(rax, b);
    const hi = signed ? o.mulhs(rax, b) : o.mulhu(rax, b);
    putPair(o, w, hi, lo);
    setOverflow(o, o.cmp('ne', hi, signed ? o.sar(lo, o.k(63)) : o.k(0)));
    return;
  }
  const p = signed ? o.mul(o.sx(w, rax), src.gets()) : o.mul(o.zx(w, rax), src.get());
  putPair(o, w, o.shr(p, o.k(w)), p);
  setOverflow(o, o.cmp('ne', p, signed ? o.sx(w, p) : o.zx(w, p)));
}

/** dst ← a × b, truncated; CF = OF = it did not fit. */
function multiplyTo(o: Ops, { w }: Context, dst: Operand, a: Value, b: Value): void {
  const p = o.mul(a, b);
  dst.set(o.zx(w, p));
  const kept = o.sx(w, p);
  setOverflow(o, o.cmp('ne', w === 64 ? o.mulhs(a, b) : p, w === 64 ? o.sar(p, o.k(63)) : kept));
}

const divideError = (o: Ops, when: Value): void => o.if(when, () => o.raise(VECTOR.DE));

/** Quotient and remainder of hi:lo by d, where hi < d (so the quotient fits): bit by bit unless hi is zero. */
function divide128(o: Ops, hi: Value, lo: Value, d: Value): { q: Value; r: Value } {
  const rem = o.var(hi);
  const quo = o.var(lo);
  const one = o.k(1);
  o.if(
    hi,
    () => {
      const left = o.var(o.k(64));
      o.while(
        () => left.get(),
        () => {
          const carry = o.shr(rem.get(), o.k(63));
          rem.set(o.or(o.shl(rem.get(), one), o.shr(quo.get(), o.k(63))));
          quo.set(o.shl(quo.get(), one));
          o.if(o.or(carry, o.cmp('leu', d, rem.get())), () => {
            rem.set(o.sub(rem.get(), d));
            quo.set(o.or(quo.get(), one));
          });
          left.set(o.sub(left.get(), one));
        },
      );
    },
    () => {
      rem.set(o.remu(lo, d));
      quo.set(o.divu(lo, d));
    },
  );
  return { q: quo.get(), r: rem.get() };
}

/** The dividend: AX, DX:AX, EDX:EAX in `lo` (zero-extended), RDX:RAX in both. */
function dividend(o: Ops, w: Width): { hi: Value; lo: Value } {
  const rax = o.get('rax');
  if (w === 64) return { hi: o.get('rdx'), lo: rax };
  const lo = w === 8 ? o.zx(16, rax) : o.or(o.shl(o.zx(w, o.get('rdx')), o.k(w)), o.zx(w, rax));
  return { hi: o.k(0), lo };
}

function divideUnsigned(o: Ops, { w }: Context, src: Operand): void {
  const d = src.get();
  divideError(o, o.eqz(d));
  const { hi, lo } = dividend(o, w);
  if (w === 64) {
    divideError(o, o.cmp('leu', d, hi));
    const { q, r } = divide128(o, hi, lo, d);
    putPair(o, w, r, q);
    return;
  }
  const q = o.divu(lo, d);
  divideError(o, o.shr(q, o.k(w)));
  putPair(o, w, o.remu(lo, d), q);
}

function divideSigned(o: Ops, { w }: Context, src: Operand): void {
  const d = src.gets();
  divideError(o, o.eqz(d));
  const all = dividend(o, w);
  // |a| / |b| unsigned, then the signs: the quotient is negative if they differ, the remainder goes with the dividend.
  const lo = w === 8 || w === 16 ? o.sx(w === 8 ? 16 : 32, all.lo) : all.lo;
  const signA = o.sar(w === 64 ? all.hi : lo, o.k(63));
  const signB = o.sar(d, o.k(63));
  const signQ = o.xor(signA, signB);
  const negateIf = (sign: Value, v: Value): Value => o.sub(o.xor(v, sign), sign);
  const absD = negateIf(signB, d);
  const absLo = negateIf(signA, lo);
  let q: Value;
  let r: Value;
  if (w === 64) {
    const borrow = o.and(signA, o.cmp('ne', lo, o.k(0)));
    const absHi = o.sub(negateIf(signA, all.hi), borrow);
    divideError(o, o.cmp('leu', absD, absHi));
    ({ q, r } = divide128(o, absHi, absLo, absD));
  } else {
    q = o.divu(absLo, absD);
    r = o.remu(absLo, absD);
  }
  // |q| may reach 2^(w−1) only when it is negative.
  const most = o.k((1n << BigInt(w - 1)) - 1n);
  divideError(o, o.cmp('ltu', o.sub(most, signQ), q));
  putPair(o, w, negateIf(signA, r), negateIf(signQ, q));
}

export const muldiv: readonly Instruction[] = [
  {
    mnemonic: 'mul',
    doc: 'SDM 2B MUL',
    encodings: ['f6 /4 rm8', 'f7 /4 rmv'],
    undefinedFlags: OTHER_FLAGS,
    semantics: (o, c, src) => multiply(o, c, src, false),
  },
  {
    mnemonic: 'imul',
    doc: 'SDM 2A IMUL, one operand',
    encodings: ['f6 /5 rm8', 'f7 /5 rmv'],
    undefinedFlags: OTHER_FLAGS,
    semantics: (o, c, src) => multiply(o, c, src, true),
  },
  {
    mnemonic: 'imul',
    doc: 'SDM 2A IMUL, two operands',
    encodings: ['0f af /r rv,rmv'],
    undefinedFlags: OTHER_FLAGS,
    semantics: (o, c, dst, src) => multiplyTo(o, c, dst, dst.gets(), src.gets()),
  },
  {
    mnemonic: 'imul',
    doc: 'SDM 2A IMUL, three operands',
    encodings: ['6b /r rv,rmv,imm8s', '69 /r rv,rmv,immz'],
    undefinedFlags: OTHER_FLAGS,
    semantics: (o, c, dst, a, b) => multiplyTo(o, c, dst, a.gets(), b.gets()),
  },
  {
    mnemonic: 'div',
    doc: 'SDM 2A DIV: #DE for a zero divisor or a quotient too large',
    encodings: ['f6 /6 rm8', 'f7 /6 rmv'],
    undefinedFlags: ALL_FLAGS,
    semantics: divideUnsigned,
  },
  {
    mnemonic: 'idiv',
    doc: 'SDM 2A IDIV: #DE for a zero divisor or a quotient out of range',
    encodings: ['f6 /7 rm8', 'f7 /7 rmv'],
    undefinedFlags: ALL_FLAGS,
    semantics: divideSigned,
  },
];
