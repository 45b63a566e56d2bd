import type { DebugInfo } from '../guest/dwarf';
import type { Btf } from '../guest/btf';
import type { OrcTable } from '../guest/orc';
import type { Linux } from './linux';
import type { ModuleDebug } from './linux/module-debug';
import { hex } from './locations';

// What the debugger asks of a guest's symbols, whatever they were read from.

export interface SymbolAt {
  readonly name: string;
  readonly address: bigint;
  /** Bytes from the symbol's start. */
  readonly offset: bigint;
}

/** A row of a line table: [low, high) belongs to one statement. */
export interface LineAt {
  /** As the line table has it; the host maps it to a file of its own. */
  readonly file: string;
  readonly line: number;
  readonly column?: number;
  readonly low: bigint;
  readonly high: bigint;
}

export interface SymbolIndex {
  at(address: bigint): SymbolAt | undefined;
  find(name: string): bigint | undefined;
  /** Names that begin with `prefix`, sorted, at most `limit`. */
  complete(prefix: string, limit: number): readonly string[];
  line(address: bigint): LineAt | undefined;
  /** Code of the first line from `line` on that has any, and that line. Throws nothing; undefined when there is none. */
  code(
    file: string,
    line: number,
  ): { readonly line: number; readonly addresses: readonly bigint[] } | undefined;
  /** Rows that begin in [low, high), ascending, and whether each is a place to stop at. */
  rows?(low: bigint, high: bigint): readonly (LineAt & { readonly isStatement: boolean })[];
  /** The files of the line table. */
  readonly files: readonly string[];
  /** Those of them whose path ends in that name: cheap, where listing all is not. */
  filesNamed(name: string): readonly string[];
  /** Whether there is a line table at all. */
  readonly hasLines: boolean;
  /** Variables, types, inlined functions and unwind tables, where the guest has debugging information. */
  readonly debug?: DebugInfo;
  /** Linux's own description of its types. */
  readonly btf?: Btf;
  /** What is known of a domain that runs Linux. */
  readonly linux?: Linux;
  /** Linux's own unwind tables. */
  readonly orc?: OrcTable;
  /**
   * What a module's debug file says, for a module whose symbols are there, by the names that the file has for them;
   * a text says why the file that there is cannot be used.
   */
  openModule?(name: string, symbols: readonly PlainSymbol[]): ModuleDebug | string | undefined;
  /** Files the symbols are from, and what is wrong with them, for the report after loading. */
  readonly report?: readonly string[];
  /** Where a file of the line table is on this computer; undefined when it is not. */
  toLocal?(file: string): string | undefined;
  /** Closes the files it reads from. */
  dispose?(): void;
  /** Number of names, for the report after loading. */
  readonly count: number;
}

export const noSymbols: SymbolIndex = {
  at: () => undefined,
  find: () => undefined,
  complete: () => [],
  line: () => undefined,
  code: () => undefined,
  files: [],
  filesNamed: () => [],
  hasLines: false,
  count: 0,
};

/** An image, and the domains that run it. */
export interface Image {
  readonly domains: readonly number[];
  readonly symbols: SymbolIndex;
}

/** What there is to know of each domain's code. */
export interface DomainSymbols {
  of(domain: number): SymbolIndex;
  /** Each once: domains that were made of the same image share its symbols. */
  readonly images: readonly Image[];
  /**
   * The same, for whoever looks for code: domains of one image that run Linux are apart, as each has its modules at
   * addresses of its own.
   */
  readonly codes: readonly Image[];
}

/**
 * @param indices in the order of the domains, the first of which is number 1
 * @param own makes of an image's symbols what a domain adds to them while it runs
 */
export function symbolsOfDomains(
  indices: readonly SymbolIndex[],
  own: (symbols: SymbolIndex) => SymbolIndex = (symbols) => symbols,
): DomainSymbols {
  const each = indices.map(own);
  const images = [...new Set(indices)].map((symbols) => {
    const domains = indices.flatMap((one, i) => (one === symbols ? [i + 1] : []));
    const [only = 0, ...others] = domains;
    return { domains, symbols: others.length === 0 ? (each[only - 1] ?? symbols) : symbols };
  });
  const codes = [...new Set(each)].map((symbols) => ({
    domains: each.flatMap((one, i) => (one === symbols ? [i + 1] : [])),
    symbols,
  }));
  return { images, codes, of: (domain) => each[domain - 1] ?? noSymbols };
}

/** `name+0x10`, or undefined for an address that no symbol covers. */
export function symbolic(symbols: SymbolIndex, address: bigint): string | undefined {
  const found = symbols.at(address);
  if (found === undefined) return undefined;
  return found.offset === 0n ? found.name : `${found.name}+${hex(found.offset)}`;
}

export interface PlainSymbol {
  readonly name: string;
  readonly address: bigint;
  /** Zero when it is not known: then it reaches to the next symbol. */
  readonly size: bigint;
}

/** No symbol without a size is believed to reach farther than this: padding and data follow the last one. */
const MAX_REACH = 1n << 20n;

/** An index over names alone. Of several symbols at one address the first in `symbols` wins. */
export function indexSymbols(
  symbols: readonly PlainSymbol[],
): Pick<SymbolIndex, 'at' | 'find' | 'complete' | 'count'> {
  const sorted = symbols
    .map((symbol, order) => ({ symbol, order }))
    .sort((a, b) =>
      a.symbol.address < b.symbol.address ? -1 : a.symbol.address > b.symbol.address ? 1 : a.order - b.order,
    )
    .map(({ symbol }) => symbol);
  const byName = new Map<string, bigint>();
  for (const { name, address } of symbols) if (!byName.has(name)) byName.set(name, address);
  let names: string[] | undefined;

  /** Index of the last symbol at or below `address`, then of the first with the same address. */
  const below = (address: bigint): number => {
    let low = 0;
    let high = sorted.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((sorted[middle]?.address ?? 0n) <= address) low = middle + 1;
      else high = middle;
    }
    let index = low - 1;
    while (index > 0 && sorted[index - 1]?.address === sorted[index]?.address) index--;
    return index;
  };
  return {
    count: symbols.length,
    find: (name) => byName.get(name),
    at: (address) => {
      const found = sorted[below(address)];
      if (found === undefined) return undefined;
      const offset = address - found.address;
      if (offset >= (found.size === 0n ? MAX_REACH : found.size)) return undefined;
      return { name: found.name, address: found.address, offset };
    },
    complete: (prefix, limit) => {
      names ??= [...byName.keys()].sort();
      let low = 0;
      let high = names.length;
      while (low < high) {
        const middle = (low + high) >>> 1;
        if ((names[middle] ?? '') < prefix) low = middle + 1;
        else high = middle;
      }
      const found: string[] = [];
      for (let i = low; i < names.length && found.length < limit; i++) {
        const name = names[i] ?? '';
        if (!name.startsWith(prefix)) break;
        found.push(name);
      }
      return found;
    },
  };
}
