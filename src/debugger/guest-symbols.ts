import { readBtf } from '../guest/btf';
import { debugFileCandidates, hasDebugInfo, openDebugFile } from '../guest/debug-file';
import type { DebugFile } from '../guest/debug-file';
import type { DebugInfo } from '../guest/dwarf';
import { createDebugInfo } from '../guest/dwarf';
import type { ElfHeaders } from '../guest/elf';
import { ImageError } from '../guest/error';
import type { GuestFile } from '../guest/file';
import type { KernelImage } from '../guest/image';
import { loadImage } from '../guest/image';
import { orcTable } from '../guest/orc';
import { kernelSymbols, symbolsOfElf } from '../guest/symbols';
import type { SymbolTable } from '../guest/symbols';
import type { KernelFile } from '../machine/target';
import type { SymbolIndex } from './symbols';
import { noSymbols } from './symbols';

/** Where a guest's debugging information may be. */
export interface SymbolPlaces {
  /** Undefined for an image that is no file of its own. */
  readonly kernelPath: string | undefined;
  /** Files that were named for it. */
  readonly given: readonly string[];
}

/** Opens a file for reading piece by piece; undefined when there is none. Throws what the host says of one that cannot be read. */
export type OpenFile = (path: string) => GuestFile | undefined;

/** The debugger's view of a guest's own symbol table. A PV kernel runs where it was linked: nothing is relocated. */
const namesOf = (table: SymbolTable): Pick<SymbolIndex, 'at' | 'find' | 'complete' | 'count'> => ({
  count: table.count,
  at: (address) => {
    const found = table.at(address);
    return found === undefined
      ? undefined
      : { name: found.name, address: found.address, offset: BigInt(found.offset) };
  },
  find: (name) => table.named(name)[0]?.address,
  complete: (prefix, limit) => table.complete(prefix, limit),
});

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** The first file that belongs to the image; those that were named for it and do not are reported. */
function findDebugFile(
  image: KernelImage,
  places: SymbolPlaces,
  open: OpenFile,
  report: (text: string) => void,
): DebugFile | undefined {
  const { elf, kernelVersion } = image;
  const found = debugFileCandidates({ elf, path: places.kernelPath, kernelVersion });
  for (const [index, path] of [...places.given, ...found].entries()) {
    const isGiven = index < places.given.length;
    let file: GuestFile | undefined;
    try {
      file = open(path);
      if (file === undefined) {
        if (isGiven) report(`symbols: '${path}': there is no such file`);
        continue;
      }
      const opened = openDebugFile(elf, file);
      if (hasDebugInfo(opened.elf)) return opened;
      if (isGiven) report(`symbols: '${path}' has no debugging information`);
    } catch (error) {
      report(`symbols: ${messageOf(error)}`);
    }
    file?.close?.();
  }
  return undefined;
}

function tableOf(image: KernelImage, debug: ElfHeaders | undefined): SymbolTable {
  const own = kernelSymbols(image);
  if (debug === undefined || own.source === 'symtab') return own.table;
  const table = symbolsOfElf(debug);
  return table.count > own.table.count ? table : own.table;
}

/** What the image has of something that may lie; then that is reported, and it has none. */
function unlessItLies<T>(read: () => T | undefined, report: (text: string) => void): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    report(error.message);
    return undefined;
  }
}

function linuxTables({ elf }: KernelImage, report: (text: string) => void): Pick<SymbolIndex, 'orc' | 'btf'> {
  const orc = unlessItLies(() => orcTable(elf), report);
  const btf = unlessItLies(() => readBtf(elf), report);
  return { ...(orc === undefined ? {} : { orc }), ...(btf === undefined ? {} : { btf }) };
}

/**
 * What an image says about its code, and the file that goes with it. An image that says nothing, or lies about it,
 * has no symbols: whether it can be booted is for the domain builder to tell.
 */
export async function guestSymbols(
  kernel: Pick<KernelFile, 'name' | 'bytes' | 'unpacked'>,
  places: SymbolPlaces = { kernelPath: undefined, given: [] },
  open: OpenFile = () => undefined,
): Promise<SymbolIndex> {
  try {
    const image = await loadImage(kernel.bytes, kernel.name, kernel.unpacked);
    const report: string[] = [];
    const tell = (text: string): void => void report.push(text);
    const separate =
      places.given.length > 0 || !hasDebugInfo(image.elf)
        ? findDebugFile(image, places, open, tell)
        : undefined;
    const table = tableOf(image, separate?.elf);
    const source = separate?.elf ?? image.elf;
    const functionAt = (address: bigint): bigint | undefined => table.at(address)?.address;
    const debug: DebugInfo = createDebugInfo(source, functionAt);
    const has = hasDebugInfo(source);
    if (separate !== undefined) tell(`debugging information from ${separate.file.name}`);
    for (const problem of has ? debug.problems() : []) tell(problem);
    const { lines } = debug;
    return {
      ...namesOf(table),
      ...linuxTables(image, tell),
      line: (address) => lines.at(address),
      code: (file, line) => lines.code(file, line),
      rows: (low, high) => lines.rows(low, high),
      get files() {
        return lines.files;
      },
      filesNamed: (name) => lines.filesNamed(name),
      hasLines: debug.dwarf.sections.get('.debug_line') !== undefined,
      ...(has ? { debug } : {}),
      report,
      dispose: () => separate?.file.close?.(),
    };
  } catch (error) {
    if (error instanceof ImageError) return noSymbols;
    throw error;
  }
}
