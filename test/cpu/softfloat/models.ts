/**
 * What each operation of scripts/native/softfloat.c should answer, by the software
 * floating point: one table for the live comparison and the recorded vectors.
 */
import * as s from '../../../src/cpu/softfloat';
import type { OperandKind } from './operands';

const { f32, f64, f80 } = s;

export interface Answer {
  /** Register, memory and flag results; what is left out is not compared. */
  r0?: bigint;
  r1?: bigint;
  mem?: bigint;
  /** MXCSR exception flags, or FSW exception flags and condition codes. */
  status: number;
  extra?: number;
}

export interface Model {
  readonly unit: 'sse' | 'x87';
  readonly a: OperandKind;
  readonly b: OperandKind;
  /** Share of cases in which b is derived from a. */
  readonly related: boolean;
  /** Bits compared in r0, r1 and mem. */
  readonly bits: readonly [number, number, number];
  /** FSW bits that are compared. */
  readonly statusMask: number;
  /** Results may differ from hardware by one unit in the last place. */
  readonly loose: boolean;
  run(a: bigint, b: bigint, control: number): Answer;
}

export const models = new Map<string, Model>();

const XM = 0x80000000;
const low = (bits: number, value: bigint): bigint => BigInt.asUintN(bits, value);

function sse(
  name: string,
  a: OperandKind,
  b: OperandKind,
  bits: Model['bits'],
  run: (a: bigint, b: bigint, env: s.FpEnv) => Partial<Answer>,
): void {
  models.set(name, {
    unit: 'sse',
    a,
    b,
    related: a === b,
    bits,
    statusMask: 0x3f,
    loose: false,
    run(x, y, control) {
      const env = s.envFromMxcsr(control);
      const answer = run(x, y, env);
      const status = env.flags;
      if (s.unmaskedPending(env) !== 0) {
        return {
          status,
          extra: XM,
          ...(bits[0] > 0 ? { r0: low(bits[0], x) } : {}),
          ...(bits[2] > 0 ? { mem: y } : {}),
        };
      }
      return { extra: 0, ...answer, status };
    },
  });
}

const scalar = [
  [f32, 's', 'ss'],
  [f64, 'd', 'sd'],
] as const;
type BinaryOp = (f: s.Format, a: bigint, b: bigint, env: s.FpEnv) => bigint;
const binaries: Record<string, BinaryOp> = {
  add: s.add,
  sub: s.sub,
  mul: s.mul,
  div: s.div,
  min: s.min,
  max: s.max,
  sqrt: (f, _, b, env) => s.sqrt(f, b, env),
};
/** ZF, PF, CF as COMISS and FCOMI set them. */
const EFLAGS = {
  [s.Relation.less]: 1,
  [s.Relation.equal]: 0x40,
  [s.Relation.greater]: 0,
  [s.Relation.unordered]: 0x45,
} as const;

for (const [f, , suffix] of scalar) {
  const n = f.bits;
  for (const [name, op] of Object.entries(binaries)) {
    sse(name + suffix, f.name, f.name, [n, 0, 0], (a, b, env) => ({ r0: op(f, low(n, a), low(n, b), env) }));
  }
  for (let imm = 0; imm < 8; imm++) {
    sse(`cmp${suffix}${String(imm)}`, f.name, f.name, [n, 0, 0], (a, b, env) => ({
      r0: s.comparePredicate(f, low(n, a), low(n, b), imm, env) ? (1n << BigInt(n)) - 1n : 0n,
    }));
  }
  for (const signal of [true, false]) {
    sse((signal ? 'comi' : 'ucomi') + suffix, f.name, f.name, [0, 0, 0], (a, b, env) => ({
      extra: EFLAGS[s.compare(f, low(n, a), low(n, b), env, signal)],
    }));
  }
  for (const width of [32, 64] as const) {
    for (const truncate of [false, true]) {
      sse(
        `cvt${truncate ? 't' : ''}${suffix}2si${String(width)}`,
        f.name,
        f.name,
        [0, 0, width],
        (_, b, env) => ({
          mem: s.toInteger(f, low(n, b), width, env, truncate),
        }),
      );
    }
    sse(`cvtsi2${suffix}${String(width)}`, f.name, 'i64', [n, 0, 0], (_, b, env) => ({
      r0: s.fromInteger(f, BigInt.asIntN(width, b), env),
    }));
  }
}
sse('cvtss2sd', 'f64', 'f32', [64, 0, 0], (_, b, env) => ({ r0: s.convert(f32, f64, low(32, b), env) }));
sse('cvtsd2ss', 'f32', 'f64', [32, 0, 0], (_, b, env) => ({ r0: s.convert(f64, f32, low(64, b), env) }));

sse('rcpss', 'f32', 'f32', [32, 0, 0], (_, b) => ({ r0: s.reciprocalEstimate(low(32, b)) }));
sse('rsqrtss', 'f32', 'f32', [32, 0, 0], (_, b) => ({ r0: s.rsqrtEstimate(low(32, b)) }));

function packed(name: string, f: s.Format, op: BinaryOp): void {
  const kind = f === f32 ? 'packed32' : 'packed64';
  sse(name, kind, kind, [128, 0, 0], (a, b, env) => {
    let r0 = 0n;
    for (let at = 0; at < 128; at += f.bits) {
      const shift = BigInt(at);
      r0 |= op(f, low(f.bits, a >> shift), low(f.bits, b >> shift), env) << shift;
    }
    s.settlePacked(env);
    return { r0 };
  });
}
packed('addps', f32, s.add);
packed('divps', f32, s.div);
packed('sqrtps', f32, (f, _, b, env) => s.sqrt(f, b, env));
packed('mulpd', f64, s.mul);

const C0 = 0x100,
  C1 = 0x200,
  C2 = 0x400,
  C3 = 0x4000;
const EXCEPTIONS = 0x3f;

type X87 = Omit<Partial<Model>, 'run'> & { run(a: bigint, b: bigint, env: s.FpEnv): Partial<Answer> };

function x87(name: string, options: X87): void {
  models.set(name, {
    unit: 'x87',
    a: 'f80',
    b: 'f80',
    related: true,
    bits: [80, 80, 0],
    statusMask: EXCEPTIONS | C1,
    loose: false,
    ...options,
    run(a, b, control) {
      const env = s.envFromFcw(control);
      const x = low(80, a),
        y = low(80, b);
      const answer = options.run(x, y, env);
      const codes = answer.status ?? (env.roundedUp ? C1 : 0);
      if (s.suppressesResult(env) && !name.startsWith('fld'))
        return { r0: x, r1: y, status: env.flags | (codes & ~C1) };
      return { r1: y, ...answer, status: env.flags | codes };
    },
  });
}

x87('fadd', { run: (a, b, env) => ({ r0: s.add(f80, a, b, env) }) });
x87('fsub', { run: (a, b, env) => ({ r0: s.sub(f80, a, b, env) }) });
x87('fmul', { run: (a, b, env) => ({ r0: s.mul(f80, a, b, env) }) });
x87('fdiv', { run: (a, b, env) => ({ r0: s.div(f80, a, b, env) }) });
x87('fsqrt', { run: (a, _, env) => ({ r0: s.sqrt(f80, a, env) }) });
x87('frndint', { run: (a, _, env) => ({ r0: s.rndint(a, env) }) });
x87('fscale', { b: 'angle', related: false, run: (a, b, env) => ({ r0: s.scale(a, b, env) }) });
x87('fxtract', {
  run(a, b, env) {
    const { exponent, significand } = s.xtract(a, env);
    return s.suppressesResult(env) ? { r0: a, r1: b } : { r0: significand, r1: exponent };
  },
});
for (const [name, op] of [
  ['fprem', s.prem],
  ['fprem1', s.prem1],
] as const) {
  x87(name, {
    statusMask: EXCEPTIONS | C0 | C1 | C2 | C3,
    run(a, b, env) {
      const { result, quotient, partial } = op(a, b, env);
      return {
        r0: result,
        status:
          (partial ? C2 : 0) | (quotient & 1 ? C1 : 0) | (quotient & 2 ? C3 : 0) | (quotient & 4 ? C0 : 0),
      };
    },
  });
}
const CODES = {
  [s.Relation.less]: C0,
  [s.Relation.equal]: C3,
  [s.Relation.greater]: 0,
  [s.Relation.unordered]: C0 | C2 | C3,
} as const;
const codesMask = EXCEPTIONS | C0 | C1 | C2 | C3;
x87('fcom', {
  statusMask: codesMask,
  run: (a, b, env) => ({ r0: a, status: CODES[s.compare(f80, a, b, env, true)] }),
});
x87('fucom', {
  statusMask: codesMask,
  run: (a, b, env) => ({ r0: a, status: CODES[s.compare(f80, a, b, env, false)] }),
});
x87('ftst', {
  statusMask: codesMask,
  run: (a, _, env) => ({ r0: a, status: CODES[s.compare(f80, a, 0n, env, true)] }),
});
x87('fcomi', { run: (a, b, env) => ({ r0: a, extra: EFLAGS[s.compare(f80, a, b, env, true)] }) });
x87('fucomi', { run: (a, b, env) => ({ r0: a, extra: EFLAGS[s.compare(f80, a, b, env, false)] }) });
x87('fxam', {
  statusMask: codesMask,
  run(a) {
    const codes = s.examine(f80, a);
    return {
      r0: a,
      status: (a & f80.signBit ? C1 : 0) | (codes & 4 ? C3 : 0) | (codes & 2 ? C2 : 0) | (codes & 1 ? C0 : 0),
    };
  },
});
x87('fabs', { run: (a) => ({ r0: a & ~f80.signBit, status: 0 }) });
x87('fchs', { run: (a) => ({ r0: a ^ f80.signBit, status: 0 }) });

const transcendental: Omit<X87, 'run'> = { loose: true, related: false, statusMask: EXCEPTIONS | C2 };
const angle = { ...transcendental, a: 'angle' } as const;
x87('f2xm1', { ...transcendental, a: 'unit', run: (a, _, env) => ({ r0: s.f2xm1(a, env) }) });
/** The operations that pop: st(1) holds the result and becomes st(0), unless nothing happened. */
const popping =
  (op: (y: bigint, x: bigint, env: s.FpEnv) => bigint) =>
  (a: bigint, b: bigint, env: s.FpEnv): Partial<Answer> => {
    const r0 = op(b, a, env);
    return s.suppressesResult(env) ? {} : { r0 };
  };
x87('fyl2x', { ...transcendental, a: 'positive', bits: [80, 0, 0], run: popping(s.yl2x) });
x87('fyl2xp1', { ...transcendental, a: 'near1', bits: [80, 0, 0], run: popping(s.yl2xp1) });
x87('fpatan', { ...transcendental, related: true, bits: [80, 0, 0], run: popping(s.patan) });
for (const [name, op] of [
  ['fsin', s.sin],
  ['fcos', s.cos],
] as const) {
  x87(name, {
    ...angle,
    run(a, _, env) {
      const r = op(a, env);
      return { r0: r.result, status: r.outOfRange ? C2 : 0 };
    },
  });
}
x87('fsincos', {
  ...angle,
  run(a, b, env) {
    const r = s.sincos(a, env);
    return r.outOfRange ? { r0: a, r1: b, status: C2 } : { r0: r.cos, r1: r.sin };
  },
});
x87('fptan', {
  ...angle,
  run(a, b, env) {
    const r = s.ptan(a, env);
    return r.outOfRange ? { r0: a, r1: b, status: C2 } : { r0: r.pushed, r1: r.result };
  },
});

for (const name of ['fld1', 'fldl2t', 'fldl2e', 'fldpi', 'fldlg2', 'fldln2', 'fldz'] as const) {
  x87(name, { related: false, run: (a, _, env) => ({ r0: s.constant(name, env), r1: a, status: 0 }) });
}
const load = (name: string, b: OperandKind, value: (b: bigint, env: s.FpEnv) => bigint): void => {
  x87(name, {
    b,
    related: false,
    run(a, y, env) {
      const r0 = value(y, env);
      const stays = (s.unmaskedPending(env) & s.INVALID) !== 0;
      return stays ? { r0: a } : { r0, r1: a };
    },
  });
  const model = models.get(name);
  // A suppressed load leaves st(1) = b.
  if (model !== undefined) models.set(name, { ...model, bits: [80, 0, 0] });
};
load('fld32', 'f32', (b, env) => s.convert(f32, f80, low(32, b), env));
load('fld64', 'f64', (b, env) => s.convert(f64, f80, low(64, b), env));
load('fld80', 'f80', (b) => b);
for (const width of [16, 32, 64] as const) {
  load(`fild${String(width)}`, 'i64', (b, env) => s.fromInteger(f80, BigInt.asIntN(width, b), env));
}
load('fbld', 'bcd', (b, env) => s.fromBcd(f80, b, env));

const withMemory = (
  name: string,
  f: s.Format,
  op: (a: bigint, b: bigint, env: s.FpEnv) => Partial<Answer>,
  statusMask = EXCEPTIONS | C1,
): void => {
  x87(name, {
    b: f.name,
    related: false,
    bits: [80, 0, 0],
    statusMask,
    run: (a, b, env) => op(a, low(f.bits, b), env),
  });
};
withMemory('fadd32', f32, (a, b, env) => ({ r0: s.add(f80, a, b, env, f80, f32) }));
withMemory('fadd64', f64, (a, b, env) => ({ r0: s.add(f80, a, b, env, f80, f64) }));
withMemory('fmul32', f32, (a, b, env) => ({ r0: s.mul(f80, a, b, env, f80, f32) }));
withMemory('fmul64', f64, (a, b, env) => ({ r0: s.mul(f80, a, b, env, f80, f64) }));
withMemory('fdiv32', f32, (a, b, env) => ({ r0: s.div(f80, a, b, env, f80, f32) }));
withMemory('fdivr64', f64, (a, b, env) => ({ r0: s.div(f80, b, a, env, f64, f80) }));
withMemory(
  'fcom32',
  f32,
  (a, b, env) => ({ r0: a, status: CODES[s.compare(f80, a, b, env, true, f32)] }),
  codesMask,
);
withMemory(
  'fcom64',
  f64,
  (a, b, env) => ({ r0: a, status: CODES[s.compare(f80, a, b, env, true, f64)] }),
  codesMask,
);
x87('fiadd16', {
  b: 'i64',
  related: false,
  bits: [80, 0, 0],
  run: (a, b, env) => ({ r0: s.add(f80, a, s.widenInteger(BigInt.asIntN(16, b)), env) }),
});
x87('fidivr32', {
  b: 'i64',
  related: false,
  bits: [80, 0, 0],
  run: (a, b, env) => ({ r0: s.div(f80, s.widenInteger(BigInt.asIntN(32, b)), a, env) }),
});

const UNTOUCHED = BigInt(`0x${'cc'.repeat(16)}`);
/** Stores: an unmasked exception other than precision leaves memory alone. */
const store = (name: string, bits: number, value: (a: bigint, env: s.FpEnv) => bigint): void => {
  x87(name, {
    related: false,
    bits: [0, 0, bits],
    run(a, _, env) {
      const mem = value(a, env);
      return { mem: (s.unmaskedPending(env) & ~s.INEXACT) !== 0 ? UNTOUCHED : mem };
    },
  });
  const model = models.get(name);
  if (model === undefined) return;
  models.set(name, {
    ...model,
    run(a, b, control) {
      const answer = model.run(a, b, control);
      return { mem: UNTOUCHED, ...answer };
    },
  });
};
store('fst32', 32, (a, env) => s.storeNarrow(f32, a, env));
store('fst64', 64, (a, env) => s.storeNarrow(f64, a, env));
store('fstp80', 80, (a) => a);
store('fist16', 16, (a, env) => s.toInteger(f80, a, 16, env));
store('fist32', 32, (a, env) => s.toInteger(f80, a, 32, env));
store('fistp64', 64, (a, env) => s.toInteger(f80, a, 64, env));
store('fisttp16', 16, (a, env) => s.toInteger(f80, a, 16, env, true));
store('fisttp32', 32, (a, env) => s.toInteger(f80, a, 32, env, true));
store('fisttp64', 64, (a, env) => s.toInteger(f80, a, 64, env, true));
store('fbstp', 80, (a, env) => s.toBcd(f80, a, env));
