import { createDebugInfo, type DebugInfo } from '../../guest/dwarf';
import { hasDebugInfo } from '../../guest/debug-file';
import { readElfHeaders } from '../../guest/elf';
import { ImageError } from '../../guest/error';
import type { GuestFile } from '../../guest/file';
import { ET_REL, placed, sectionSymbols } from '../../guest/relocatable';
import type { PlainSymbol } from '../symbols';
import { indexSymbols } from '../symbols';

// The debug file of a module is as relocatable as the module was before the kernel loaded it. Where the kernel has put
// each section, its own table of the module's symbols tells: a symbol has the same place in its section in both.

/** The debugging information of a module where it is loaded. */
export interface ModuleDebug {
  readonly file: string;
  readonly debug: DebugInfo;
  /** Whether an address is in a section that the debug file describes. */
  holds(address: bigint): boolean;
}

/** `xen_blkfront` for `…/xen-blkfront.ko.debug`; undefined for what is no module's. */
export const moduleNameOf = (path: string): string | undefined =>
  /([^/\\]+)\.ko(\.debug)?$/.exec(path)?.[1]?.replaceAll('-', '_');

/** Each name with its value; those of several are left out. */
function unique<T>(all: Iterable<readonly [name: string, value: T]>): Map<string, T> {
  const found = new Map<string, T>();
  const several = new Set<string>();
  for (const [name, value] of all) {
    if (found.has(name)) several.add(name);
    found.set(name, value);
  }
  for (const name of several) found.delete(name);
  return found;
}

/**
 * Opens a module's debug file at the places that the kernel has given to its sections.
 * @param symbols what the kernel knows of the module, by the names that the file has for it
 * Undefined for a file without debugging information.
 * @throws ImageError for a file that is none of a module's, or of another build
 */
export function openModuleDebug(file: GuestFile, symbols: readonly PlainSymbol[]): ModuleDebug | undefined {
  const elf = readElfHeaders(file);
  if (elf.type !== ET_REL)
    throw new ImageError(file.name, 'e_type', 'is no relocatable file, as modules are');
  if (!hasDebugInfo(elf)) return undefined;
  const here = unique(symbols.map(({ name, address }) => [name, address] as const));
  const bases = new Map<number, bigint>();
  let [agreeing, deviating] = [0, 0];
  for (const [name, { section, value }] of unique(
    sectionSymbols(elf).map((symbol) => [symbol.name, symbol] as const),
  )) {
    const address = here.get(name);
    if (address === undefined) continue;
    const base = bases.get(section) ?? address - value;
    bases.set(section, base);
    if (base === address - value) agreeing++;
    else deviating++;
  }
  if (bases.size === 0)
    throw new ImageError(file.name, '.symtab', 'has no symbol in common with the module that is loaded');
  if (deviating > 0)
    throw new ImageError(
      file.name,
      '.symtab',
      `is of another build than the module that is loaded: ${deviating} of ${agreeing + deviating} symbols are elsewhere in their sections`,
    );
  const there = placed(elf, ({ index }) => bases.get(index));
  const index = indexSymbols(symbols);
  return {
    file: file.name,
    debug: createDebugInfo(there, (address) => index.at(address)?.address),
    holds: (address) =>
      there.segments.some(({ vaddr, memsz }) => vaddr <= address && address < vaddr + BigInt(memsz)),
  };
}

/** Debugging information of which the part that counts is found by address, or by the unit that something is of. */
export function joined(main: DebugInfo | undefined, modules: readonly ModuleDebug[]): DebugInfo | undefined {
  const all = [...(main === undefined ? [] : [main]), ...modules.map(({ debug }) => debug)];
  const [first] = all;
  if (first === undefined) return undefined;
  const at = (address: bigint): DebugInfo => modules.find((one) => one.holds(address))?.debug ?? first;
  type Of = { readonly header: { readonly sections: unknown } };
  const of = ({ header }: Of): DebugInfo =>
    all.find(({ dwarf }) => dwarf.sections === header.sections) ?? first;
  /** The unit's own, then the others. */
  const anywhere = <T>(
    unit: Of | undefined,
    look: (debug: DebugInfo, own: boolean) => T | undefined,
  ): T | undefined => {
    const own = unit === undefined ? first : of(unit);
    for (const one of [own, ...all.filter((other) => other !== own)]) {
      const found = look(one, unit !== undefined && one === own);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  return {
    // Not a copy: units are only read when somebody wants them.
    dwarf: Object.assign(Object.create(first.dwarf) as DebugInfo['dwarf'], {
      attribute: (entry, name) => of(entry.unit).dwarf.attribute(entry, name),
      text: (entry, name) => of(entry.unit).dwarf.text(entry, name),
      constant: (entry, name) => of(entry.unit).dwarf.constant(entry, name),
      address: (entry, name) => of(entry.unit).dwarf.address(entry, name),
      flag: (entry, name) => of(entry.unit).dwarf.flag(entry, name),
      block: (entry, name) => of(entry.unit).dwarf.block(entry, name),
      reference: (entry, name) => of(entry.unit).dwarf.reference(entry, name),
      ranges: (entry) => of(entry.unit).dwarf.ranges(entry),
      expression: (entry, name, pc) => of(entry.unit).dwarf.expression(entry, name, pc),
      indexedAddress: (unit, index) => of(unit).dwarf.indexedAddress(unit, index),
    } satisfies Partial<DebugInfo['dwarf']>),
    lines: {
      get files() {
        return [...new Set(all.flatMap(({ lines }) => lines.files))].sort();
      },
      filesNamed: (name) => [...new Set(all.flatMap(({ lines }) => lines.filesNamed(name)))],
      at: (address) => at(address).lines.at(address),
      code: (file, line) => nearest(all.map(({ lines }) => lines.code(file, line))),
      rows: (low, high) => at(low).lines.rows(low, high),
      fileOf: (unit, index) => of(unit).lines.fileOf(unit, index),
      get problems() {
        return all.flatMap(({ lines }) => lines.problems);
      },
    },
    scopes: {
      at: (pc) => at(pc).scopes.at(pc),
      variables: (scope) => of(scope.entry.unit).scopes.variables(scope),
      functions: (unit) => of(unit).scopes.functions(unit),
    },
    types: {
      of: (entry) => (entry === undefined ? first : of(entry.unit)).types.of(entry),
      typeOf: (entry) => of(entry.unit).types.typeOf(entry),
    },
    frames: { at: (pc) => at(pc).frames.at(pc), problems: first.frames.problems },
    unitAt: (pc) => at(pc).unitAt(pc),
    inUnit: (name, unit) => of(unit).inUnit(name, unit),
    completeName: (unit, prefix, limit) => of(unit).completeName(unit, prefix, limit),
    find: (name, unit) => anywhere(unit, (debug, own) => debug.find(name, own ? unit : undefined)),
    findType: (keyword, name, unit) =>
      anywhere(unit, (debug, own) => debug.findType(keyword, name, own ? unit : undefined)),
    findEnumerator: (name, unit) =>
      anywhere(unit, (debug, own) => debug.findEnumerator(name, own ? unit : undefined)),
    complete: (type) => {
      for (const debug of all) {
        const found = debug.complete(type);
        if (!('incomplete' in found) || !found.incomplete) return found;
      }
      return type;
    },
    problems: () => all.flatMap((debug) => debug.problems()),
  };
}

type Code = ReturnType<DebugInfo['lines']['code']>;

/** Of code in several files, that of the line that is nearest. */
export function nearest(all: readonly Code[]): Code {
  const found = all.filter((one) => one !== undefined);
  const line = Math.min(...found.map((one) => one.line));
  const addresses = found.filter((one) => one.line === line).flatMap((one) => one.addresses);
  return found.length === 0 ? undefined : { line, addresses };
}
