import { ascii } from '../../base/bytes';
import type { Abbreviations } from './abbreviations';
import { readAbbreviations } from './abbreviations';
import { AT, TAG } from './constants';
import type { Dwarf } from './dwarf';
import type { Entry, Unit } from './units';

// Finding an entry by its name without an index of all names: what GCC writes has none, and building one for a
// kernel takes seconds and hundreds of megabytes. A name is either in .debug_str, merged, so that all who use it
// refer to the same offset, or stands in the entry itself. So the units that have the bytes of such a reference in
// them, behind the code of an entry that is no member or the like, are the only ones that are looked into.

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
/** Names of which it is kept where they can be. */
const KEPT_SEARCHES = 256;
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

/** Where little-endian 32-bit values are in `bytes`, at any alignment. */
function* words(bytes: Uint8Array, wanted: ReadonlySet<number>): Generator<number> {
  const [only] = wanted;
  if (only === undefined) return;
  if (wanted.size > 1) {
    let window = 0;
    for (let at = 0; at < bytes.length; at++) {
      window = (window >>> 8) | ((bytes[at] ?? 0) << 24);
      if (at >= 3 && wanted.has(window >>> 0)) yield at - 3;
    }
    return;
  }
  // One value, which is nearly always all there is.
  const low = only & 0xff;
  const rest = only >>> 8;
  for (let at = bytes.indexOf(low); at >= 0; at = bytes.indexOf(low, at + 1)) {
    const next = (bytes[at + 1] ?? 0) | ((bytes[at + 2] ?? 0) << 8) | ((bytes[at + 3] ?? 0) << 16);
    if (next === rest) yield at;
  }
}

/** Bytes of forms that always have as many (DWARF 5, 7.5.6). */
const FIXED: Readonly<Record<number, number>> = {
  0x05: 2, 0x06: 4, 0x07: 8, 0x0b: 1, 0x0c: 1, 0x0e: 4, 0x11: 1, 0x12: 2, 0x13: 4, 0x17: 4, 0x19: 0, 0x21: 0,
}; // prettier-ignore

/** How entries that are looked for begin: with which codes, and how many bytes later their names come. */
interface Openings {
  readonly codes: ReadonlyMap<number, ReadonlySet<number>>;
  /** Some do so in another way: nothing can be told from the bytes before a name. */
  readonly irregular: boolean;
}
function openingsOf(abbreviations: Abbreviations): Openings {
  const codes = new Map<number, Set<number>>();
  let irregular = false;
  for (const [code, { tag, attributes }] of abbreviations) {
    const name = attributes.findIndex((one) => one.name === AT.name);
    if ((!NAMED.has(tag) && !ENUMERATORS.has(tag)) || name < 0) continue;
    let before: number | undefined = 0;
    for (const { form } of attributes.slice(0, name)) {
      const size: number | undefined = FIXED[form];
      before = before === undefined || size === undefined ? undefined : before + size;
    }
    if (before === undefined || code >= 1 << 14) irregular = true;
    else codes.set(before, (codes.get(before) ?? new Set()).add(code));
  }
  return { codes, irregular };
}
/** Whether the reference to a name at `at` can be that of an entry that is looked for: a member has another code. */
function opens({ codes, irregular }: Openings, bytes: Uint8Array, at: number): boolean {
  if (irregular) return true;
  for (const [before, known] of codes) {
    const last = bytes[at - before - 1] ?? 0x80;
    // A code is a ULEB128 number; what looks like one byte may also be the second of two.
    if (last >= 0x80) continue;
    const first = bytes[at - before - 2] ?? 0;
    if (known.has(last) || (first >= 0x80 && known.has((first & 0x7f) | (last << 7)))) return true;
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

  const openings = new Map<number, Openings>();
  const openingsIn = ({ header }: Unit): Openings => {
    const known = openings.get(header.abbreviations);
    if (known !== undefined) return known;
    // In the 64-bit format references are wider.
    const fresh =
      header.offsetSize === 8
        ? { codes: new Map(), irregular: true }
        : openingsOf(readAbbreviations(dwarf.sections, header.abbreviations));
    openings.set(header.abbreviations, fresh);
    return fresh;
  };

  /** Whether a unit can have the name. */
  const mayHave = (name: string): ((unit: Unit) => boolean) => {
    const offsets = stringOffsets(dwarf, name);
    const inline = ascii(`${name}\0`);
    const wanted = new Set(offsets);
    return (unit) => {
      if (offsets === undefined || unit.root.attributes.get(AT.name)?.class === 'strx') return true;
      const { offset, end } = unit.header;
      const section = dwarf.sections.get(unit.header.section);
      if (section === undefined) return false;
      const { bytes } = section.view(offset, end - offset);
      let openings: Openings | undefined;
      for (const found of [words(bytes, wanted), occurrences(bytes, inline)])
        for (const at of found) if (opens((openings ??= openingsIn(unit)), bytes, at)) return true;
      return false;
    };
  };

  /** Units that have a name, as far as they have been looked for: whoever asks again goes on from there. */
  const searches = new Map<string, { readonly found: Unit[]; readonly rest: Iterator<Unit> }>();
  function* possible(name: string): Generator<Unit> {
    const may = mayHave(name);
    // The bytes may be something else's: a unit that has been looked into for nothing is not kept.
    for (const unit of [...dwarf.units, ...dwarf.typeUnits])
      if (may(unit) && indexOf(unit).has(name)) yield unit;
  }
  function* unitsWith(name: string): Generator<Unit> {
    let search = searches.get(name);
    if (search === undefined) {
      const [oldest] = searches.keys();
      if (searches.size >= KEPT_SEARCHES && oldest !== undefined) searches.delete(oldest);
      searches.set(name, (search = { found: [], rest: possible(name) }));
    }
    for (let i = 0; ; i++) {
      if (i >= search.found.length) {
        let next: IteratorResult<Unit>;
        try {
          next = search.rest.next();
        } catch (error) {
          searches.delete(name);
          throw error;
        }
        if (next.done === true) return;
        search.found.push(next.value);
      }
      const unit = search.found[i];
      if (unit !== undefined) yield unit;
    }
  }

  const names: Names = {
    in: (unit, name) => (indexOf(unit).get(name) ?? []).map((offset) => unit.entry(offset)),
    *everywhere(name) {
      for (const unit of unitsWith(name)) yield* names.in(unit, name);
    },
    complete: (unit, prefix, limit) =>
      [...indexOf(unit).keys()]
        .filter((name) => name.startsWith(prefix))
        .sort()
        .slice(0, limit),
  };
  return names;
}
