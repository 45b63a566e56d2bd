import type { Entry, Unit } from '../guest/dwarf';
import { AT, Unavailable } from '../guest/dwarf';
import { ImageError } from '../guest/error';
import { findValue, hypercallScope } from '../machine/conditions';
import type { Expression } from '../machine/expressions';
import { ExpressionError, parts } from '../machine/expressions';
import type { HypercallView, Target, VcpuRef } from '../machine/target';
import type { Operand } from './c/operand';
import { types } from './c/operand';
import { cachedMemory } from './memory-cache';
import type { ReadMemory } from './memory-cache';
import type { RegisterFile } from './registers';
import type { SymbolIndex } from './symbols';
import type { Frame } from './unwind';
import { locate } from './unwind/activation';
import { computed, inMemory } from './values/typed';

/** What names mean at one stop and in one frame of it. */
export interface EvaluationContext {
  readonly target: Target;
  readonly vcpu: VcpuRef;
  readonly registers: RegisterFile;
  readonly symbols: SymbolIndex;
  readonly call?: HypercallView | undefined;
  /** Whose local variables are meant. */
  readonly frame?: Frame | undefined;
  /** Memory as it is while nothing runs or is changed. */
  readonly read?: ReadMemory;
}

export const memoryOf = ({ target, vcpu, read }: EvaluationContext): ReadMemory =>
  read ?? cachedMemory(target, vcpu);

export const unitOf = ({ frame, symbols }: EvaluationContext): Unit | undefined =>
  frame?.activation?.scopes[0]?.entry.unit ??
  (frame === undefined ? undefined : symbols.debug?.unitAt(frame.activation?.pc ?? frame.address));

/** Local variables and parameters, the innermost first; `hidden` ones have the name of a later one. */
export function localsOf({
  frame,
  symbols,
}: {
  readonly symbols: SymbolIndex;
  readonly frame?: Pick<Frame, 'scopes'> | undefined;
}): { name: string; entry: Entry; hidden: boolean }[] {
  const { debug } = symbols;
  if (debug === undefined || frame?.scopes === undefined) return [];
  const seen = new Set<string>();
  const found: { name: string; entry: Entry; hidden: boolean }[] = [];
  for (const scope of [...frame.scopes].reverse()) {
    const here = debug.scopes.variables(scope).flatMap((entry) => {
      const name = debug.dwarf.text(entry, AT.name);
      return name === undefined ? [] : [{ name, entry, hidden: seen.has(name) }];
    });
    for (const { name } of here) seen.add(name);
    found.push(...here);
  }
  return found;
}

/** A variable or function, with its place. Rejects with Unavailable where it has none now. */
export async function variableAt(entry: Entry, context: EvaluationContext, local: boolean): Promise<Operand> {
  const { symbols, frame } = context;
  const { debug } = symbols;
  if (debug === undefined) throw new Unavailable('there is no debugging information');
  const isFunction = debug.dwarf.ranges(entry).length > 0 || entry.tag === 0x2e;
  if (isFunction) {
    const name = debug.dwarf.text(entry, AT.name) ?? '';
    const address = debug.dwarf.ranges(entry)[0]?.low ?? symbols.find(name);
    if (address === undefined) throw new Unavailable(`${name} has no code of its own`);
    return { kind: 'typed', value: inMemory(debug.types.of(entry), address) };
  }
  const activation = local ? frame?.activation : undefined;
  const location = await locate(debug, entry, activation, (name) => symbols.find(name));
  return { kind: 'typed', value: { type: debug.types.typeOf(entry), location, offset: 0, activation } };
}

const isRegister = (name: string): boolean => /^[$%]/.test(name);

/** `dom` and `vcpu`: whose code it is. */
function whereabouts(name: string, { vcpu }: EvaluationContext): Operand | undefined {
  const value = name === 'dom' ? vcpu.domain : name === 'vcpu' ? vcpu.vcpu : undefined;
  return value === undefined ? undefined : { kind: 'number', value: BigInt(value), literal: true };
}

/** The hypercall's arguments, and the call itself: `name`, `op`, `nr`, `result`, `errno`, `reason`. */
function argument({ call }: EvaluationContext, name: string): Operand | undefined {
  if (call === undefined) return undefined;
  const value = findValue(call.args, name) ?? hypercallScope(call).name(name);
  if (value === undefined) return undefined;
  if (typeof value === 'string') return { kind: 'text', value };
  return typeof value === 'bigint' ? { kind: 'number', value } : { kind: 'decoded', value };
}

function register({ registers }: EvaluationContext, name: string): Operand | undefined {
  const value = registers.get(name);
  return value === undefined ? undefined : { kind: 'register', name: name.replace(/^[$%]/, ''), value };
}

/** A parse error of the debugging information is nothing a person can do anything about here; the name is not found. */
function orUndefined<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (error instanceof ImageError) return undefined;
    throw error;
  }
}

/**
 * What a name means: in a frame of the guest its local variables come first, then the hypercall's arguments, the
 * variables of its own file, registers, other variables and symbols. At the boundary the arguments come first.
 */
export async function resolveName(name: string, context: EvaluationContext): Promise<Operand | undefined> {
  // `$rax` is always the register, `$dom` the domain, even where something else has its name.
  if (isRegister(name)) return register(context, name) ?? whereabouts(name.slice(1), context);
  const { symbols } = context;
  const { debug } = symbols;
  const local = orUndefined(() => localsOf(context).find((one) => one.name === name));
  if (local !== undefined) return variableAt(local.entry, context, true);
  const fromCall = argument(context, name);
  if (fromCall !== undefined) return fromCall;
  const unit = unitOf(context);
  const own = unit === undefined ? undefined : orUndefined(() => debug?.inUnit(name, unit));
  if (own?.kind === 'constant') return { kind: 'typed', value: constantOf(own.type, own.value) };
  if (own !== undefined) return variableAt(own.entry, context, false);
  const processor = register(context, name);
  if (processor !== undefined) return processor;
  const address = symbols.find(name);
  const elsewhere = orUndefined(() => debug?.find(name, undefined));
  if (elsewhere !== undefined) return variableAt(elsewhere, context, false);
  if (address !== undefined) return { kind: 'number', value: address };
  const constant = orUndefined(() => debug?.findEnumerator(name, undefined));
  return constant === undefined
    ? whereabouts(name, context)
    : { kind: 'typed', value: constantOf(constant.type, constant.value) };
}

/** Whether a name means something right here, without a search through all debugging information. */
export function isNamedHere(name: string, context: EvaluationContext): boolean {
  const { symbols } = context;
  const unit = unitOf(context);
  return (
    localsOf(context).some((one) => one.name === name) ||
    argument(context, name) !== undefined ||
    register(context, name) !== undefined ||
    symbols.find(name) !== undefined ||
    (unit !== undefined && orUndefined(() => symbols.debug?.inUnit(name, unit)) !== undefined)
  );
}

/** Whether the code at an address has that name for something: a variable, or a constant of its own file, or a symbol. */
export function isKnownAt(name: string, address: bigint, symbols: SymbolIndex): boolean {
  const { debug } = symbols;
  if (symbols.find(name) !== undefined) return true;
  // What cannot be read says nothing about the name.
  try {
    if (debug === undefined) return false;
    const unit = debug.unitAt(address);
    return (
      (unit !== undefined && debug.inUnit(name, unit) !== undefined) ||
      localsOf({ symbols, frame: { scopes: debug.scopes.at(address) } }).some((one) => one.name === name)
    );
  } catch (error) {
    if (error instanceof ImageError) return true;
    throw error;
  }
}

function constantOf(type: Parameters<typeof computed>[0], value: bigint): ReturnType<typeof computed> {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt.asUintN(64, value), true);
  return computed(type.kind === 'void' ? types.LONG : type, bytes);
}

/** Names in an expression that stand for values: not members, not `u32` of `u32[address]`. */
export function namesIn(expression: Expression): { readonly name: string; readonly at: number }[] {
  if (expression.kind === 'name') return [expression];
  if (
    expression.kind === 'index' &&
    expression.of.kind === 'name' &&
    memoryNames[expression.of.name] !== undefined
  )
    return namesIn(expression.index);
  return parts(expression).flatMap(namesIn);
}

/** What reads untyped memory: `u32[address]`. */
export const memoryNames: Readonly<Record<string, number>> = { u8: 1, u16: 2, u32: 4, u64: 8 };

export { ExpressionError };
