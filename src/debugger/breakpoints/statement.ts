import type { Expression } from '../../machine/expressions';
import { ExpressionError, parseExpression, parts } from '../../machine/expressions';
import { namesIn } from '../expressions';
import type { HypervisorSources } from '../hypervisor-source';
import { parseLogMessage } from './log-message';
import type { BreakpointOptions, Resolution } from './types';

/** A line of the hypervisor's own source; the machine evaluates its condition, over the locals there. */
export function resolveStatement(
  file: string,
  line: number,
  { condition, logMessage }: BreakpointOptions,
  hypervisor: HypervisorSources,
): Resolution {
  const at = hypervisor.lineAt(file, line);
  if (at === undefined) return { points: [], message: `no statement at or after line ${line} of ${file}` };
  const names = hypervisor.namesAt(file, at);
  const asked = [...expressionsOf(condition), ...logExpressions(logMessage)];
  const unknown = asked.flatMap((e) => unknownIn(e, new Set(names)));
  const point = { kind: 'statement', file, line: at, condition: condition ?? '1' } as const;
  if (unknown.length === 0) return { points: [point], line: at };
  const there = names.length === 0 ? 'nothing has a name there' : `there are ${names.join(', ')}`;
  return { points: [], line: at, message: `there is no '${unknown.join("', '")}' at line ${at}; ${there}` };
}

/** What cannot be read is told with the breakpoint anyway. */
function expressionsOf(text: string | undefined): Expression[] {
  try {
    return text === undefined || text.trim() === '' ? [] : [parseExpression(text)];
  } catch (error) {
    if (error instanceof ExpressionError) return [];
    throw error;
  }
}
function logExpressions(text: string | undefined): Expression[] {
  const log = text === undefined ? [] : parseLogMessage(text);
  return typeof log === 'string'
    ? []
    : log.flatMap((piece) => (typeof piece === 'string' ? [] : [piece.expression]));
}

/** Names that nothing has; one that is compared with a value may be what that is called (`errno == EINVAL`). */
function unknownIn(expression: Expression, known: ReadonlySet<string>): string[] {
  const called = new Set<Expression>();
  const look = (e: Expression): void => {
    if (e.kind === 'binary' && (e.operator === '==' || e.operator === '!=')) {
      const isNew = (one: Expression): boolean => one.kind === 'name' && !known.has(one.name);
      const hasName = (one: Expression): boolean => one.kind !== 'literal' && !isNew(one);
      if (isNew(e.right) && hasName(e.left)) called.add(e.right);
      else if (isNew(e.left) && hasName(e.right)) called.add(e.left);
    }
    parts(e).forEach(look);
  };
  look(expression);
  return namesIn(expression)
    .filter((one) => !known.has(one.name) && ![...called].some((e) => e.at === one.at))
    .map(({ name }) => name);
}
