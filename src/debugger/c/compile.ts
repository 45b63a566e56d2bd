import type { Entry, Scope, Type, Unit } from '../../guest/dwarf';
import { AT, Unavailable, bare, pointerTo, sizeOf } from '../../guest/dwarf';
import { ImageError } from '../../guest/error';
import type { Bits, Code, Stored } from '../../machine/compiled';
import type { Expression } from '../../machine/expressions';
import { ExpressionError } from '../../machine/expressions';
import { partNamed } from '../../machine/register-names';
import { localsOf, memoryNames } from '../expressions';
import type { SymbolIndex } from '../symbols';
import { membersOf } from '../values/show';
import type { TypedValue } from '../values/typed';
import { scalarOf } from '../values/typed';
import { binaryOperation, reduced, unaryOperation } from './arithmetic';
import { NotCompiled, createFrames, no } from './locate';
import type { Scalar } from './operand';
import { types } from './operand';
import { typeFor } from './types';

// Conditions over C variables, made into what the machine evaluates by itself (machine/compiled.ts): as evaluate.ts
// means them at a stop at one instruction, with everything settled that does not depend on the moment.

/** Where a condition is asked. */
export interface CompileContext {
  readonly symbols: SymbolIndex;
  /** The instruction; undefined where it may be asked anywhere: then there are no local variables and no unit. */
  readonly pc: bigint | undefined;
}

/** What a part of an expression comes to. */
type Part =
  /** Something with a place, or part of it. `inMemory`: it has an address. */
  | {
      readonly kind: 'object';
      readonly type: Type;
      readonly of: Stored;
      readonly inMemory: boolean;
      readonly bits?: Bits;
    }
  /** `sample` is a number of the same type, and the number itself where that is a literal. */
  | { readonly kind: 'number'; readonly code: Code; readonly sample: Scalar }
  | { readonly kind: 'text'; readonly value: string; readonly character: boolean };

const untypedSample: Scalar = { value: 1n, type: undefined, literal: false };
const sampleOf = (type: Type): Scalar => ({
  value: scalarOf(type)?.float === true ? 1 : 1n,
  type,
  literal: false,
});
const literal = (value: bigint): Part => ({
  kind: 'number',
  code: { kind: 'number', value, literal: true },
  sample: { value, type: undefined, literal: true },
});
/** Of a truth value, which no one knows yet. */
const truthSample: Scalar = { value: 1n, type: undefined, literal: true };
const reduce = (type: Type): NonNullable<ReturnType<typeof reduced>> =>
  reduced(type) ?? no(`a ${bare(type).kind} is not a number`);
/** Without what only the debugger can use. */
function plainScalar(type: Type): Extract<Code, { kind: 'value' }>['type'] {
  const { size, signed, float, boolean, pointer, step } = reduce(type);
  return {
    size,
    signed,
    ...(float === true ? { float } : {}),
    ...(boolean === true ? { boolean } : {}),
    ...(pointer === true ? { pointer, step: step ?? 1 } : {}),
  };
}
const typedNumber = (type: Type, code: Code): Part => ({ kind: 'number', code, sample: sampleOf(type) });
const at = (type: Type, code: Code): Part => ({
  kind: 'object',
  type,
  of: { base: { kind: 'address', code }, offset: 0, elements: [] },
  inMemory: true,
});
const constant = (value: bigint): Code => ({ kind: 'number', value });
const nowhere = (type: Type): TypedValue => ({ type, location: { kind: 'nowhere' }, offset: 0 });

/** A register of which `partNamed` knows nothing, and that the debugger has all the same. */
const VECTOR = /^[$%]?(xmm|st|fpr)\d+$/i;

/** A register's name, with or without its `$`, or that of the domain or vCPU. */
export const isNumbered = (name: string): boolean =>
  partNamed(name) || VECTOR.test(name) || /^[$%]?(dom|vcpu)$/.test(name);

/** @returns the code, or why it is not the machine's */
export function compile(expression: Expression, context: CompileContext): Code | string {
  try {
    return createCompiler(context)(expression);
  } catch (error) {
    if (error instanceof NotCompiled || error instanceof ExpressionError || error instanceof Unavailable)
      return error.message;
    if (error instanceof ImageError) return error.message;
    throw error;
  }
}

function createCompiler({ symbols, pc }: CompileContext): (expression: Expression) => Code {
  const { debug } = symbols;
  const unit: Unit | undefined = pc === undefined ? undefined : debug?.unitAt(pc);
  const scopes: readonly Scope[] = pc === undefined ? [] : (debug?.scopes.at(pc) ?? []);
  /** As a stack shows it: of the innermost function, inlined or not. */
  const own = scopes.slice(scopes.map(({ kind }) => kind !== 'block').lastIndexOf(true));
  const frames = debug === undefined ? undefined : createFrames(debug, scopes, pc);

  /** A variable's place, as far as it is the same every time. */
  function variable(entry: Entry, local: boolean): Part {
    if (debug === undefined || frames === undefined) return no('there is no debugging information');
    const { dwarf } = debug;
    const ranges = dwarf.ranges(entry);
    if (ranges.length > 0 || entry.tag === 0x2e) {
      const address = ranges[0]?.low ?? symbols.find(dwarf.text(entry, AT.name) ?? '');
      return address === undefined ? no('it has no code of its own') : at(debug.types.of(entry), constant(address)); // prettier-ignore
    }
    const type = debug.types.typeOf(entry);
    const held = (bytes: Uint8Array): Part => ({
      kind: 'object',
      type,
      of: { base: { kind: 'bytes', bytes }, offset: 0, elements: [] },
      inMemory: false,
    });
    const known = dwarf.attribute(entry, AT.const_value)?.value.value;
    if (typeof known === 'object') return held(known.bytes.slice());
    if (known !== undefined) {
      if (typeof known === 'string') return held(Uint8Array.from(`${known}\0`, (c) => c.charCodeAt(0)));
      const bytes = new Uint8Array(8);
      new DataView(bytes.buffer).setBigUint64(0, BigInt.asUintN(64, BigInt(known)), true);
      return held(bytes);
    }
    const owner = entry.attributes.has(AT.location)
      ? entry
      : (dwarf.attribute(entry, AT.location)?.entry ?? entry);
    const expression = dwarf.expression(owner, AT.location, local ? (pc ?? 0n) : 0n);
    if (expression === undefined) {
      const name = dwarf.text(entry, AT.linkage_name) ?? dwarf.text(entry, AT.name) ?? '';
      const isGlobal = entry.attributes.has(AT.declaration) || entry.attributes.has(AT.external);
      const address = isGlobal ? symbols.find(name) : undefined;
      return address === undefined ? no('optimized out at this instruction') : at(type, constant(address));
    }
    const { location, depends, frame } = frames.tried(expression, local ? undefined : owner.unit);
    if (!depends && location.kind === 'memory') return at(type, constant(location.address));
    if (!depends && location.kind === 'value') return held(location.bytes);
    if (location.kind === 'nowhere' || location.kind === 'implicit pointer')
      return no('optimized out at this instruction');
    return {
      kind: 'object',
      type,
      of: {
        base: { kind: 'located', expression: expression.bytes.slice(), frame },
        offset: 0,
        elements: [],
      },
      inMemory: location.kind === 'memory',
    };
  }

  function enumerator({ type, value }: { readonly type: Type; readonly value: bigint }): Part {
    const its = bare(type).kind === 'void' ? types.LONG : type;
    const { size, signed } = reduce(its);
    const kept = signed ? BigInt.asIntN(size * 8, value) : BigInt.asUintN(size * 8, value);
    return typedNumber(its, { kind: 'number', value: kept, type: plainScalar(its) });
  }

  const register = (name: string, where: number): Part => ({
    kind: 'number',
    code: { kind: 'register', name: name.replace(/^[$%]/, '').toLowerCase(), at: where },
    sample: untypedSample,
  });
  const whereabouts = (name: string): Part | undefined =>
    name === 'dom' || name === 'vcpu'
      ? { kind: 'number', code: { kind: 'whereabouts', name }, sample: truthSample }
      : undefined;

  /** In the order of resolveName (expressions.ts). */
  function named(name: string, where: number): Part {
    if (VECTOR.test(name)) return no(`${name} is no number of 64 bits`);
    if (/^[$%]/.test(name))
      return partNamed(name) ? register(name, where) : (whereabouts(name.slice(1)) ?? no(`there is no '${name}'`)); // prettier-ignore
    const local = localsOf({ symbols, frame: { scopes: own } }).find((one) => one.name === name);
    if (local !== undefined) return variable(local.entry, true);
    const here = unit === undefined ? undefined : debug?.inUnit(name, unit);
    if (here?.kind === 'constant') return enumerator(here);
    if (here !== undefined) return variable(here.entry, false);
    if (partNamed(name)) return register(name, where);
    const elsewhere = debug?.find(name, undefined);
    if (elsewhere !== undefined) return variable(elsewhere, false);
    const address = symbols.find(name);
    if (address !== undefined) return { kind: 'number', code: constant(address), sample: untypedSample };
    const value = debug?.findEnumerator(name, undefined);
    return value === undefined ? (whereabouts(name) ?? no(`there is no '${name}' here`)) : enumerator(value);
  }

  /** As a number: arrays and functions stand for their addresses. */
  function scalar(part: Part, where: number): { readonly code: Code; readonly sample: Scalar } {
    if (part.kind === 'number') return part;
    if (part.kind === 'text') {
      if (part.character && part.value.length === 1) {
        const value = BigInt(part.value.charCodeAt(0));
        return { code: { kind: 'number', value, literal: true }, sample: { value, type: undefined, literal: true } }; // prettier-ignore
      }
      return no(`"${part.value}" is a text`);
    }
    const { of, bits } = part;
    const type = bare(part.type);
    if (type.kind === 'array' || type.kind === 'function') {
      if (!part.inMemory) return no('it has no address');
      const pointer = pointerTo(type.kind === 'array' ? type.element() : type);
      return { code: { kind: 'address', of, type: plainScalar(pointer), at: where }, sample: sampleOf(pointer) }; // prettier-ignore
    }
    const code: Code = { kind: 'value', of, type: plainScalar(type), ...(bits === undefined ? {} : { bits }), at: where }; // prettier-ignore
    return { code, sample: sampleOf(type) };
  }
  const code = (e: Expression): Code => scalar(any(e), e.at).code;

  /** The type of a result, by what arithmetic makes of numbers of the same types. */
  function operated(
    made: ReturnType<typeof binaryOperation>,
    result: Code,
    known: (value: bigint) => Part,
  ): Part {
    if (made.kind === 'number') return made.literal === true ? known(made.value) : { kind: 'number', code: result, sample: untypedSample }; // prettier-ignore
    if (made.kind === 'float') return typedNumber(types.DOUBLE, result);
    return made.kind === 'typed' ? typedNumber(made.value.type, result) : no('it is no number');
  }

  function binary(e: Extract<Expression, { kind: 'binary' }>): Part {
    const { operator } = e;
    if (operator === '&&' || operator === '||')
      return {
        kind: 'number',
        code: { kind: 'binary', operator, left: code(e.left), right: code(e.right), at: e.at },
        sample: truthSample,
      };
    const [a, b] = [any(e.left), any(e.right)];
    if (operator === '==' || operator === '!=') {
      const text = texts(a, b, operator === '==', e.at);
      if (text !== undefined) return text;
    }
    const [left, right] = [scalar(a, e.at), scalar(b, e.at)];
    const made = binaryOperation(operator, left.sample, right.sample, e.at);
    const result: Code = { kind: 'binary', operator, left: left.code, right: right.code, at: e.at };
    // What && and || yield are literals whose value is not known: the operation has to be done all the same.
    return operated(made, result, (value) => ({ kind: 'number', code: result, sample: { value, type: undefined, literal: true } })); // prettier-ignore
  }

  /** A text against characters in an array or behind a pointer. */
  function texts(a: Part, b: Part, wanted: boolean, where: number): Part | undefined {
    const isText = (part: Part): part is Extract<Part, { kind: 'text' }> =>
      part.kind === 'text' && !(part.character && part.value.length === 1);
    const [text, other] = isText(a) ? [a, b] : [b, a];
    if (!isText(text)) return undefined;
    if (other.kind === 'text') return literal((text.value === other.value) === wanted ? 1n : 0n);
    const { code: address, sample } = scalar(other, where);
    if (sample.type === undefined || bare(sample.type).kind !== 'pointer')
      return no('a text is compared with something that has none');
    return { kind: 'number', code: { kind: 'same text', text: text.value, address, wanted }, sample: truthSample }; // prettier-ignore
  }

  function dereference(part: Part, where: number): Part {
    const type = part.kind === 'object' ? bare(part.type) : undefined;
    if (part.kind === 'object' && type?.kind === 'function') return part;
    if (part.kind === 'object' && type?.kind === 'array') return { ...part, type: type.element() };
    const { code: address, sample } = scalar(part, where);
    const pointer = sample.type === undefined ? undefined : bare(sample.type);
    if (pointer?.kind !== 'pointer')
      return {
        kind: 'number',
        code: { kind: 'memory', address, bytes: 8, at: where },
        sample: untypedSample,
      };
    const target = pointer.target();
    return bare(target).kind === 'void' ? no('what a void * points to has no type') : at(target, address);
  }

  function member(e: Extract<Expression, { kind: 'member' }>): Part {
    const part = any(e.of);
    const pointed =
      part.kind === 'number' || (part.kind === 'object' && bare(part.type).kind === 'pointer')
        ? dereference(part, e.at)
        : part;
    if (pointed.kind !== 'object') return no(`there is no member '${e.name}'`);
    const found = membersOf(nowhere(pointed.type), debug).find(({ name }) => name === e.name)?.value;
    if (found === undefined) return no(`there is no member '${e.name}'`);
    const { of, inMemory } = pointed;
    const { type, offset, bits } = found;
    const moved = { ...of, offset: of.offset + offset };
    return { kind: 'object', type, of: moved, inMemory, ...(bits === undefined ? {} : { bits }) };
  }

  function index(e: Extract<Expression, { kind: 'index' }>): Part {
    const bytes = e.of.kind === 'name' ? memoryNames[e.of.name] : undefined;
    if (bytes !== undefined)
      return {
        kind: 'number',
        code: { kind: 'memory', address: code(e.index), bytes, at: e.at },
        sample: untypedSample,
      };
    const part = any(e.of);
    const position = code(e.index);
    const type = part.kind === 'object' ? bare(part.type) : undefined;
    const into = (of: Stored, element: Type, count: number): Stored => ({
      ...of,
      elements: [...of.elements, { index: position, size: sizeOf(element), count }],
    });
    if (part.kind === 'object' && type?.kind === 'array') {
      const element = type.element();
      return { ...part, type: element, of: into(part.of, element, type.count ?? 0) };
    }
    const pointed = dereference(part, e.at);
    if (pointed.kind !== 'object' || sizeOf(pointed.type) === 0) return no('it has no elements');
    return { ...pointed, of: into(pointed.of, pointed.type, 0) };
  }

  function address(part: Part, where: number): Part {
    if (part.kind === 'object') {
      if (!part.inMemory || part.bits !== undefined) return no('it has no address');
      const type = pointerTo(part.type);
      return typedNumber(type, { kind: 'address', of: part.of, type: plainScalar(type), at: where });
    }
    // A symbol without a type stands for its address already.
    const symbol = part.kind === 'number' && part.code.kind === 'number' && !part.sample.literal;
    return symbol && part.sample.type === undefined ? part : no('it has no address');
  }

  const sizeIs = (type: Type): Part =>
    typedNumber(types.UNSIGNED_LONG, {
      kind: 'number',
      value: BigInt(sizeOf(type)),
      type: plainScalar(types.UNSIGNED_LONG),
    });

  const compilers: {
    readonly [K in Expression['kind']]: (e: Extract<Expression, { kind: K }>) => Part;
  } = {
    literal: ({ value, character }) =>
      typeof value === 'bigint'
        ? literal(value)
        : typeof value === 'number'
          ? typedNumber(types.DOUBLE, { kind: 'number', value })
          : { kind: 'text', value, character: character === true },
    name: ({ name, at: where }) => named(name, where),
    member,
    index,
    unary: (e) => {
      if (e.operator === '&') return address(any(e.operand), e.at);
      if (e.operator === '*') return dereference(any(e.operand), e.at);
      const { code: of, sample } = scalar(any(e.operand), e.at);
      const result: Code = { kind: 'unary', operator: e.operator, of, at: e.at };
      return operated(unaryOperation(e.operator, sample, e.at), result, (value) => ({ kind: 'number', code: result, sample: { value, type: undefined, literal: true } })); // prettier-ignore
    },
    binary,
    conditional: (e) => {
      const [then, otherwise] = [scalar(any(e.then), e.at), scalar(any(e.otherwise), e.at)];
      // Types are settled beforehand here, and by the way taken at a stop.
      const [a, b] = [then.sample, otherwise.sample];
      const one = (type: Type | undefined): string => (type === undefined ? '' : JSON.stringify(plainScalar(type))); // prettier-ignore
      if (one(a.type) !== one(b.type) || a.literal !== b.literal)
        return no('the two sides of ?: are of different types');
      return {
        kind: 'number',
        code: { kind: 'conditional', test: code(e.test), then: then.code, otherwise: otherwise.code },
        sample: a,
      };
    },
    cast: (e) => {
      const type = typeFor(e.type, debug, unit);
      if (type === undefined) return no(`there is no type '${e.type.name}'`);
      const scalarType = scalarOf(type);
      if (scalarType === undefined || (scalarType.float && scalarType.size > 8))
        return no('it is cast to what is no number');
      const { code: of } = scalar(any(e.operand), e.at);
      return typedNumber(type, { kind: 'converted', type: plainScalar(type), of });
    },
    sizeof: (e) => {
      if ('kind' in e.of) {
        const part = any(e.of);
        if (part.kind === 'object') return sizeIs(part.type);
        return part.kind === 'number' && part.sample.type !== undefined ? sizeIs(part.sample.type) : no('it has no size'); // prettier-ignore
      }
      if (e.of.keyword === undefined && e.of.pointers === 0) {
        const compiled = compile({ kind: 'sizeof', at: e.at, of: { kind: 'name', at: e.at, name: e.of.name } }, { symbols, pc }); // prettier-ignore
        if (typeof compiled !== 'string') return typedNumber(types.UNSIGNED_LONG, compiled);
      }
      const type = typeFor(e.of, debug, unit);
      return type === undefined ? no(`there is no type '${e.of.name}'`) : sizeIs(type);
    },
    assign: () => no("'=' changes the guest"),
    call: () => no('functions of the guest are not called'),
  };
  const any = (e: Expression): Part => (compilers[e.kind] as (e: Expression) => Part)(e);
  return code;
}
