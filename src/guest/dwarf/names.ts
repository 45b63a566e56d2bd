import { ascii } from '../../base/bytes';
import { AT, TAG } from './constants';
import type { Dwarf } from './dwarf';
import type { Entry, Unit } from './units';

// Finding an entry by its name without an index of all names: what GCC writes has none, and building one for a
// kernel takes seconds and hundreds of megabytes. A name is either in .debug_str, merged, so that all who use it
// refer to the same offset, or stands in the entry itself. So the units that have the bytes of such a reference in
// them are the only ones that are looked into.

export interface Names {
  /** Entries directly in a unit (and the enumerators of its enumerations) that have that name. */
  in(unit: Unit, name: string): readonly Entry[];
  /** The same, one unit after another. */
  everywhere(name: string): Generator<Entry>;
  /** Names in a unit that begin with a prefix, sorted. */
  complete(unit: Unit, prefix: string, limit: number): readonly string[];
}

const NAMED = new Set<number>([
  TAG.variable,
  TAG.subprogram,
  TAG.structure_type,
  TAG.union_type,
  TAG.class_type,
  TAG.enumeration_type,
  TAG.typedef,
  TAG.base_type,
]);
const ENUMERATORS = new Set<number>([TAG.enumerator]);
const KEPT_UNITS = 8;
const CHUNK = 4 * 2 ** 20;
/** More references than this to look for cost more than looking into every unit. */
const MAX_PATTERNS = 256;

/** Where `pattern` is in `bytes`. */
function* occurrences(bytes: Uint8Array, pattern: Uint8Array): Generator<number> {
  const first = pattern[0] ?? 0;
  const last = bytes.length - pattern.length;
  for (let at = bytes.indexOf(first); at >= 0 && at <= last; at = bytes.indexOf(first, at + 1)) {
    let length = 1;
    while (length < pattern.length && bytes[at + length] === pattern[length]) length++;
    if (length === pattern.length) yield at;
  }
}

/** Offsets of .debug_str at which `name` can be read; the linker lets a name be the end of another. */
function stringOffsets(dwarf: Dwarf, name: string): number[] | undefined {
  const section = dwarf.sections.get('.debug_str');
  if (section === undefined) return [];
  const pattern = ascii(`${name}\0`);
  const found: number[] = [];
  for (let start = 0; start < section.size; start += CHUNK) {
    const { bytes } = section.from(start, CHUNK + pattern.length - 1);
    for (const at of occurrences(bytes, pattern)) {
      found.push(start + at);
      if (found.length > MAX_PATTERNS) return undefined;
    }
  }
  return found;
}

/** Little-endian 32-bit values in `bytes`, at any alignment. */
function hasWord(bytes: Uint8Array, wanted: ReadonlySet<number>): boolean {
  let window = 0;
  for (let at = 0; at < bytes.length; at++) {
    window = (window >>> 8) | ((bytes[at] ?? 0) << 24);
    if (at >= 3 && wanted.has(window >>> 0)) return true;
  }
  return false;
}
/** The same for one value, which is nearly always all there is. */
function hasOneWord(bytes: Uint8Array, wanted: number): boolean {
  const low = wanted & 0xff;
  const rest = wanted >>> 8;
  for (let at = bytes.indexOf(low); at >= 0; at = bytes.indexOf(low, at + 1)) {
    const next = (bytes[at + 1] ?? 0) | ((bytes[at + 2] ?? 0) << 8) | ((bytes[at + 3] ?? 0) << 16);
    if (next === rest) return true;
  }
  return false;
}

export function createNames(dwarf: Dwarf): Names {
  const kept = new Map<Unit, ReadonlyMap<string, readonly number[]>>();

  const indexOf = (unit: Unit): ReadonlyMap<string, readonly number[]> => {
    const known = kept.get(unit);
    if (known !== undefined) return known;
    const index = new Map<string, number[]>();
    const add = (entry: Entry): void => {
      const name = dwarf.text(entry, AT.name);
      if (name === undefined) return;
      const same = index.get(name);
      if (same === undefined) index.set(name, [entry.offset]);
      else same.push(entry.offset);
    };
    for (const entry of unit.below(unit.root, NAMED)) {
      add(entry);
      if (entry.tag === TAG.enumeration_type) for (const one of unit.below(entry, ENUMERATORS)) add(one);
    }
    const [oldest] = kept.keys();
    if (kept.size >= KEPT_UNITS && oldest !== undefined) kept.delete(oldest);
    kept.set(unit, index);
    return index;
  };

  /** Whether a unit can have the name. */
  const mayHave = (name: string): ((unit: Unit) => boolean) => {
    const offsets = stringOffsets(dwarf, name);
    const inline = ascii(`${name}\0`);
    const words = new Set(offsets);
    const [only] = words;
    return (unit) => {
      if (offsets === undefined || unit.root.attributes.get(AT.name)?.class === 'strx') return true;
      const { offset, end } = unit.header;
      const section = dwarf.sections.get(unit.header.section);
      if (section === undefined) return false;
      const { bytes } = section.view(offset, end - offset);
      if (
        words.size === 1 && only !== undefined
          ? hasOneWord(bytes, only)
          : words.size > 0 && hasWord(bytes, words)
      )
        return true;
      return occurrences(bytes, inline).next().done !== true;
    };
  };

  const names: Names = {
    in: (unit, name) => (indexOf(unit).get(name) ?? []).map((offset) => unit.entry(offset)),
    *everywhere(name) {
      const possible = mayHave(name);
      for (const unit of [...dwarf.units, ...dwarf.typeUnits])
        if (possible(unit)) yield* names.in(unit, name);
    },
    complete: (unit, prefix, limit) =>
      [...indexOf(unit).keys()]
        .filter((name) => name.startsWith(prefix))
        .sort()
        .slice(0, limit),
  };
  return names;
}
