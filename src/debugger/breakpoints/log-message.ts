import type { Expression } from '../../machine/expressions';
import { ExpressionError, parseExpression } from '../../machine/expressions';
import { evaluateAt } from '../c/evaluate';
import type { Target } from '../../machine/target';
import type { EvaluationContext } from '../expressions';
import { showOperand } from '../values/rows';

/** Text with `{expression}` in it; `{{` and `}}` stand for the braces themselves. */
export type LogMessage = readonly (string | { readonly source: string; readonly expression: Expression })[];

/** @returns a message when an expression in it cannot be read */
export function parseLogMessage(text: string): LogMessage | string {
  const pieces: (string | { source: string; expression: Expression })[] = [];
  for (const match of text.matchAll(/\{\{|\}\}|\{([^{}]*)\}|[^{}]+|[{}]/g)) {
    const [all, source] = match;
    if (source === undefined) {
      if (all === '{' || all === '}') return `log message: '${all}' at ${match.index} has no partner`;
      pieces.push(all === '{{' || all === '}}' ? all.charAt(0) : all);
      continue;
    }
    try {
      pieces.push({ source, expression: parseExpression(source) });
    } catch (error) {
      if (error instanceof ExpressionError) return `log message: {${source}}: ${error.message}`;
      throw error;
    }
  }
  return pieces;
}

/** The same at a statement of the hypervisor, over its locals. */
export async function formatAtStatement(message: LogMessage, target: Target): Promise<string> {
  const pieces = message.map(async (piece) => {
    if (typeof piece === 'string') return piece;
    const value = await target.hypervisorEvaluate(0, piece.source).catch((error: unknown) => ({
      text: `{${piece.source}: ${error instanceof Error ? error.message : String(error)}}`,
    }));
    return value.text;
  });
  return (await Promise.all(pieces)).join('');
}

/** Expressions that have no value here say so in their place. */
export async function formatLogMessage(message: LogMessage, context: EvaluationContext): Promise<string> {
  let text = '';
  for (const piece of message) {
    if (typeof piece === 'string') {
      text += piece;
      continue;
    }
    try {
      const { operand } = await evaluateAt(piece.expression, context);
      text += await showOperand(operand, context);
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      text += `{${piece.source}: ${error.message}}`;
    }
  }
  return text;
}
