import type { ByteView } from '../../base/bytes';
import { ByteReader } from '../../base/bytes';
import type { ElfHeaders } from '../elf';
import { ImageError, hex } from '../error';
import { AT, UT } from './constants';
import type { FormResult } from './forms';
import { address, offsetNumber, plainString, stringAt } from './forms';
import type { ListContext, Range } from './lists';
import { listOffset, readList } from './lists';
import type { DwarfSections } from './sections';
import { dwarfSections, needSection } from './sections';
import type { Entry, Unit } from './units';
import { openUnit, unitHeaders, unitLoader } from './units';

/** The debugging information of one file, and what its entries say. Everything may throw an ImageError. */
export interface Dwarf {
  readonly sections: DwarfSections;
  /** Units of .debug_info, in their order. */
  readonly units: readonly Unit[];
  /** Units of .debug_types, where DWARF 4 has types that several units share. */
  readonly typeUnits: readonly Unit[];
  /** What could not be read, in words. */
  readonly problems: readonly string[];
  /** The unit of .debug_info that an offset lies in. */
  unitAt(offset: number): Unit | undefined;
  /** Of the entry itself, or of what it is an instance or a completion of (abstract origin, specification). */
  attribute(entry: Entry, name: number): { readonly entry: Entry; readonly value: FormResult } | undefined;
  text(entry: Entry, name: number): string | undefined;
  /** A constant as it stands: unsigned where its form does not say. */
  constant(entry: Entry, name: number): bigint | undefined;
  address(entry: Entry, name: number): bigint | undefined;
  flag(entry: Entry, name: number): boolean;
  block(entry: Entry, name: number): ByteView | undefined;
  reference(entry: Entry, name: number): Entry | undefined;
  /** The code an entry covers. */
  ranges(entry: Entry): readonly Range[];
  /** The expression of an attribute at an address, where it has one there. */
  expression(entry: Entry, name: number, pc: bigint): ByteView | undefined;
  /** An address of .debug_addr. */
  indexedAddress(unit: Unit, index: number): bigint;
  /** The entry at an offset of .debug_info. */
  entryAt(offset: number): Entry;
}

/** How many entries may say "see there" one after another. */
const MAX_HOPS = 16;

/** What a unit's lists, strings and addresses count from. */
interface Bases {
  readonly lowPc: bigint;
  readonly strings: number;
  readonly addresses: number;
  readonly ranges: number;
  readonly locations: number;
}

export function createDwarf(elf: ElfHeaders): Dwarf {
  const sections = dwarfSections(elf);
  const load = unitLoader(sections);
  const problems: string[] = [];
  const bases = new Map<Unit, Bases>();
  let units: readonly Unit[] | undefined;
  let types: ReadonlyMap<bigint, Unit> | undefined;
  let separate: readonly Unit[] | undefined;

  const open = (section: '.debug_info' | '.debug_types'): Unit[] =>
    unitHeaders(sections, section, (text) => problems.push(text)).map((header) => openUnit(header, load));
  const allUnits = (): readonly Unit[] => (units ??= open('.debug_info'));
  const separateTypes = (): readonly Unit[] => (separate ??= open('.debug_types'));
  const typeUnits = (): ReadonlyMap<bigint, Unit> => {
    if (types !== undefined) return types;
    const found = new Map<bigint, Unit>();
    for (const unit of [...allUnits(), ...separateTypes()])
      if (unit.header.signature !== undefined && !found.has(unit.header.signature))
        found.set(unit.header.signature, unit);
    return (types = found);
  };

  /** Offsets in the root entry; the defaults are where the first contribution of a section of its own begins. */
  const basesOf = (unit: Unit): Bases => {
    const known = bases.get(unit);
    if (known !== undefined) return known;
    const { root, header } = unit;
    const number = (name: number, otherwise: number): number => {
      const value = root.attributes.get(name)?.value;
      return typeof value === 'number' ? value : otherwise;
    };
    const afterHeader = header.offsetSize === 8 ? 16 : 8;
    const fresh: Bases = {
      lowPc: 0n,
      strings: number(AT.str_offsets_base, header.version >= 5 ? afterHeader : 0),
      addresses: number(AT.addr_base, number(AT.GNU_addr_base, header.version >= 5 ? afterHeader : 0)),
      ranges: number(AT.rnglists_base, afterHeader + 4),
      locations: number(AT.loclists_base, afterHeader + 4),
    };
    bases.set(unit, fresh);
    const low = root.attributes.get(AT.low_pc);
    const complete =
      low === undefined
        ? fresh
        : { ...fresh, lowPc: (low.class === 'constant' ? undefined : addressIn(unit, low)) ?? 0n };
    bases.set(unit, complete);
    return complete;
  };
  const indexedAddress = (unit: Unit, index: number): bigint => {
    const { addressSize } = unit.header;
    const at = basesOf(unit).addresses + index * addressSize;
    const section = needSection(sections, '.debug_addr');
    return address(new ByteReader(section.view(at, addressSize)), unit.header);
  };
  const addressIn = (unit: Unit, { class: kind, value }: FormResult): bigint | undefined => {
    if (kind === 'address' && typeof value === 'bigint') return value;
    return kind === 'addrx' && typeof value === 'number' ? indexedAddress(unit, value) : undefined;
  };
  const lists = (unit: Unit): ListContext => ({
    ...unit.header,
    base: basesOf(unit).lowPc,
    indexed: (index) => indexedAddress(unit, index),
  });
  const textIn = (unit: Unit, result: FormResult): string | undefined => {
    const { class: kind, value } = result;
    if (kind === 'supplementary')
      throw new ImageError(
        sections.elf.name,
        '.gnu_debugaltlink',
        'parts of the debugging information are in a supplementary file (dwz), which is not read',
        'Use the file before dwz -m',
      );
    if (kind !== 'strx' || typeof value !== 'number') return plainString(sections, result);
    const { offsetSize } = unit.header;
    const section = needSection(sections, '.debug_str_offsets');
    const view = section.view(basesOf(unit).strings + value * offsetSize, offsetSize);
    return stringAt(sections, '.debug_str', offsetNumber(new ByteReader(view), unit.header));
  };
  const unitAt = (offset: number): Unit | undefined => {
    const all = allUnits();
    let low = 0;
    let high = all.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((all[middle]?.header.offset ?? 0) <= offset) low = middle + 1;
      else high = middle;
    }
    const found = all[low - 1];
    return found !== undefined && offset < found.header.end ? found : undefined;
  };
  const entryAt = (offset: number): Entry => {
    const unit = unitAt(offset);
    if (unit === undefined)
      throw new ImageError(sections.elf.name, '.debug_info', `there is no unit at offset ${hex(offset)}`);
    return unit.entry(offset);
  };
  const follow = (unit: Unit, { class: kind, value }: FormResult): Entry | undefined => {
    if (kind === 'unit reference' && typeof value === 'number') return unit.entry(unit.header.offset + value);
    if (kind === 'reference' && typeof value === 'number') return entryAt(value);
    if (kind === 'signature' && typeof value === 'bigint') {
      const found = typeUnits().get(value);
      if (found?.header.typeOffset === undefined)
        throw new ImageError(sections.elf.name, '.debug_types', `there is no type unit ${hex(value)}`);
      return found.entry(found.header.typeOffset);
    }
    return undefined;
  };
  const reference = (entry: Entry, name: number): Entry | undefined => {
    const found = dwarf.attribute(entry, name);
    return found === undefined ? undefined : follow(found.entry.unit, found.value);
  };

  const dwarf: Dwarf = {
    sections,
    problems,
    get units() {
      return allUnits();
    },
    get typeUnits() {
      return separateTypes();
    },
    unitAt,
    entryAt,
    indexedAddress,
    reference,
    attribute: (entry, name) => {
      for (let hops = 0, at: Entry | undefined = entry; at !== undefined && hops < MAX_HOPS; hops++) {
        const value = at.attributes.get(name);
        if (value !== undefined) return { entry: at, value };
        const origin: FormResult | undefined =
          at.attributes.get(AT.abstract_origin) ?? at.attributes.get(AT.specification);
        at = origin === undefined ? undefined : follow(at.unit, origin);
      }
      return undefined;
    },
    text: (entry, name) => {
      const found = dwarf.attribute(entry, name);
      return found === undefined ? undefined : textIn(found.entry.unit, found.value);
    },
    constant: (entry, name) => {
      const found = dwarf.attribute(entry, name)?.value;
      if (found === undefined || (found.class !== 'constant' && found.class !== 'signed')) return undefined;
      return typeof found.value === 'bigint' || typeof found.value === 'number'
        ? BigInt(found.value)
        : undefined;
    },
    address: (entry, name) => {
      const found = entry.attributes.get(name);
      return found === undefined ? undefined : addressIn(entry.unit, found);
    },
    flag: (entry, name) => {
      const found = dwarf.attribute(entry, name)?.value;
      return found?.class === 'flag' && found.value !== 0;
    },
    block: (entry, name) => {
      const found = dwarf.attribute(entry, name)?.value;
      return found?.class === 'block' && typeof found.value === 'object' ? found.value : undefined;
    },
    ranges: (entry) => {
      const { unit } = entry;
      const listed = entry.attributes.get(AT.ranges);
      if (listed !== undefined && typeof listed.value === 'number') {
        const context = lists(unit);
        const at =
          listed.class === 'rnglistx'
            ? listOffset('ranges', basesOf(unit).ranges, listed.value, context)
            : listed.value;
        return readList('ranges', at, context).filter(({ low, high }) => low < high);
      }
      const low = dwarf.address(entry, AT.low_pc);
      const high = entry.attributes.get(AT.high_pc);
      if (low === undefined || high === undefined) return [];
      // A constant is a length (DWARF 4, 2.17.2).
      const end =
        high.class === 'constant' || high.class === 'signed'
          ? low + BigInt(high.value as number | bigint)
          : (addressIn(unit, high) ?? low);
      return low < end ? [{ low, high: end }] : [];
    },
    expression: (entry, name, pc) => {
      const found = entry.attributes.get(name);
      if (found === undefined) return undefined;
      const { class: kind, value } = found;
      if (kind === 'block' && typeof value === 'object') return value;
      if (typeof value !== 'number' || (kind !== 'offset' && kind !== 'loclistx' && kind !== 'constant'))
        return undefined;
      const context = lists(entry.unit);
      const at =
        kind === 'loclistx' ? listOffset('locations', basesOf(entry.unit).locations, value, context) : value;
      return readList('locations', at, context).find(({ low, high }) => low <= pc && pc < high)?.expression;
    },
  };
  return dwarf;
}

/** Where the compiler left the debugging information of a skeleton unit; undefined for a unit that is whole. */
export function splitName(dwarf: Dwarf, { root, header }: Unit): string | undefined {
  const name = dwarf.text(root, AT.dwo_name) ?? dwarf.text(root, AT.GNU_dwo_name);
  return header.type === UT.skeleton ? (name ?? 'a .dwo file') : name;
}
