import type { DecodedValue, HypercallView } from './target';

// Expressions over decoded values: `ureqs[0].ptr == 0x1000 && count > 1`. The machine evaluates them as
// conditions of its stops, the debugger as watches and log messages. C's operators and precedence, unsigned
// 64-bit numbers written 10, 0x1000 or 0b11, texts in quotes, members with `.` and `[ ]`, `*address` and
// `u8[address]` … `u64[address]` for memory where the scope has any.

/** What an expression can be: a number, a text, or a decoded argument with both and children. */
export type Value = bigint | string | DecodedValue;

/** Where names come from. */
export interface Scope {
  name(name: string): Value | undefined;
  /** Little-endian read of 1, 2, 4 or 8 bytes. Absent where conditions have no memory. */
  memory?(address: bigint, bytes: number): bigint;
}

/** `at` counts characters from the start of the expression. */
export class ExpressionError extends Error {
  constructor(
    message: string,
    readonly at: number,
  ) {
    super(message);
    this.name = 'ExpressionError';
  }
}

export type Expression =
  | { readonly kind: 'literal'; readonly at: number; readonly value: bigint | string }
  | { readonly kind: 'name'; readonly at: number; readonly name: string }
  | { readonly kind: 'member'; readonly at: number; readonly of: Expression; readonly name: string }
  | { readonly kind: 'index'; readonly at: number; readonly of: Expression; readonly index: Expression }
  | { readonly kind: 'unary'; readonly at: number; readonly operator: string; readonly operand: Expression }
  | {
      readonly kind: 'binary';
      readonly at: number;
      readonly operator: string;
      readonly left: Expression;
      readonly right: Expression;
    };

interface Token {
  readonly kind: 'number' | 'name' | 'text' | 'operator' | 'end';
  readonly text: string;
  readonly at: number;
}

/** A name may be quoted by backquotes, for symbols like `memcpy.part.0`. */
const tokenPattern =
  /\s*(?:(0[xX][0-9a-fA-F_]+|0[bB][01_]+|\d[\d_]*)|([$%]?[A-Za-z_][\w$]*)|`([^`]+)`|"([^"]*)"|'([^']*)'|(&&|\|\||==|!=|<=|>=|<<|>>|[-+*/%&|^~!<>()[\].]))/y;

const isOperand = (token: Token | undefined): boolean =>
  token !== undefined && (token.kind !== 'operator' || token.text === ')' || token.text === ']');

function tokens(text: string): Token[] {
  const found: Token[] = [];
  let at = 0;
  while (text.slice(at).trim() !== '') {
    tokenPattern.lastIndex = at;
    const match = tokenPattern.exec(text);
    if (match === null) {
      const where = at + (/\S/.exec(text.slice(at))?.index ?? 0);
      throw new ExpressionError(`'${text.slice(where, where + 8)}' is not part of an expression`, where);
    }
    at = tokenPattern.lastIndex;
    const [all, number, name, quoted, double, single, operator] = match;
    const start = at - all.trimStart().length;
    if (name?.startsWith('%') === true && isOperand(found.at(-1))) {
      // `7 %rax`: after a value it is the operator.
      found.push({ kind: 'operator', text: '%', at: start });
      at = start + 1;
    } else if (number !== undefined) found.push({ kind: 'number', text: number, at: start });
    else if (name !== undefined || quoted !== undefined)
      found.push({ kind: 'name', text: name ?? quoted ?? '', at: start });
    else if (operator !== undefined) found.push({ kind: 'operator', text: operator, at: start });
    else found.push({ kind: 'text', text: double ?? single ?? '', at: start });
  }
  found.push({ kind: 'end', text: '', at: text.length });
  return found;
}

/** From loosest to tightest, as in C. */
const precedence: readonly (readonly string[])[] = [
  ['||'],
  ['&&'],
  ['|'],
  ['^'],
  ['&'],
  ['==', '!='],
  ['<', '<=', '>', '>='],
  ['<<', '>>'],
  ['+', '-'],
  ['*', '/', '%'],
];
const unaryOperators = new Set(['-', '~', '!', '*', '+']);
/** Deep enough for anything a person writes; keeps a hostile one off the stack's end. */
const MAX_DEPTH = 64;

/** Throws an ExpressionError that says what was expected and where. */
export function parseExpression(text: string): Expression {
  const list = tokens(text);
  let next = 0;
  const end: Token = { kind: 'end', text: '', at: text.length };
  const peek = (): Token => list[next] ?? end;
  const take = (): Token => list[next++] ?? end;
  const isOperator = (wanted: string): boolean => peek().kind === 'operator' && peek().text === wanted;
  const expect = (wanted: string): void => {
    const token = take();
    if (token.kind !== 'operator' || token.text !== wanted) {
      throw new ExpressionError(
        `'${wanted}' expected ${token.kind === 'end' ? 'at the end' : `before '${token.text}'`}`,
        token.at,
      );
    }
  };

  const binary = (level: number, depth: number): Expression => {
    const operators = precedence[level];
    if (operators === undefined) return unary(depth);
    let left = binary(level + 1, depth);
    while (peek().kind === 'operator' && operators.includes(peek().text)) {
      const { text: operator, at } = take();
      left = { kind: 'binary', at, operator, left, right: binary(level + 1, depth) };
    }
    return left;
  };
  const unary = (depth: number): Expression => {
    if (depth > MAX_DEPTH) throw new ExpressionError('the expression is nested too deeply', peek().at);
    const token = peek();
    if (token.kind !== 'operator' || !unaryOperators.has(token.text)) return postfix(depth);
    take();
    return { kind: 'unary', at: token.at, operator: token.text, operand: unary(depth + 1) };
  };
  const postfix = (depth: number): Expression => {
    let of = primary(depth);
    for (;;) {
      const { at } = peek();
      if (isOperator('.')) {
        take();
        const member = take();
        if (member.kind !== 'name')
          throw new ExpressionError(`a member's name expected after '.'`, member.at);
        of = { kind: 'member', at, of, name: member.text };
      } else if (isOperator('[')) {
        take();
        const index = binary(0, depth + 1);
        expect(']');
        of = { kind: 'index', at, of, index };
      } else return of;
    }
  };
  const primary = (depth: number): Expression => {
    const token = take();
    const { at } = token;
    if (token.kind === 'number') return { kind: 'literal', at, value: numberOf(token) };
    if (token.kind === 'text') return { kind: 'literal', at, value: token.text };
    if (token.kind === 'name') return { kind: 'name', at, name: token.text };
    if (token.kind === 'operator' && token.text === '(') {
      const inner = binary(0, depth + 1);
      expect(')');
      return inner;
    }
    throw new ExpressionError(
      token.kind === 'end'
        ? 'the expression ends where a value is expected'
        : `a value expected before '${token.text}'`,
      at,
    );
  };

  const expression = binary(0, 0);
  const rest = peek();
  if (rest.kind !== 'end') throw new ExpressionError(`'${rest.text}' does not belong here`, rest.at);
  return expression;
}

function numberOf({ text, at }: Token): bigint {
  try {
    return BigInt(text.replaceAll('_', ''));
  } catch {
    throw new ExpressionError(`'${text}' is not a number`, at);
  }
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

/** Throws an ExpressionError for names and members that are not there, and for memory that cannot be read. */
export function evaluateExpression(expression: Expression, scope: Scope): Value {
  const known = (e: Expression): Value => {
    const value = any(e);
    if (isUnresolved(value)) throw new ExpressionError(`there is no '${value.unresolved}' here`, value.at);
    return value;
  };
  const number = (e: Expression): bigint => toNumber(known(e), e.at);
  const read = (address: bigint, bytes: number, at: number): bigint => {
    if (scope.memory === undefined) throw new ExpressionError('memory cannot be read here', at);
    return scope.memory(unsigned(address), bytes);
  };
  const evaluators: {
    [K in Expression['kind']]: (e: Extract<Expression, { kind: K }>) => Value | Unresolved;
  } = {
    literal: (e) => e.value,
    name: (e) => scope.name(e.name) ?? { unresolved: e.name, at: e.at },
    member: (e) => {
      const of = known(e.of);
      const found = typeof of === 'object' ? of.children?.find(({ name }) => name === e.name) : undefined;
      if (found !== undefined) return found;
      const names = typeof of === 'object' ? (of.children ?? []).map(({ name }) => name) : [];
      throw new ExpressionError(
        `there is no member '${e.name}'${names.length > 0 ? `; there are ${names.slice(0, 12).join(', ')}` : ''}`,
        e.at,
      );
    },
    index: (e) => {
      const bytes = e.of.kind === 'name' ? memoryNames[e.of.name] : undefined;
      if (bytes !== undefined) return read(number(e.index), bytes, e.at);
      const of = known(e.of);
      const index = number(e.index);
      const found = typeof of === 'object' ? elementOf(of, index) : undefined;
      if (found === undefined) throw new ExpressionError(`there is no element ${index}`, e.at);
      return found;
    },
    unary: (e) => {
      if (e.operator === '*') return read(number(e.operand), 8, e.at);
      return unaries[e.operator]?.(number(e.operand)) ?? 0n;
    },
    binary: (e) => {
      if (e.operator === '&&') return bool(truth(known(e.left)) && truth(known(e.right)));
      if (e.operator === '||') return bool(truth(known(e.left)) || truth(known(e.right)));
      if (e.operator === '==' || e.operator === '!=')
        return bool(equal(any(e.left), any(e.right)) === (e.operator === '=='));
      const result = arithmetic[e.operator]?.(number(e.left), number(e.right));
      if (result === undefined) throw new ExpressionError('division by zero', e.at);
      return result;
    },
  };
  const any = (e: Expression): Value | Unresolved =>
    (evaluators[e.kind] as (e: Expression) => Value | Unresolved)(e);
  return known(expression);
}

const isElement = ({ name }: DecodedValue): boolean => /^\[?\d+\]?$/.test(name);

/** Element of an array. What a pointer to one thing shows is that thing's own members, or `*name`: its element 0. */
function elementOf(of: DecodedValue, index: bigint): DecodedValue | undefined {
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
