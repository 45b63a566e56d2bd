import type { Instruction } from '../instruction';
import type { Operand, Ops, Value, Width } from '../ops';
import { VECTOR } from '../ops';
import { needed, wait, waiting, x87 } from './x87-frame';

/** x87 control: the control, status and tag words, the environment, the whole state (SDM Vol. 1 §8.1, §8.3.11). */

/** Control word bits that exist; bit 6 reads as one (SDM Vol. 1 figure 8-6). */
const FCW_MASK = 0x1f7f;
const FCW_FIXED = 0x40;
const FCW_INITIAL = 0x37f;
/** Status word: what FNCLEX leaves (SDM Vol. 2A FCLEX). */
const FSW_KEPT_BY_CLEX = 0x7f00;

/** Load the control word; pending exceptions follow its masks. */
function setControl(o: Ops, fcw: Value): void {
  o.set('fcw', o.or(o.and(fcw, o.k(FCW_MASK)), o.k(FCW_FIXED)));
}

function initialize(o: Ops): void {
  o.set('fcw', o.k(FCW_INITIAL));
  for (const field of ['fsw', 'ftw', 'fip', 'fdp', 'fop'] as const) o.set(field, o.k(0));
}

const at = (o: Ops, m: Operand, offset: number): Value => o.add(m.address(), o.k(offset));

/**
 * The FSTENV image has seven words (66 prefix: 16 bits each, else 32; REX.W changes nothing): control, status,
 * tags, instruction offset, selector and opcode, operand offset, selector (SDM Vol. 1 figures 8-9 to 8-12).
 */
const unit = (w: number): Width => (w === 16 ? 16 : 32);
const environmentBytes = (w: number): number => 7 * (unit(w) / 8);
const REGISTER_BYTES = 80;

function storeEnvironment(o: Ops, w: number, m: Operand): void {
  const width = unit(w);
  // The unused halves of 32-bit words read as ones.
  const word = (v: Value): Value => o.or(v, o.k(0xffff0000n));
  const words: Value[] = [
    word(o.get('fcw')),
    word(o.get('fsw')),
    word(x87(o, 'x87_tags')),
    o.get('fip'),
    width === 16 ? o.k(0) : o.shl(o.get('fop'), o.k(16)),
    o.get('fdp'),
    word(o.k(0)),
  ];
  words.forEach((v, i) => o.store(width, at(o, m, i * (width / 8)), o.zx(width, v), m.seg));
}

interface Environment {
  readonly fcw: Value;
  readonly fsw: Value;
  readonly tags: Value;
  readonly fip: Value;
  readonly fop: Value;
  readonly fdp: Value;
}

/** The first word and the last byte of an image are looked up before the rest: a fault in its second page names the latter (measured). */
const readEnds = (o: Ops, w: number, m: Operand, bytes: number): void => {
  o.load(unit(w), m.address(), m.seg);
  o.load(8, at(o, m, bytes - 1), m.seg);
};
const probeEnds = (o: Ops, w: number, m: Operand, bytes: number): void => {
  o.probeWrite(unit(w) / 8, m.address(), m.seg);
  o.probeWrite(1, at(o, m, bytes - 1), m.seg);
};

function loadEnvironment(o: Ops, w: number, m: Operand): Environment {
  const width = unit(w);
  const word = (i: number): Value => o.load(width, at(o, m, i * (width / 8)), m.seg);
  const [fcw, fsw, tags, fip, selector, fdp] = [word(0), word(1), word(2), word(3), word(4), word(5)];
  word(6);
  const fop = width === 16 ? o.k(0) : o.and(o.shr(selector, o.k(16)), o.k(0x7ff));
  return { fcw, fsw: o.zx(16, fsw), tags: o.zx(16, tags), fip, fop, fdp };
}

function setEnvironment(o: Ops, e: Environment): void {
  setControl(o, e.fcw);
  x87(o, 'x87_set_status', e.fsw);
  x87(o, 'x87_set_tags', e.tags);
  o.set('fip', e.fip);
  o.set('fop', e.fop);
  o.set('fdp', e.fdp);
}

const ST = [0, 1, 2, 3, 4, 5, 6, 7] as const;

/** A control instruction; those with N in their name do not wait. */
const control = (
  mnemonic: string,
  encoding: string,
  run: (o: Ops, m: Operand | undefined, w: number) => void,
): Instruction => ({
  mnemonic,
  doc: `SDM 2A ${mnemonic.toUpperCase()}`,
  encodings: [encoding],
  unit: 'fpu',
  semantics(o, { w }, operand) {
    if (!mnemonic.startsWith('fn')) wait(o);
    run(o, operand, w);
  },
});

/** No-operations on everything after the 8087 and 80287. */
const nothing = (): void => undefined;

/** CR0.MP and CR0.TS: FWAIT alone goes by both (SDM Vol. 3 table 2-2). */
const MP_TS = 0xa;

export const x87Control: readonly Instruction[] = [
  control('fldcw', 'd9 /5 m16', (o, m) => {
    setControl(o, needed(m).get());
    x87(o, 'x87_set_status', o.get('fsw'));
  }),
  control('fnstcw', 'd9 /7 m16', (o, m) => {
    needed(m).set(o.get('fcw'));
  }),
  control('fnstsw', 'dd /7 m16', (o, m) => {
    needed(m).set(o.get('fsw'));
  }),
  control('fnstsw', 'df e0 ax', (o, ax) => {
    needed(ax).set(o.get('fsw'));
  }),
  control('fnclex', 'db e2', (o) => {
    o.set('fsw', o.and(o.get('fsw'), o.k(FSW_KEPT_BY_CLEX)));
  }),
  control('fninit', 'db e3', initialize),
  control('fldenv', 'd9 /4 m; v', (o, m, w) => {
    readEnds(o, w, needed(m), environmentBytes(w));
    setEnvironment(o, loadEnvironment(o, w, needed(m)));
  }),
  control('fnstenv', 'd9 /6 m; v', (o, operand, w) => {
    const m = needed(operand);
    probeEnds(o, w, m, environmentBytes(w));
    storeEnvironment(o, w, m);
    // "… then masks all floating-point exceptions" (SDM Vol. 2A FSTENV).
    o.set('fcw', o.or(o.get('fcw'), o.k(0x3f)));
    x87(o, 'x87_set_status', o.get('fsw'));
  }),
  control('frstor', 'dd /4 m; v', (o, operand, w) => {
    const m = needed(operand);
    const base = environmentBytes(w);
    readEnds(o, w, m, base + REGISTER_BYTES);
    const environment = loadEnvironment(o, w, m);
    const registers = ST.map((i) => ({
      low: o.load(64, at(o, m, base + 10 * i), m.seg),
      high: o.load(16, at(o, m, base + 10 * i + 8), m.seg),
    }));
    setEnvironment(o, environment);
    registers.forEach(({ low, high }, i) => x87(o, 'x87_poke', i, low, high));
  }),
  control('fnsave', 'dd /6 m; v', (o, operand, w) => {
    const m = needed(operand);
    const base = environmentBytes(w);
    probeEnds(o, w, m, base + REGISTER_BYTES);
    storeEnvironment(o, w, m);
    for (const i of ST) {
      o.store(64, at(o, m, base + 10 * i), x87(o, 'x87_peek', i, 0), m.seg);
      o.store(16, at(o, m, base + 10 * i + 8), x87(o, 'x87_peek', i, 1), m.seg);
    }
    initialize(o);
  }),
  control('fincstp', 'd9 f7', (o) => x87(o, 'x87_rotate', 1)),
  control('fdecstp', 'd9 f6', (o) => x87(o, 'x87_rotate', -1)),
  control('ffree', 'dd /0 sti', (o, st) => x87(o, 'x87_free', needed(st).index(), 0)),
  control('ffreep', 'df /0 sti', (o, st) => x87(o, 'x87_free', needed(st).index(), 1)),
  control('fneni', 'db e0', nothing),
  control('fndisi', 'db e1', nothing),
  control('fnsetpm', 'db e4', nothing),
  // Waits, its name notwithstanding (SDM Vol. 1 §8.3.11).
  waiting({ mnemonic: 'fnop', encodings: ['d9 d0'], run: nothing }),
  {
    mnemonic: 'wait',
    doc: 'SDM 2A WAIT/FWAIT',
    encodings: ['9b'],
    semantics(o) {
      const both = o.cmp('eq', o.and(o.get('cr0'), o.k(MP_TS)), o.k(MP_TS));
      o.if(both, () => o.raise(VECTOR.NM));
      wait(o);
    },
  },
];
