import { functionsNamed } from '../machine/records/filter';
import type { Answer, FilterSpec, Question, QuestionKind, RecordRow } from '../machine/records/questions';
import { EXPORT_FORMATS } from '../machine/records/questions';
import { ExpressionError } from '../machine/expressions';
import type { DomainSymbols, SymbolIndex } from '../debugger/symbols';
import { symbolic } from '../debugger/symbols';
import { RequestError } from './errors';
import type { Machine } from './machine';
import type { Shape } from './shape';
import { boolean, count, integer, listOf, object, oneOf, optional, text } from './shape';

// Questions about the machine's trace: passed on to where the records are, with what only the debugger knows put in:
// where the functions of a filter are, and which function a call site is in.

/** What is wrong with a question, rather than with us. */
const EXPECTED: ReadonlySet<string> = new Set(['RangeError', 'ExpressionError']);

const filtered = { filter: text };
const axis = oneOf('retired', 'time');

/** What each question must look like. */
const SHAPES: { readonly [K in QuestionKind]: Shape<object> } = {
  info: object({}),
  scan: object(filtered),
  rows: object({ ...filtered, start: count, count }),
  at: object({ positions: listOf(count) }),
  record: object({ at: count }),
  index: object({ ...filtered, at: integer }),
  moment: object({ retired: count, domain: optional(count), vcpu: optional(count) }),
  timeline: object({ ...filtered, axis, from: count, to: count, buckets: count }),
  totals: object(filtered),
  signatures: object({ from: count, likeness: oneOf('calls', 'arguments', 'moments') }),
  export: object({ ...filtered, format: oneOf(...EXPORT_FORMATS), from: count, to: count, head: boolean }),
};

export const question: Shape<Question> = (value, path) => {
  const { kind } = object({ kind: oneOf(...(Object.keys(SHAPES) as QuestionKind[])) })(value, path);
  return { kind, ...SHAPES[kind](value, path) } as Question;
};

/** No function is longer. */
const LONGEST = 1n << 24n;

/** [low, high) of a function: as far as the symbol reaches. */
export function rangeOf(symbols: SymbolIndex, name: string): readonly [bigint, bigint] | undefined {
  const low = symbols.find(name);
  if (low === undefined) return undefined;
  const start = symbols.at(low)?.address;
  let inside = 0n;
  let outside = LONGEST;
  while (outside - inside > 1n) {
    const middle = (inside + outside) / 2n;
    if (symbols.at(low + middle)?.address === start) inside = middle;
    else outside = middle;
  }
  return [low, low + outside];
}

const hex = (n: bigint): string => `0x${n.toString(16)}`;

function withFunctions(symbols: DomainSymbols, given: Question): Question {
  if (!('filter' in given)) return given;
  let names: readonly string[];
  try {
    names = functionsNamed(given.filter);
  } catch (error) {
    // Whoever compiles it says so.
    if (error instanceof ExpressionError) return given;
    throw error;
  }
  const functions: Record<string, NonNullable<FilterSpec['functions']>[string]> = {};
  for (const name of names) {
    const ranges = symbols.images.flatMap(({ domains, symbols: image }) => {
      const range = rangeOf(image, name);
      return range === undefined ? [] : [{ low: hex(range[0]), high: hex(range[1]), domains }];
    });
    if (ranges.length > 0) functions[name] = ranges;
  }
  return { ...given, functions } satisfies Question & FilterSpec;
}

export async function askTrace({ target, symbols }: Machine, given: Question): Promise<Answer> {
  let answer: Answer;
  try {
    answer = await target.traceQuestion(withFunctions(symbols, given));
  } catch (error) {
    // They cross the worker's port as a name and a message.
    if (error instanceof Error && EXPECTED.has(error.name))
      throw new RequestError(error.message, { show: false });
    throw error;
  }
  const sited = (row: RecordRow): RecordRow => {
    const site = symbolic(symbols.of(row.domain), BigInt(row.caller ?? row.rip));
    return site === undefined ? row : { ...row, site };
  };
  if ('rows' in answer) return { rows: answer.rows.map(sited) };
  if ('row' in answer) return { ...answer, row: sited(answer.row), entries: answer.entries.map(sited) };
  return answer;
}
