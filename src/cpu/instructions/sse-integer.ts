import type { Instruction } from '../instruction';
import type { Operand, Ops, Value, VecBinary, VecShift, Vector } from '../ops';
import { enterMmx } from './mmx-state';
import { bytesOf, interleave, laneList } from './sse-lanes';

/**
 * Packed integers: MMX, and the same on xmm registers since SSE2. One row declares both; `bits` tells the
 * semantics which it is. An mm register comes as a vector with a zero upper half, and only the lower one of the
 * result is kept, so lane-wise operations need not care.
 */
type Size = 64 | 128;
type Packed = (o: Ops, a: Vector, b: Vector, bits: Size) => Vector;

interface Row {
  readonly name: string;
  readonly opcode: string;
  readonly run: Packed;
  /** PUNPCKL*: the mm form reads only 32 bits of memory. */
  readonly mmSource?: 'mm32';
}

const lanewise = (name: string, opcode: string, op: VecBinary): Row => ({
  name,
  opcode,
  run: (o, a, b) => o.vec(op, a, b),
});

/** The low halves of a and b side by side. */
const join = (o: Ops, a: Vector, b: Vector): Vector => o.shuffle(a, b, laneList(8, [0, 2]));
const upperHalf = (o: Ops, a: Vector): Vector => o.shuffle(a, a, laneList(8, [1, 1]));

const pack = (name: string, opcode: string, op: VecBinary): Row => ({
  name,
  opcode,
  run: (o, a, b, bits) => {
    if (bits === 128) return o.vec(op, a, b);
    const both = join(o, a, b);
    return o.vec(op, both, both);
  },
});

const unpackLow = (name: string, opcode: string, w: 8 | 16 | 32): Row => ({
  name,
  opcode,
  mmSource: 'mm32',
  run: (o, a, b) => interleave(o, w, false, a, b),
});
const unpackHigh = (name: string, opcode: string, w: 8 | 16 | 32): Row => ({
  name,
  opcode,
  run: (o, a, b, bits) =>
    bits === 128 ? interleave(o, w, true, a, b) : upperHalf(o, interleave(o, w, false, a, b)),
});

/** The upper words of the eight 32-bit products. */
const mulHigh = (name: string, opcode: string, sign: 's' | 'u'): Row => ({
  name,
  opcode,
  run: (o, a, b) =>
    o.shuffle(
      o.vec(`i32x4.extmul_low_i16x8_${sign}`, a, b),
      o.vec(`i32x4.extmul_high_i16x8_${sign}`, a, b),
      laneList(2, [1, 3, 5, 7, 9, 11, 13, 15]),
    ),
});

const pmuludq: Packed = (o, a, b) => {
  const even = (v: Vector): Vector => o.shuffle(v, v, laneList(4, [0, 2, 0, 2]));
  return o.vec('i64x2.extmul_low_i32x4_u', even(a), even(b));
};

/** Sum of the absolute differences of each half's eight bytes. */
const psadbw: Packed = (o, a, b) => {
  const d = o.vec('v128.or', o.vec('i8x16.sub_sat_u', a, b), o.vec('i8x16.sub_sat_u', b, a));
  const ones8 = bytesOf(o, () => 1);
  const ones16 = bytesOf(o, (i) => 1 - (i & 1));
  const sum = (half: 'low' | 'high'): Value => {
    const four = o.vec('i32x4.dot_i16x8_s', o.vec(`i16x8.extmul_${half}_i8x16_u`, d, ones8), ones16);
    const two = o.vec('i32x4.add', four, upperHalf(o, four));
    return o.add(o.lane(32, two, 0), o.lane(32, two, 1));
  };
  return o.x(sum('low'), sum('high'));
};

/** ~a & b; WebAssembly's andnot complements its second operand. */
const pandn: Packed = (o, a, b) => o.vec('v128.andnot', b, a);

const ROWS: readonly Row[] = [
  unpackLow('punpcklbw', '60', 8),
  unpackLow('punpcklwd', '61', 16),
  unpackLow('punpckldq', '62', 32),
  pack('packsswb', '63', 'i8x16.narrow_i16x8_s'),
  lanewise('pcmpgtb', '64', 'i8x16.gt_s'),
  lanewise('pcmpgtw', '65', 'i16x8.gt_s'),
  lanewise('pcmpgtd', '66', 'i32x4.gt_s'),
  pack('packuswb', '67', 'i8x16.narrow_i16x8_u'),
  unpackHigh('punpckhbw', '68', 8),
  unpackHigh('punpckhwd', '69', 16),
  unpackHigh('punpckhdq', '6a', 32),
  pack('packssdw', '6b', 'i16x8.narrow_i32x4_s'),
  lanewise('pcmpeqb', '74', 'i8x16.eq'),
  lanewise('pcmpeqw', '75', 'i16x8.eq'),
  lanewise('pcmpeqd', '76', 'i32x4.eq'),
  lanewise('paddq', 'd4', 'i64x2.add'),
  lanewise('pmullw', 'd5', 'i16x8.mul'),
  lanewise('psubusb', 'd8', 'i8x16.sub_sat_u'),
  lanewise('psubusw', 'd9', 'i16x8.sub_sat_u'),
  lanewise('pminub', 'da', 'i8x16.min_u'),
  lanewise('pand', 'db', 'v128.and'),
  lanewise('paddusb', 'dc', 'i8x16.add_sat_u'),
  lanewise('paddusw', 'dd', 'i16x8.add_sat_u'),
  lanewise('pmaxub', 'de', 'i8x16.max_u'),
  { name: 'pandn', opcode: 'df', run: pandn },
  lanewise('pavgb', 'e0', 'i8x16.avgr_u'),
  lanewise('pavgw', 'e3', 'i16x8.avgr_u'),
  mulHigh('pmulhuw', 'e4', 'u'),
  mulHigh('pmulhw', 'e5', 's'),
  lanewise('psubsb', 'e8', 'i8x16.sub_sat_s'),
  lanewise('psubsw', 'e9', 'i16x8.sub_sat_s'),
  lanewise('pminsw', 'ea', 'i16x8.min_s'),
  lanewise('por', 'eb', 'v128.or'),
  lanewise('paddsb', 'ec', 'i8x16.add_sat_s'),
  lanewise('paddsw', 'ed', 'i16x8.add_sat_s'),
  lanewise('pmaxsw', 'ee', 'i16x8.max_s'),
  lanewise('pxor', 'ef', 'v128.xor'),
  { name: 'pmuludq', opcode: 'f4', run: pmuludq },
  lanewise('pmaddwd', 'f5', 'i32x4.dot_i16x8_s'),
  { name: 'psadbw', opcode: 'f6', run: psadbw },
  lanewise('psubb', 'f8', 'i8x16.sub'),
  lanewise('psubw', 'f9', 'i16x8.sub'),
  lanewise('psubd', 'fa', 'i32x4.sub'),
  lanewise('psubq', 'fb', 'i64x2.sub'),
  lanewise('paddb', 'fc', 'i8x16.add'),
  lanewise('paddw', 'fd', 'i16x8.add'),
  lanewise('paddd', 'fe', 'i32x4.add'),
];

/** The mm and the xmm instruction of one name. `count` replaces the source of both: a shift's imm8 forms. */
function pair(
  name: string,
  encodings: { readonly mm: readonly string[]; readonly x: readonly string[] },
  run: (o: Ops, dst: Operand, src: Operand, bits: Size) => Vector,
): Instruction[] {
  const doc = `SDM 2B ${name.toUpperCase()}`;
  return [
    {
      mnemonic: name,
      doc,
      encodings: encodings.mm,
      unit: 'mmx',
      semantics(o, _c, dst, src) {
        const r = run(o, dst, src, 64);
        enterMmx(o);
        dst.setx(r);
      },
    },
    {
      mnemonic: name,
      doc,
      encodings: encodings.x,
      unit: 'sse',
      semantics: (o, _c, dst, src) => dst.setx(run(o, dst, src, 128)),
    },
  ];
}

/** Lane shifts: the 64-bit count is not cut to the lane width, but counts beyond it shift everything out. */
interface Shift {
  readonly name: string;
  readonly w: 16 | 32 | 64;
  readonly op: VecShift;
  /** By a register or memory. */
  readonly opcode: string;
  /** By imm8. */
  readonly group: string;
}
const SHIFTS: readonly Shift[] = [
  { name: 'psrlw', w: 16, op: 'i16x8.shr_u', opcode: 'd1', group: '71 /2' },
  { name: 'psrld', w: 32, op: 'i32x4.shr_u', opcode: 'd2', group: '72 /2' },
  { name: 'psrlq', w: 64, op: 'i64x2.shr_u', opcode: 'd3', group: '73 /2' },
  { name: 'psraw', w: 16, op: 'i16x8.shr_s', opcode: 'e1', group: '71 /4' },
  { name: 'psrad', w: 32, op: 'i32x4.shr_s', opcode: 'e2', group: '72 /4' },
  { name: 'psllw', w: 16, op: 'i16x8.shl', opcode: 'f1', group: '71 /6' },
  { name: 'pslld', w: 32, op: 'i32x4.shl', opcode: 'f2', group: '72 /6' },
  { name: 'psllq', w: 64, op: 'i64x2.shl', opcode: 'f3', group: '73 /6' },
];

function shiftLanes(o: Ops, { w, op }: Shift, a: Vector, n: Value): Vector {
  const inside = o.cmp('ltu', n, o.k(w));
  if (op.endsWith('shr_s')) return o.vecShift(op, a, o.select(inside, n, o.k(w - 1)));
  const moved = o.vecShift(op, a, o.and(n, o.k(w - 1)));
  return o.vec('v128.and', moved, o.splat(64, o.neg(inside)));
}

export const sseInteger: readonly Instruction[] = [
  ...ROWS.flatMap(({ name, opcode, run, mmSource }) =>
    pair(
      name,
      { mm: [`np 0f ${opcode} /r mm,${mmSource ?? 'mm64'}`], x: [`66 0f ${opcode} /r x,xm128`] },
      (o, dst, src, bits) => run(o, dst.getx(), src.getx(), bits),
    ),
  ),
  ...SHIFTS.flatMap((s) =>
    pair(
      s.name,
      {
        mm: [`np 0f ${s.opcode} /r mm,mm64`, `np 0f ${s.group} mmr,imm8`],
        x: [`66 0f ${s.opcode} /r x,xm128`, `66 0f ${s.group} xx,imm8`],
      },
      (o, dst, src) => shiftLanes(o, s, dst.getx(), src.get()),
    ),
  ),
];
