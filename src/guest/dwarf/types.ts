import { ByteReader } from '../../base/bytes';
import { AT, ATE, TAG } from './constants';
import type { Dwarf } from './dwarf';
import type { Entry } from './units';

// Types as entries describe them (DWARF 5, chapter 5). What a type is made of is read when it is asked for, so that
// a structure that points to half a kernel costs what is looked at.

export type Encoding = 'signed' | 'unsigned' | 'boolean' | 'character' | 'float' | 'other';

export interface BaseType {
  readonly kind: 'base';
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  readonly encoding: Encoding;
  /** Signedness of a number or character. */
  readonly signed: boolean;
}
export interface PointerType {
  readonly kind: 'pointer';
  readonly size: number;
  /** As C writes it: `*` also for what DWARF has as a reference. */
  target(): Type;
}
export interface Member {
  /** Undefined for an unnamed structure or union whose members count as the outer one's. */
  readonly name: string | undefined;
  /** Bytes from the start of the structure. */
  readonly offset: number;
  /** Of a bit-field: lowest bit, counted from the start of the structure, and width. */
  readonly bits: { readonly at: number; readonly width: number } | undefined;
  type(): Type;
}
export interface RecordType {
  readonly kind: 'struct' | 'union' | 'class';
  /** Tag; undefined for one without. */
  readonly name: string | undefined;
  readonly size: number;
  /** Only named here: its members are in another unit, or nowhere. */
  readonly incomplete: boolean;
  members(): readonly Member[];
}
export interface ArrayType {
  readonly kind: 'array';
  /** Undefined for a flexible array, and for one whose length only the running program knows. */
  readonly count: number | undefined;
  element(): Type;
}
export interface EnumType {
  readonly kind: 'enum';
  readonly name: string | undefined;
  readonly size: number;
  readonly signed: boolean;
  values(): readonly { readonly name: string; readonly value: bigint }[];
}
export interface FunctionType {
  readonly kind: 'function';
  result(): Type;
  parameters(): readonly Type[];
}
export interface NamedType {
  readonly kind: 'typedef';
  readonly name: string;
  target(): Type;
}
export interface QualifiedType {
  readonly kind: 'qualified';
  readonly qualifier: 'const' | 'volatile' | 'restrict' | '_Atomic';
  target(): Type;
}
export interface VoidType {
  readonly kind: 'void';
}
export type Type =
  | BaseType
  | PointerType
  | RecordType
  | ArrayType
  | EnumType
  | FunctionType
  | NamedType
  | QualifiedType
  | VoidType;

export const voidType: VoidType = { kind: 'void' };

const encodings: Readonly<Record<number, Pick<BaseType, 'encoding' | 'signed'>>> = {
  [ATE.address]: { encoding: 'unsigned', signed: false },
  [ATE.boolean]: { encoding: 'boolean', signed: false },
  [ATE.float]: { encoding: 'float', signed: true },
  [ATE.signed]: { encoding: 'signed', signed: true },
  [ATE.signed_char]: { encoding: 'character', signed: true },
  [ATE.unsigned]: { encoding: 'unsigned', signed: false },
  [ATE.unsigned_char]: { encoding: 'character', signed: false },
  [ATE.UTF]: { encoding: 'character', signed: false },
};

/** A base type that no entry describes: of literals and registers. */
export const plainType = (name: string, size: number, signed: boolean): BaseType => ({
  kind: 'base',
  name,
  size,
  encoding: signed ? 'signed' : 'unsigned',
  signed,
});

export const pointerTo = (target: Type): PointerType => ({ kind: 'pointer', size: 8, target: () => target });
export const arrayOf = (element: Type, count: number): ArrayType => ({
  kind: 'array',
  count,
  element: () => element,
});

/** Steps from typedef to typedef, and nested arrays, that are believed. */
const MAX_STEPS = 64;

/** The type itself, without typedefs and qualifiers. */
export function bare(type: Type): Exclude<Type, NamedType | QualifiedType> {
  let at = type;
  for (let steps = 0; at.kind === 'typedef' || at.kind === 'qualified'; steps++) {
    // A damaged file can name a type by itself.
    if (steps >= MAX_STEPS) return voidType;
    at = at.target();
  }
  return at;
}

/** Bytes; 0 for what has no size here (void, functions, incomplete and flexible things). */
export function sizeOf(type: Type, depth = 0): number {
  const it = bare(type);
  if (it.kind === 'array')
    return it.count === undefined || depth > MAX_STEPS ? 0 : it.count * sizeOf(it.element(), depth + 1);
  return it.kind === 'void' || it.kind === 'function' ? 0 : it.size;
}

/** As C declares it; `inner` is what is declared. */
export function typeName(type: Type, inner = '', depth = 0): string {
  const beside = (name: string): string => (inner === '' ? name : `${name} ${inner}`);
  if (depth > MAX_STEPS) return beside('…');
  const next = (target: Type, declared: string): string => typeName(target, declared, depth + 1);
  switch (type.kind) {
    case 'void':
      return beside('void');
    case 'base':
    case 'typedef':
      return beside(type.name);
    case 'struct':
    case 'union':
    case 'class':
    case 'enum':
      return beside(`${type.kind} ${type.name ?? '{…}'}`);
    case 'qualified': {
      const target = type.target();
      return target.kind === 'pointer'
        ? next(target, inner === '' ? type.qualifier : `${type.qualifier} ${inner}`)
        : `${type.qualifier} ${next(target, inner)}`;
    }
    case 'pointer': {
      const target = type.target();
      const binds = target.kind === 'array' || target.kind === 'function';
      return next(target, binds ? `(*${inner})` : `*${inner}`);
    }
    case 'array':
      return next(type.element(), `${inner}[${type.count ?? ''}]`);
    case 'function': {
      const parameters = type.parameters().map((one) => next(one, ''));
      return next(type.result(), `${inner}(${parameters.length === 0 ? 'void' : parameters.join(', ')})`);
    }
  }
}

/** Makes the types of entries; the same entry gives the same object. */
export interface Types {
  /** `undefined` is how DWARF says void. */
  of(entry: Entry | undefined): Type;
  /** Of what an entry's DW_AT_type names. */
  typeOf(entry: Entry): Type;
}

const qualifiers: Readonly<Record<number, QualifiedType['qualifier']>> = {
  [TAG.const_type]: 'const',
  [TAG.volatile_type]: 'volatile',
  [TAG.restrict_type]: 'restrict',
  [TAG.atomic_type]: '_Atomic',
};
const pointers = new Set<number>([
  TAG.pointer_type,
  TAG.reference_type,
  TAG.rvalue_reference_type,
  TAG.ptr_to_member_type,
]);
const records: Readonly<Record<number, RecordType['kind']>> = {
  [TAG.structure_type]: 'struct',
  [TAG.union_type]: 'union',
  [TAG.class_type]: 'class',
};
const MEMBERS = new Set<number>([TAG.member, TAG.inheritance]);
const SUBRANGES = new Set<number>([TAG.subrange_type]);
const ENUMERATORS = new Set<number>([TAG.enumerator]);
const PARAMETERS = new Set<number>([TAG.formal_parameter]);
const DW_OP_plus_uconst = 0x23;
/** Types that are kept; a session looks at some thousands. */
const KEPT_TYPES = 1 << 16;

export function createTypes(dwarf: Dwarf): Types {
  const known = new Map<string, Type>();
  const once = <T>(make: () => T): (() => T) => {
    let made: { readonly value: T } | undefined;
    return () => (made ??= { value: make() }).value;
  };
  const number = (entry: Entry, name: number): number | undefined => {
    const value = dwarf.constant(entry, name);
    return value === undefined ? undefined : Number(BigInt.asIntN(64, value));
  };
  const typeOf = (entry: Entry): Type => of(dwarf.reference(entry, AT.type));

  function memberOffset(entry: Entry): number {
    const constant = number(entry, AT.data_member_location);
    if (constant !== undefined) return constant;
    const block = dwarf.block(entry, AT.data_member_location);
    if (block === undefined || block.size === 0) return 0;
    const reader = new ByteReader(block);
    return reader.u8() === DW_OP_plus_uconst ? reader.ulebNumber() : 0;
  }

  function member(entry: Entry): Member {
    const type = once(() => typeOf(entry));
    const width = number(entry, AT.bit_size);
    const at = number(entry, AT.data_bit_offset);
    const offset = memberOffset(entry);
    let bits: Member['bits'];
    if (width !== undefined && at !== undefined) bits = { at, width };
    else if (width !== undefined) {
      // DWARF 2 and 3 count from the high end of a storage unit (DWARF 3, 5.6.6).
      const storage = number(entry, AT.byte_size) ?? sizeOf(type());
      bits = { at: offset * 8 + storage * 8 - (number(entry, AT.bit_offset) ?? 0) - width, width };
    }
    const name = dwarf.text(entry, AT.name) ?? (entry.tag === TAG.inheritance ? '<base>' : undefined);
    return { name, type, bits, offset: bits === undefined ? offset : Math.floor(bits.at / 8) };
  }

  function record(kind: RecordType['kind'], entry: Entry): RecordType {
    return {
      kind,
      name: dwarf.text(entry, AT.name),
      size: number(entry, AT.byte_size) ?? 0,
      incomplete: entry.attributes.has(AT.declaration),
      members: once(() =>
        [...entry.unit.below(entry, MEMBERS)]
          // Static members of C++ are no part of the object.
          .filter((one) => !one.attributes.has(AT.declaration))
          .map(member),
      ),
    };
  }

  function array(entry: Entry): Type {
    const counts = [...entry.unit.below(entry, SUBRANGES)].map((range) => {
      const count = number(range, AT.count);
      if (count !== undefined) return count;
      const last = number(range, AT.upper_bound);
      return last === undefined ? undefined : last + 1;
    });
    const dimension = (index: number): Type =>
      index >= Math.max(1, counts.length)
        ? typeOf(entry)
        : { kind: 'array', count: counts[index], element: once(() => dimension(index + 1)) };
    return dimension(0);
  }

  function enumeration(entry: Entry): EnumType {
    const under = dwarf.reference(entry, AT.type);
    const base = under === undefined ? undefined : bare(of(under));
    const values = once(() =>
      [...entry.unit.below(entry, ENUMERATORS)].map((one) => ({
        name: dwarf.text(one, AT.name) ?? '',
        value: dwarf.constant(one, AT.const_value) ?? 0n,
      })),
    );
    return {
      kind: 'enum',
      name: dwarf.text(entry, AT.name),
      size: number(entry, AT.byte_size) ?? 4,
      signed: base?.kind === 'base' ? base.signed : false,
      values,
    };
  }

  function base(entry: Entry): BaseType {
    const encoding = encodings[number(entry, AT.encoding) ?? 0] ?? { encoding: 'other', signed: false };
    return {
      kind: 'base',
      name: dwarf.text(entry, AT.name) ?? '?',
      size: number(entry, AT.byte_size) ?? 0,
      ...encoding,
    };
  }

  function make(entry: Entry): Type {
    const { tag } = entry;
    const qualifier = qualifiers[tag];
    const target = once(() => typeOf(entry));
    if (qualifier !== undefined) return { kind: 'qualified', qualifier, target };
    if (pointers.has(tag)) return { kind: 'pointer', size: number(entry, AT.byte_size) ?? 8, target };
    const kind = records[tag];
    if (kind !== undefined) return record(kind, entry);
    if (tag === TAG.typedef) return { kind: 'typedef', name: dwarf.text(entry, AT.name) ?? '?', target };
    if (tag === TAG.array_type) return array(entry);
    if (tag === TAG.enumeration_type) return enumeration(entry);
    if (tag === TAG.base_type) return base(entry);
    if (tag === TAG.subroutine_type || tag === TAG.subprogram)
      return {
        kind: 'function',
        result: target,
        parameters: once(() => [...entry.unit.below(entry, PARAMETERS)].map(typeOf)),
      };
    const name = dwarf.text(entry, AT.name);
    return name === undefined ? voidType : { kind: 'base', name, size: 0, encoding: 'other', signed: false };
  }

  function of(entry: Entry | undefined): Type {
    if (entry === undefined) return voidType;
    const key = `${entry.unit.header.section}:${entry.offset}`;
    const found = known.get(key);
    if (found !== undefined) return found;
    const fresh = make(entry);
    if (known.size >= KEPT_TYPES) known.clear();
    known.set(key, fresh);
    return fresh;
  }

  return { of, typeOf };
}
