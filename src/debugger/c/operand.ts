import type { BaseType, Type } from '../../guest/dwarf';
import { Unavailable, bare, plainType } from '../../guest/dwarf';
import { ExpressionError } from '../../machine/expressions';
import type { DecodedValue } from '../../machine/target';
import type { TypedValue, ValueSpace } from '../values/typed';
import { addressOf, computed, floatBytes, numberOf, scalarOf } from '../values/typed';
import { numberToBytes } from '../../base/bytes';

/** What a part of an expression comes to. */
export type Operand =
  /** Something of the guest's, with its type; or computed from that. */
  | { readonly kind: 'typed'; readonly value: TypedValue }
  /** A number without a type: unsigned, 64 bits. A literal takes the type of what it is combined with. */
  | { readonly kind: 'number'; readonly value: bigint; readonly literal?: true }
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'text'; readonly value: string; readonly character?: true }
  | { readonly kind: 'register'; readonly name: string; readonly value: bigint }
  /** Memory without a type: `u32[address]`, `*address`. */
  | { readonly kind: 'memory'; readonly address: bigint; readonly bytes: number; readonly value: bigint }
  /** An argument of the hypercall. */
  | { readonly kind: 'decoded'; readonly value: DecodedValue }
  /** A name that nothing has: only comparing it with a value that shows a name makes sense of it. */
  | { readonly kind: 'unresolved'; readonly name: string; readonly at: number };

/** A number, and the C type that arithmetic on it goes by; without one it is 64 bits, unsigned. */
export interface Scalar {
  readonly value: bigint | number;
  readonly type: Type | undefined;
  readonly literal: boolean;
}

const INT = plainType('int', 4, true);
const UNSIGNED = plainType('unsigned int', 4, false);
const LONG = plainType('long', 8, true);
const UNSIGNED_LONG = plainType('unsigned long', 8, false);
const DOUBLE: BaseType = { kind: 'base', name: 'double', size: 8, encoding: 'float', signed: true };
export const types = { INT, UNSIGNED, LONG, UNSIGNED_LONG, DOUBLE };

/** Names that are not there and values that are not to be had are errors of what was typed. */
export async function inWords<T>(at: number, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Unavailable) throw new ExpressionError(error.message, at);
    throw error;
  }
}

export async function scalarFrom(operand: Operand, space: ValueSpace, at: number): Promise<Scalar> {
  switch (operand.kind) {
    case 'typed': {
      const { value } = operand;
      const type = bare(value.type);
      // Arrays and functions stand for their addresses.
      if (type.kind === 'array' || type.kind === 'function') {
        const address = addressOf(value);
        if (address === undefined) throw new ExpressionError('it has no address', at);
        const target = type.kind === 'array' ? type.element() : type;
        return { value: address, type: { kind: 'pointer', size: 8, target: () => target }, literal: false };
      }
      if (scalarOf(type) === undefined)
        throw new ExpressionError(`a ${type.kind === 'base' ? type.name : type.kind} is not a number`, at);
      return { value: await inWords(at, () => numberOf(value, space)), type, literal: false };
    }
    case 'number':
      return { value: operand.value, type: undefined, literal: operand.literal === true };
    case 'register':
    case 'memory':
      return { value: operand.value, type: undefined, literal: false };
    case 'float':
      return { value: operand.value, type: DOUBLE, literal: false };
    case 'text':
      if (operand.character === true && operand.value.length === 1)
        return { value: BigInt(operand.value.charCodeAt(0)), type: undefined, literal: true };
      throw new ExpressionError(`"${operand.value}" is a text, a number is needed`, at);
    case 'decoded': {
      const { name, type, value } = operand.value;
      if (value === undefined) throw new ExpressionError(`${name} (${type}) is not a number`, at);
      return { value, type: undefined, literal: false };
    }
    case 'unresolved':
      throw new ExpressionError(`there is no '${operand.name}' here`, operand.at);
  }
}

/** Integer of an operand; a fraction loses what is behind the point. */
export async function integerFrom(operand: Operand, space: ValueSpace, at: number): Promise<bigint> {
  const { value } = await scalarFrom(operand, space, at);
  return typeof value === 'bigint' ? value : BigInt(Math.trunc(value));
}

/** As `if` takes it. A structure without a number counts as there, an empty text as not. */
export async function truthOf(operand: Operand, space: ValueSpace, at = 0): Promise<boolean> {
  if (operand.kind === 'text') return operand.value !== '';
  if (operand.kind === 'decoded') return operand.value.value === undefined || operand.value.value !== 0n;
  const { value } = await scalarFrom(operand, space, at);
  return typeof value === 'bigint' ? BigInt.asUintN(64, value) !== 0n : value !== 0;
}

/** A number as a value of a scalar type, cut to its width. */
export function asType(type: Type, value: bigint | number): Operand {
  const scalar = scalarOf(type);
  if (scalar === undefined) throw new ExpressionError('it is not the type of a number', 0);
  const it = bare(type);
  if (scalar.float)
    return scalar.size === 4 || scalar.size === 8
      ? { kind: 'typed', value: computed(type, floatBytes(Number(value), scalar.size)) }
      : { kind: 'float', value: Number(value) };
  const whole = typeof value === 'bigint' ? value : BigInt(Math.trunc(value));
  const truth = it.kind === 'base' && it.encoding === 'boolean';
  return {
    kind: 'typed',
    value: computed(type, numberToBytes(truth ? (whole === 0n ? 0n : 1n) : whole, scalar.size)),
  };
}
