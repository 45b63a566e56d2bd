// The one syntax of everything that is typed as an expression: conditions, watches, log messages, values to set.
// C's operators and precedence; numbers written 10, 0x1000 or 0b11, texts in quotes, `$name` for registers, names in
// backquotes where they are no C names. What a node means is for those who evaluate it: the machine, over a
// hypercall's arguments (conditions.ts), and the debugger, over everything else as well.

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

/** A type as a cast or sizeof names it: `struct page *`, `unsigned long`, `u8[16]`. */
export interface TypeSyntax {
  readonly at: number;
  readonly keyword: 'struct' | 'union' | 'enum' | undefined;
  /** Specifiers of a built-in type in the order they were written, or one name. */
  readonly name: string;
  readonly pointers: number;
  /** Lengths of array dimensions, outermost first. */
  readonly dimensions: readonly number[];
}

export type Expression =
  | {
      readonly kind: 'literal';
      readonly at: number;
      readonly value: bigint | string | number;
      /** The text stood in single quotes: one character is its code, too. */
      readonly character?: true;
    }
  | { readonly kind: 'name'; readonly at: number; readonly name: string }
  | {
      readonly kind: 'member';
      readonly at: number;
      readonly of: Expression;
      readonly name: string;
      readonly arrow: boolean;
    }
  | { readonly kind: 'index'; readonly at: number; readonly of: Expression; readonly index: Expression }
  | { readonly kind: 'unary'; readonly at: number; readonly operator: string; readonly operand: Expression }
  | {
      readonly kind: 'binary';
      readonly at: number;
      readonly operator: string;
      readonly left: Expression;
      readonly right: Expression;
    }
  | {
      readonly kind: 'conditional';
      readonly at: number;
      readonly test: Expression;
      readonly then: Expression;
      readonly otherwise: Expression;
    }
  /** `operator` is what comes before the `=`; empty for a plain one. */
  | {
      readonly kind: 'assign';
      readonly at: number;
      readonly operator: string;
      readonly target: Expression;
      readonly value: Expression;
    }
  | { readonly kind: 'cast'; readonly at: number; readonly type: TypeSyntax; readonly operand: Expression }
  | { readonly kind: 'sizeof'; readonly at: number; readonly of: Expression | TypeSyntax }
  | {
      readonly kind: 'call';
      readonly at: number;
      readonly of: Expression;
      readonly args: readonly Expression[];
    };

interface Token {
  readonly kind: 'number' | 'name' | 'text' | 'character' | 'operator' | 'end';
  readonly text: string;
  readonly at: number;
}

/** A name may be quoted by backquotes, for symbols like `memcpy.part.0`. */
const tokenPattern =
  /\s*(?:(0[xX][0-9a-fA-F_]+|0[bB][01_]+|\d+\.\d*(?:[eE][-+]?\d+)?|\d[\d_]*)(?:[uUlL]{1,3}\b)?|([$%]?[A-Za-z_][\w$]*)|`([^`]+)`|"([^"]*)"|'([^']*)'|(<<=|>>=|->|&&|\|\||==|!=|<=|>=|<<|>>|[-+*/%&|^]=|[-+*/%&|^~!<>()[\].?:=,]))/y;

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
    else if (single !== undefined) found.push({ kind: 'character', text: single, at: start });
    else found.push({ kind: 'text', text: double ?? '', at: start });
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
const unaryOperators = new Set(['-', '~', '!', '*', '+', '&']);
const assignments = new Set(['=', '+=', '-=', '*=', '/=', '%=', '&=', '|=', '^=', '<<=', '>>=']);
/** Words that begin or continue a type and can be nothing else. */
const typeWords = new Set([
  'void', 'char', 'short', 'int', 'long', 'float', 'double', 'signed', 'unsigned', '_Bool',
]); // prettier-ignore
/** Types that every guest has here; a name alone, they mean nothing else. */
const OWN_TYPES = /^[us](8|16|32|64)$/;
const qualifierWords = new Set(['const', 'volatile', 'restrict']);
const keywords = new Set(['struct', 'union', 'enum']);
/** Deep enough for anything a person writes; keeps a hostile one off the stack's end. */
const MAX_DEPTH = 64;
const MAX_ARRAY = 1 << 20;

/** What filters over many records have besides. */
export interface Dialect {
  /** `rip in xen_set_pte`, where a comparison could stand. */
  readonly membership?: true;
  /** Letters behind a number, and what they multiply it by: `1.5ms`. */
  readonly units?: Readonly<Record<string, number>>;
}

/** The operators that `in` stands among. */
const RELATIONAL = precedence.findIndex((operators) => operators.includes('<='));

/** Throws an ExpressionError that says what was expected and where. */
export function parseExpression(text: string, dialect: Dialect = {}): Expression {
  const list = tokens(text);
  const { units = {} } = dialect;
  let next = 0;
  const end: Token = { kind: 'end', text: '', at: text.length };
  const peek = (ahead = 0): Token => list[next + ahead] ?? end;
  const take = (): Token => list[next++] ?? end;
  const isOperator = (wanted: string, ahead = 0): boolean =>
    peek(ahead).kind === 'operator' && peek(ahead).text === wanted;
  const expect = (wanted: string): void => {
    const token = take();
    if (token.kind !== 'operator' || token.text !== wanted) {
      throw new ExpressionError(
        `'${wanted}' expected ${token.kind === 'end' ? 'at the end' : `before '${token.text}'`}`,
        token.at,
      );
    }
  };

  const whole = (depth: number): Expression => {
    if (depth > MAX_DEPTH) throw new ExpressionError('the expression is nested too deeply', peek().at);
    const target = conditional(depth);
    const { kind, text: operator, at } = peek();
    if (kind !== 'operator' || !assignments.has(operator)) return target;
    take();
    return { kind: 'assign', at, operator: operator.slice(0, -1), target, value: whole(depth + 1) };
  };
  const conditional = (depth: number): Expression => {
    const test = binary(0, depth);
    if (!isOperator('?')) return test;
    const { at } = take();
    const then = whole(depth + 1);
    expect(':');
    return { kind: 'conditional', at, test, then, otherwise: whole(depth + 1) };
  };
  const binary = (level: number, depth: number): Expression => {
    const operators = precedence[level];
    if (operators === undefined) return unary(depth);
    let left = binary(level + 1, depth);
    const isIn = (): boolean =>
      dialect.membership === true && level === RELATIONAL && peek().kind === 'name' && peek().text === 'in';
    while ((peek().kind === 'operator' && operators.includes(peek().text)) || isIn()) {
      const { text: operator, at } = take();
      left = { kind: 'binary', at, operator, left, right: binary(level + 1, depth) };
    }
    return left;
  };
  const unary = (depth: number): Expression => {
    if (depth > MAX_DEPTH) throw new ExpressionError('the expression is nested too deeply', peek().at);
    const token = peek();
    if (token.kind === 'name' && token.text === 'sizeof') return sizeOf(depth);
    if (isOperator('(')) {
      const type = castType();
      if (type !== undefined) return { kind: 'cast', at: token.at, type, operand: unary(depth + 1) };
    }
    if (token.kind !== 'operator' || !unaryOperators.has(token.text)) return postfix(depth);
    take();
    return { kind: 'unary', at: token.at, operator: token.text, operand: unary(depth + 1) };
  };
  const sizeOf = (depth: number): Expression => {
    const { at } = take();
    if (!isOperator('(')) return { kind: 'sizeof', at, of: unary(depth + 1) };
    const before = next;
    take();
    const type = typeSyntax();
    // One name alone may be a variable; it is a type only if there is no variable of that name.
    if (type !== undefined && isOperator(')')) {
      take();
      return { kind: 'sizeof', at, of: type };
    }
    next = before;
    return { kind: 'sizeof', at, of: unary(depth + 1) };
  };
  /** The words of a type; undefined, and nothing taken, where there are none. */
  const typeSyntax = (): TypeSyntax | undefined => {
    const before = next;
    const { at } = peek();
    const words: string[] = [];
    let keyword: TypeSyntax['keyword'];
    for (;;) {
      const token = peek();
      if (token.kind !== 'name') break;
      if (qualifierWords.has(token.text)) take();
      else if (keywords.has(token.text) && words.length === 0) {
        keyword = take().text as 'struct' | 'union' | 'enum';
        const tag = take();
        if (tag.kind !== 'name') throw new ExpressionError(`a name expected after '${keyword}'`, tag.at);
        words.push(tag.text);
      } else if (typeWords.has(token.text) || words.length === 0) words.push(take().text);
      else break;
    }
    if (words.length === 0) {
      next = before;
      return undefined;
    }
    let pointers = 0;
    while (isOperator('*') || qualifierWords.has(peek().text)) if (take().text === '*') pointers++;
    const dimensions: number[] = [];
    while (isOperator('[') && peek(1).kind === 'number' && isOperator(']', 2)) {
      take();
      const length = numberOf(take());
      if (typeof length !== 'bigint' || length > BigInt(MAX_ARRAY))
        throw new ExpressionError(`an array of ${length} elements is too large`, at);
      dimensions.push(Number(length));
      take();
    }
    return { at, keyword, name: words.join(' '), pointers, dimensions };
  };
  /** After a `(`: the type of a cast and its `)`, or nothing taken where the parenthesis holds an expression. */
  const castType = (): TypeSyntax | undefined => {
    const before = next;
    take();
    const first = peek();
    const type = first.kind === 'name' && !/^[$%]/.test(first.text) ? typeSyntax() : undefined;
    if (type !== undefined && isOperator(')')) {
      take();
      const after = peek();
      const sure =
        type.keyword !== undefined ||
        type.pointers > 0 ||
        typeWords.has(first.text) ||
        OWN_TYPES.test(first.text) ||
        qualifierWords.has(first.text);
      // `(name) x` and `(name[1]) x` are no expressions unless name is a type; with `- x` they are, and stay it.
      const operand =
        (after.kind !== 'operator' && after.kind !== 'end') ||
        isOperator('(') ||
        isOperator('~') ||
        isOperator('!');
      if (sure || operand) return type;
    }
    next = before;
    return undefined;
  };
  const postfix = (depth: number): Expression => {
    let of = primary(depth);
    for (;;) {
      const { at } = peek();
      if (isOperator('.') || isOperator('->')) {
        const arrow = take().text === '->';
        const member = take();
        if (member.kind !== 'name')
          throw new ExpressionError(`a member's name expected after '${arrow ? '->' : '.'}'`, member.at);
        of = { kind: 'member', at, of, name: member.text, arrow };
      } else if (isOperator('[')) {
        take();
        const index = whole(depth + 1);
        expect(']');
        of = { kind: 'index', at, of, index };
      } else if (isOperator('(')) {
        take();
        const args: Expression[] = [];
        while (!isOperator(')')) {
          if (args.length > 0) expect(',');
          args.push(whole(depth + 1));
        }
        take();
        of = { kind: 'call', at, of, args };
      } else return of;
    }
  };
  const primary = (depth: number): Expression => {
    const token = take();
    const { at } = token;
    if (token.kind === 'number') {
      const value = numberOf(token);
      const { kind, text: letters, at: after } = peek();
      const factor = kind === 'name' && Object.hasOwn(units, letters) ? units[letters] : undefined;
      if (factor === undefined || after !== at + token.text.length) return { kind: 'literal', at, value };
      take();
      return { kind: 'literal', at, value: BigInt(Math.round(Number(value) * factor)) };
    }
    if (token.kind === 'text') return { kind: 'literal', at, value: token.text };
    if (token.kind === 'character') return { kind: 'literal', at, value: token.text, character: true };
    if (token.kind === 'name') return { kind: 'name', at, name: token.text };
    if (token.kind === 'operator' && token.text === '(') {
      const inner = whole(depth + 1);
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

  const expression = whole(0);
  const rest = peek();
  if (rest.kind !== 'end') throw new ExpressionError(`'${rest.text}' does not belong here`, rest.at);
  return expression;
}

function numberOf({ text, at }: Token): bigint | number {
  if (text.includes('.')) return Number(text);
  const digits = text.replaceAll('_', '');
  try {
    // C11, 6.4.4.1: a number that begins with 0 is octal.
    return BigInt(/^0\d/.test(digits) ? `0o${digits.slice(1)}` : digits);
  } catch {
    throw new ExpressionError(`'${text}' is not a number`, at);
  }
}

/** The expressions directly inside one. */
export function parts(e: Expression): readonly Expression[] {
  switch (e.kind) {
    case 'literal':
    case 'name':
      return [];
    case 'member':
      return [e.of];
    case 'index':
      return [e.of, e.index];
    case 'unary':
    case 'cast':
      return [e.operand];
    case 'binary':
      return [e.left, e.right];
    case 'conditional':
      return [e.test, e.then, e.otherwise];
    case 'assign':
      return [e.target, e.value];
    case 'sizeof':
      return 'kind' in e.of ? [e.of] : [];
    case 'call':
      return [e.of, ...e.args];
  }
}
