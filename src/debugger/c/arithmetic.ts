import type { Type } from '../../guest/dwarf';
import { bare, sizeOf } from '../../guest/dwarf';
import { ExpressionError } from '../../machine/expressions';
import { untypedArithmetic } from '../../machine/conditions';
import { scalarOf } from '../values/typed';
import type { Operand, Scalar } from './operand';
import { asType, types } from './operand';

// C's arithmetic (C11, 6.3.1.8 and 6.5), on numbers that may also have no type: those of registers, symbols and
// hypercall arguments, which are unsigned and of 64 bits.

const bool = (value: boolean): Operand => asType(types.INT, value ? 1n : 0n);
const isPointer = (type: Type | undefined): boolean => type !== undefined && bare(type).kind === 'pointer';

/** The type that arithmetic goes on in after promotion; literals are int if they fit. */
function promoted({ value, type, literal }: Scalar): { readonly size: number; readonly signed: boolean } {
  const scalar = type === undefined ? undefined : scalarOf(type);
  if (scalar !== undefined) return scalar.size < 4 ? { size: 4, signed: true } : scalar;
  if (!literal || typeof value !== 'bigint') return { size: 8, signed: false };
  const fits = (bits: number): boolean => BigInt.asIntN(bits, value) === value;
  return fits(32) ? { size: 4, signed: true } : { size: 8, signed: fits(64) };
}

/** 6.3.1.8: the wider; of equal width, the unsigned one. */
function common(a: Scalar, b: Scalar): Type {
  const left = promoted(a);
  const right = promoted(b);
  const size = Math.max(left.size, right.size);
  const signed = [left, right].filter((one) => one.size === size).every((one) => one.signed);
  if (size >= 8) return signed ? types.LONG : types.UNSIGNED_LONG;
  return signed ? types.INT : types.UNSIGNED;
}

const cut = (type: Type, value: bigint): bigint => {
  const scalar = scalarOf(type);
  const bits = (scalar?.size ?? 8) * 8;
  return scalar?.signed === true ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value);
};

const integers: Readonly<Record<string, (a: bigint, b: bigint) => bigint>> = {
  '|': (a, b) => a | b,
  '^': (a, b) => a ^ b,
  '&': (a, b) => a & b,
  '+': (a, b) => a + b,
  '-': (a, b) => a - b,
  '*': (a, b) => a * b,
  '/': (a, b) => a / b,
  '%': (a, b) => a % b,
};
const comparisons: Readonly<Record<string, (a: bigint | number, b: bigint | number) => boolean>> = {
  '<': (a, b) => a < b,
  '<=': (a, b) => a <= b,
  '>': (a, b) => a > b,
  '>=': (a, b) => a >= b,
  // Numbers of both kinds may meet here: 1 == 1.0.
  '==': (a, b) => !(a < b) && !(a > b),
  '!=': (a, b) => a < b || a > b,
};
const floats: Readonly<Record<string, (a: number, b: number) => number>> = {
  '+': (a, b) => a + b,
  '-': (a, b) => a - b,
  '*': (a, b) => a * b,
  '/': (a, b) => a / b,
};

function pointers(operator: string, a: Scalar, b: Scalar, at: number): Operand {
  const [left, right] = [BigInt(a.value), BigInt(b.value)];
  const compare = comparisons[operator];
  if (compare !== undefined) return bool(compare(BigInt.asUintN(64, left), BigInt.asUintN(64, right)));
  const step = (type: Type | undefined): bigint => {
    const it = type === undefined ? undefined : bare(type);
    // GNU C: void and functions count as bytes.
    return it?.kind === 'pointer' ? BigInt(Math.max(1, sizeOf(it.target()))) : 1n;
  };
  const [aPoints, bPoints] = [isPointer(a.type), isPointer(b.type)];
  if (operator === '-' && aPoints && bPoints) return asType(types.LONG, (left - right) / step(a.type));
  if (operator === '+' && aPoints !== bPoints) {
    const type = aPoints ? a.type : b.type;
    const sum = aPoints ? left + right * step(type) : right + left * step(type);
    if (type !== undefined) return asType(type, sum);
  }
  if (operator === '-' && aPoints && a.type !== undefined) return asType(a.type, left - right * step(a.type));
  // Masks of addresses are what kernels are full of; C wants a cast there, people do not.
  const work = integers[operator];
  if (work === undefined || ((operator === '/' || operator === '%') && right === 0n))
    throw new ExpressionError(`'${operator}' makes no sense with a pointer`, at);
  return asType(types.UNSIGNED_LONG, work(left, right));
}

/** @throws ExpressionError */
export function binaryOperation(operator: string, a: Scalar, b: Scalar, at: number): Operand {
  if (isPointer(a.type) || isPointer(b.type)) return pointers(operator, a, b, at);
  const compare = comparisons[operator];
  if (typeof a.value === 'number' || typeof b.value === 'number') {
    if (compare !== undefined) return bool(compare(a.value, b.value));
    const work = floats[operator];
    if (work === undefined) throw new ExpressionError(`'${operator}' makes no sense with a fraction`, at);
    return { kind: 'float', value: work(Number(a.value), Number(b.value)) };
  }
  if (a.type === undefined && b.type === undefined) {
    const result = untypedArithmetic(operator, a.value, b.value);
    if (result === undefined) throw new ExpressionError('division by zero', at);
    return { kind: 'number', value: result, ...(a.literal && b.literal ? { literal: true } : {}) };
  }
  if (operator === '<<' || operator === '>>') {
    const { size, signed } = promoted(a);
    const type =
      size === 4 ? (signed ? types.INT : types.UNSIGNED) : signed ? types.LONG : types.UNSIGNED_LONG;
    const value = cut(type, a.value);
    if (b.value < 0n || b.value >= BigInt(size * 8))
      return asType(type, operator === '>>' && value < 0n ? -1n : 0n);
    return asType(type, operator === '<<' ? value << b.value : value >> b.value);
  }
  const type = common(a, b);
  const [left, right] = [cut(type, a.value), cut(type, b.value)];
  if (compare !== undefined) return bool(compare(left, right));
  if ((operator === '/' || operator === '%') && right === 0n)
    throw new ExpressionError('division by zero', at);
  const work = integers[operator];
  if (work === undefined) throw new ExpressionError(`'${operator}' is not known`, at);
  return asType(type, work(left, right));
}

/** `-`, `+`, `~` and `!`. */
export function unaryOperation(operator: string, a: Scalar, at: number): Operand {
  if (operator === '!')
    return bool(typeof a.value === 'bigint' ? BigInt.asUintN(64, a.value) === 0n : a.value === 0);
  if (typeof a.value === 'number') {
    if (operator === '~') throw new ExpressionError(`'~' makes no sense with a fraction`, at);
    return { kind: 'float', value: operator === '-' ? -a.value : a.value };
  }
  const value = operator === '-' ? -a.value : operator === '~' ? ~a.value : a.value;
  if (a.type === undefined)
    return {
      kind: 'number',
      value: operator === '~' ? BigInt.asUintN(64, value) : value,
      ...(a.literal ? { literal: true } : {}),
    };
  const { size, signed } = promoted(a);
  const type = size === 4 ? (signed ? types.INT : types.UNSIGNED) : signed ? types.LONG : types.UNSIGNED_LONG;
  return asType(type, value);
}
