import { untypedArithmetic } from './conditions';
import { ExpressionError } from './expressions';

// C's arithmetic (C11, 6.3.1.8 and 6.5), on numbers that may also have no type: those of registers, symbols and
// hypercall arguments, which are unsigned and of 64 bits. One text for the debugger, over the guest's types, and for
// the machine, over conditions that the debugger has compiled.

/** What arithmetic has to know of a type. */
export interface ScalarType {
  /** Bytes. */
  readonly size: number;
  readonly signed: boolean;
  readonly float?: boolean;
  readonly boolean?: boolean;
  readonly pointer?: boolean;
  /** Of a pointer: bytes of what it points to; GNU C counts void and functions as bytes. */
  readonly step?: number;
}

/** A number, and the type that arithmetic on it goes by; without one it is 64 bits, unsigned. */
export interface Scalar<T extends ScalarType = ScalarType> {
  readonly value: bigint | number;
  readonly type: T | undefined;
  /** Takes the type of what it is combined with. */
  readonly literal: boolean;
}

export const INT: ScalarType = { size: 4, signed: true };
export const UNSIGNED: ScalarType = { size: 4, signed: false };
export const LONG: ScalarType = { size: 8, signed: true };
export const UNSIGNED_LONG: ScalarType = { size: 8, signed: false };
export const DOUBLE: ScalarType = { size: 8, signed: true, float: true };

const isPointer = (type: ScalarType | undefined): boolean => type?.pointer === true;
const wordOf = (size: number, signed: boolean): ScalarType =>
  size < 8 ? (signed ? INT : UNSIGNED) : signed ? LONG : UNSIGNED_LONG;

export const cut = ({ size, signed }: ScalarType, value: bigint): bigint =>
  signed ? BigInt.asIntN(size * 8, value) : BigInt.asUintN(size * 8, value);

const whole = (value: bigint | number): bigint =>
  typeof value === 'bigint' ? value : BigInt(Math.trunc(value));

/** A number as a value of a type, cut to its width. */
export function converted(type: ScalarType, value: bigint | number): Scalar {
  if (type.float === true) {
    const exact = Number(value);
    return { value: type.size === 4 ? Math.fround(exact) : exact, type, literal: false };
  }
  const integer = whole(value);
  const kept = type.boolean === true ? (integer === 0n ? 0n : 1n) : cut(type, integer);
  return { value: kept, type, literal: false };
}
export const toInteger = ({ value }: Scalar): bigint => whole(value);
export const isTrue = ({ value }: Scalar): boolean =>
  typeof value === 'bigint' ? BigInt.asUintN(64, value) !== 0n : value !== 0;
export const literal = (value: bigint): Scalar => ({ value, type: undefined, literal: true });

const typed = (type: ScalarType, value: bigint): Scalar => ({
  value: cut(type, value),
  type,
  literal: false,
});
const bool = (value: boolean): Scalar => typed(INT, value ? 1n : 0n);

/** The type that arithmetic goes on in after promotion; literals are int if they fit. */
function promoted({ value, type, literal: isLiteral }: Scalar): ScalarType {
  if (type !== undefined) return type.size < 4 ? INT : type;
  if (!isLiteral || typeof value !== 'bigint') return UNSIGNED_LONG;
  const fits = (bits: number): boolean => BigInt.asIntN(bits, value) === value;
  return fits(32) ? INT : wordOf(8, fits(64));
}

/** 6.3.1.8: the wider; of equal width, the unsigned one. */
function common(a: Scalar, b: Scalar): ScalarType {
  const left = promoted(a);
  const right = promoted(b);
  const size = Math.max(left.size, right.size);
  return wordOf(
    size,
    [left, right].filter((one) => one.size === size).every((one) => one.signed),
  );
}

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

function pointers(operator: string, a: Scalar, b: Scalar, at: number): Scalar {
  const [left, right] = [whole(a.value), whole(b.value)];
  const compare = comparisons[operator];
  if (compare !== undefined) return bool(compare(BigInt.asUintN(64, left), BigInt.asUintN(64, right)));
  const step = (type: ScalarType | undefined): bigint => BigInt(Math.max(1, type?.step ?? 1));
  const [aPoints, bPoints] = [isPointer(a.type), isPointer(b.type)];
  if (operator === '-' && aPoints && bPoints) return typed(LONG, (left - right) / step(a.type));
  if (operator === '+' && aPoints !== bPoints) {
    const type = aPoints ? a.type : b.type;
    const sum = aPoints ? left + right * step(type) : right + left * step(type);
    if (type !== undefined) return typed(type, sum);
  }
  if (operator === '-' && aPoints && a.type !== undefined) return typed(a.type, left - right * step(a.type));
  // Masks of addresses are what kernels are full of; C wants a cast there, people do not.
  const work = integers[operator];
  if (work === undefined || ((operator === '/' || operator === '%') && right === 0n))
    throw new ExpressionError(`'${operator}' makes no sense with a pointer`, at);
  return typed(UNSIGNED_LONG, work(left, right));
}

/** @throws ExpressionError */
export function binary(operator: string, a: Scalar, b: Scalar, at: number): Scalar {
  if (isPointer(a.type) || isPointer(b.type)) return pointers(operator, a, b, at);
  const compare = comparisons[operator];
  if (typeof a.value === 'number' || typeof b.value === 'number') {
    if (compare !== undefined) return bool(compare(a.value, b.value));
    const work = floats[operator];
    if (work === undefined) throw new ExpressionError(`'${operator}' makes no sense with a fraction`, at);
    return { value: work(Number(a.value), Number(b.value)), type: DOUBLE, literal: false };
  }
  if (a.type === undefined && b.type === undefined) {
    const result = untypedArithmetic(operator, a.value, b.value);
    if (result === undefined) throw new ExpressionError('division by zero', at);
    return { value: result, type: undefined, literal: a.literal && b.literal };
  }
  if (operator === '<<' || operator === '>>') {
    const { size, signed } = promoted(a);
    const type = wordOf(size, signed);
    const value = cut(type, a.value);
    if (b.value < 0n || b.value >= BigInt(size * 8))
      return typed(type, operator === '>>' && value < 0n ? -1n : 0n);
    return typed(type, operator === '<<' ? value << b.value : value >> b.value);
  }
  const type = common(a, b);
  const [left, right] = [cut(type, a.value), cut(type, b.value)];
  if (compare !== undefined) return bool(compare(left, right));
  if ((operator === '/' || operator === '%') && right === 0n)
    throw new ExpressionError('division by zero', at);
  const work = integers[operator];
  if (work === undefined) throw new ExpressionError(`'${operator}' is not known`, at);
  return typed(type, work(left, right));
}

/** `-`, `+`, `~` and `!`. */
export function unary(operator: string, a: Scalar, at: number): Scalar {
  if (operator === '!') return bool(!isTrue(a));
  if (typeof a.value === 'number') {
    if (operator === '~') throw new ExpressionError(`'~' makes no sense with a fraction`, at);
    return { value: operator === '-' ? -a.value : a.value, type: DOUBLE, literal: false };
  }
  const value = operator === '-' ? -a.value : operator === '~' ? ~a.value : a.value;
  if (a.type === undefined)
    return {
      value: operator === '~' ? BigInt.asUintN(64, value) : value,
      type: undefined,
      literal: a.literal,
    };
  const { size, signed } = promoted(a);
  return typed(wordOf(size, signed), value);
}
