import type { Instruction } from '../instruction';
import { each } from '../instruction';
import type { Operand, Ops } from '../ops';
import { VECTOR } from '../ops';

/** SSE and SSE2 data movement (SDM Vol. 2 MOV*), MXCSR. */

/** #GP(0) unless the 128-bit memory operand is aligned; xm128 operands do it by themselves (SDM Vol. 1 §10.4.1.1). */
function checkAligned(o: Ops, m: Operand): void {
  o.if(o.and(m.address(), o.k(15)), () => o.raise(VECTOR.GP, o.k(0)));
}

const whole = (mnemonic: string, ...encodings: readonly string[]): Instruction => ({
  mnemonic,
  doc: `SDM 2B ${mnemonic.toUpperCase()}`,
  encodings,
  unit: 'sse',
  semantics(_o, _c, dst, src) {
    dst.setx(src.getx());
  },
});

/** Non-temporal stores are stores here. */
const nonTemporal = (mnemonic: string, encoding: string): Instruction => ({
  mnemonic,
  doc: `SDM 2B ${mnemonic.toUpperCase()}`,
  encodings: [encoding],
  unit: 'sse',
  semantics(o, _c, dst, src) {
    checkAligned(o, dst);
    o.storex(dst.address(), src.getx(), dst.seg);
  },
});

/** MOVSS, MOVSD: a load from memory clears the rest of the register, a move between registers keeps it. */
const scalar = (mnemonic: string, prefix: string, w: 32 | 64): Instruction => ({
  mnemonic,
  doc: `SDM 2B ${mnemonic.toUpperCase()}`,
  encodings: [`${prefix} 0f 10 /r x${w},xm${w}`, `${prefix} 0f 11 /r xm${w},x${w}`],
  unit: 'sse',
  semantics(_o, _c, dst, src) {
    if (src.kind === 'mem') dst.setx(src.getx());
    else dst.set(src.get());
  },
});

type Half = 0 | 1;
/** One half of `dst` from memory or from a half of a register. */
const half = (mnemonic: string, encoding: string, to: Half, from: Half): Instruction => ({
  mnemonic,
  doc: `SDM 2B ${mnemonic.toUpperCase()}`,
  encodings: [encoding],
  unit: 'sse',
  semantics(o, _c, dst, src) {
    const v = src.kind === 'mem' ? src.get() : o.lane(64, src.getx(), from);
    dst.setx(o.withLane(64, dst.getx(), to, v));
  },
});
const storeHalf = (mnemonic: string, encoding: string, from: Half): Instruction => ({
  mnemonic,
  doc: `SDM 2B ${mnemonic.toUpperCase()}`,
  encodings: [encoding],
  unit: 'sse',
  semantics(o, _c, dst, src) {
    dst.set(o.lane(64, src.getx(), from));
  },
});

/** Bits of MXCSR a processor with denormals-are-zeros has; writing others is #GP(0) (SDM Vol. 1 §10.2.3, §11.6.6). */
export const MXCSR_MASK = 0xffff;

export const sseMove: readonly Instruction[] = [
  whole('movups', 'np 0f 10 /r x,xm128; unaligned', 'np 0f 11 /r xm128,x; unaligned'),
  whole('movupd', '66 0f 10 /r x,xm128; unaligned', '66 0f 11 /r xm128,x; unaligned'),
  whole('movaps', 'np 0f 28 /r x,xm128', 'np 0f 29 /r xm128,x'),
  whole('movapd', '66 0f 28 /r x,xm128', '66 0f 29 /r xm128,x'),
  whole('movdqa', '66 0f 6f /r x,xm128', '66 0f 7f /r xm128,x'),
  whole('movdqu', 'f3 0f 6f /r x,xm128; unaligned', 'f3 0f 7f /r xm128,x; unaligned'),
  nonTemporal('movntps', 'np 0f 2b /r m128,x'),
  nonTemporal('movntpd', '66 0f 2b /r m128,x'),
  nonTemporal('movntdq', '66 0f e7 /r m128,x'),
  scalar('movss', 'f3', 32),
  scalar('movsd', 'f2', 64),
  half('movlps', 'np 0f 12 /r x,m64', 0, 0),
  half('movlpd', '66 0f 12 /r x,m64', 0, 0),
  half('movhlps', 'np 0f 12 /r x,xx', 0, 1),
  half('movhps', 'np 0f 16 /r x,m64', 1, 0),
  half('movhpd', '66 0f 16 /r x,m64', 1, 0),
  half('movlhps', 'np 0f 16 /r x,xx', 1, 0),
  storeHalf('movlps', 'np 0f 13 /r m64,x', 0),
  storeHalf('movlpd', '66 0f 13 /r m64,x', 0),
  storeHalf('movhps', 'np 0f 17 /r m64,x', 1),
  storeHalf('movhpd', '66 0f 17 /r m64,x', 1),
  {
    mnemonic: 'movd',
    doc: 'SDM 2B MOVD/MOVQ: the rest of the xmm register is cleared',
    encodings: ['66 0f 6e /r x,rm32; w0'],
    unit: 'sse',
    semantics: (o, _c, dst, src) => dst.setx(o.x(src.get(), o.k(0))),
  },
  {
    mnemonic: 'movd',
    doc: 'SDM 2B MOVD/MOVQ',
    encodings: ['66 0f 7e /r rm32,x32; w0'],
    unit: 'sse',
    semantics: (_o, _c, dst, src) => dst.set(src.get()),
  },
  {
    mnemonic: 'movq',
    doc: 'SDM 2B MOVD/MOVQ, MOVQ: the rest of a destination register is cleared',
    encodings: [
      '66 0f 6e /r x,rm64; w64',
      'f3 0f 7e /r x,xm64',
      '66 0f d6 /r xm64,x',
      '66 0f 7e /r rm64,x; w64',
    ],
    unit: 'sse',
    semantics(o, _c, dst, src) {
      const v = src.get();
      if (dst.kind === 'xmm') dst.setx(o.x(v, o.k(0)));
      else dst.set(v);
    },
  },
  {
    mnemonic: 'movnti',
    doc: 'SDM 2B MOVNTI: needs no SSE state',
    encodings: ['np 0f c3 /r my,ry'],
    semantics: (_o, _c, dst, src) => dst.set(src.get()),
  },
  ...each(
    [
      { mnemonic: 'movmskps', prefix: 'np', lane: 32 },
      { mnemonic: 'movmskpd', prefix: '66', lane: 64 },
    ] as const,
    ({ mnemonic, prefix, lane }) => ({
      mnemonic,
      doc: `SDM 2B ${mnemonic.toUpperCase()}`,
      encodings: [`${prefix} 0f 50 /r r32,xx`],
      unit: 'sse',
      semantics: (o, _c, dst, src) => dst.set(o.bitmask(lane, src.getx())),
    }),
  ),
  {
    mnemonic: 'ldmxcsr',
    doc: 'SDM 2A LDMXCSR: #GP(0) for reserved bits; flags set with their mask clear raise nothing',
    encodings: ['np 0f ae /2 m32'],
    unit: 'sse',
    semantics(o, _c, src) {
      const v = src.get();
      o.if(o.and(v, o.k(~MXCSR_MASK)), () => o.raise(VECTOR.GP, o.k(0)));
      o.set('mxcsr', v);
    },
  },
  {
    mnemonic: 'stmxcsr',
    doc: 'SDM 2B STMXCSR',
    encodings: ['np 0f ae /3 m32'],
    unit: 'sse',
    semantics: (o, _c, dst) => dst.set(o.get('mxcsr')),
  },
];
