import { FSW, FSW_EXCEPTIONS } from '../helpers/x87-stack';
import type { Instruction } from '../instruction';
import type { Operand, Ops, Value, Vector } from '../ops';
import { VECTOR } from '../ops';
import type { FieldName } from '../state';
import { MXCSR_MASK } from './sse-move';
import { needed, x87 } from './x87-frame';

/**
 * FXSAVE and FXRSTOR (SDM Vol. 1 §10.5, Vol. 2A table 3-43 and 3-44). With REX.W the pointers are 64 bits.
 *
 * Error pointers as on AMD processors: FXSAVE writes them as zero unless an unmasked x87 exception is pending;
 * FXRSTOR always loads them. CR4.OSFXSR is not asked: XMM state is always part of the image. Bytes 416-511 are
 * left alone.
 */
const XMM = Array.from({ length: 16 }, (_, n) => `xmm${String(n)}` as FieldName);
const ST = [0, 1, 2, 3, 4, 5, 6, 7] as const;
const FPR = ST.map((n) => `fpr${n}` as const);
/** Of the status word: which physical register is st(0). */
const TOP = 7 << 11;
/** Offsets in the image, SDM Vol. 1 table 10-2 and figure 10-3. */
export const IMAGE = {
  fcw: 0,
  fsw: 2,
  ftw: 4,
  fop: 6,
  fip: 8,
  fdp: 16,
  mxcsr: 24,
  mxcsrMask: 28,
  st: 32,
  xmm: 160,
  bytes: 416,
  /** Looked up before anything else (measured; FNSAVE begins with the first byte). */
  last: 511,
} as const;

/** #UD under CR0.EM, #NM under CR0.TS; no wait for pending exceptions. */
function enter(o: Ops, m: Operand): void {
  o.if(o.and(o.get('cr0'), o.k(4)), () => o.raise(VECTOR.UD));
  o.if(o.and(o.get('cr0'), o.k(8)), () => o.raise(VECTOR.NM));
  o.if(o.and(m.address(), o.k(15)), () => o.raise(VECTOR.GP, o.k(0)));
}

const at = (o: Ops, m: Operand, offset: number): Value => o.add(m.address(), o.k(offset));

function save(o: Ops, m: Operand, wide: boolean): void {
  enter(o, m);
  for (const i of [IMAGE.last, 0]) o.probeWrite(1, at(o, m, i), m.seg);
  const exception = o.and(o.get('fsw'), o.k(FSW.ES));
  const pointer = (field: FieldName): Value => {
    const value = o.select(exception, o.get(field), o.k(0));
    return wide ? value : o.zx(32, value);
  };
  o.store(16, at(o, m, IMAGE.fcw), o.get('fcw'), m.seg);
  o.store(16, at(o, m, IMAGE.fsw), o.get('fsw'), m.seg);
  o.store(16, at(o, m, IMAGE.ftw), o.get('ftw'), m.seg);
  o.store(16, at(o, m, IMAGE.fop), pointer('fop'), m.seg);
  o.store(64, at(o, m, IMAGE.fip), pointer('fip'), m.seg);
  o.store(64, at(o, m, IMAGE.fdp), pointer('fdp'), m.seg);
  o.store(32, at(o, m, IMAGE.mxcsr), o.get('mxcsr'), m.seg);
  o.store(32, at(o, m, IMAGE.mxcsrMask), o.k(MXCSR_MASK), m.seg);
  const rotated = o.and(o.get('fsw'), o.k(TOP));
  FPR.forEach((field, i) => {
    // Hardly ever: an empty stack has its top at 0.
    const part = (n: 0 | 1): Value =>
      o.choose(
        rotated,
        () => x87(o, 'x87_peek', i, n),
        () => o.lane(64, o.getx(field), n),
      );
    o.store(64, at(o, m, IMAGE.st + 16 * i), part(0), m.seg);
    o.store(64, at(o, m, IMAGE.st + 16 * i + 8), part(1), m.seg);
  });
  XMM.forEach((field, i) => o.storex(at(o, m, IMAGE.xmm + 16 * i), o.getx(field), m.seg));
}

function restore(o: Ops, m: Operand, wide: boolean): void {
  enter(o, m);
  const load = (w: 8 | 16 | 32 | 64, offset: number): Value => o.load(w, at(o, m, offset), m.seg);
  for (const i of [IMAGE.last, 0]) load(8, i);
  const mxcsr = load(32, IMAGE.mxcsr);
  o.if(o.and(mxcsr, o.k(~MXCSR_MASK >>> 0)), () => o.raise(VECTOR.GP, o.k(0)));
  const [fcw, fsw, ftw, fop] = [
    load(16, IMAGE.fcw),
    load(16, IMAGE.fsw),
    load(8, IMAGE.ftw),
    load(16, IMAGE.fop),
  ];
  const [fip, fdp] = [load(wide ? 64 : 32, IMAGE.fip), load(wide ? 64 : 32, IMAGE.fdp)];
  const registers = ST.map((i) => [load(64, IMAGE.st + 16 * i), load(16, IMAGE.st + 16 * i + 8)] as const);
  const vectors: Vector[] = XMM.map((_, i) => o.loadx(at(o, m, IMAGE.xmm + 16 * i), m.seg));
  const control = o.or(o.and(fcw, o.k(0x1f7f)), o.k(0x40));
  o.set('fcw', control);
  // As x87_set_status.
  const summary = o.k(FSW.ES | FSW.B);
  const unmasked = o.and(o.and(fsw, o.not(control)), o.k(FSW_EXCEPTIONS));
  o.set('fsw', o.or(o.and(fsw, o.not(summary)), o.select(unmasked, summary, o.k(0))));
  o.set('ftw', ftw);
  o.set('fop', o.and(fop, o.k(0x7ff)));
  o.set('fip', fip);
  o.set('fdp', fdp);
  o.set('mxcsr', mxcsr);
  o.if(
    o.and(fsw, o.k(TOP)),
    () => {
      registers.forEach(([low, high], i) => x87(o, 'x87_poke', i, low, high));
    },
    () => {
      FPR.forEach((field, i) => {
        const [low, high] = registers[i] ?? [o.k(0), o.k(0)];
        o.setx(field, o.x(low, high));
      });
    },
  );
  vectors.forEach((v, i) => {
    const field = XMM[i];
    if (field !== undefined) o.setx(field, v);
  });
}

const row = (mnemonic: string, encoding: string, run: typeof save, wide: boolean): Instruction => ({
  mnemonic,
  doc: `SDM 2A ${mnemonic.replace('64', '').toUpperCase()}`,
  encodings: [encoding],
  semantics(o, _, m) {
    run(o, needed(m), wide);
  },
});

export const fxsave: readonly Instruction[] = [
  row('fxsave', 'np 0f ae /0 m; w0', save, false),
  row('fxsave64', 'np 0f ae /0 m; w64', save, true),
  row('fxrstor', 'np 0f ae /1 m; w0', restore, false),
  row('fxrstor64', 'np 0f ae /1 m; w64', restore, true),
];
