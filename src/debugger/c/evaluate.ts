import type { Type } from '../../guest/dwarf';
import { bare, pointerTo, sizeOf, typeName } from '../../guest/dwarf';
import type { Expression } from '../../machine/expressions';
import { ExpressionError } from '../../machine/expressions';
import { elementOf } from '../../machine/conditions';
import type { EvaluationContext } from '../expressions';
import { memoryNames, memoryOf, resolveName, unitOf } from '../expressions';
import { hex } from '../locations';
import { bytesToNumber, numberToBytes } from '../../base/bytes';
import { setRegister } from '../registers';
import { cachedMemory } from '../memory-cache';
import { membersOf, pointee } from '../values/show';
import type { TypedValue, ValueSpace } from '../values/typed';
import { NotWritable, addressOf, inMemory, scalarOf, store } from '../values/typed';
import { binaryOperation, unaryOperation } from './arithmetic';
import type { Operand } from './operand';
import { asType, inWords, integerFrom, scalarFrom, truthOf, types } from './operand';
import { typeFor } from './types';

// Evaluates an expression at a stop: C over the guest's types, registers, symbols and the hypercall's arguments.

export interface EvaluationOptions {
  /** Assignments change the guest; without this they are refused. */
  readonly assign?: boolean;
}

export interface Evaluator extends ValueSpace {
  /** Something was changed. */
  assigned: boolean;
  run(expression: Expression): Promise<Operand>;
}

const wrap = (value: bigint): bigint => BigInt.asUintN(64, value);

/** What operators other than `=` combine; `&&` and `||` look at their right side only where they must. */
export function createEvaluator(
  context: EvaluationContext,
  { assign = false }: EvaluationOptions = {},
): Evaluator {
  const { symbols, target, vcpu } = context;
  const { debug } = symbols;
  let read = memoryOf(context);
  const space: ValueSpace = {
    target,
    vcpu,
    read: (address, length) => read(address, length),
  };

  const known = (operand: Operand): Exclude<Operand, { kind: 'unresolved' }> => {
    if (operand.kind === 'unresolved')
      throw new ExpressionError(`there is no '${operand.name}' here`, operand.at);
    return operand;
  };
  const scalar = async (e: Expression): ReturnType<typeof scalarFrom> =>
    scalarFrom(await any(e), space, e.at);
  const integer = async (e: Expression): Promise<bigint> => integerFrom(await any(e), space, e.at);
  const truth = async (e: Expression): Promise<boolean> => truthOf(known(await any(e)), space, e.at);
  const bool = (value: boolean): Operand => ({ kind: 'number', value: value ? 1n : 0n, literal: true });

  const memory = async (address: bigint, bytes: number, at: number): Promise<Operand> => {
    const data = await space.read(wrap(address), bytes);
    if (data.length < bytes) throw new ExpressionError(`${hex(wrap(address))} is not mapped`, at);
    return { kind: 'memory', address: wrap(address), bytes, value: bytesToNumber(data) };
  };

  async function dereference(operand: Operand, at: number): Promise<Operand> {
    if (operand.kind !== 'typed') return memory(await integerFrom(operand, space, at), 8, at);
    const { value } = operand;
    const type = bare(value.type);
    if (type.kind === 'function') return operand;
    if (type.kind === 'array') return { kind: 'typed', value: { ...value, type: type.element() } };
    if (type.kind !== 'pointer') {
      // A number that is an address, as kernels keep them (`unsigned long`): eight bytes there.
      if (scalarOf(type) !== undefined) return memory(await integerFrom(operand, space, at), 8, at);
      throw new ExpressionError(`a ${type.kind} is not a pointer`, at);
    }
    const pointed = await inWords(at, () => pointee(value, space));
    if (bare(pointed.type).kind === 'void')
      throw new ExpressionError('what a void * points to has no type; cast it first', at);
    return { kind: 'typed', value: pointed };
  }

  function addressOfOperand(operand: Operand, at: number): Operand {
    if (operand.kind === 'typed') {
      const address = addressOf(operand.value);
      if (address !== undefined) return asType(pointerTo(operand.value.type), address);
      const { location, bits } = operand.value;
      throw new ExpressionError(
        bits !== undefined
          ? 'a bit-field has no address'
          : location.kind === 'register'
            ? 'it is in a register and has no address'
            : 'it has no address',
        at,
      );
    }
    if (operand.kind === 'memory') return { kind: 'number', value: operand.address };
    // A symbol without a type stands for its address already.
    if (operand.kind === 'number' && operand.literal !== true) return operand;
    throw new ExpressionError('it has no address', at);
  }

  async function member(e: Extract<Expression, { kind: 'member' }>): Promise<Operand> {
    let of = known(await any(e.of));
    if (of.kind === 'decoded') {
      const found = of.value.children?.find(({ name }) => name === e.name);
      if (found !== undefined) return { kind: 'decoded', value: found };
      throw noMember(
        e,
        (of.value.children ?? []).map(({ name }) => name),
      );
    }
    // `.` of a pointer means what `->` means: it can mean nothing else.
    if (of.kind === 'typed' && bare(of.value.type).kind === 'pointer')
      of = known(await dereference(of, e.at));
    if (of.kind !== 'typed') throw noMember(e, []);
    const members = membersOf(of.value, debug);
    const found = members.find(({ name }) => name === e.name);
    if (found !== undefined) return { kind: 'typed', value: found.value };
    if (members.length === 0) {
      const type = bare(of.value.type);
      const incomplete = (type.kind === 'struct' || type.kind === 'union') && type.incomplete;
      throw new ExpressionError(
        incomplete
          ? `${typeName(type)} is incomplete: no part of the guest describes it`
          : `'${typeName(of.value.type)}' has no members`,
        e.at,
      );
    }
    throw noMember(e, members.map(({ name }) => name)); // prettier-ignore
  }

  async function index(e: Extract<Expression, { kind: 'index' }>): Promise<Operand> {
    const bytes = e.of.kind === 'name' ? memoryNames[e.of.name] : undefined;
    if (bytes !== undefined) return memory(await integer(e.index), bytes, e.at);
    const of = known(await any(e.of));
    const position = await integer(e.index);
    if (of.kind === 'decoded') {
      const found = elementOf(of.value, position);
      if (found === undefined) throw new ExpressionError(`there is no element ${position}`, e.at);
      return { kind: 'decoded', value: found };
    }
    if (of.kind !== 'typed')
      throw new ExpressionError('it is no array; memory is read by u8[…] to u64[…]', e.at);
    const { value } = of;
    const type = bare(value.type);
    if (type.kind === 'array') {
      const element = type.element();
      const { location, offset } = value;
      // An array that is not in memory has the elements that were kept of it; one in memory has any.
      if (location.kind !== 'memory' && (position < 0n || position >= BigInt(type.count ?? 0)))
        throw new ExpressionError(`there is no element ${position}`, e.at);
      return {
        kind: 'typed',
        value: { ...value, type: element, offset: offset + Number(position) * sizeOf(element) },
      };
    }
    if (type.kind !== 'pointer') throw new ExpressionError(`a ${typeName(value.type)} has no elements`, e.at);
    const pointed = await inWords(e.at, () => pointee(value, space));
    const address = addressOf(pointed) ?? 0n;
    const size = sizeOf(pointed.type);
    if (size === 0)
      throw new ExpressionError(`${typeName(pointed.type)} has no size; cast the pointer first`, e.at);
    return { kind: 'typed', value: inMemory(pointed.type, address + position * BigInt(size)) };
  }

  function cast(type: Type, value: bigint | number, at: number): Operand {
    const scalarType = scalarOf(type);
    if (bare(type).kind === 'void') throw new ExpressionError('a value cannot be cast to void here', at);
    if (scalarType === undefined)
      throw new ExpressionError(
        `a number cannot be cast to ${typeName(type)}; cast a pointer to it and use *`,
        at,
      );
    return asType(type, value);
  }

  /** Compares by text where either side is one, or is a name that only the other side's text can explain. */
  async function equality(e: Extract<Expression, { kind: 'binary' }>): Promise<Operand> {
    const [left, right] = [await any(e.left), await any(e.right)];
    const wanted = e.operator === '==';
    const textOf = (operand: Operand): string | undefined =>
      operand.kind === 'text' ? operand.value : operand.kind === 'decoded' ? operand.value.text : undefined;
    const [a, b] = left.kind === 'unresolved' ? [right, left] : [left, right];
    if (b.kind === 'unresolved') {
      const shown = textOf(known(a));
      if (shown === undefined) throw new ExpressionError(`there is no '${b.name}' here`, b.at);
      return bool((shown === b.name) === wanted);
    }
    const isText = (operand: Operand): boolean =>
      operand.kind === 'text' && !(operand.character === true && operand.value.length === 1);
    const texts = [left, right].map(textOf);
    if ((isText(left) || isText(right)) && texts.every((one) => one !== undefined))
      return bool((texts[0] === texts[1]) === wanted);
    if (left.kind === 'text' && right.kind === 'decoded' && left.value === right.value.text)
      return bool(wanted);
    if (right.kind === 'text' && left.kind === 'decoded' && right.value === left.value.text)
      return bool(wanted);
    if (isText(left) || isText(right))
      return bool(((await stringOf(left)) === (await stringOf(right))) === wanted);
    return binaryOperation(
      e.operator,
      await scalarFrom(left, space, e.at),
      await scalarFrom(right, space, e.at),
      e.at,
    );
  }

  /** A text, or the characters in an array or behind a pointer. */
  async function stringOf(operand: Operand): Promise<string> {
    if (operand.kind === 'text') return operand.value;
    if (operand.kind === 'decoded') return operand.value.text;
    if (operand.kind === 'typed') {
      const { value } = await scalarFrom(operand, space, 0);
      const type = bare(operand.value.type);
      if (type.kind === 'array' || type.kind === 'pointer') {
        const bytes = await space.read(BigInt(value), 4096);
        const nul = bytes.indexOf(0);
        return String.fromCharCode(...bytes.subarray(0, nul < 0 ? bytes.length : nul));
      }
    }
    throw new ExpressionError('a text is compared with something that has none', 0);
  }

  async function assignTo(e: Extract<Expression, { kind: 'assign' }>): Promise<Operand> {
    if (!assign)
      throw new ExpressionError(
        "'=' changes the guest, which is only done from the debug console; '==' compares",
        e.at,
      );
    const destination = known(await any(e.target));
    const right = known(await any(e.value));
    const { value } =
      e.operator === ''
        ? await scalarFrom(right, space, e.at)
        : await scalarFrom(
            binaryOperation(
              e.operator,
              await scalarFrom(destination, space, e.at),
              await scalarFrom(right, space, e.at),
              e.at,
            ),
            space,
            e.at,
          );
    await write(destination, value, e.at);
    evaluator.assigned = true;
    // Read again: the page that was remembered is another now, and so may be what the guest takes.
    read = cachedMemory(target, vcpu);
    if (destination.kind === 'register')
      return { ...destination, value: wrap(typeof value === 'bigint' ? value : BigInt(Math.trunc(value))) };
    if (destination.kind === 'typed' && destination.value.location.kind === 'register')
      return asType(destination.value.type, value);
    return destination.kind === 'memory' ? memory(destination.address, destination.bytes, e.at) : destination;
  }

  async function write(destination: Operand, value: bigint | number, at: number): Promise<void> {
    const whole = (): bigint => (typeof value === 'bigint' ? value : BigInt(Math.trunc(value)));
    try {
      if (destination.kind === 'typed') await store(destination.value, value, space);
      else if (destination.kind === 'register') await setRegister(target, vcpu, destination.name, whole());
      else if (destination.kind === 'memory') {
        const bits = BigInt(destination.bytes * 8);
        if (whole() < -(1n << (bits - 1n)) || whole() >= 1n << bits)
          throw new NotWritable(`${hex(whole())} does not fit its ${bits} bits`);
        const bytes = numberToBytes(BigInt.asUintN(Number(bits), whole()), destination.bytes);
        const done = await target.writeMemory({ kind: 'virtual', vcpu }, destination.address, bytes);
        if (done < bytes.length) throw new NotWritable(`${hex(destination.address)} cannot be written`);
      } else if (destination.kind === 'decoded')
        throw new NotWritable(
          `${destination.value.name} is a decoded copy of the hypercall's argument; set the register or the memory that it came from`,
        );
      else throw new NotWritable('it is a value, not a place that could be set');
    } catch (error) {
      if (error instanceof NotWritable) throw new ExpressionError(error.message, at);
      throw error;
    }
  }

  const evaluators: {
    [K in Expression['kind']]: (e: Extract<Expression, { kind: K }>) => Promise<Operand> | Operand;
  } = {
    literal: ({ value, character }) =>
      typeof value === 'bigint'
        ? { kind: 'number', value, literal: true }
        : typeof value === 'number'
          ? { kind: 'float', value }
          : { kind: 'text', value, ...(character === undefined ? {} : { character }) },
    name: async ({ name, at }) =>
      (await inWords(at, () => resolveName(name, context))) ?? { kind: 'unresolved', name, at },
    member,
    index,
    unary: async (e) => {
      if (e.operator === '&') return addressOfOperand(known(await any(e.operand)), e.at);
      const operand = known(await any(e.operand));
      if (e.operator === '*') return dereference(operand, e.at);
      return unaryOperation(e.operator, await scalarFrom(operand, space, e.at), e.at);
    },
    binary: async (e) => {
      if (e.operator === '&&') return bool((await truth(e.left)) && (await truth(e.right)));
      if (e.operator === '||') return bool((await truth(e.left)) || (await truth(e.right)));
      if (e.operator === '==' || e.operator === '!=') return equality(e);
      return binaryOperation(e.operator, await scalar(e.left), await scalar(e.right), e.at);
    },
    conditional: async (e) => ((await truth(e.test)) ? any(e.then) : any(e.otherwise)),
    assign: assignTo,
    cast: async (e) => {
      const type = typeFor(e.type, debug, unitOf(context));
      if (type === undefined) throw noType(e.type.keyword, e.type.name, e.at);
      const operand = known(await any(e.operand));
      const { value } = await scalarFrom(operand, space, e.at);
      return cast(type, value, e.at);
    },
    sizeof: async (e) => {
      const size = (type: Type): Operand => asType(types.UNSIGNED_LONG, BigInt(sizeOf(type)));
      if ('kind' in e.of) {
        const operand = known(await any(e.of));
        if (operand.kind === 'typed') return size(operand.value.type);
        throw new ExpressionError('it has no type, and so no size', e.at);
      }
      const { keyword, name, pointers } = e.of;
      if (keyword === undefined && pointers === 0) {
        const variable = await inWords(e.at, () => resolveName(name, context)).catch(() => undefined);
        if (variable?.kind === 'typed') return size(variable.value.type);
      }
      const type = typeFor(e.of, debug, unitOf(context));
      if (type === undefined) throw noType(keyword, name, e.at);
      return size(type);
    },
    call: ({ at }) => {
      throw new ExpressionError(
        'functions of the guest are not called: a call would run guest code, with all its effects, outside of the run that is being looked at',
        at,
      );
    },
  };
  const any = async (e: Expression): Promise<Operand> =>
    (evaluators[e.kind] as (e: Expression) => Promise<Operand> | Operand)(e);

  const evaluator: Evaluator = {
    ...space,
    assigned: false,
    run: async (expression) => known(await any(expression)),
  };
  return evaluator;
}

const noType = (keyword: string | undefined, name: string, at: number): ExpressionError =>
  new ExpressionError(`there is no type '${keyword === undefined ? '' : `${keyword} `}${name}'`, at);

function noMember(
  { name, at }: { readonly name: string; readonly at: number },
  names: readonly string[],
): ExpressionError {
  const list =
    names.length > 0 ? `; there are ${names.slice(0, 12).join(', ')}${names.length > 12 ? ', …' : ''}` : '';
  return new ExpressionError(`there is no member '${name}'${list}`, at);
}

/** A value and what is needed to look at it further. */
export type Evaluated = { readonly operand: Operand; readonly evaluator: Evaluator };

/** Rejects with an ExpressionError that says what is wrong, and where. */
export async function evaluateAt(
  expression: Expression,
  context: EvaluationContext,
  options?: EvaluationOptions,
): Promise<Evaluated> {
  const evaluator = createEvaluator(context, options);
  return { operand: await evaluator.run(expression), evaluator };
}

/** A condition. */
export async function holdsAt(expression: Expression, context: EvaluationContext): Promise<boolean> {
  const { operand, evaluator } = await evaluateAt(expression, context);
  return truthOf(operand, evaluator);
}

/** A number that was typed as an expression. */
export async function numberAt(expression: Expression, context: EvaluationContext): Promise<bigint> {
  const { operand, evaluator } = await evaluateAt(expression, context);
  return integerFrom(operand, evaluator, expression.at);
}

export type { TypedValue };
