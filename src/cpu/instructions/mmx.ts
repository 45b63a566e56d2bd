import type { Context, Instruction } from '../instruction';
import type { Operand, Ops } from '../ops';
import { enterMmx, leaveMmx } from './mmx-state';
import { shuffleLowWords } from './sse-shuffle';
import { wait } from './x87-frame';

/** MMX data movement, and what of the packed integers is not lane by lane (those: sse-integer.ts). */

/** The mm and the xmm form of one instruction: the same semantics, and the transition to MMX for the first. */
const both = (
  mnemonic: string,
  mm: string,
  x: string,
  run: (o: Ops, c: Context, lanes: number, operands: readonly Operand[]) => () => void,
): Instruction[] => [
  {
    mnemonic,
    doc: `SDM 2B ${mnemonic.toUpperCase()}`,
    encodings: [mm],
    unit: 'mmx',
    semantics(o, c, ...operands) {
      const commit = run(o, c, 64, operands);
      enterMmx(o);
      commit();
    },
  },
  {
    mnemonic,
    doc: `SDM 2B ${mnemonic.toUpperCase()}`,
    encodings: [x],
    unit: 'sse',
    semantics(o, c, ...operands) {
      run(o, c, 128, operands)();
    },
  },
];

const move = (mnemonic: string, ...encodings: readonly string[]): Instruction => ({
  mnemonic,
  doc: 'SDM 2B MOVD/MOVQ, MOVQ, MOVNTQ',
  encodings,
  unit: 'mmx',
  semantics(o, _c, dst, src) {
    const v = src.get();
    if (dst.kind === 'mem') {
      dst.set(v);
      enterMmx(o);
    } else {
      enterMmx(o);
      dst.set(v);
    }
  },
});

/**
 * Stores the bytes of `v` whose mask byte has its top bit set, to DS:rDI or under an override. The whole operand
 * is checked for a write, whatever the mask, which the manual leaves to the implementation: as AMD's (measured).
 */
function storeMasked(o: Ops, c: Context, bytes: number, v: Operand, mask: Operand): void {
  const rdi = o.get('rdi');
  const base = o.add(c.aw === 32 ? o.zx(32, rdi) : rdi, c.segBase(o));
  const selected = o.bitmask(8, mask.getx());
  const x = v.getx();
  o.probeWrite(bytes, base);
  for (let i = 0; i < bytes; i++) {
    o.if(o.and(selected, o.k(1 << i)), () => o.store(8, o.add(base, o.k(i)), o.lane(8, x, i)));
  }
}

export const mmx: readonly Instruction[] = [
  move('movd', 'np 0f 6e /r mm,rm32; w0', 'np 0f 7e /r rm32,mm; w0'),
  move(
    'movq',
    'np 0f 6e /r mm,rm64; w64',
    'np 0f 7e /r rm64,mm; w64',
    'np 0f 6f /r mm,mm64',
    'np 0f 7f /r mm64,mm',
  ),
  move('movntq', 'np 0f e7 /r m64,mm'),
  {
    mnemonic: 'movq2dq',
    doc: 'SDM 2B MOVQ2DQ',
    encodings: ['f3 0f d6 /r x,mmr'],
    unit: 'sse',
    semantics(o, _c, dst, src) {
      wait(o);
      enterMmx(o);
      dst.setx(o.x(src.get(), o.k(0)));
    },
  },
  {
    mnemonic: 'movdq2q',
    doc: 'SDM 2B MOVDQ2Q',
    encodings: ['f2 0f d6 /r mm,xx'],
    unit: 'sse',
    semantics(o, _c, dst, src) {
      wait(o);
      enterMmx(o);
      dst.set(src.get());
    },
  },
  {
    mnemonic: 'pshufw',
    doc: 'SDM 2B PSHUFW',
    encodings: ['np 0f 70 /r mm,mm64,imm8'],
    unit: 'mmx',
    semantics(o, _c, dst, src, imm) {
      const r = shuffleLowWords(o, src.getx(), imm.get());
      enterMmx(o);
      dst.setx(r);
    },
  },
  ...both('pinsrw', 'np 0f c4 /r mm,rm16,imm8', '66 0f c4 /r x,rm16,imm8', (o, _c, bits, [dst, src, imm]) => {
    if (!dst || !src || !imm) throw new Error('pinsrw takes three operands');
    const v = src.get();
    const r = o.withLaneAt(16, dst.getx(), o.and(imm.get(), o.k(bits / 16 - 1)), v);
    return () => dst.setx(r);
  }),
  ...both('pextrw', 'np 0f c5 /r r32,mmr,imm8', '66 0f c5 /r r32,xx,imm8', (o, _c, bits, [dst, src, imm]) => {
    if (!dst || !src || !imm) throw new Error('pextrw takes three operands');
    const v = o.laneAt(16, src.getx(), o.and(imm.get(), o.k(bits / 16 - 1)));
    return () => dst.set(v);
  }),
  ...both('pmovmskb', 'np 0f d7 /r r32,mmr', '66 0f d7 /r r32,xx', (o, _c, bits, [dst, src]) => {
    if (!dst || !src) throw new Error('pmovmskb takes two operands');
    const v = o.and(o.bitmask(8, src.getx()), o.k((1 << (bits / 8)) - 1));
    return () => dst.set(v);
  }),
  {
    mnemonic: 'maskmovq',
    doc: 'SDM 2B MASKMOVQ',
    encodings: ['np 0f f7 /r mm,mmr; aw'],
    unit: 'mmx',
    semantics(o, c, v, mask) {
      // The transition happens even where the store faults: measured.
      enterMmx(o);
      storeMasked(o, c, 8, v, mask);
    },
  },
  {
    mnemonic: 'maskmovdqu',
    doc: 'SDM 2B MASKMOVDQU',
    encodings: ['66 0f f7 /r x,xx; aw'],
    unit: 'sse',
    semantics: (o, c, v, mask) => storeMasked(o, c, 16, v, mask),
  },
  {
    mnemonic: 'emms',
    doc: 'SDM 2A EMMS',
    encodings: ['np 0f 77'],
    unit: 'mmx',
    semantics: (o) => leaveMmx(o),
  },
];
