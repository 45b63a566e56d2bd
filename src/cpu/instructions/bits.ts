import type { Context, Instruction } from '../instruction';
import { each } from '../instruction';
import type { Operand, Ops, Value } from '../ops';

/** SDM Vol. 2 BT, BTC, BTR, BTS, BSF, BSR. */
type Change = ((o: Ops, v: Value, mask: Value) => Value) | undefined;

const TESTS: readonly { name: string; opcode: string; digit: number; change: Change }[] = [
  { name: 'bt', opcode: 'a3', digit: 4, change: undefined },
  { name: 'bts', opcode: 'ab', digit: 5, change: (o, v, m) => o.or(v, m) },
  { name: 'btr', opcode: 'b3', digit: 6, change: (o, v, m) => o.and(v, o.not(m)) },
  { name: 'btc', opcode: 'bb', digit: 7, change: (o, v, m) => o.xor(v, m) },
];

function testBit(o: Ops, c: Context, dst: Operand, src: Operand, change: Change): void {
  const { w } = c;
  const offset = src.gets();
  const n = o.and(offset, o.k(w - 1));
  const finish = (v: Value, write: (v: Value) => void): void => {
    if (change) write(change(o, v, o.shl(o.k(1), n)));
    o.set('cf', o.and(o.shr(v, n), o.k(1)));
  };
  if (dst.kind !== 'mem' || src.kind === 'imm') {
    finish(change ? dst.rmw() : dst.get(), (v) => dst.set(v));
    return;
  }
  // A bit string in memory: the register's signed offset picks the operand-sized unit (SDM Vol. 2 §3.1.1.9 Bit()).
  const unit = o.shl(o.sar(offset, o.k(Math.log2(w))), o.k(Math.log2(w / 8)));
  const at = o.add(dst.offset(), unit);
  const address = o.add(c.aw === 32 ? o.zx(32, at) : at, c.segBase(o));
  const v = change ? o.loadForWrite(w, address, dst.seg) : o.load(w, address, dst.seg);
  finish(v, (r) => o.store(w, address, o.zx(w, r), dst.seg));
}

export const bits: readonly Instruction[] = [
  ...each(TESTS, ({ name, opcode, digit, change }) => ({
    mnemonic: name,
    doc: 'SDM 2A BT…: ZF is unaffected',
    encodings: [
      `0f ${opcode} /r rmv,rv; aw${change ? ' lock' : ''}`,
      `0f ba /${digit} rmv,imm8${change ? '; lock' : ''}`,
    ],
    undefinedFlags: ['of', 'sf', 'af', 'pf'] as const,
    semantics: (o, c, dst, src) => testBit(o, c, dst, src, change),
  })),
  ...each(
    [
      { name: 'bsf', opcode: 'bc', scan: (o: Ops, v: Value): Value => o.ctz(v) },
      { name: 'bsr', opcode: 'bd', scan: (o: Ops, v: Value): Value => o.xor(o.clz(v), o.k(63)) },
    ],
    ({ name, opcode, scan }) => ({
      mnemonic: name,
      // TZCNT/LZCNT are not announced: F3 is ignored here, as on processors without BMI1.
      doc: 'SDM 2A BSF/BSR: a zero source leaves the whole destination register alone (APM 3; Intel: undefined)',
      encodings: [`0f ${opcode} /r rv,rmv`],
      undefinedFlags: ['cf', 'of', 'sf', 'af', 'pf'] as const,
      semantics(o, _c, dst, src) {
        const v = src.get();
        o.if(v, () => dst.set(scan(o, v)));
        o.set('zf', v);
      },
    }),
  ),
];
