import type { ElfHeaders } from '../elf';
import { ImageError } from '../error';
import type { UnitIndex } from './aranges';
import { unitIndex } from './aranges';
import { AT, TAG } from './constants';
import type { Dwarf } from './dwarf';
import { createDwarf, splitName } from './dwarf';
import type { FrameTable } from './frame';
import { frameTable } from './frame';
import type { LineTable } from './line';
import { lineTable } from './line';
import type { Names } from './names';
import { createNames } from './names';
import type { Scopes } from './scopes';
import { createScopes } from './scopes';
import type { Type, Types } from './types';
import { createTypes } from './types';
import type { Entry, Unit } from './units';

// What a debugger asks of the debugging information of one file.

export type TypeKeyword = 'struct' | 'union' | 'enum';

export interface DebugInfo {
  readonly dwarf: Dwarf;
  readonly lines: LineTable;
  readonly scopes: Scopes;
  readonly types: Types;
  readonly frames: FrameTable;
  /** The unit whose code an address is. */
  unitAt(pc: bigint): Unit | undefined;
  /** Global variable or function of that name: in `unit` first, a definition before a declaration. */
  find(name: string, unit: Unit | undefined): Entry | undefined;
  /** What a unit itself has under that name. */
  inUnit(
    name: string,
    unit: Unit,
  ):
    | { readonly kind: 'variable'; readonly entry: Entry }
    | { readonly kind: 'constant'; readonly type: Type; readonly value: bigint }
    | undefined;
  /** With a keyword, the structure, union or enumeration of that tag; without, a typedef or base type. */
  findType(keyword: TypeKeyword | undefined, name: string, unit: Unit | undefined): Type | undefined;
  /** A constant of an enumeration. */
  findEnumerator(
    name: string,
    unit: Unit | undefined,
  ): { readonly type: Type; readonly value: bigint } | undefined;
  /** The complete form of a structure that is only declared where it was met. */
  complete(type: Type): Type;
  /** Names in a unit. */
  completeName(unit: Unit, prefix: string, limit: number): readonly string[];
  /** What could not be read so far, and what is refused, in words. */
  problems(): readonly string[];
}

const tags: Readonly<Record<TypeKeyword, readonly number[]>> = {
  struct: [TAG.structure_type, TAG.class_type],
  union: [TAG.union_type],
  enum: [TAG.enumeration_type],
};
const plainTags: readonly number[] = [TAG.typedef, TAG.base_type];
const things: readonly number[] = [TAG.variable, TAG.subprogram];

export function createDebugInfo(
  elf: ElfHeaders,
  functionAt: (address: bigint) => bigint | undefined,
): DebugInfo {
  const dwarf = createDwarf(elf);
  const problems: string[] = [];
  const problem = (text: string): void => {
    if (problems.length < 100 && !problems.includes(text)) problems.push(text);
  };
  const lines = lineTable(dwarf, functionAt);
  let index: UnitIndex | undefined;
  const indexed = (): UnitIndex => (index ??= unitIndex(dwarf, problem));
  const lazily: UnitIndex = {
    unitAt: (address) => indexed().unitAt(address),
    get placeless() {
      return indexed().placeless;
    },
  };
  const types = createTypes(dwarf);
  const names: Names = createNames(dwarf);
  const scopes = createScopes(dwarf, lazily);
  const frames = frameTable(dwarf.sections);
  /** Structures that are nowhere complete would be searched for again and again. */
  const missing = new Set<string>();

  /** The first that `wanted` likes; else, the first that is at least an entry of that kind. */
  const search = (
    name: string,
    unit: Unit | undefined,
    wanted: (entry: Entry) => boolean,
    best: (entry: Entry) => boolean,
  ): Entry | undefined => {
    let second: Entry | undefined;
    const look = (entries: Iterable<Entry>): Entry | undefined => {
      for (const entry of entries) {
        if (!wanted(entry)) continue;
        if (best(entry)) return entry;
        second ??= entry;
      }
      return undefined;
    };
    const own = unit === undefined ? undefined : look(names.in(unit, name));
    return own ?? look(names.everywhere(name)) ?? second;
  };
  const isComplete = (entry: Entry): boolean => !entry.attributes.has(AT.declaration);

  const enumerator = (
    found: Entry | undefined,
  ): { readonly type: Type; readonly value: bigint } | undefined => {
    const value = found === undefined ? undefined : dwarf.constant(found, AT.const_value);
    if (found === undefined || value === undefined) return undefined;
    const owner = [...found.unit.below(found.unit.root, new Set([TAG.enumeration_type]))]
      .reverse()
      .find(({ offset }) => offset < found.offset);
    return { type: types.of(owner), value };
  };

  return {
    inUnit: (name, unit) => {
      const all = names.in(unit, name);
      const entry =
        all.find((one) => things.includes(one.tag) && isComplete(one)) ??
        all.find(({ tag }) => things.includes(tag));
      if (entry !== undefined) return { kind: 'variable', entry };
      const constant = enumerator(all.find(({ tag }) => tag === TAG.enumerator));
      return constant === undefined ? undefined : { kind: 'constant', ...constant };
    },
    dwarf,
    lines,
    scopes,
    types,
    frames,
    unitAt: (pc) => indexed().unitAt(pc),
    find: (name, unit) =>
      search(
        name,
        unit,
        ({ tag }) => things.includes(tag),
        // A declaration has the type, and the symbol table the place: no need to look for the definition.
        () => true,
      ),
    findType: (keyword, name, unit) => {
      const wanted = keyword === undefined ? plainTags : tags[keyword];
      const found = search(name, unit, ({ tag }) => wanted.includes(tag), isComplete);
      return found === undefined ? undefined : types.of(found);
    },
    findEnumerator: (name, unit) => {
      const found = search(
        name,
        unit,
        ({ tag }) => tag === TAG.enumerator,
        () => true,
      );
      return enumerator(found);
    },
    complete: (type) => {
      if ((type.kind !== 'struct' && type.kind !== 'union') || !type.incomplete || type.name === undefined)
        return type;
      const { kind, name } = type;
      const key = `${kind} ${name}`;
      if (missing.has(key)) return type;
      const found = search(name, undefined, ({ tag }) => tags[kind].includes(tag), isComplete);
      if (found !== undefined && isComplete(found)) return types.of(found);
      missing.add(key);
      return type;
    },
    completeName: (unit, prefix, limit) => names.complete(unit, prefix, limit),
    problems: () => {
      try {
        const split = dwarf.units.map((unit) => splitName(dwarf, unit)).find((name) => name !== undefined);
        if (split !== undefined)
          problem(
            `${elf.name}: split DWARF: the variables and types are in ${split}, which is not read; build without -gsplit-dwarf`,
          );
      } catch (error) {
        if (!(error instanceof ImageError)) throw error;
        problem(error.message);
      }
      return [...new Set([...dwarf.problems, ...problems, ...frames.problems])];
    },
  };
}

export type { Dwarf } from './dwarf';
export type { FrameRow, RegisterRule } from './frame';
export type { LineAt, LineTable } from './line';
export type { Scope } from './scopes';
export type { Entry, Unit } from './units';
export * from './types';
export { AT, TAG } from './constants';
export type { ExpressionHost, ImmediateHost, Location, Piece, Place } from './expression';
export {
  Unavailable,
  evaluateLocation,
  evaluateNumber,
  joinPieces,
  locationNow,
  piecesFor,
} from './expression';
