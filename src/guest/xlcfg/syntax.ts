import { ImageError } from '../error';

// The grammar of xl.cfg(5): assignments, one a line or separated by ';', of strings, numbers and lists.

export interface Position {
  /** Both from 1. */
  readonly line: number;
  readonly column: number;
}

/** A configuration file cannot be used; `where` is a line and a column. */
export class ConfigError extends ImageError {
  readonly position: Position;

  constructor(file: string, { line, column }: Position, problem: string, fix?: string) {
    super(file, `line ${line}, column ${column}`, problem, fix);
    this.position = { line, column };
    this.name = 'ConfigError';
  }
}

export type XlValue = XlAtom | XlList;

/** A string, or a number as it was written: xl converts only when a key asks for one of them. */
export interface XlAtom extends Position {
  readonly kind: 'string' | 'number';
  readonly text: string;
}

export interface XlList extends Position {
  readonly kind: 'list';
  readonly items: readonly XlValue[];
}

export interface XlAssignment extends Position {
  readonly key: string;
  /** `+=`: a list or string is appended to what the key has. */
  readonly append: boolean;
  readonly value: XlValue;
}

type TokenKind = 'identifier' | 'number' | 'string' | 'newline' | 'end' | '=' | '+=' | '[' | ']' | ',';

interface Token extends Position {
  readonly kind: TokenKind;
  readonly text: string;
}

const tokenForms: readonly { kind: TokenKind | 'blank'; form: RegExp }[] = [
  { kind: 'blank', form: /(?:[ \t\r]|#[^\n]*)+/y },
  { kind: 'newline', form: /[\n;]/y },
  { kind: 'number', form: /-?[0-9][0-9a-zA-Z]*/y },
  { kind: 'identifier', form: /[A-Za-z_][A-Za-z0-9_]*/y },
  { kind: 'string', form: /"(?:[^"\\\n]|\\[^\n])*"|'(?:[^'\\\n]|\\[^\n])*'/y },
  { kind: '+=', form: /\+=/y },
  { kind: '=', form: /=/y },
  { kind: '[', form: /\[/y },
  { kind: ']', form: /\]/y },
  { kind: ',', form: /,/y },
];

const simpleEscapes: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '"': '"',
  "'": "'",
  '\\': '\\',
};

/** Deeper than any configuration; keeps the reader from running out of stack. */
const MAX_DEPTH = 32;

function unquote(token: Token, file: string): string {
  return token.text
    .slice(1, -1)
    .replace(/\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)/gs, (whole, code: string, offset: number) => {
      const simple = simpleEscapes[code];
      if (simple !== undefined) return simple;
      if (/^x./.test(code)) return String.fromCharCode(parseInt(code.slice(1), 16));
      if (/^[0-7]/.test(code)) return String.fromCharCode(parseInt(code, 8) & 0xff);
      throw new ConfigError(
        file,
        { line: token.line, column: token.column + 1 + offset },
        `unknown escape ${whole} in a string`,
        'Write \\\\ for a backslash',
      );
    });
}

function tokenize(text: string, file: string): Token[] {
  const tokens: Token[] = [];
  let line = 1;
  let lineStart = 0;
  for (let at = 0; at < text.length;) {
    const position = { line, column: at - lineStart + 1 };
    const match = tokenForms
      .map(({ kind, form }) => {
        form.lastIndex = at;
        return { kind, found: form.exec(text)?.[0] };
      })
      .find(({ found }) => found !== undefined);
    if (match?.found === undefined) {
      const character = text[at] ?? '';
      const problem =
        character === '"' || character === "'"
          ? 'this string has no closing quote on its line'
          : `unexpected character ${JSON.stringify(character)}`;
      throw new ConfigError(file, position, problem);
    }
    if (match.kind !== 'blank') tokens.push({ kind: match.kind, text: match.found, ...position });
    at += match.found.length;
    if (match.found === '\n') {
      line++;
      lineStart = at;
    }
  }
  tokens.push({ kind: 'end', text: '', line, column: text.length - lineStart + 1 });
  return tokens;
}

const shown = (token: Token): string =>
  token.kind === 'end' ? 'the end of the file' : token.text === '\n' ? 'the end of the line' : token.text;

/** @throws ConfigError */
export function parseXlSyntax(text: string, file: string): XlAssignment[] {
  const tokens = tokenize(text, file);
  const last = tokens[tokens.length - 1] as Token;
  let at = 0;
  const peek = (): Token => tokens[at] ?? last;
  const fail = (token: Token, problem: string, fix?: string): never => {
    throw new ConfigError(file, token, problem, fix);
  };
  const skipNewlines = (): void => {
    while (peek().kind === 'newline') at++;
  };

  const list = (open: Token, depth: number): XlList => {
    if (depth > MAX_DEPTH) fail(open, `lists nested deeper than ${MAX_DEPTH}`);
    const items: XlValue[] = [];
    for (;;) {
      skipNewlines();
      if (peek().kind === ']') break;
      items.push(value(depth));
      skipNewlines();
      const next = peek();
      if (next.kind === ']') break;
      if (next.kind === 'end') fail(open, 'this list is not closed', 'Add the missing ]');
      if (next.kind !== ',') fail(next, `expected , or ] in a list, and found ${shown(next)}`);
      at++;
    }
    at++;
    return { kind: 'list', items, line: open.line, column: open.column };
  };

  const value = (depth: number): XlValue => {
    const token = peek();
    at++;
    const { line, column } = token;
    switch (token.kind) {
      case 'string':
        return { kind: 'string', text: unquote(token, file), line, column };
      case 'number':
        return { kind: 'number', text: token.text, line, column };
      case '[':
        return list(token, depth + 1);
      case 'identifier':
        return fail(token, `${token.text} is not a value`, `Quote it: "${token.text}"`);
      default:
        return fail(token, `expected a string, a number or a list, and found ${shown(token)}`);
    }
  };

  const assignments: XlAssignment[] = [];
  for (;;) {
    skipNewlines();
    const key = peek();
    if (key.kind === 'end') return assignments;
    if (key.kind !== 'identifier') fail(key, `expected a setting like name = value, and found ${shown(key)}`);
    at++;
    const operator = peek();
    if (operator.kind !== '=' && operator.kind !== '+=')
      fail(operator, `expected = after ${key.text}, and found ${shown(operator)}`);
    at++;
    assignments.push({
      key: key.text,
      append: operator.kind === '+=',
      value: value(0),
      line: key.line,
      column: key.column,
    });
    const end = peek();
    if (end.kind !== 'newline' && end.kind !== 'end')
      fail(end, `expected the end of the line, and found ${shown(end)}`);
  }
}
