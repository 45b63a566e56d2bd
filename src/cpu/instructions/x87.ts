import { ARITH, BINARY, CONSTANT_NAMES, MEM, SPLIT, UNARY } from '../helpers/x87';
import type { Instruction } from '../instruction';
import type { Operand, Ops, Value } from '../ops';
import { CONDITIONS } from './flags';
import { needed, waiting, x87 } from './x87-frame';

/**
 * x87 arithmetic, comparison and moves (SDM Vol. 1 ch. 8). The work is done by helpers over the exact floating
 * point of softfloat/; memory is accessed here, before anything changes.
 *
 * Encodings that the manuals reserve but every processor executes as aliases (DC D0+i = FCOM and relatives)
 * are declared with the instruction they alias.
 */

const digitOf = (name: keyof typeof DIGITS): number => DIGITS[name];
const DIGITS = { add: 0, mul: 1, sub: 4, subr: 5, div: 6, divr: 7 } as const;
/** DC and DE register forms, whose destination is st(i), have the reverse operations change places. */
const SWAPPED = { add: 0, mul: 1, sub: 5, subr: 4, div: 7, divr: 6 } as const;
const NAMES = Object.keys(DIGITS) as (keyof typeof DIGITS)[];

const hex = (digit: number): string => `/${String(digit)}`;

const arithmetic: readonly Instruction[] = NAMES.flatMap((name) => {
  const op = ARITH[name];
  const memory = (mnemonic: string, opcode: string, word: string, kind: number): Instruction =>
    waiting({
      mnemonic,
      encodings: [`${opcode} ${hex(digitOf(name))} ${word}`],
      run: (o, m) => x87(o, 'x87_arith_mem', op, kind, needed(m).get()),
    });
  const register = (
    mnemonic: string,
    opcode: string,
    digit: number,
    toTop: boolean,
    pops: number,
  ): Instruction =>
    waiting({
      mnemonic,
      encodings: [`${opcode} ${hex(digit)} sti`],
      run: (o, st) => {
        const i = needed(st).index();
        x87(o, 'x87_arith', op, toTop ? 0 : i, toTop ? i : 0, pops);
      },
    });
  return [
    memory(`f${name}`, 'd8', 'm32', MEM.f32),
    memory(`f${name}`, 'dc', 'm64', MEM.f64),
    memory(`fi${name}`, 'de', 'm16', MEM.i16),
    memory(`fi${name}`, 'da', 'm32', MEM.i32),
    register(`f${name}`, 'd8', DIGITS[name], true, 0),
    register(`f${name}`, 'dc', SWAPPED[name], false, 0),
    register(`f${name}p`, 'de', SWAPPED[name], false, 1),
  ];
});

const compareMemory = (mnemonic: string, encoding: string, kind: number, pops: number): Instruction =>
  waiting({
    mnemonic,
    encodings: [encoding],
    run: (o, m) => x87(o, 'x87_compare_mem', kind, needed(m).get(), pops),
  });
const compareRegister = (mnemonic: string, encodings: string[], quiet: number, pops: number): Instruction =>
  waiting({
    mnemonic,
    encodings,
    // FCOMPP and FUCOMPP have no operand: they mean st(1).
    run: (o, st) => x87(o, 'x87_compare', st?.index() ?? 1, quiet, pops),
  });

/** FCOMI and relatives: ZF, PF, CF as COMISS sets them; OF, SF, AF cleared. */
const compareFlags = (mnemonic: string, encoding: string, quiet: number, pops: number): Instruction =>
  waiting({
    mnemonic,
    encodings: [encoding],
    run: (o, st) => {
      const eflags = x87(o, 'x87_compare_flags', needed(st).index(), quiet, pops);
      const unset = (bit: number): Value => o.eqz(o.and(eflags, o.k(bit)));
      o.set('cf', o.and(eflags, o.k(1)));
      o.set('zf', unset(0x40));
      o.set('pf', unset(4));
      for (const slot of ['of', 'sf', 'af'] as const) o.set(slot, o.k(0));
    },
  });

const comparison: readonly Instruction[] = [
  compareMemory('fcom', 'd8 /2 m32', MEM.f32, 0),
  compareMemory('fcom', 'dc /2 m64', MEM.f64, 0),
  compareMemory('fcomp', 'd8 /3 m32', MEM.f32, 1),
  compareMemory('fcomp', 'dc /3 m64', MEM.f64, 1),
  compareMemory('ficom', 'de /2 m16', MEM.i16, 0),
  compareMemory('ficom', 'da /2 m32', MEM.i32, 0),
  compareMemory('ficomp', 'de /3 m16', MEM.i16, 1),
  compareMemory('ficomp', 'da /3 m32', MEM.i32, 1),
  compareRegister('fcom', ['d8 /2 sti', 'dc /2 sti'], 0, 0),
  compareRegister('fcomp', ['d8 /3 sti', 'dc /3 sti', 'de /2 sti'], 0, 1),
  compareRegister('fcompp', ['de d9'], 0, 2),
  compareRegister('fucom', ['dd /4 sti'], 1, 0),
  compareRegister('fucomp', ['dd /5 sti'], 1, 1),
  compareRegister('fucompp', ['da e9'], 1, 2),
  compareFlags('fcomi', 'db /6 sti', 0, 0),
  compareFlags('fcomip', 'df /6 sti', 0, 1),
  compareFlags('fucomi', 'db /5 sti', 1, 0),
  compareFlags('fucomip', 'df /5 sti', 1, 1),
  waiting({ mnemonic: 'ftst', encodings: ['d9 e4'], run: (o) => x87(o, 'x87_test') }),
  waiting({ mnemonic: 'fxam', encodings: ['d9 e5'], run: (o) => x87(o, 'x87_examine') }),
];

const simple = (
  mnemonic: string,
  encoding: string,
  helper: 'x87_unary' | 'x87_binary' | 'x87_split',
  n: number,
): Instruction => waiting({ mnemonic, encodings: [encoding], run: (o) => x87(o, helper, n) });

const functions: readonly Instruction[] = [
  simple('fchs', 'd9 e0', 'x87_unary', UNARY.chs),
  simple('fabs', 'd9 e1', 'x87_unary', UNARY.abs),
  simple('f2xm1', 'd9 f0', 'x87_unary', UNARY.f2xm1),
  simple('fyl2x', 'd9 f1', 'x87_binary', BINARY.yl2x),
  simple('fptan', 'd9 f2', 'x87_split', SPLIT.tan),
  simple('fpatan', 'd9 f3', 'x87_binary', BINARY.patan),
  simple('fxtract', 'd9 f4', 'x87_split', SPLIT.xtract),
  simple('fprem1', 'd9 f5', 'x87_binary', BINARY.prem1),
  simple('fprem', 'd9 f8', 'x87_binary', BINARY.prem),
  simple('fyl2xp1', 'd9 f9', 'x87_binary', BINARY.yl2xp1),
  simple('fsqrt', 'd9 fa', 'x87_unary', UNARY.sqrt),
  simple('fsincos', 'd9 fb', 'x87_split', SPLIT.sincos),
  simple('frndint', 'd9 fc', 'x87_unary', UNARY.rndint),
  simple('fscale', 'd9 fd', 'x87_binary', BINARY.scale),
  simple('fsin', 'd9 fe', 'x87_unary', UNARY.sin),
  simple('fcos', 'd9 ff', 'x87_unary', UNARY.cos),
  ...CONSTANT_NAMES.map((mnemonic, n) =>
    waiting({ mnemonic, encodings: [`d9 e${(8 + n).toString(16)}`], run: (o) => x87(o, 'x87_constant', n) }),
  ),
];

/** Bytes 8 and 9 of an 80-bit memory operand. */
const upper = (o: Ops, m: Operand): Value => o.add(m.address(), o.k(8));

const load = (mnemonic: string, encoding: string, kind: number): Instruction =>
  waiting({
    mnemonic,
    encodings: [encoding],
    run: (o, operand) => {
      const m = needed(operand);
      if (m.width !== 80) return x87(o, 'x87_load', kind, m.get());
      const low = o.load(64, m.address(), m.seg);
      return x87(o, 'x87_load', kind, low, o.load(16, upper(o, m), m.seg));
    },
  });

/** The memory is probed first, then the register stack decides, then memory is written: nothing is half done. */
const store = (mnemonic: string, encoding: string, kind: number, pops: number): Instruction =>
  waiting({
    mnemonic,
    encodings: [encoding],
    run: (o, operand) => {
      const m = needed(operand);
      o.probeWrite(m.width / 8, m.address(), m.seg);
      const low = x87(o, 'x87_stored', kind, 0);
      const high = m.width === 80 ? x87(o, 'x87_stored', kind, 1) : undefined;
      o.if(x87(o, 'x87_store', kind, pops), () => {
        if (high === undefined) {
          m.set(low);
          return;
        }
        o.store(64, m.address(), low, m.seg);
        o.store(16, upper(o, m), high, m.seg);
      });
    },
  });

const byRegister = (mnemonic: string, encodings: string[], run: (o: Ops, i: Value) => void): Instruction =>
  waiting({ mnemonic, encodings, run: (o, st) => run(o, needed(st).index()) });

/** FCMOVcc: condition code numbers of flags.ts. */
const MOVES = [
  ['fcmovb', 'da /0', 2], ['fcmove', 'da /1', 4], ['fcmovbe', 'da /2', 6], ['fcmovu', 'da /3', 10],
  ['fcmovnb', 'db /0', 3], ['fcmovne', 'db /1', 5], ['fcmovnbe', 'db /2', 7], ['fcmovnu', 'db /3', 11],
] as const; // prettier-ignore

function condition(o: Ops, n: number): Value {
  const row = CONDITIONS[n];
  if (row === undefined) throw new RangeError(`condition ${String(n)}`);
  return row.test(o);
}

const moves: readonly Instruction[] = [
  load('fld', 'd9 /0 m32', MEM.f32),
  load('fld', 'dd /0 m64', MEM.f64),
  load('fld', 'db /5 m80', MEM.f80),
  load('fild', 'df /0 m16', MEM.i16),
  load('fild', 'db /0 m32', MEM.i32),
  load('fild', 'df /5 m64', MEM.i64),
  load('fbld', 'df /4 m80', MEM.bcd),
  store('fst', 'd9 /2 m32', MEM.f32, 0),
  store('fst', 'dd /2 m64', MEM.f64, 0),
  store('fstp', 'd9 /3 m32', MEM.f32, 1),
  store('fstp', 'dd /3 m64', MEM.f64, 1),
  store('fstp', 'db /7 m80', MEM.f80, 1),
  store('fist', 'df /2 m16', MEM.i16, 0),
  store('fist', 'db /2 m32', MEM.i32, 0),
  store('fistp', 'df /3 m16', MEM.i16, 1),
  store('fistp', 'db /3 m32', MEM.i32, 1),
  store('fistp', 'df /7 m64', MEM.i64, 1),
  store('fbstp', 'df /6 m80', MEM.bcd, 1),
  byRegister('fld', ['d9 /0 sti'], (o, i) => x87(o, 'x87_load_register', i)),
  byRegister('fst', ['dd /2 sti'], (o, i) => x87(o, 'x87_move', i, 0)),
  byRegister('fstp', ['dd /3 sti', 'df /2 sti', 'df /3 sti'], (o, i) => x87(o, 'x87_move', i, 1)),
  byRegister('fxch', ['d9 /1 sti', 'dd /1 sti', 'df /1 sti'], (o, i) => x87(o, 'x87_exchange', i)),
  ...MOVES.map(([mnemonic, opcode, n]) =>
    byRegister(mnemonic, [`${opcode} sti`], (o, i) => x87(o, 'x87_select', i, condition(o, n))),
  ),
];

export const x87Instructions: readonly Instruction[] = [...arithmetic, ...comparison, ...functions, ...moves];
