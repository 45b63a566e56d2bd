import { ExpressionError, parseExpression } from '../../machine/expressions';
import type { HypercallInfo } from '../../machine/target';
import { numberAt } from '../c/evaluate';
import type { InstructionDecoder } from '../decoder';
import type { EvaluationContext } from '../expressions';
import type { Location } from '../locations';
import type { Frame } from '../unwind';

// What a person types in the debug console that is no expression: a word, and what it is about.

export interface CommandContext extends EvaluationContext {
  readonly decoder: InstructionDecoder;
  readonly hypercalls: readonly HypercallInfo[];
  /** Calls of the vCPU, innermost first. */
  stack(): Promise<readonly Frame[]>;
}

export interface CommandResult {
  readonly text: string;
  /** Memory that it is about, for a memory view. */
  readonly memory?: Location;
  /** State of the guest was changed. */
  readonly changed?: boolean;
}

export interface Command {
  readonly name: string;
  /** Other words for it. */
  readonly also?: readonly string[];
  /** What follows the name: `ADDRESS`, `[COUNT]`; several where it has several forms. */
  readonly usage: readonly string[];
  readonly help: string;
  readonly examples?: readonly string[];
  /** Takes `/16gx` right after its name. */
  readonly format?: boolean;
  /** Words that may stand as its first argument. */
  words?(context: CommandContext): readonly string[] | Promise<readonly string[]>;
  /**
   * Rejects with an ExpressionError in words for the person who typed it.
   * @param given what stands after the name, without blanks around it
   */
  run(given: string, context: CommandContext, format: string): Promise<CommandResult | string>;
}

export const fail = (message: string): never => {
  throw new ExpressionError(message, 0);
};

/** Rows with their cells under one another; the last cell of a row may have any length. */
export function columns(rows: readonly (readonly string[])[], right: readonly number[] = []): string {
  const widths: number[] = [];
  for (const row of rows)
    row.slice(0, -1).forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, cell.length)));
  return rows
    .map((row) =>
      row
        .map((cell, i) => {
          if (i === row.length - 1) return cell;
          const width = widths[i] ?? 0;
          return right.includes(i) ? cell.padStart(width) : cell.padEnd(width);
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** A number that was typed as an expression, of which there has to be one. */
export function numberOf(text: string, context: EvaluationContext, what: string): Promise<bigint> {
  if (text === '') fail(`${what} is missing`);
  return numberAt(parseExpression(text), context);
}

export async function addressOf(text: string, context: EvaluationContext): Promise<bigint> {
  return BigInt.asUintN(64, await numberOf(text, context, 'an address'));
}

export async function mfnOf(text: string, context: EvaluationContext): Promise<number> {
  const mfn = await numberOf(text, context, 'a machine frame number');
  return mfn >= 0n && mfn < 1n << 52n ? Number(mfn) : fail(`${text} is no machine frame number`);
}

/** `2` or `d2`; without one the domain of the vCPU that is looked at. */
export function domainOf(text: string, { vcpu }: EvaluationContext): number {
  if (text === '') return vcpu.domain;
  const found = /^d?(\d{1,5})$/.exec(text)?.[1];
  return found === undefined ? fail(`'${text}' is no domain; they are written d1, d2, …`) : Number(found);
}

export const plural = (count: number, one: string, many = `${one}s`): string =>
  `${count} ${count === 1 ? one : many}`;
