import type { Type } from '../../guest/dwarf';
import { bare, sizeOf } from '../../guest/dwarf';
import type { ScalarType } from '../../machine/scalars';
import { DOUBLE, INT, LONG, UNSIGNED, UNSIGNED_LONG, binary, unary } from '../../machine/scalars';
import type { Scalar as Number } from '../../machine/scalars';
import { scalarOf } from '../values/typed';
import type { Operand, Scalar } from './operand';
import { asType, types } from './operand';

// C's arithmetic over the guest's types: what the machine has it for (machine/scalars.ts), under the types' names.

/** A type as arithmetic sees it; what a pointer steps by is looked up when somebody counts with it. */
interface Reduced extends ScalarType {
  readonly of: Type;
}
/** Undefined for what is no number. */
export function reduced(type: Type): Reduced | undefined {
  const scalar = scalarOf(type);
  if (scalar === undefined) return undefined;
  const it = bare(type);
  const { size, signed, float } = scalar;
  const plain = { of: type, size, signed, float };
  if (it.kind === 'base') return { ...plain, boolean: it.encoding === 'boolean' };
  if (it.kind !== 'pointer') return plain;
  return {
    ...plain,
    pointer: true,
    get step() {
      return Math.max(1, sizeOf(it.target()));
    },
  };
}

const ownTypes = new Map<ScalarType, Type>([
  [INT, types.INT],
  [UNSIGNED, types.UNSIGNED],
  [LONG, types.LONG],
  [UNSIGNED_LONG, types.UNSIGNED_LONG],
  [DOUBLE, types.DOUBLE],
]);

const number = ({ value, type, literal }: Scalar): Number => ({
  value,
  type: type === undefined ? undefined : reduced(type),
  literal,
});

function operand({ value, type, literal }: Number): Operand {
  if (typeof value === 'number') return { kind: 'float', value };
  if (type === undefined) return { kind: 'number', value, ...(literal ? { literal: true } : {}) };
  return asType(ownTypes.get(type) ?? (type as Reduced).of, value);
}

/** @throws ExpressionError */
export const binaryOperation = (operator: string, a: Scalar, b: Scalar, at: number): Operand =>
  operand(binary(operator, number(a), number(b), at));

/** `-`, `+`, `~` and `!`. */
export const unaryOperation = (operator: string, a: Scalar, at: number): Operand =>
  operand(unary(operator, number(a), at));
