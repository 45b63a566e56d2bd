import type { Expression } from '../machine/expressions';
import { ExpressionError, parseExpression } from '../machine/expressions';
import { registerName } from '../machine/register-names';
import { bare } from '../guest/dwarf';
import { evaluateAt } from './c/evaluate';
import type { Operand } from './c/operand';
import type { EvaluationContext } from './expressions';
import { localsOf, unitOf } from './expressions';
import type { Location } from './locations';
import { formatLocation, hex, parseLocation, virtual } from './locations';
import { bytesToNumber, numberToBytes } from '../base/bytes';
import { flags, registerFile } from './registers';
import { symbolic } from './symbols';
import type { Frame } from './unwind';
import { membersOf, pointee } from './values/show';
import { typedRow } from './values/rows';
import type { Variable } from './variables';
import { decodedRow } from './variables';

export { ExpressionError, parseExpression };

/** What a person typed comes to. */
export interface Evaluation extends Variable {
  /** State was changed by it. */
  readonly assigned?: boolean;
}

const MEMORY_REFERENCE = /^(virtual:d\d+v\d+|pseudophysical:d\d+|machine):(0[xX][0-9a-fA-F]+|\d+)$/;

/**
 * Expressions, a memory reference, or with `assign` also assignments.
 * Rejects with an ExpressionError or LocationError in words for the person who typed it.
 */
export async function evaluateText(
  text: string,
  context: EvaluationContext,
  assign: boolean,
): Promise<Evaluation> {
  const reference = text.trim();
  if (MEMORY_REFERENCE.test(reference))
    return evaluateReference(parseLocation(reference, context.vcpu), context);
  return evaluateParsed(text, parseExpression(text), context, assign);
}

async function evaluateParsed(
  text: string,
  expression: Expression,
  context: EvaluationContext,
  assign: boolean,
): Promise<Evaluation> {
  const { operand, evaluator } = await evaluateAt(expression, context, { assign });
  const fresh = evaluator.assigned
    ? {
        ...context,
        read: evaluator.read,
        registers: registerFile(await context.target.registers(context.vcpu)),
      }
    : context;
  const shown = await showEvaluation(text.trim(), operand, fresh);
  return evaluator.assigned ? { ...shown, assigned: true } : shown;
}

/** Sets what one expression names to what another one yields. */
export async function assignText(
  target: string,
  value: string,
  context: EvaluationContext,
): Promise<Evaluation> {
  const expression: Expression = {
    kind: 'assign',
    at: 0,
    operator: '',
    target: parseExpression(target),
    value: parseExpression(value),
  };
  return { ...(await evaluateParsed(target, expression, context, true)), assigned: true };
}

async function evaluateReference(location: Location, { target }: EvaluationContext): Promise<Evaluation> {
  const bytes = await target.readMemory(location.space, location.address, 8);
  const value = bytes.length < 8 ? 'not mapped' : hex(bytesToNumber(bytes));
  return { name: formatLocation(location), value, memory: location };
}

async function showEvaluation(
  name: string,
  operand: Operand,
  context: EvaluationContext,
): Promise<Evaluation> {
  const { vcpu } = context;
  switch (operand.kind) {
    case 'typed':
      return typedRow(name, operand.value, context, name);
    case 'decoded':
      return { ...decodedRow(operand.value, vcpu), name };
    case 'text':
      return { name, value: operand.value };
    case 'float':
      return { name, value: `${operand.value}`, type: 'double' };
    case 'unresolved':
      return { name, value: operand.name };
    case 'register':
      return showNumber(name, operand.value, context, isFlag(operand.name));
    case 'number':
    case 'memory':
      return showNumber(name, operand.value, context, false);
  }
}

const isFlag = (name: string): boolean =>
  flags.some((flag) => flag.bits <= 2 && flag.name.toLowerCase() === name.toLowerCase());

function showNumber(
  name: string,
  value: bigint,
  { symbols, vcpu }: EvaluationContext,
  plain: boolean,
): Evaluation {
  if (plain || value < 10n) return { name, value: `${value}` };
  // Wider than an address: a vector register.
  if (value >= 1n << 64n) return { name, value: hex(value) };
  const symbol = symbolic(symbols, value);
  const shown = `${hex(value)} (${value})${symbol === undefined ? '' : ` <${symbol}>`}`;
  return { name, value: shown, memory: virtual(vcpu, value) };
}

/**
 * The frame whose variables are meant. In a caller's frame the registers are those that unwinding found: they
 * are shown, and set only through the variables that live in them.
 */
export function inFrame(context: EvaluationContext, frame: Frame, innermost: boolean): EvaluationContext {
  if (frame.kind === 'boundary') return context;
  if (innermost) return { ...context, frame };
  const own = new Map<string, bigint>([
    ['rip', frame.address],
    ['rsp', frame.stack],
    ['rbp', frame.base],
  ]);
  for (const [number, { value }] of frame.activation?.registers ?? []) {
    const name = registerName(number);
    if (name !== undefined) own.set(name, value);
  }
  const all = context.registers.all.map((register) => {
    const value = own.get(register.name);
    return value === undefined
      ? register
      : { ...register, bytes: numberToBytes(value, register.bytes.length), writable: false };
  });
  return { ...context, registers: registerFile(all), call: undefined, frame };
}

export interface Completion {
  readonly text: string;
  readonly kind: 'field' | 'variable' | 'function' | 'keyword';
}

const MAX_COMPLETIONS = 100;

/** What may stand where `prefix` is being typed. */
export function complete(prefix: string, context: EvaluationContext): Completion[] {
  const dollar = /^[$%]/.exec(prefix)?.[0] ?? '';
  const bareName = prefix.slice(dollar.length);
  const registers = context.registers.all
    .map(({ name }) => name)
    .filter((name) => name.startsWith(bareName.toLowerCase()))
    .map((name): Completion => ({ text: dollar + name, kind: 'variable' }));
  if (dollar !== '') return registers;
  const locals = [...new Set(localsOf(context).map(({ name }) => name))]
    .filter((name) => name.startsWith(bareName))
    .map((text): Completion => ({ text, kind: 'variable' }));
  const args = (context.call?.args ?? [])
    .filter(({ name }) => name.startsWith(bareName))
    .map(({ name }): Completion => ({ text: name, kind: 'field' }));
  // Thousands of symbols to a beginning that nobody has typed yet are no help.
  const unit = unitOf(context);
  const names =
    bareName === '' || unit === undefined
      ? []
      : (context.symbols.debug?.completeName(unit, bareName, MAX_COMPLETIONS) ?? []);
  const symbols = bareName === '' ? [] : context.symbols.complete(bareName, MAX_COMPLETIONS);
  return [
    ...locals,
    ...args,
    ...registers,
    ...[...new Set([...names, ...symbols])].map((text): Completion => ({
      text: /^[\w$]+$/.test(text) ? text : `\`${text}\``,
      kind: 'function',
    })),
  ].filter((one, index, all) => all.findIndex(({ text }) => text === one.text) === index);
}

/** Members of what an expression such as `ureqs[0]` or `task->mm` yields. */
export async function completeMembers(path: string, context: EvaluationContext): Promise<Completion[]> {
  const field = (text: string): Completion => ({ text, kind: 'field' });
  try {
    const { operand, evaluator } = await evaluateAt(parseExpression(path), context);
    if (operand.kind === 'decoded') return (operand.value.children ?? []).map(({ name }) => field(name));
    if (operand.kind !== 'typed') return [];
    const isPointer = bare(operand.value.type).kind === 'pointer';
    const value = isPointer ? await pointee(operand.value, evaluator) : operand.value;
    return membersOf(value, context.symbols.debug).map(({ name }) => field(name));
  } catch (error) {
    if (error instanceof Error) return [];
    throw error;
  }
}
