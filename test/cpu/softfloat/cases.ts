/** Test cases: generated operands, and the comparison of an answer with the model's. */
import { f32, f64, f80 } from '../../../src/cpu/softfloat';
import type { Answer, Model } from './models';
import { Operands } from './operands';

export interface Case {
  readonly a: bigint;
  readonly b: bigint;
  readonly control: number;
  /** What the processor said. */
  answer?: Required<Answer>;
}

const formats = { f32, f64, f80 } as const;

function seedOf(name: string, seed: number): number {
  let hash = seed * 0x9e3779b1;
  for (const c of name) hash = Math.imul(hash ^ c.charCodeAt(0), 0x01000193);
  return hash;
}

export function generate(name: string, model: Model, seed: number, count: number): Case[] {
  const operands = new Operands(seedOf(name, seed));
  const cases: Case[] = [];
  for (let i = 0; i < count; i++) {
    const a = operands.operand(model.a);
    const format = model.related && model.a in formats ? formats[model.a as keyof typeof formats] : undefined;
    const b =
      format !== undefined && operands.below(3) === 0
        ? operands.related(format, a)
        : operands.operand(model.b);
    cases.push({ a, b, control: model.unit === 'sse' ? operands.mxcsr() : operands.fcw() });
  }
  return cases;
}

/** The case with the parts of the answer that nobody compares set to zero. */
export function onlyCompared(model: Model, c: Case): Case {
  if (c.answer === undefined) return c;
  const [r0, r1, mem] = model.bits;
  const { answer } = c;
  return {
    ...c,
    answer: {
      r0: BigInt.asUintN(r0, answer.r0),
      r1: BigInt.asUintN(r1, answer.r1),
      mem: BigInt.asUintN(mem, answer.mem),
      status: answer.status & model.statusMask,
      extra: (answer.extra & 0x800008d5) >>> 0,
    },
  };
}

const apart = (x: bigint, y: bigint): bigint => (x > y ? x - y : y - x);

/** Neighbouring encodings (the integer bit of f80 is redundant at the border of two binades). */
function withinOneUlp(x: bigint, y: bigint): boolean {
  if (apart(x, y) <= 1n) return true;
  const [low, high] = x < y ? [x, y] : [y, x];
  return (
    apart(low & ~f80.integerBit, high & ~f80.integerBit) <= 1n ||
    (high >> 64n === (low >> 64n) + 1n &&
      BigInt.asUintN(64, low) === (1n << 64n) - 1n &&
      BigInt.asUintN(64, high) === f80.integerBit)
  );
}

/** Compare the recorded answer of a case with the model's. */
export function differences(model: Model, c: Case): { readonly exact: boolean; readonly problem?: string } {
  const { answer } = c;
  if (answer === undefined) throw new Error('case without an answer');
  const mine = model.run(c.a, c.b, c.control);
  let exact = true;
  const problems: string[] = [];
  (['r0', 'r1', 'mem'] as const).forEach((part, i) => {
    const expected = mine[part];
    const bits = model.bits[i] ?? 0;
    if (expected === undefined || bits === 0) return;
    const x = BigInt.asUintN(bits, expected),
      y = BigInt.asUintN(bits, answer[part]);
    if (x === y) return;
    exact = false;
    if (!(model.loose && withinOneUlp(x, y)))
      problems.push(`${part} is ${x.toString(16)}, processor says ${y.toString(16)}`);
  });
  const status = answer.status & model.statusMask;
  if ((mine.status & model.statusMask) !== status) {
    problems.push(
      `status is ${(mine.status & model.statusMask).toString(16)}, processor says ${status.toString(16)}`,
    );
  }
  if (mine.extra !== undefined) {
    // EFLAGS matter only where they are the result.
    const mask = (model.bits[0] === 0 && model.bits[2] === 0) || model.unit === 'x87' ? 0x8d5 : 0;
    const trap = (answer.extra ^ mine.extra) & 0x80000000;
    const ordered = mine.extra >>> 31 === 0 && ((answer.extra ^ mine.extra) & mask) !== 0;
    if (trap !== 0 || ordered)
      problems.push(`extra is ${mine.extra.toString(16)}, processor says ${answer.extra.toString(16)}`);
  }
  return problems.length === 0 ? { exact } : { exact, problem: problems.join('; ') };
}
