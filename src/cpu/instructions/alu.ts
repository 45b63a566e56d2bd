import type { Context, Instruction } from '../instruction';
import { each } from '../instruction';
import type { Operand, Ops, Value } from '../ops';
import { VECTOR } from '../ops';
import { setAddFlags, setLogicFlags, setSubFlags, toTop } from './flags';

/** The eight classic two-operand operations share nine encodings; `n` is their row in the opcode map. */
const aluEncodings = (n: number, lock: string): string[] => {
  const op = (low: number): string => (n * 8 + low).toString(16).padStart(2, '0');
  return [
    `${op(0)} /r rm8,r8${lock}`,
    `${op(1)} /r rmv,rv${lock}`,
    `${op(2)} /r r8,rm8`,
    `${op(3)} /r rv,rmv`,
    `${op(4)} al,imm8`,
    `${op(5)} ax_v,immz`,
    `80 /${n} rm8,imm8${lock}`,
    `81 /${n} rmv,immz${lock}`,
    `83 /${n} rmv,imm8s${lock}`,
  ];
};

type Binary = (o: Ops, c: Context, dst: Operand, src: Operand) => void;

const adding =
  (carryIn: boolean): Binary =>
  (o, { w }, dst, src) => {
    const a = dst.rmw();
    const b = src.get();
    const sum = o.add(a, b);
    const carry = carryIn ? o.get('cf') : undefined;
    const r = o.zx(w, carry ? o.add(sum, carry) : sum);
    dst.set(r);
    const out = o.cmp('ltu', r, a);
    o.set('cf', carry ? o.or(out, o.and(carry, o.cmp('eq', r, a))) : out);
    setAddFlags(o, w, a, b, r);
  };

const subtracting =
  (borrowIn: boolean, write: boolean): Binary =>
  (o, { w }, dst, src) => {
    const a = write ? dst.rmw() : dst.get();
    const b = src.get();
    const borrow = borrowIn ? o.get('cf') : undefined;
    const r = o.zx(w, borrow ? o.sub(o.sub(a, b), borrow) : o.sub(a, b));
    if (write) dst.set(r);
    const out = o.cmp('ltu', a, b);
    o.set('cf', borrow ? o.or(out, o.and(borrow, o.cmp('eq', a, b))) : out);
    setSubFlags(o, w, a, b, r);
  };

const logic =
  (f: (o: Ops, a: Value, b: Value) => Value, write = true): Binary =>
  (o, { w }, dst, src) => {
    const r = f(o, write ? dst.rmw() : dst.get(), src.get());
    if (write) dst.set(r);
    setLogicFlags(o, w, r);
  };

const and = (o: Ops, a: Value, b: Value): Value => o.and(a, b);
const or = (o: Ops, a: Value, b: Value): Value => o.or(a, b);
const xor = (o: Ops, a: Value, b: Value): Value => o.xor(a, b);

const classic: readonly { name: string; run: Binary; logical?: true }[] = [
  { name: 'add', run: adding(false) },
  { name: 'or', run: logic(or), logical: true },
  { name: 'adc', run: adding(true) },
  { name: 'sbb', run: subtracting(true, true) },
  { name: 'and', run: logic(and), logical: true },
  { name: 'sub', run: subtracting(false, true) },
  { name: 'xor', run: logic(xor), logical: true },
  { name: 'cmp', run: subtracting(false, false) },
];

const step =
  (sign: 1 | -1): Instruction['semantics'] =>
  (o, { w }, dst) => {
    const one = o.k(1);
    const a = dst.rmw();
    const r = o.zx(w, sign > 0 ? o.add(a, one) : o.sub(a, one));
    dst.set(r);
    // CF is left alone (SDM Vol. 2 INC, DEC).
    if (sign > 0) setAddFlags(o, w, a, one, r);
    else setSubFlags(o, w, a, one, r);
  };

export const alu: readonly Instruction[] = [
  ...each(
    classic.map((row, n) => ({ ...row, n })),
    ({ name, run, logical, n }) => ({
      mnemonic: name,
      doc: `SDM 2 ${name.toUpperCase()}`,
      encodings: aluEncodings(n, name === 'cmp' ? '' : '; lock'),
      ...(logical ? { undefinedFlags: ['af'] as const } : {}),
      semantics: run,
    }),
  ),
  {
    mnemonic: 'test',
    doc: 'SDM 2B TEST; F6/F7 /1 is an alias on Intel and AMD (APM 3 A.2)',
    encodings: ['84 /r rm8,r8', '85 /r rmv,rv', 'a8 al,imm8', 'a9 ax_v,immz', 'f6 /0 rm8,imm8', 'f6 /1 rm8,imm8', 'f7 /0 rmv,immz', 'f7 /1 rmv,immz'], // prettier-ignore
    undefinedFlags: ['af'],
    semantics: logic(and, false),
  },
  {
    mnemonic: 'inc',
    doc: 'SDM 2A INC',
    encodings: ['fe /0 rm8; lock', 'ff /0 rmv; lock'],
    semantics: step(1),
  },
  {
    mnemonic: 'dec',
    doc: 'SDM 2A DEC',
    encodings: ['fe /1 rm8; lock', 'ff /1 rmv; lock'],
    semantics: step(-1),
  },
  {
    mnemonic: 'not',
    doc: 'SDM 2B NOT',
    encodings: ['f6 /2 rm8; lock', 'f7 /2 rmv; lock'],
    semantics(o, { w }, dst) {
      dst.set(o.zx(w, o.not(dst.rmw())));
    },
  },
  {
    mnemonic: 'neg',
    doc: 'SDM 2B NEG',
    encodings: ['f6 /3 rm8; lock', 'f7 /3 rmv; lock'],
    semantics(o, { w }, dst) {
      const a = dst.rmw();
      const r = o.zx(w, o.neg(a));
      dst.set(r);
      o.set('cf', o.cmp('ne', a, o.k(0)));
      setSubFlags(o, w, o.k(0), a, r);
    },
  },
  {
    mnemonic: 'xadd',
    doc: 'SDM 2D XADD',
    encodings: ['0f c0 /r rm8,r8; lock', '0f c1 /r rmv,rv; lock'],
    semantics(o, { w }, dst, src) {
      const a = dst.rmw();
      const b = src.get();
      const r = o.zx(w, o.add(a, b));
      // The sum wins where both name one register.
      src.set(a);
      dst.set(r);
      o.set('cf', o.cmp('ltu', r, a));
      setAddFlags(o, w, a, b, r);
    },
  },
  {
    mnemonic: 'cmpxchg',
    doc: 'SDM 2A CMPXCHG: the destination is written in either case',
    encodings: ['0f b0 /r rm8,r8; lock', '0f b1 /r rmv,rv; lock'],
    semantics(o, { w }, dst, src) {
      const rax = o.get('rax');
      const a = o.zx(w, rax);
      const old = dst.rmw();
      const r = o.zx(w, o.sub(a, old));
      o.if(
        r,
        () => {
          const keep = w === 8 ? ~0xffn : ~0xffffn;
          // On a miss the accumulator is written last: with rAX itself as destination nothing differs.
          if (dst.kind === 'mem') dst.set(old);
          o.set('rax', w >= 32 ? old : o.or(o.and(rax, o.k(keep)), old));
        },
        () => dst.set(src.get()),
      );
      o.set('cf', o.cmp('ltu', a, old));
      setSubFlags(o, w, a, old, r);
    },
  },
  {
    mnemonic: 'cmpxchg8b',
    doc: 'SDM 2A CMPXCHG8B; only ZF is changed',
    encodings: ['0f c7 /1 m64; lock w0'],
    semantics(o, _c, dst) {
      const pair = (hi: Value, lo: Value): Value => o.or(o.shl(hi, o.k(32)), o.zx(32, lo));
      const old = dst.rmw();
      const differ = o.xor(old, pair(o.get('rdx'), o.get('rax')));
      o.if(
        differ,
        () => {
          dst.set(old);
          o.set('rax', o.zx(32, old));
          o.set('rdx', o.shr(old, o.k(32)));
        },
        () => dst.set(pair(o.get('rcx'), o.get('rbx'))),
      );
      o.set('zf', differ);
    },
  },
  {
    mnemonic: 'cmpxchg16b',
    doc: 'SDM 2A CMPXCHG16B: #GP(0) unless 16-byte aligned; only ZF is changed',
    encodings: ['0f c7 /1 m128; lock w64'],
    semantics(o, _c, dst) {
      const at = dst.address();
      o.if(o.and(at, o.k(15)), () => o.raise(VECTOR.GP, o.k(0)));
      const high = o.add(at, o.k(8));
      const lo = o.loadForWrite(64, at, dst.seg);
      const hi = o.loadForWrite(64, high, dst.seg);
      const differ = o.or(o.xor(lo, o.get('rax')), o.xor(hi, o.get('rdx')));
      o.if(
        differ,
        () => {
          o.store(64, at, lo, dst.seg);
          o.store(64, high, hi, dst.seg);
          o.set('rax', lo);
          o.set('rdx', hi);
        },
        () => {
          o.store(64, at, o.get('rbx'), dst.seg);
          o.store(64, high, o.get('rcx'), dst.seg);
        },
      );
      o.set('zf', differ);
    },
  },
  ...each(
    [
      { mnemonic: 'cbw', doc: 'SDM 2A CBW', w: 16, from: 8 },
      { mnemonic: 'cwde', doc: 'SDM 2A CBW', w: 32, from: 16 },
      { mnemonic: 'cdqe', doc: 'SDM 2A CBW', w: 64, from: 32 },
    ] as const,
    ({ mnemonic, doc, w, from }) => ({
      mnemonic,
      doc,
      encodings: [`98 ; w${w}`],
      semantics(o) {
        const rax = o.get('rax');
        const r = o.zx(w, o.sx(from, rax));
        o.set('rax', w === 16 ? o.or(o.and(rax, o.k(~0xffffn)), r) : r);
      },
    }),
  ),
  ...each(
    [
      { mnemonic: 'cwd', w: 16 },
      { mnemonic: 'cdq', w: 32 },
      { mnemonic: 'cqo', w: 64 },
    ] as const,
    ({ mnemonic, w }) => ({
      mnemonic,
      doc: 'SDM 2A CWD',
      encodings: [`99 ; w${w}`],
      semantics(o) {
        const sign = o.sar(toTop(o, w, o.get('rax')), o.k(63));
        const r = o.zx(w, sign);
        o.set('rdx', w === 16 ? o.or(o.and(o.get('rdx'), o.k(~0xffffn)), r) : r);
      },
    }),
  ),
];
