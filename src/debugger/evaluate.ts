import type { Value } from '../machine/conditions';
import { ExpressionError, findValue, parseExpression, toNumber } from '../machine/conditions';
import type { EvaluationContext } from './expressions';
import { evaluateAt, showValue } from './expressions';
import type { Location } from './locations';
import { formatLocation, hex, parseLocation, virtual } from './locations';
import { bytesToNumber, flags, numberToBytes, registerFile, setRegister } from './registers';
import { symbolic } from './symbols';
import type { Frame } from './unwind';
import type { Variable } from './variables';
import { decodedRow } from './variables';

export { ExpressionError, parseExpression, toNumber };

/** What a person typed comes to. */
export interface Evaluation extends Variable {
  /** State was changed by it. */
  readonly assigned?: boolean;
}

const MEMORY_REFERENCE = /^(virtual:d\d+v\d+|pseudophysical:d\d+|machine):(0[xX][0-9a-fA-F]+|\d+)$/;
/** `rax = 5`, and not `rax == 5`. */
const ASSIGNMENT = /^\s*([$%]?[A-Za-z]\w*)\s*=(?!=)\s*(.+)$/s;

/**
 * Expressions, a memory reference, or with `assign` also `register = expression`.
 * Throws an ExpressionError or LocationError in words for the person who typed it.
 */
export async function evaluateText(
  text: string,
  context: EvaluationContext,
  assign: boolean,
): Promise<Evaluation> {
  const reference = text.trim();
  if (MEMORY_REFERENCE.test(reference))
    return evaluateReference(parseLocation(reference, context.vcpu), context);
  const assignment = assign ? ASSIGNMENT.exec(text) : null;
  if (assignment !== null) {
    const [, name = '', value = ''] = assignment;
    return { ...(await assignRegister(name, value, context)), assigned: true };
  }
  return showEvaluation(text, await evaluateAt(parseExpression(text), context), context);
}

export async function assignRegister(
  name: string,
  text: string,
  context: EvaluationContext,
): Promise<Evaluation> {
  const value = toNumber(await evaluateAt(parseExpression(text), context));
  await setRegister(context.target, context.vcpu, name, value);
  const fresh = registerFile(await context.target.registers(context.vcpu));
  return showEvaluation(name, fresh.need(name), context);
}

async function evaluateReference(location: Location, { target }: EvaluationContext): Promise<Evaluation> {
  const bytes = await target.readMemory(location.space, location.address, 8);
  const value = bytes.length < 8 ? 'not mapped' : hex(bytesToNumber(bytes));
  return { name: formatLocation(location), value, memory: location };
}

function showEvaluation(
  name: string,
  value: Value,
  { symbols, vcpu, registers }: EvaluationContext,
): Evaluation {
  if (typeof value === 'object') return { ...decodedRow(value, vcpu), name };
  if (typeof value === 'string') return { name, value };
  const register = registers.find(name.trim());
  const bits = register?.bits ?? 64;
  if (
    bits <= 2 &&
    flags.some((flag) => flag.name.toLowerCase() === name.trim().replace(/^[$%]/, '').toLowerCase())
  ) {
    return { name, value: `${value}` };
  }
  if (value < 0n || value < 10n) return { name, value: showValue(value, true) };
  const symbol = symbolic(symbols, value);
  const shown = `${hex(value)} (${value})${symbol === undefined ? '' : ` <${symbol}>`}`;
  // Wider than an address: a vector register.
  return value >= 1n << 64n
    ? { name, value: hex(value) }
    : { name, value: shown, memory: virtual(vcpu, value) };
}

/** In a caller's frame its own instruction and stack pointers are meant. */
export function inFrame(context: EvaluationContext, frame: Frame): EvaluationContext {
  const own: Readonly<Record<string, bigint>> = { rip: frame.address, rsp: frame.stack, rbp: frame.base };
  const all = context.registers.all.map((register) => {
    const value = own[register.name];
    return value === undefined
      ? register
      : { ...register, bytes: numberToBytes(value, register.bytes.length), writable: false };
  });
  return { ...context, registers: registerFile(all), call: undefined };
}

export interface Completion {
  readonly text: string;
  readonly kind: 'field' | 'variable' | 'function';
}

const MAX_COMPLETIONS = 100;

/** What may stand where `prefix` is being typed. */
export function complete(prefix: string, context: EvaluationContext): Completion[] {
  const dollar = /^[$%]/.exec(prefix)?.[0] ?? '';
  const bare = prefix.slice(dollar.length);
  const registers = context.registers.all
    .map(({ name }) => name)
    .filter((name) => name.startsWith(bare.toLowerCase()))
    .map((name): Completion => ({ text: dollar + name, kind: 'variable' }));
  if (dollar !== '') return registers;
  const args = (context.call?.args ?? [])
    .filter(({ name }) => name.startsWith(bare))
    .map(({ name }): Completion => ({ text: name, kind: 'field' }));
  // Thousands of symbols to a beginning that nobody has typed yet are no help.
  const symbols = bare === '' ? [] : context.symbols.complete(bare, MAX_COMPLETIONS);
  return [
    ...args,
    ...registers,
    ...symbols.map((text): Completion => ({
      text: /^[\w$]+$/.test(text) ? text : `\`${text}\``,
      kind: 'function',
    })),
  ];
}

/** Members of the argument that a path such as `ureqs[0].` leads to. */
export function completeMembers(path: string, context: EvaluationContext): Completion[] {
  const [root = '', ...rest] = path.split(/[.[]/).map((piece) => piece.replace(']', ''));
  let value = context.call === undefined ? undefined : findValue(context.call.args, root);
  for (const piece of rest)
    value = value?.children?.find(({ name }) => name === piece || name === `[${piece}]`);
  return (value?.children ?? []).map(({ name }) => ({ text: name, kind: 'field' }));
}
