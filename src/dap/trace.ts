import type { Answer, Question, QuestionKind } from '../machine/records/questions';
import { EXPORT_FORMATS } from '../machine/records/questions';
import { askTrace } from '../debugger/trace-questions';
import { RequestError } from './errors';
import type { Machine } from './machine';
import type { Shape } from './shape';
import { boolean, count, integer, listOf, object, oneOf, optional, text } from './shape';

// Questions about the machine's trace, as clients send them.

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
  sites: object({ ...filtered, from: count, to: count }),
  export: object({ ...filtered, format: oneOf(...EXPORT_FORMATS), from: count, to: count, head: boolean }),
};

export const question: Shape<Question> = (value, path) => {
  const { kind } = object({ kind: oneOf(...(Object.keys(SHAPES) as QuestionKind[])) })(value, path);
  return { kind, ...SHAPES[kind](value, path) } as Question;
};

export async function answerTrace({ target, symbols }: Machine, given: Question): Promise<Answer> {
  try {
    return await askTrace(target, symbols, given);
  } catch (error) {
    // They cross the worker's port as a name and a message.
    if (error instanceof Error && EXPECTED.has(error.name))
      throw new RequestError(error.message, { show: false });
    throw error;
  }
}
