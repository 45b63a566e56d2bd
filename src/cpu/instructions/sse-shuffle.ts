import type { Instruction } from '../instruction';
import { each } from '../instruction';
import type { Ops, Value, Vector } from '../ops';
import { bytesOf, interleave } from './sse-lanes';

/** Shuffles, interleaves and bitwise logic of floating-point and integer registers. */

/** Field `i` of `bits` bits of an immediate. */
const field = (o: Ops, imm: Value, i: number, bits: number): Value =>
  o.and(o.shr(imm, o.k(i * bits)), o.k((1 << bits) - 1));

/** PSHUFHW, PSHUFLW: four words from `base` on chosen among themselves. */
function shuffleWords(o: Ops, src: Vector, imm: Value, base: 0 | 4): Vector {
  let r = src;
  for (let i = 0; i < 4; i++) {
    const from = field(o, imm, i, 2);
    r = o.withLane(16, r, base + i, o.laneAt(16, src, base ? o.add(from, o.k(base)) : from));
  }
  return r;
}
export const shuffleLowWords = (o: Ops, src: Vector, imm: Value): Vector => shuffleWords(o, src, imm, 0);

function shuffleDoublewords(o: Ops, src: Vector, imm: Value): Vector {
  let r = src;
  for (let i = 0; i < 4; i++) r = o.withLane(32, r, i, o.laneAt(32, src, field(o, imm, i, 2)));
  return r;
}

const LOGIC = [
  { name: 'and', opcode: '54', op: 'v128.and' },
  { name: 'andn', opcode: '55', op: 'v128.andnot' },
  { name: 'or', opcode: '56', op: 'v128.or' },
  { name: 'xor', opcode: '57', op: 'v128.xor' },
] as const;
const PACKED = [
  { suffix: 'ps', prefix: 'np', w: 32 },
  { suffix: 'pd', prefix: '66', w: 64 },
] as const;

export const sseShuffle: readonly Instruction[] = [
  ...PACKED.flatMap(({ suffix, prefix, w }): Instruction[] => [
    ...each(LOGIC, ({ name, opcode, op }) => ({
      mnemonic: name + suffix,
      doc: `SDM 2 ${name.toUpperCase()}${suffix.toUpperCase()}`,
      encodings: [`${prefix} 0f ${opcode} /r x,xm128`],
      unit: 'sse',
      semantics(o, _c, dst, src) {
        const a = dst.getx();
        const b = src.getx();
        // ANDN complements the destination, WebAssembly's andnot its second operand.
        dst.setx(name === 'andn' ? o.vec(op, b, a) : o.vec(op, a, b));
      },
    })),
    ...each(
      [
        { name: 'unpckl', opcode: '14', high: false },
        { name: 'unpckh', opcode: '15', high: true },
      ],
      ({ name, opcode, high }) => ({
        mnemonic: name + suffix,
        doc: `SDM 2 ${name.toUpperCase()}${suffix.toUpperCase()}`,
        encodings: [`${prefix} 0f ${opcode} /r x,xm128`],
        unit: 'sse',
        semantics: (o, _c, dst, src) => dst.setx(interleave(o, w, high, dst.getx(), src.getx())),
      }),
    ),
  ]),
  {
    mnemonic: 'shufps',
    doc: 'SDM 2B SHUFPS',
    encodings: ['np 0f c6 /r x,xm128,imm8'],
    unit: 'sse',
    semantics(o, _c, dst, src, imm) {
      const a = dst.getx();
      const b = src.getx();
      const order = imm.get();
      let r = a;
      for (let i = 0; i < 4; i++)
        r = o.withLane(32, r, i, o.laneAt(32, i < 2 ? a : b, field(o, order, i, 2)));
      dst.setx(r);
    },
  },
  {
    mnemonic: 'shufpd',
    doc: 'SDM 2B SHUFPD',
    encodings: ['66 0f c6 /r x,xm128,imm8'],
    unit: 'sse',
    semantics(o, _c, dst, src, imm) {
      const a = dst.getx();
      const b = src.getx();
      const order = imm.get();
      dst.setx(o.x(o.laneAt(64, a, field(o, order, 0, 1)), o.laneAt(64, b, field(o, order, 1, 1))));
    },
  },
  ...each(
    [
      { mnemonic: 'pshufd', prefix: '66', run: shuffleDoublewords },
      { mnemonic: 'pshufhw', prefix: 'f3', run: (o: Ops, x: Vector, i: Value) => shuffleWords(o, x, i, 4) },
      { mnemonic: 'pshuflw', prefix: 'f2', run: shuffleLowWords },
    ],
    ({ mnemonic, prefix, run }) => ({
      mnemonic,
      doc: `SDM 2B ${mnemonic.toUpperCase()}`,
      encodings: [`${prefix} 0f 70 /r x,xm128,imm8`],
      unit: 'sse',
      semantics: (o, _c, dst, src, imm) => dst.setx(run(o, src.getx(), imm.get())),
    }),
  ),
  ...each(
    [
      { mnemonic: 'punpcklqdq', opcode: '6c', high: false },
      { mnemonic: 'punpckhqdq', opcode: '6d', high: true },
    ],
    ({ mnemonic, opcode, high }) => ({
      mnemonic,
      doc: 'SDM 2B PUNPCKLBW/PUNPCKHBW',
      encodings: [`66 0f ${opcode} /r x,xm128`],
      unit: 'sse',
      semantics: (o, _c, dst, src) => dst.setx(interleave(o, 64, high, dst.getx(), src.getx())),
    }),
  ),
  ...each(
    [
      { mnemonic: 'psrldq', digit: 3, sign: 1 },
      { mnemonic: 'pslldq', digit: 7, sign: -1 },
    ] as const,
    ({ mnemonic, digit, sign }) => ({
      mnemonic,
      doc: `SDM 2B ${mnemonic.toUpperCase()}: bytes; 16 and more give zero`,
      encodings: [`66 0f 73 /${digit} xx,imm8`],
      unit: 'sse',
      semantics(o, _c, dst, imm) {
        const n = imm.get();
        const count = o.select(o.cmp('ltu', n, o.k(16)), n, o.k(16));
        // A selector outside 0–15, on either side, selects zero.
        const identity = bytesOf(o, (i) => i);
        const from = o.vec(sign > 0 ? 'i8x16.add' : 'i8x16.sub', identity, o.splat(8, count));
        dst.setx(o.vec('i8x16.swizzle', dst.getx(), from));
      },
    }),
  ),
];
