import type { Expression } from './expressions';
import { ExpressionError } from './expressions';
import type { DecodedValue, HypercallView } from './target';

export type { Expression } from './expressions';
export { ExpressionError, parseExpression } from './expressions';

// What expressions mean over decoded values: `ureqs[0].ptr == 0x1000 && count > 1`. Conditions that the machine
// evaluates by itself; unsigned 64-bit numbers, `*address` and `u8[address]` … `u64[address]` for memory where the
// scope has any. Types, assignments and the guest's own names are the debugger's.

/** What an expression can be: a number, a text, or a decoded argument with both and children. */
export type Value = bigint | string | DecodedValue;

/** Where names come from. */
export interface Scope {
  name(name: string): Value | undefined;
  /** Little-endian read of 1, 2, 4 or 8 bytes. Absent where conditions have no memory. */
  memory?(address: bigint, bytes: number): bigint;
}

const unsigned = (n: bigint): bigint => BigInt.asUintN(64, n);
/** Unsigned, unless one of the two was given as negative. */
const order = (a: bigint, b: bigint): bigint =>
  a < 0n || b < 0n ? BigInt.asIntN(64, a) - BigInt.asIntN(64, b) : a - b;
const bool = (b: boolean): bigint => (b ? 1n : 0n);

type Arithmetic = (a: bigint, b: bigint) => bigint | undefined;
/** On numbers; undefined stands for a division by zero. */
const arithmetic: Readonly<Record<string, Arithmetic>> = {
  '|': (a, b) => unsigned(a) | unsigned(b),
  '^': (a, b) => unsigned(a) ^ unsigned(b),
  '&': (a, b) => unsigned(a) & unsigned(b),
  '<': (a, b) => bool(order(a, b) < 0n),
  '<=': (a, b) => bool(order(a, b) <= 0n),
  '>': (a, b) => bool(order(a, b) > 0n),
  '>=': (a, b) => bool(order(a, b) >= 0n),
  '<<': (a, b) => (unsigned(b) > 63n ? 0n : unsigned(a << unsigned(b))),
  '>>': (a, b) => (unsigned(b) > 63n ? 0n : unsigned(a) >> unsigned(b)),
  '+': (a, b) => a + b,
  '-': (a, b) => a - b,
  '*': (a, b) => unsigned(a * b),
  '/': (a, b) => (b === 0n ? undefined : a / b),
  '%': (a, b) => (b === 0n ? undefined : a % b),
};
/** On numbers without a type; undefined stands for a division by zero. */
export function untypedArithmetic(operator: string, a: bigint, b: bigint): bigint | undefined {
  if (operator === '==' || operator === '!=')
    return bool((unsigned(a) === unsigned(b)) === (operator === '=='));
  return arithmetic[operator]?.(a, b);
}
const unaries: Readonly<Record<string, (a: bigint) => bigint>> = {
  '-': (a) => -a,
  '+': (a) => a,
  '~': (a) => unsigned(~a),
  '!': (a) => bool(unsigned(a) === 0n),
};
const memoryNames: Readonly<Record<string, number>> = { u8: 1, u16: 2, u32: 4, u64: 8 };

/** A name that nothing has: only comparing it with a value that shows a name makes sense of it (`virq == VIRQ_TIMER`). */
interface Unresolved {
  readonly unresolved: string;
  readonly at: number;
}
const isUnresolved = (value: Value | Unresolved): value is Unresolved =>
  typeof value === 'object' && 'unresolved' in value;

/** The number of a value. Throws for a structure that has none, and for a text. */
export function toNumber(value: Value, at = 0): bigint {
  if (typeof value === 'bigint') return value;
  if (typeof value === 'string') throw new ExpressionError(`"${value}" is a text, a number is needed`, at);
  if (value.value === undefined)
    throw new ExpressionError(`${value.name} (${value.type}) is not a number`, at);
  return value.value;
}

type Found = Value | Unresolved;

function known(e: Expression, scope: Scope): Value {
  const value = found(e, scope);
  if (isUnresolved(value)) throw new ExpressionError(`there is no '${value.unresolved}' here`, value.at);
  return value;
}
const number = (e: Expression, scope: Scope): bigint => toNumber(known(e, scope), e.at);

function read(address: bigint, bytes: number, at: number, scope: Scope): bigint {
  if (scope.memory === undefined) throw new ExpressionError('memory cannot be read here', at);
  return scope.memory(unsigned(address), bytes);
}

/** Made once: a condition may be asked for at every instruction. */
const evaluators: {
  readonly [K in Expression['kind']]: (e: Extract<Expression, { kind: K }>, scope: Scope) => Found;
} = {
  literal: (e) => (typeof e.value === 'number' ? debuggerOnly(e, 'a fraction') : e.value),
  name: (e, scope) => scope.name(e.name) ?? { unresolved: e.name, at: e.at },
  member: (e, scope) => {
    const of = known(e.of, scope);
    const child = typeof of === 'object' ? of.children?.find(({ name }) => name === e.name) : undefined;
    if (child !== undefined) return child;
    const names = typeof of === 'object' ? (of.children ?? []).map(({ name }) => name) : [];
    throw new ExpressionError(
      `there is no member '${e.name}'${names.length > 0 ? `; there are ${names.slice(0, 12).join(', ')}` : ''}`,
      e.at,
    );
  },
  index: (e, scope) => {
    const bytes = e.of.kind === 'name' ? memoryNames[e.of.name] : undefined;
    if (bytes !== undefined) return read(number(e.index, scope), bytes, e.at, scope);
    const of = known(e.of, scope);
    const index = number(e.index, scope);
    const element = typeof of === 'object' ? elementOf(of, index) : undefined;
    if (element === undefined) throw new ExpressionError(`there is no element ${index}`, e.at);
    return element;
  },
  unary: (e, scope) => {
    if (e.operator === '*') return read(number(e.operand, scope), 8, e.at, scope);
    if (e.operator === '&') return debuggerOnly(e, "'&'");
    return unaries[e.operator]?.(number(e.operand, scope)) ?? 0n;
  },
  conditional: (e, scope) => found(truth(known(e.test, scope)) ? e.then : e.otherwise, scope),
  assign: (e) => debuggerOnly(e, 'an assignment'),
  cast: (e) => debuggerOnly(e, 'a cast'),
  sizeof: (e) => debuggerOnly(e, 'sizeof'),
  call: (e) => debuggerOnly(e, 'a call'),
  binary: (e, scope) => {
    if (e.operator === '&&') return bool(truth(known(e.left, scope)) && truth(known(e.right, scope)));
    if (e.operator === '||') return bool(truth(known(e.left, scope)) || truth(known(e.right, scope)));
    if (e.operator === '==' || e.operator === '!=')
      return bool(equal(found(e.left, scope), found(e.right, scope)) === (e.operator === '=='));
    const result = arithmetic[e.operator]?.(number(e.left, scope), number(e.right, scope));
    if (result === undefined) throw new ExpressionError('division by zero', e.at);
    return result;
  },
};
function found(e: Expression, scope: Scope): Found {
  return (evaluators[e.kind] as (e: Expression, scope: Scope) => Found)(e, scope);
}

/** Throws an ExpressionError for names and members that are not there, and for memory that cannot be read. */
export const evaluateExpression = (expression: Expression, scope: Scope): Value => known(expression, scope);

function debuggerOnly({ at }: Expression, what: string): never {
  throw new ExpressionError(`${what} has no meaning in a condition of the machine's`, at);
}

const isElement = ({ name }: DecodedValue): boolean => /^\[?\d+\]?$/.test(name);

/** Element of an array. What a pointer to one thing shows is that thing's own members, or `*name`: its element 0. */
export function elementOf(of: DecodedValue, index: bigint): DecodedValue | undefined {
  const { children = [] } = of;
  if (index !== 0n || children.length === 0 || children.some(isElement)) {
    return children.find(({ name }) => name === `[${index}]` || name === `${index}`);
  }
  const [only] = children;
  return only?.name === `*${of.name}` ? only : of;
}

/** A structure without a number counts as there, an empty text as not. */
export function truth(value: Value): boolean {
  if (typeof value === 'bigint') return unsigned(value) !== 0n;
  if (typeof value === 'string') return value !== '';
  return value.value === undefined || unsigned(value.value) !== 0n;
}

/** By text where either side is one or is a name that only the other side's text can explain; else by number. */
function equal(a: Value | Unresolved, b: Value | Unresolved): boolean {
  const [left, right] = isUnresolved(a) ? [b, a] : [a, b];
  if (isUnresolved(left)) throw new ExpressionError(`there is no '${left.unresolved}' here`, left.at);
  if (isUnresolved(right)) {
    const shown = textOf(left);
    if (shown === undefined) throw new ExpressionError(`there is no '${right.unresolved}' here`, right.at);
    return shown === right.unresolved;
  }
  if (typeof left === 'string' || typeof right === 'string') return textOf(left) === textOf(right);
  return unsigned(toNumber(left)) === unsigned(toNumber(right));
}

const textOf = (value: Value): string | undefined =>
  typeof value === 'object' ? value.text : typeof value === 'string' ? value : undefined;

/** Whether the condition holds; an error (a name this call does not have) counts as not, and is told. */
export function conditionHolds(
  condition: Expression,
  scope: Scope,
  failed?: (error: ExpressionError) => void,
): boolean {
  try {
    return truth(evaluateExpression(condition, scope));
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    failed?.(error);
    return false;
  }
}

/**
 * Names in a hypercall: its arguments, then what lies inside them where that is unambiguous (`nr_extents` for
 * `arg.nr_extents`), and `name`, `op`, `nr`, `result`, `errno`, `reason` of the call itself.
 */
export function hypercallScope(call: HypercallView): Scope {
  const own: Readonly<Record<string, Value | undefined>> = {
    name: call.name,
    op: call.op,
    nr: BigInt(call.nr),
    result: call.result,
    errno: call.errno,
    reason: call.reason,
  };
  return { name: (name) => findValue(call.args, name) ?? (Object.hasOwn(own, name) ? own[name] : undefined) };
}

/** The value of that name at the shallowest level that has exactly one. */
export function findValue(values: readonly DecodedValue[], name: string): DecodedValue | undefined {
  let level = values;
  while (level.length > 0) {
    const found = level.filter((value) => value.name === name);
    if (found.length > 0) return found.length === 1 ? found[0] : undefined;
    // Elements of an array are not looked into: which of them would be meant?
    level = level.flatMap(({ children = [] }) => (children.some(isElement) ? [] : children));
  }
  return undefined;
}

/** What can be looked at when a stop point is reached. */
export interface StopState {
  /** What is particular to the event: `vector`, `mnemonic`, `old` … */
  readonly own?: Readonly<Record<string, Value>>;
  readonly call?: () => HypercallView | undefined;
  readonly register?: (name: string) => bigint | undefined;
  readonly memory?: (address: bigint, bytes: number) => bigint;
  /** Fewer where a hole begins. */
  readonly bytes?: (address: bigint, length: number) => Uint8Array;
}

/** Names in the order in which they count: `$name` is always the register. */
export function stopScope(
  { own, call, register, memory }: StopState,
  names: Readonly<Record<string, bigint>> = {},
): Scope {
  return {
    name: (name) => {
      if (/^[$%]/.test(name)) return register?.(name);
      if (own !== undefined && Object.hasOwn(own, name)) return own[name];
      const view = call?.();
      const fromCall = view === undefined ? undefined : hypercallScope(view).name(name);
      if (fromCall !== undefined) return fromCall;
      return register?.(name) ?? (Object.hasOwn(names, name) ? names[name] : undefined);
    },
    ...(memory === undefined ? {} : { memory }),
  };
}
