import { ByteReader } from '../../base/bytes';
import type { ElfFile } from '../elf';
import { PT_LOAD } from '../elf';
import { ImageError } from '../error';
import type { LineRow } from './line-program';
import { runLineProgram } from './line-program';
import { dwarfSections } from './sections';
import { compileUnits, unitExtent } from './units';

/** The instructions in [low, high) belong to a line. */
export interface LineAt {
  readonly file: string;
  readonly line: number;
  readonly column?: number;
  readonly low: bigint;
  readonly high: bigint;
}

export interface LineTable {
  /** Sorted, each once. */
  readonly files: readonly string[];
  at(address: bigint): LineAt | undefined;
  /**
   * Where to stop for a line: the first line of `file` from `line` on that has code, and the address where
   * each function that contains it first reaches it.
   */
  code(
    file: string,
    line: number,
  ): { readonly line: number; readonly addresses: readonly bigint[] } | undefined;
  /** What could not be read, in words; the rest is served. */
  readonly problems: readonly string[];
}

interface Range extends LineAt {
  readonly isStatement: boolean;
}

/**
 * Rows become ranges up to the next row. Of rows at one address the last counts, as in every debugger; those
 * before it become empty ranges, which can still be stopped at.
 */
function rangesOf(rows: readonly LineRow[], isLoaded: (address: bigint) => boolean): Range[] {
  const ranges: Range[] = [];
  let sequence: LineRow[] = [];
  for (const row of rows) {
    sequence.push(row);
    if (!row.endSequence) continue;
    const first = sequence[0];
    // The linker leaves the line programs of functions it dropped, at address 0 or so.
    if (first !== undefined && isLoaded(first.address)) {
      sequence.forEach(({ address, file, line, column, isStatement, endSequence }, index) => {
        const high = sequence[index + 1]?.address;
        if (endSequence || high === undefined || high < address || line === 0 || file === '') return;
        ranges.push({ file, line, ...(column === 0 ? {} : { column }), low: address, high, isStatement });
      });
    }
    sequence = [];
  }
  return ranges;
}

const byLow = (a: Range, b: Range): number => (a.low < b.low ? -1 : a.low > b.low ? 1 : 0);

function readRanges(elf: ElfFile, problem: (text: string) => void): Range[] {
  const sections = dwarfSections(elf);
  const guarded = <T>(work: () => T): T | undefined => {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof ImageError)) throw error;
      problem(error.message);
      return undefined;
    }
  };
  const loaded = elf.segments.filter(({ type }) => type === PT_LOAD);
  const isLoaded = (address: bigint): boolean =>
    loaded.some(({ vaddr, memsz }) => vaddr <= address && address < vaddr + BigInt(memsz));
  const view = guarded(() => sections.get('.debug_line'));
  if (view === undefined) return [];
  const directories = new Map(
    compileUnits(sections, problem).map(({ lines, directory }) => [lines, directory]),
  );
  const ranges: Range[] = [];
  for (let at = 0; at < view.size;) {
    const start = at;
    const extent = guarded(() => unitExtent(new ByteReader(view, start)));
    if (extent === undefined) break;
    const rows = guarded(() => runLineProgram(sections, extent, directories.get(BigInt(start)) ?? ''));
    for (const range of rangesOf(rows ?? [], isLoaded)) ranges.push(range);
    at = extent.end;
  }
  return ranges.sort(byLow);
}

/**
 * Source lines from .debug_line, DWARF 2 to 5. Nothing is read before the first question.
 * @param functionAt start of the function that an address belongs to, where symbols know it
 */
export function lineTable(
  elf: ElfFile,
  functionAt: (address: bigint) => bigint | undefined = () => undefined,
): LineTable {
  const problems: string[] = [];
  let known: { ranges: Range[]; byFile: Map<string, Range[]> } | undefined;
  const read = () => {
    if (known !== undefined) return known;
    const ranges = readRanges(elf, (text) => problems.push(text));
    const byFile = new Map<string, Range[]>();
    for (const range of ranges) {
      const same = byFile.get(range.file);
      if (same === undefined) byFile.set(range.file, [range]);
      else same.push(range);
    }
    known = { ranges: ranges.filter(({ low, high }) => low < high), byFile };
    return known;
  };

  return {
    get files() {
      return [...read().byFile.keys()].sort();
    },
    get problems() {
      read();
      return problems;
    },
    at(address) {
      const { ranges } = read();
      let low = 0;
      let high = ranges.length;
      while (low < high) {
        const middle = (low + high) >>> 1;
        if ((ranges[middle]?.low ?? 0n) <= address) low = middle + 1;
        else high = middle;
      }
      const found = ranges[low - 1];
      if (found === undefined || address >= found.high) return undefined;
      const { isStatement: _, ...line } = found;
      return line;
    },
    code(file, line) {
      const candidates = (read().byFile.get(file) ?? []).filter((range) => range.line >= line);
      const best = candidates.reduce(
        (lowest, range) => (range.isStatement ? Math.min(lowest, range.line) : lowest),
        Infinity,
      );
      if (best === Infinity) return undefined;
      const onLine = candidates.filter((range) => range.line === best && range.isStatement);
      const solid = onLine.filter(({ low, high }) => low < high);
      // A line that is reached again within its function, as a loop's head is, is stopped at where it first is.
      const perFunction = new Map<bigint, bigint>();
      let previousHigh: bigint | undefined;
      for (const { low, high } of solid.length > 0 ? solid : onLine) {
        const key = functionAt(low) ?? (low === previousHigh ? undefined : low);
        if (key !== undefined && !perFunction.has(key)) perFunction.set(key, low);
        previousHigh = high;
      }
      return { line: best, addresses: [...perFunction.values()].sort((a, b) => (a < b ? -1 : 1)) };
    },
  };
}
