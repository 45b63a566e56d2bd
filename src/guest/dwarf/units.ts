import type { ByteView } from '../../base/bytes';
import { ByteReader } from '../../base/bytes';
import { ImageError, hex } from '../error';
import type { Abbreviation, Abbreviations } from './abbreviations';
import { readAbbreviations } from './abbreviations';
import { AT, UT } from './constants';
import type { FormContext, FormResult } from './forms';
import { offsetNumber, readForm, skipForm } from './forms';
import type { DwarfSection, DwarfSections } from './sections';
import { needSection } from './sections';

// Units of .debug_info and .debug_types, and the entries in them (DWARF 5, 7.5; DWARF 4, 7.5). A unit's bytes are
// read when somebody looks into it, and only so many are kept.

export interface UnitHeader extends FormContext {
  readonly section: '.debug_info' | '.debug_types';
  /** In the section. */
  readonly offset: number;
  /** Just after it. */
  readonly end: number;
  /** Where its root entry begins. */
  readonly first: number;
  /** Of its table in .debug_abbrev. */
  readonly abbreviations: number;
  /** DW_UT_… */
  readonly type: number;
  /** Of a type unit: what it is referred to by, and where in the section its type is described. */
  readonly signature?: bigint;
  readonly typeOffset?: number;
}

export interface Extent {
  readonly offsetSize: 4 | 8;
  /** Where the unit's own header goes on after the length. */
  readonly start: number;
  /** Just after the unit. */
  readonly end: number;
}

/** A unit's initial length (7.2.2). @throws ImageError when it does not fit its section */
export function unitExtent(section: DwarfSection, at: number): Extent {
  const reader = new ByteReader(section.from(at, 12));
  const first = reader.u32();
  const long = first === 0xffffffff;
  const length = long ? Number(reader.u64()) : first;
  const start = at + reader.offset;
  const room = section.size - start;
  if ((!long && first >= 0xfffffff0) || length > room) {
    throw new ImageError(
      section.thing,
      `unit at offset ${hex(at)}`,
      `a length of ${length} bytes does not fit in the ${room} that follow`,
    );
  }
  return { offsetSize: long ? 8 : 4, start, end: start + length };
}

/** Headers have at most this many bytes after the length. */
const MAX_HEADER = 40;

function readHeader(
  sections: DwarfSections,
  name: UnitHeader['section'],
  section: DwarfSection,
  at: number,
  { offsetSize, start, end }: Extent,
): UnitHeader {
  const reader = new ByteReader(section.view(start, Math.min(MAX_HEADER, end - start)));
  const version = reader.u16();
  if (version < 2 || version > 5)
    throw new ImageError(section.thing, `offset ${hex(start)}`, `DWARF version ${version} is not known`);
  const context = { sections, version, offsetSize, section: name, offset: at, end };
  if (version < 5) {
    const abbreviations = offsetNumber(reader, { offsetSize });
    const addressSize = reader.u8();
    const ofType =
      name === '.debug_types'
        ? { signature: reader.u64(), typeOffset: at + offsetNumber(reader, { offsetSize }) }
        : {};
    const type = name === '.debug_types' ? UT.type : UT.compile;
    return { ...context, addressSize, abbreviations, type, first: start + reader.offset, ...ofType };
  }
  const type = reader.u8();
  const addressSize = reader.u8();
  const abbreviations = offsetNumber(reader, { offsetSize });
  if (type === UT.skeleton || type === UT.split_compile) reader.skip(8);
  const ofType =
    type === UT.type || type === UT.split_type
      ? { signature: reader.u64(), typeOffset: at + offsetNumber(reader, { offsetSize }) }
      : {};
  return { ...context, addressSize, abbreviations, type, first: start + reader.offset, ...ofType };
}

/** Headers of all units of a section; what cannot be read is told to `problem`, and passed over. */
export function unitHeaders(
  sections: DwarfSections,
  name: UnitHeader['section'],
  problem: (text: string) => void,
): UnitHeader[] {
  const headers: UnitHeader[] = [];
  const guarded = <T>(work: () => T): T | undefined => {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof ImageError)) throw error;
      problem(error.message);
      return undefined;
    }
  };
  const section = guarded(() => sections.get(name));
  if (section === undefined) return headers;
  for (let at = 0; at < section.size;) {
    const start = at;
    const extent = guarded(() => unitExtent(section, start));
    if (extent === undefined) break;
    const header = guarded(() => readHeader(sections, name, section, start, extent));
    if (header !== undefined) headers.push(header);
    at = extent.end;
  }
  return headers;
}

/** A debugging information entry. */
export interface Entry {
  readonly unit: Unit;
  /** In the unit's section. */
  readonly offset: number;
  readonly tag: number;
  readonly children: boolean;
  readonly attributes: ReadonlyMap<number, FormResult>;
  /** Where the entry after it begins: its first child's, if it has any. */
  readonly next: number;
}

export interface Unit {
  readonly header: UnitHeader;
  /** The entry of the unit itself. @throws ImageError */
  readonly root: Entry;
  /** @throws ImageError where no entry can be read */
  entry(offset: number): Entry;
  /**
   * The entries directly below one; with `tags`, only those.
   * @throws ImageError
   */
  below(parent: Entry, tags?: ReadonlySet<number>): Generator<Entry>;
  /** The unit's bytes; offsets count from the unit's start. */
  readonly bytes: ByteView;
}

interface Loaded {
  readonly view: ByteView;
  readonly abbreviations: Abbreviations;
}

/** Bytes of units that are kept; the one that was used longest ago goes first. */
const KEPT_BYTES = 48 * 2 ** 20;

export type Loader = (header: UnitHeader) => Loaded;

export function unitLoader(sections: DwarfSections, keep = KEPT_BYTES): Loader {
  const kept = new Map<UnitHeader, Loaded>();
  let bytes = 0;
  return (header) => {
    const known = kept.get(header);
    if (known !== undefined) {
      kept.delete(header);
      kept.set(header, known);
      return known;
    }
    const section = needSection(sections, header.section);
    const loaded = {
      view: section.view(header.offset, header.end - header.offset, 'unit'),
      abbreviations: readAbbreviations(sections, header.abbreviations),
    };
    kept.set(header, loaded);
    bytes += loaded.view.size;
    for (const [oldest, { view }] of kept) {
      if (bytes <= keep || oldest === header) break;
      kept.delete(oldest);
      bytes -= view.size;
    }
    return loaded;
  };
}

/** Bytes in which a unit's own entry fits, mostly: for thousands of units nothing else is ever read. */
const ROOT_READ = 256;

export function openUnit(header: UnitHeader, load: Loader): Unit {
  const { offset: base, end, sections } = header;
  let root: Entry | undefined;

  const fault = (at: number, problem: string): never => {
    throw new ImageError(load(header).view.thing, `entry at offset ${hex(at)}`, problem);
  };
  /** At the entry's abbreviation; undefined for the null entry that ends a list of children. */
  const start = (
    at: number,
    { view, abbreviations }: Loaded,
  ): { reader: ByteReader; abbreviation: Abbreviation } | undefined => {
    if (at >= end) return undefined;
    const reader = new ByteReader(view, at - base);
    const code = reader.ulebNumber();
    if (code === 0) return undefined;
    const abbreviation = abbreviations.get(code) ?? fault(at, `abbreviation ${code} is not in its table`);
    return { reader, abbreviation };
  };
  const read = (at: number): Entry | undefined => {
    const begun = start(at, load(header));
    return begun === undefined ? undefined : finish(at, base, begun);
  };
  const finish = (
    at: number,
    origin: number,
    { reader, abbreviation }: { reader: ByteReader; abbreviation: Abbreviation },
  ): Entry => {
    const attributes = new Map<number, FormResult>();
    for (const { name, form, implicit } of abbreviation.attributes)
      attributes.set(name, readForm(form, reader, header, implicit));
    const { tag, children } = abbreviation;
    return { unit, offset: at, tag, children, attributes, next: origin + reader.offset };
  };
  /** Without the rest of the unit; undefined where it does not fit what was read for it. */
  const readRoot = (): Entry | undefined => {
    const at = header.first;
    try {
      const section = needSection(sections, header.section);
      const reader = new ByteReader(section.view(at, Math.min(ROOT_READ, end - at)));
      const code = reader.ulebNumber();
      const abbreviation = readAbbreviations(sections, header.abbreviations, code).get(code);
      return abbreviation === undefined ? undefined : finish(at, at, { reader, abbreviation });
    } catch (error) {
      if (error instanceof ImageError) return undefined;
      throw error;
    }
  };
  /** Past an entry's attributes, or at its sibling where it names one: then its children are past, too. */
  const past = (
    { attributes, children }: Abbreviation,
    reader: ByteReader,
  ): { readonly at: number; readonly inside: boolean } => {
    let sibling = 0;
    for (const { name, form } of attributes) {
      if (name === AT.sibling) {
        const { class: kind, value } = readForm(form, reader, header);
        if (kind === 'unit reference' && typeof value === 'number') sibling = base + value;
      } else skipForm(form, reader, header);
    }
    const next = base + reader.offset;
    // A sibling that leads back would never end.
    return sibling >= next && sibling <= end
      ? { at: sibling, inside: false }
      : { at: next, inside: children };
  };
  /** Past the children of an entry whose first child begins at `at`. */
  const pastChildren = (at: number, loaded: Loaded): number => {
    for (let depth = 1; depth > 0;) {
      const begun = start(at, loaded);
      if (begun === undefined) {
        if (at >= end) return end;
        depth--;
        at++;
        continue;
      }
      const after = past(begun.abbreviation, begun.reader);
      at = after.at;
      if (after.inside) depth++;
    }
    return at;
  };

  const unit: Unit = {
    header,
    get root() {
      return (root ??=
        readRoot() ?? read(header.first) ?? fault(header.first, 'is missing: the unit is empty'));
    },
    get bytes() {
      return load(header).view;
    },
    entry: (at) => {
      if (at < header.first || at >= end) fault(at, `lies outside of its unit`);
      return read(at) ?? fault(at, 'is a null entry');
    },
    *below(parent, tags) {
      if (!parent.children) return;
      for (let at = parent.next; ;) {
        const loaded = load(header);
        const begun = start(at, loaded);
        if (begun === undefined) return;
        const { abbreviation, reader } = begun;
        if (tags === undefined || tags.has(abbreviation.tag)) {
          const entry = read(at);
          if (entry === undefined) return;
          yield entry;
        }
        const after = past(abbreviation, reader);
        at = after.inside ? pastChildren(after.at, loaded) : after.at;
      }
    },
  };
  return unit;
}
