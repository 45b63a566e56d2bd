/** What a symbol stands for. An `absolute` one is a number (an offset into per-CPU data, a constant), not a place. */
export type SymbolKind = 'function' | 'object' | 'label' | 'absolute';

export interface SymbolEntry {
  readonly name: string;
  readonly address: bigint;
  /** In bytes; 0 where the image does not say, which then means up to the next symbol. */
  readonly size: number;
  readonly kind: SymbolKind;
  readonly global: boolean;
}

export interface SymbolAt extends SymbolEntry {
  /** Of the address asked for, from the symbol's start; bytes. */
  readonly offset: number;
}

export interface SymbolTable {
  readonly count: number;
  /** The symbol that an address belongs to; a function before a label, a global before a local, the plainer name first. */
  at(address: bigint): SymbolAt | undefined;
  /** Every symbol of that name, in ascending order of address: static functions may share one. */
  named(name: string): readonly SymbolEntry[];
  /** Symbols that start in [from, to), in ascending order of address. */
  between(from: bigint, to: bigint): readonly SymbolEntry[];
  /** Names that start with `prefix`, sorted, each once, at most `limit` of them. */
  complete(prefix: string, limit: number): readonly string[];
}

const kindOrder: Readonly<Record<SymbolKind, number>> = { function: 0, object: 1, label: 2, absolute: 3 };

function preference(a: SymbolEntry, b: SymbolEntry): number {
  if (a.address !== b.address) return a.address < b.address ? -1 : 1;
  return (
    kindOrder[a.kind] - kindOrder[b.kind] ||
    Number(b.global) - Number(a.global) ||
    underscores(a.name) - underscores(b.name) ||
    compareText(a.name, b.name)
  );
}

/** Of two names for one place, the one with fewer of them is the one that people use. */
const underscores = (name: string): number => /^_*/.exec(name)?.[0].length ?? 0;

/** By code unit: the same order everywhere, whatever the locale. */
const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Index of the first of `count` things for which `isBefore` is false; those for which it is true come first. */
function partition(count: number, isBefore: (index: number) => boolean): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBefore(middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Longest distance from a symbol without a size at which an address still counts as its own. */
const MAX_REACH = 1n << 24n;

export function createSymbolTable(entries: Iterable<SymbolEntry>): SymbolTable {
  const all = [...entries].sort(preference);
  const places = all.filter((entry) => entry.kind !== 'absolute');
  const addresses = BigUint64Array.from(places, (entry) => entry.address);
  let byName: Map<string, SymbolEntry[]> | undefined;
  let names: string[] | undefined;

  const index = (): Map<string, SymbolEntry[]> => {
    if (byName !== undefined) return byName;
    byName = new Map();
    for (const entry of all) {
      const same = byName.get(entry.name);
      if (same === undefined) byName.set(entry.name, [entry]);
      else same.push(entry);
    }
    return byName;
  };
  const lowerBound = (address: bigint): number =>
    partition(addresses.length, (at) => (addresses[at] ?? 0n) < address);

  return {
    count: all.length,
    at(address) {
      const after = partition(addresses.length, (at) => (addresses[at] ?? 0n) <= address);
      const start = addresses[after - 1];
      if (start === undefined) return undefined;
      const distance = address - start;
      if (distance >= MAX_REACH) return undefined;
      const offset = Number(distance);
      for (let at = lowerBound(start); at < after; at++) {
        const entry = places[at];
        if (entry !== undefined && (entry.size === 0 || offset < entry.size)) return { ...entry, offset };
      }
      return undefined;
    },
    named: (name) => index().get(name) ?? [],
    between: (from, to) => places.slice(lowerBound(from), Math.max(lowerBound(from), lowerBound(to))),
    complete(prefix, limit) {
      names ??= [...index().keys()].sort(compareText);
      const sorted = names;
      const first = partition(sorted.length, (at) => (sorted[at] ?? '') < prefix);
      const found: string[] = [];
      for (let at = first; at < sorted.length && found.length < limit; at++) {
        const name = sorted[at] ?? '';
        if (!name.startsWith(prefix)) break;
        found.push(name);
      }
      return found;
    },
  };
}

export const emptySymbolTable: SymbolTable = createSymbolTable([]);
