import type { ElfHeaders } from '../elf';
import { PT_LOAD } from '../elf';
import { ImageError } from '../error';
import type { UnitIndex } from './aranges';
import { unitIndex } from './aranges';
import { AT } from './constants';
import type { Dwarf } from './dwarf';
import { createDwarf } from './dwarf';
import type { FileTable, LineRow } from './line-program';
import { programReader, readHeader, runLineProgram } from './line-program';
import type { DwarfSection } from './sections';
import type { Extent, Unit } from './units';
import { unitExtent } from './units';

/** The instructions in [low, high) belong to a line. */
export interface LineAt {
  readonly file: string;
  readonly line: number;
  readonly column?: number;
  readonly low: bigint;
  readonly high: bigint;
}

export interface LineTable {
  /** Every file that a line table names, sorted, each once. */
  readonly files: readonly string[];
  /** Those of them with that last part of the path. */
  filesNamed(name: string): readonly string[];
  at(address: bigint): LineAt | undefined;
  /**
   * Where to stop for a line: the first line of `file` from `line` on that has code, and the address where
   * each function that contains it first reaches it.
   */
  code(
    file: string,
    line: number,
  ): { readonly line: number; readonly addresses: readonly bigint[] } | undefined;
  /** Rows that begin in [low, high), ascending. */
  rows(low: bigint, high: bigint): readonly (LineAt & { readonly isStatement: boolean })[];
  /** The files that a unit's entries name by number (DW_AT_call_file and the like). */
  fileOf(unit: Unit, index: number): string | undefined;
  /** What could not be read, in words; the rest is served. */
  readonly problems: readonly string[];
}

interface Range extends LineAt {
  readonly isStatement: boolean;
}

/**
 * Rows become ranges up to the next address. Of rows at one address the last counts, as in every debugger, but one
 * that is a place to stop at before one that is not; the others become empty ranges, which can still be stopped at.
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
      for (let from = 0; from < sequence.length;) {
        const address = sequence[from]?.address ?? 0n;
        let to = from;
        while (to < sequence.length && sequence[to]?.address === address) to++;
        const group = sequence.slice(from, to).filter(({ endSequence }) => !endSequence);
        const next = sequence[to]?.address;
        const chosen = [...group].reverse().find(({ isStatement }) => isStatement) ?? group[group.length - 1];
        for (const one of group) {
          const { file, line, column, isStatement } = one;
          if (line === 0 || file === '' || (next !== undefined && next < address)) continue;
          const high = one === chosen && next !== undefined ? next : address;
          ranges.push({ file, line, ...(column === 0 ? {} : { column }), low: address, high, isStatement });
        }
        from = to;
      }
    }
    sequence = [];
  }
  return ranges;
}

const byLow = (a: Range, b: Range): number => (a.low < b.low ? -1 : a.low > b.low ? 1 : 0);
const baseName = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** The program of one unit. */
interface Program {
  readonly at: number;
  readonly extent: Extent;
  readonly directory: string;
}
/** One that has been run. */
interface Decoded {
  /** Ascending; empty ones left out. */
  readonly ranges: readonly Range[];
  readonly all: readonly Range[];
}

/** Programs that stay decoded; the one that was used longest ago goes first. */
const KEPT_PROGRAMS = 96;

/**
 * Source lines from .debug_line, DWARF 2 to 5. Nothing is read before the first question, and then no more than
 * the programs that the question is about.
 * @param functionAt start of the function that an address belongs to, where symbols know it
 */
export function lineTable(
  source: ElfHeaders | Dwarf,
  functionAt: (address: bigint) => bigint | undefined = () => undefined,
): LineTable {
  const dwarf = 'units' in source ? source : createDwarf(source);
  const { sections } = dwarf;
  const { elf } = sections;
  const problems: string[] = [];
  const guarded = <T>(work: () => T): T | undefined => {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof ImageError)) throw error;
      if (!problems.includes(error.message)) problems.push(error.message);
      return undefined;
    }
  };
  const loaded = elf.segments.filter(({ type }) => type === PT_LOAD);
  const isLoaded = (address: bigint): boolean =>
    loaded.some(({ vaddr, memsz }) => vaddr <= address && address < vaddr + BigInt(memsz));

  interface Programs {
    readonly section: DwarfSection;
    readonly all: readonly Program[];
    readonly byOffset: ReadonlyMap<number, Program>;
    readonly index: UnitIndex;
    /** Those of no unit, and of units that say nothing of their code: any address may be theirs. */
    readonly anywhere: readonly Program[];
  }
  let known: Programs | undefined | null = null;
  const read = (): Programs | undefined => {
    if (known !== null) return known;
    const section = guarded(() => sections.get('.debug_line'));
    if (section === undefined) return (known = undefined);
    const directories = new Map<number, string>();
    const units = guarded(() => dwarf.units) ?? [];
    for (const unit of units)
      guarded(() => {
        const lines = unit.root.attributes.get(AT.stmt_list)?.value;
        if (typeof lines === 'number' && !directories.has(lines))
          directories.set(lines, dwarf.text(unit.root, AT.comp_dir) ?? '');
      });
    const all: Program[] = [];
    for (let at = 0; at < section.size;) {
      const start = at;
      const extent = guarded(() => unitExtent(section, start));
      if (extent === undefined) break;
      all.push({ at, extent, directory: directories.get(at) ?? '' });
      at = extent.end;
    }
    const index = unitIndex(dwarf, (text) => problems.push(text));
    const byOffset = new Map(all.map((program) => [program.at, program]));
    const placeless = new Set(index.placeless.map((unit) => unit.root.attributes.get(AT.stmt_list)?.value));
    const anywhere = all.filter(({ at }) => !directories.has(at) || placeless.has(at));
    return (known = { section, all, byOffset, index, anywhere });
  };

  const kept = new Map<Program, Decoded>();
  const decode = (program: Program): Decoded => {
    let found = kept.get(program);
    if (found !== undefined) kept.delete(program);
    else {
      const section = read()?.section;
      const rows =
        section === undefined
          ? undefined
          : guarded(() => runLineProgram(sections, section, program.extent, program.directory));
      const all = rangesOf(rows ?? [], isLoaded).sort(byLow);
      found = { all, ranges: all.filter(({ low, high }) => low < high) };
    }
    kept.set(program, found);
    const [oldest] = kept.keys();
    if (kept.size > KEPT_PROGRAMS && oldest !== undefined) kept.delete(oldest);
    return found;
  };
  const programOf = (unit: Unit | undefined): Program | undefined => {
    const lines = guarded(() => unit?.root.attributes.get(AT.stmt_list)?.value);
    return typeof lines === 'number' ? read()?.byOffset.get(lines) : undefined;
  };
  const programsAt = (address: bigint): readonly Program[] => {
    const all = read();
    if (all === undefined) return [];
    const own = programOf(all.index.unitAt(address));
    return own === undefined ? all.anywhere : [own, ...all.anywhere];
  };

  const tables = new Map<Program, FileTable | undefined>();
  const filesOf = (program: Program): FileTable | undefined => {
    const section = read()?.section;
    return section === undefined
      ? undefined
      : guarded(
          () =>
            readHeader(sections, programReader(section, program.extent), program.extent, program.directory)
              .files,
        );
  };
  /** Programs by the last part of the names of their files; made of the headers alone. */
  let byName: ReadonlyMap<string, readonly Program[]> | undefined;
  const named = (): ReadonlyMap<string, readonly Program[]> => {
    if (byName !== undefined) return byName;
    const found = new Map<string, Program[]>();
    for (const program of read()?.all ?? []) {
      const table = filesOf(program);
      for (let index = 0; index < (table?.count ?? 0); index++) {
        const name = baseName(table?.name(index) ?? '');
        const same = found.get(name);
        if (name === '') continue;
        if (same === undefined) found.set(name, [program]);
        else if (same[same.length - 1] !== program) same.push(program);
      }
    }
    return (byName = found);
  };
  const pathsOf = (programs: readonly Program[], wanted: (name: string) => boolean): string[] => {
    const paths = new Set<string>();
    for (const program of programs) {
      const table = filesOf(program);
      for (let index = 0; index < (table?.count ?? 0); index++)
        if (wanted(baseName(table?.name(index) ?? ''))) paths.add(table?.path(index) ?? '');
    }
    paths.delete('');
    return [...paths].sort();
  };
  let files: readonly string[] | undefined;

  /** Index of the first range that begins after `address`. */
  const after = (ranges: readonly Range[], address: bigint): number => {
    let low = 0;
    let high = ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((ranges[middle]?.low ?? 0n) <= address) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  const plain = ({ isStatement: _, ...line }: Range): LineAt => line;

  return {
    get files() {
      return (files ??= pathsOf(read()?.all ?? [], () => true));
    },
    filesNamed: (name) => pathsOf(named().get(name) ?? [], (one) => one === name),
    get problems() {
      for (const program of read()?.all ?? []) decode(program);
      return [...new Set([...dwarf.problems, ...problems])];
    },
    at(address) {
      for (const program of programsAt(address)) {
        const { ranges } = decode(program);
        const found = ranges[after(ranges, address) - 1];
        if (found !== undefined && address < found.high) return plain(found);
      }
      return undefined;
    },
    code(file, line) {
      const candidates = (named().get(baseName(file)) ?? [])
        .flatMap((program) =>
          decode(program).all.filter((range) => range.file === file && range.line >= line),
        )
        .sort(byLow);
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
    rows(low, high) {
      const found: Range[] = [];
      for (const program of programsAt(low)) {
        const { ranges } = decode(program);
        for (let at = Math.max(0, after(ranges, low) - 1); at < ranges.length; at++) {
          const range = ranges[at];
          if (range === undefined || range.low >= high) break;
          if (range.low >= low) found.push(range);
        }
      }
      return found.sort(byLow);
    },
    fileOf(unit, index) {
      const program = programOf(unit);
      if (program === undefined) return undefined;
      if (!tables.has(program)) tables.set(program, filesOf(program));
      const path = tables.get(program)?.path(index);
      return path === '' ? undefined : path;
    },
  };
}
