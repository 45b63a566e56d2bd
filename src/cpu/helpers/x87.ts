/**
 * The x87 instructions' arithmetic, as helpers. Each takes the instruction from the register stack and the
 * operand values to results, tags and status word; memory belongs to the semantics in instructions/x87*.ts.
 *
 * An unmasked invalid, denormal or zero-divide leaves destination and stack as they were; an unmasked overflow,
 * underflow or precision still delivers (SDM Vol. 1 §8.5). Delivery of #MF is at the next waiting instruction.
 */
import * as fp from '../softfloat';
import type { Helper } from './context';
import {
  FSW, FSW_CODES, type HelperState, type Step, abridge, begin, finish, free, fullTags, isEmpty, peek, poke, pop, proceeds, push, put,
  rotate, setStatus, stackFault, statusOf, stores,
} from './x87-stack'; // prettier-ignore

const { f32, f64, f80, Relation } = fp;
const INDEFINITE = f80.indefinite;
const int = (v: bigint | undefined): number => Number(v ?? 0n);

/** Numbers of the two-operand operations, as arguments from the semantics. */
export const ARITH = { add: 0, mul: 1, sub: 2, subr: 3, div: 4, divr: 5 } as const;
type Operate = (f: fp.Format, a: bigint, b: bigint, env: fp.FpEnv, fa?: fp.Format, fb?: fp.Format) => bigint;
const swapped =
  (op: Operate): Operate =>
  (f, a, b, env, fa = f, fb = f) => op(f, b, a, env, fb, fa); // prettier-ignore
/** By number: destination (first) and source. */
const OPERATIONS: readonly Operate[] = [fp.add, fp.mul, fp.sub, swapped(fp.sub), fp.div, swapped(fp.div)];

/** Memory operand kinds, as arguments from the semantics. */
export const MEM = { f32: 0, f64: 1, i16: 2, i32: 3, i64: 4, f80: 5, bcd: 6 } as const;
interface Source {
  readonly format: fp.Format;
  readonly encoding: bigint;
}
const integer = (width: number) => (v: bigint): Source => ({ format: f80, encoding: fp.widenInteger(BigInt.asIntN(width, v)) }); // prettier-ignore
/** A memory operand for arithmetic and comparison: integers widen exactly, floats keep their format. */
const SOURCES: readonly ((v: bigint) => Source)[] = [
  (v) => ({ format: f32, encoding: v }),
  (v) => ({ format: f64, encoding: v }),
  integer(16),
  integer(32),
  integer(64),
];

function pick<T>(table: readonly T[], n: bigint | undefined): T {
  const entry = table[int(n)];
  if (entry === undefined) throw new RangeError(`x87 helper table has no entry ${String(n)}`);
  return entry;
}

/** st(dst) = st(dst) op source, then pops. An absent source is an empty register. */
function arithmetic(
  s: HelperState,
  op: Operate,
  dst: number,
  source: Source | undefined,
  pops: number,
): bigint {
  const step = begin(s);
  if (isEmpty(s, dst) || source === undefined) {
    if (stackFault(step, false)) {
      put(s, dst, INDEFINITE);
      pop(s, pops);
    }
  } else {
    const result = op(f80, peek(s, dst), source.encoding, step.env, f80, source.format);
    if (proceeds(step)) {
      put(s, dst, result);
      pop(s, pops);
    }
  }
  finish(s, step);
  return 0n;
}

const registerSource = (s: HelperState, i: number): Source | undefined =>
  isEmpty(s, i) ? undefined : { format: f80, encoding: peek(s, i) };

const CODES = {
  [Relation.less]: FSW.C0,
  [Relation.equal]: FSW.C3,
  [Relation.greater]: 0,
  [Relation.unordered]: FSW.C0 | FSW.C2 | FSW.C3,
} as const;

/** Compare st(0) with a source; the relation, or unordered with a stack fault for an empty register. */
function relate(s: HelperState, step: Step, source: Source | undefined, quiet: boolean): fp.Relation {
  if (source === undefined || isEmpty(s, 0)) {
    stackFault(step, false);
    return Relation.unordered;
  }
  return fp.compare(f80, peek(s, 0), source.encoding, step.env, !quiet, source.format);
}

function compare(s: HelperState, source: Source | undefined, quiet: boolean, pops: number): bigint {
  const step = begin(s, FSW_CODES);
  step.codes |= CODES[relate(s, step, source, quiet)];
  if (proceeds(step)) pop(s, pops);
  finish(s, step);
  return 0n;
}

/** CF, PF, ZF at their places in EFLAGS. */
const EFLAGS = {
  [Relation.less]: 1n,
  [Relation.equal]: 0x40n,
  [Relation.greater]: 0n,
  [Relation.unordered]: 0x45n,
} as const;

/** Push a value unless the stack is full. */
function load(s: HelperState, value: (env: fp.FpEnv) => bigint): bigint {
  const step = begin(s);
  if (!isEmpty(s, -1)) {
    if (stackFault(step, true)) push(s, INDEFINITE);
  } else {
    const encoding = value(step.env);
    // An unmasked denormal operand does not keep FLD from loading: measured.
    if ((fp.unmaskedPending(step.env) & fp.INVALID) === 0) push(s, encoding);
  }
  step.env.roundedUp = false;
  finish(s, step);
  return 0n;
}

/** By MEM kind; `high` holds bits 64-79 of 80-bit operands. */
const LOADS: readonly ((low: bigint, high: bigint, env: fp.FpEnv) => bigint)[] = [
  (v, _, env) => fp.convert(f32, f80, v, env),
  (v, _, env) => fp.convert(f64, f80, v, env),
  (v) => fp.widenInteger(BigInt.asIntN(16, v)),
  (v) => fp.widenInteger(BigInt.asIntN(32, v)),
  (v) => fp.widenInteger(BigInt.asIntN(64, v)),
  (low, high) => (high << 64n) | low,
  (low, high, env) => fp.fromBcd(f80, (high << 64n) | low, env),
];

/** What a store makes of st(0), by number; STORE below names them. */
const STORES: readonly ((a: bigint, env: fp.FpEnv) => bigint)[] = [
  (a, env) => fp.storeNarrow(f32, a, env),
  (a, env) => fp.storeNarrow(f64, a, env),
  (a, env) => fp.toInteger(f80, a, 16, env),
  (a, env) => fp.toInteger(f80, a, 32, env),
  (a, env) => fp.toInteger(f80, a, 64, env),
  (a) => a,
  (a, env) => fp.toBcd(f80, a, env),
];
/** The masked answer of a store from an empty register: the format's indefinite. */
const STORED_INDEFINITE: readonly bigint[] = [
  f32.indefinite, f64.indefinite, 0x8000n, 0x80000000n, 1n << 63n, INDEFINITE, 0xffffc000000000000000n,
]; // prettier-ignore

function stored(s: HelperState, step: Step, kind: bigint | undefined): bigint {
  if (!isEmpty(s, 0)) return pick(STORES, kind)(peek(s, 0), step.env);
  stackFault(step, false);
  return pick(STORED_INDEFINITE, kind);
}

/** An operation and the condition codes it writes even when the stack faults. */
interface Coded<Run> {
  readonly codes: number;
  readonly run: Run;
}

/** Trigonometric operations write C2 whatever happens. */
const TRIG_CODES = FSW.C1 | FSW.C2;

/** One-operand operations on st(0), by number. They answer with the new st(0) and may set condition codes. */
export const UNARY = { chs: 0, abs: 1, sqrt: 2, rndint: 3, f2xm1: 4, sin: 5, cos: 6 } as const;
const UNARIES: readonly Coded<(a: bigint, step: Step) => bigint>[] = [
  { codes: FSW.C1, run: (a) => a ^ f80.signBit },
  { codes: FSW.C1, run: (a) => a & ~f80.signBit },
  { codes: FSW.C1, run: (a, { env }) => fp.sqrt(f80, a, env) },
  { codes: FSW.C1, run: (a, { env }) => fp.rndint(a, env) },
  { codes: FSW.C1, run: (a, { env }) => fp.f2xm1(a, env) },
  { codes: TRIG_CODES, run: (a, step) => angle(step, fp.sin(a, step.env)) },
  { codes: TRIG_CODES, run: (a, step) => angle(step, fp.cos(a, step.env)) },
];

/** C2 tells whether the operand of a trigonometric instruction was out of range (SDM Vol. 1 §8.3.8). */
function angle(step: Step, a: fp.Angle): bigint {
  if (a.outOfRange) step.codes |= FSW.C2;
  return a.result;
}

/** Operations on st(0) and st(1), by number. */
export const BINARY = { scale: 0, prem: 1, prem1: 2, yl2x: 3, yl2xp1: 4, patan: 5 } as const;
const remainder = (op: typeof fp.prem) => (a: bigint, b: bigint, step: Step): bigint => {
  const { result, quotient, partial, complete } = op(a, b, step.env);
  step.env.roundedUp = false;
  if (complete || partial) step.codesMask |= FSW_CODES;
  step.codes |= (partial ? FSW.C2 : 0) | (quotient & 1 ? FSW.C1 : 0) | (quotient & 2 ? FSW.C3 : 0) | (quotient & 4 ? FSW.C0 : 0);
  return result;
}; // prettier-ignore
/** With `pops`, the result goes to st(1) and st(0) is popped. */
interface Binary extends Coded<(st0: bigint, st1: bigint, step: Step) => bigint> {
  readonly pops: boolean;
}
const REMAINDER_CODES = FSW.C1 | FSW.C2;
const BINARIES: readonly Binary[] = [
  { codes: FSW.C1, pops: false, run: (a, b, { env }) => fp.scale(a, b, env) },
  { codes: REMAINDER_CODES, pops: false, run: remainder(fp.prem) },
  { codes: REMAINDER_CODES, pops: false, run: remainder(fp.prem1) },
  { codes: FSW.C1, pops: true, run: (x, y, { env }) => fp.yl2x(y, x, env) },
  { codes: FSW.C1, pops: true, run: (x, y, { env }) => fp.yl2xp1(y, x, env) },
  { codes: FSW.C1, pops: true, run: (x, y, { env }) => fp.patan(y, x, env) },
];

/** Operations that replace st(0) and push a second result, by number. */
export const SPLIT = { tan: 0, sincos: 1, xtract: 2 } as const;
interface Pair {
  readonly replaces: bigint;
  /** Absent: nothing is pushed (operand out of range). */
  readonly pushes: bigint | undefined;
}
const SPLITS: readonly Coded<(a: bigint, step: Step) => Pair>[] = [
  {
    codes: TRIG_CODES,
    run: (a, step) => {
      const t = fp.ptan(a, step.env);
      return { replaces: angle(step, t), pushes: t.outOfRange ? undefined : t.pushed };
    },
  },
  {
    codes: TRIG_CODES,
    run: (a, step) => {
      const t = fp.sincos(a, step.env);
      return {
        replaces: angle(step, { result: t.sin, outOfRange: t.outOfRange }),
        pushes: t.outOfRange ? undefined : t.cos,
      };
    },
  },
  {
    codes: FSW.C1,
    run: (a, step) => {
      const { exponent, significand } = fp.xtract(a, step.env);
      return { replaces: exponent, pushes: significand };
    },
  },
];

function split(s: HelperState, { codes, run }: (typeof SPLITS)[number]): bigint {
  const step = begin(s, codes);
  const underflow = isEmpty(s, 0);
  if (underflow || !isEmpty(s, -1)) {
    if (stackFault(step, !underflow)) {
      put(s, 0, INDEFINITE);
      push(s, INDEFINITE);
    }
  } else {
    const { replaces, pushes } = run(peek(s, 0), step);
    if (proceeds(step)) {
      put(s, 0, replaces);
      if (pushes !== undefined) push(s, pushes);
    }
  }
  finish(s, step);
  return 0n;
}

export const CONSTANT_NAMES = [
  'fld1',
  'fldl2t',
  'fldl2e',
  'fldpi',
  'fldlg2',
  'fldln2',
  'fldz',
] as const satisfies readonly fp.Constant[];

/** Copy st(0) to st(i), or exchange: the moves that know no exception but an empty source. */
function move(s: HelperState, i: number, pops: number): bigint {
  const step = begin(s);
  const empty = isEmpty(s, 0);
  if (!empty || stackFault(step, false)) {
    put(s, i, empty ? INDEFINITE : peek(s, 0));
    pop(s, pops);
  }
  finish(s, step);
  return 0n;
}

function exchange(s: HelperState, i: number): bigint {
  const step = begin(s);
  const fault = isEmpty(s, 0) || isEmpty(s, i);
  if (!fault || stackFault(step, false)) {
    const a = isEmpty(s, 0) ? INDEFINITE : peek(s, 0);
    const b = isEmpty(s, i) ? INDEFINITE : peek(s, i);
    put(s, 0, b);
    put(s, i, a);
  }
  finish(s, step);
  return 0n;
}

function examine(s: HelperState): bigint {
  const step = begin(s, FSW_CODES);
  const a = peek(s, 0);
  const kind = isEmpty(s, 0) ? 5 : fp.examine(f80, a);
  step.codes =
    (kind & 4 ? FSW.C3 : 0) |
    (kind & 2 ? FSW.C2 : 0) |
    (kind & 1 ? FSW.C0 : 0) |
    (a & f80.signBit ? FSW.C1 : 0);
  finish(s, step);
  return 0n;
}

/** Every x87 helper. Arguments are named where each is called, in instructions/x87*.ts. */
export const X87_HELPERS = {
  x87_arith: (s, op, dst, src, pops) =>
    arithmetic(s, pick(OPERATIONS, op), int(dst), registerSource(s, int(src)), int(pops)),
  x87_arith_mem: (s, op, kind, v = 0n) => arithmetic(s, pick(OPERATIONS, op), 0, pick(SOURCES, kind)(v), 0),
  x87_compare: (s, i, quiet, pops) => compare(s, registerSource(s, int(i)), quiet === 1n, int(pops)),
  x87_compare_mem: (s, kind, v = 0n, pops = 0n) => compare(s, pick(SOURCES, kind)(v), false, int(pops)),
  x87_test: (s) => compare(s, { format: f80, encoding: 0n }, false, 0),
  /** Answers with CF, PF, ZF. */
  x87_compare_flags: (s, i, quiet, pops) => {
    // C1 stays, but for a stack fault: measured; the SDM has it cleared then only, too.
    const step = begin(s, 0);
    const relation = relate(s, step, registerSource(s, int(i)), quiet === 1n);
    if (proceeds(step)) pop(s, int(pops));
    finish(s, step);
    return EFLAGS[relation];
  },
  x87_examine: examine,
  x87_load: (s, kind, low = 0n, high = 0n) => load(s, (env) => pick(LOADS, kind)(low, high, env)),
  x87_load_register: (s, i) => {
    const step = begin(s);
    const empty = isEmpty(s, int(i));
    const fault = empty || !isEmpty(s, -1);
    if (fault ? stackFault(step, !empty) : true) push(s, fault ? INDEFINITE : peek(s, int(i)));
    finish(s, step);
    return 0n;
  },
  x87_constant: (s, n) => load(s, (env) => fp.constant(pick(CONSTANT_NAMES, n), env)),
  /** Bits 0-63 or (part 1) 64-79 of what a store would write; changes nothing. */
  x87_stored: (s, kind, part) => {
    const value = stored(s, begin(s), kind);
    return part === 1n ? value >> 64n : BigInt.asUintN(64, value);
  },
  /** The rest of a store: status word and pops. Answers 1 when memory is to be written. */
  x87_store: (s, kind, pops) => {
    const step = begin(s);
    stored(s, step, kind);
    const writes = stores(step);
    if (writes) pop(s, int(pops));
    finish(s, step);
    return writes ? 1n : 0n;
  },
  x87_move: (s, i, pops) => move(s, int(i), int(pops)),
  x87_exchange: (s, i) => exchange(s, int(i)),
  /** FCMOVcc; the condition is an argument. */
  x87_select: (s, i, condition) => {
    const step = begin(s, 0);
    if (isEmpty(s, 0) || isEmpty(s, int(i))) {
      if (stackFault(step, false)) put(s, 0, INDEFINITE);
    } else if (condition !== 0n) put(s, 0, peek(s, int(i)));
    finish(s, step);
    return 0n;
  },
  x87_unary: (s, n) => {
    const { codes, run } = pick(UNARIES, n);
    const step = begin(s, codes);
    if (isEmpty(s, 0)) {
      if (stackFault(step, false)) put(s, 0, INDEFINITE);
    } else {
      const result = run(peek(s, 0), step);
      if (proceeds(step)) put(s, 0, result);
    }
    finish(s, step);
    return 0n;
  },
  x87_binary: (s, n) => {
    const { codes, pops, run } = pick(BINARIES, n);
    const step = begin(s, codes);
    const empty = isEmpty(s, 0) || isEmpty(s, 1);
    const result = empty ? INDEFINITE : run(peek(s, 0), peek(s, 1), step);
    if (empty ? stackFault(step, false) : proceeds(step)) {
      put(s, pops ? 1 : 0, result);
      if (pops) pop(s);
    }
    finish(s, step);
    return 0n;
  },
  x87_split: (s, n) => split(s, pick(SPLITS, n)),
  /** FINCSTP (1), FDECSTP (-1): TOP alone. */
  x87_rotate: (s, by = 0n) => {
    rotate(s, Number(BigInt.asIntN(64, by)));
    s.set('fsw', BigInt(statusOf(s) & ~FSW.C1));
    return 0n;
  },
  x87_free: (s, i, pops) => {
    free(s, int(i));
    s.set('fsw', BigInt(statusOf(s) & ~FSW.C1));
    pop(s, int(pops));
    return 0n;
  },
  /** Status word as given, ES and B made to fit the control word. */
  x87_set_status: (s, fsw) => {
    setStatus(s, int(fsw));
    return 0n;
  },
  x87_tags: (s) => BigInt(fullTags(s)),
  x87_set_tags: (s, tags) => {
    s.set('ftw', BigInt(abridge(int(tags))));
    return 0n;
  },
  /** Raw st(i), bits 0-63 or (part 1) 64-79, for FSAVE and FXSAVE. */
  x87_peek: (s, i, part) => (part === 1n ? peek(s, int(i)) >> 64n : BigInt.asUintN(64, peek(s, int(i)))),
  x87_poke: (s, i, low = 0n, high = 0n) => {
    poke(s, int(i), ((high & 0xffffn) << 64n) | low);
    return 0n;
  },
} as const satisfies Record<string, Helper>;

export type X87Helper = keyof typeof X87_HELPERS;
