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
import type { ModuleDebug } from './linux/module-debug';
import { moduleNameOf, openModuleDebug } from './linux/module-debug';
import type { PlainSymbol, SymbolIndex } from './symbols';
import { noSymbols } from './symbols';

/** Where a guest's debugging information may be. */
export interface SymbolPlaces {
  /** Undefined for an image that is no file of its own. */
  readonly kernelPath: string | undefined;
  /** Files that were named for it and its modules, and folders with those of modules. */
  readonly given: readonly string[];
}

/** Opens a file for reading piece by piece; undefined when there is none. Throws what the host says of one that cannot be read. */
export type OpenFile = (path: string) => GuestFile | undefined;
/** Paths of all files in a folder and below; undefined when there is no such folder. */
export type ListFiles = (folder: string) => readonly string[] | undefined;

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
  list: ListFiles,
  report: (text: string) => void,
): DebugFile | undefined {
  const { elf, kernelVersion } = image;
  const found = debugFileCandidates({ elf, path: places.kernelPath, kernelVersion });
  const given = places.given.filter((path) => moduleNameOf(path) === undefined && list(path) === undefined);
  for (const [index, path] of [...given, ...found].entries()) {
    const isGiven = index < given.length;
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

/** Opens the debug files of modules: those that were named, then those in folders that were, then where they are kept. */
function moduleOpener(
  { kernelVersion }: KernelImage,
  { given, kernelPath }: SymbolPlaces,
  open: OpenFile,
  list: ListFiles,
): { readonly openModule: NonNullable<SymbolIndex['openModule']>; close(): void } {
  const opened: GuestFile[] = [];
  const [release = ''] = kernelVersion.split(' ');
  let listed: ReadonlyMap<string, readonly string[]> | undefined;
  const paths = (): ReadonlyMap<string, readonly string[]> => {
    if (listed !== undefined) return listed;
    const found = new Map<string, string[]>();
    const folders = [
      ...given,
      ...(/^[\w.+~-]+$/.test(release)
        ? [`/usr/lib/debug/lib/modules/${release}`, ...besideKernel(kernelPath, release)]
        : []),
    ];
    for (const path of folders.flatMap((one) =>
      moduleNameOf(one) === undefined ? (list(one) ?? []) : [one],
    )) {
      const name = moduleNameOf(path);
      if (name !== undefined) found.set(name, [...(found.get(name) ?? []), path]);
    }
    return (listed = found);
  };
  const openModule = (name: string, symbols: readonly PlainSymbol[]): ModuleDebug | string | undefined => {
    let problem: string | undefined;
    for (const path of paths().get(name) ?? []) {
      let file: GuestFile | undefined;
      try {
        file = open(path);
        if (file === undefined) problem ??= `'${path}': there is no such file`;
        else {
          const debug = openModuleDebug(file, symbols);
          if (debug === undefined) {
            file.close?.();
            continue;
          }
          opened.push(file);
          return debug;
        }
      } catch (error) {
        problem ??= messageOf(error);
        file?.close?.();
      }
    }
    return problem;
  };
  return {
    openModule,
    close: () => {
      for (const file of opened.splice(0)) file.close?.();
    },
  };
}

/** Where modules were installed together with a kernel: `boot/vmlinuz-6.1` and `lib/modules/6.1`. */
const besideKernel = (kernelPath: string | undefined, release: string): string[] => {
  const root = kernelPath === undefined ? undefined : /^(.*)\/boot\/[^/]+$/.exec(kernelPath)?.[1];
  return root === undefined ? [] : [`${root}/lib/modules/${release}`];
};

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
  list: ListFiles = () => undefined,
): Promise<SymbolIndex> {
  try {
    const image = await loadImage(kernel.bytes, kernel.name, kernel.unpacked);
    const report: string[] = [];
    const tell = (text: string): void => void report.push(text);
    const separate =
      places.given.length > 0 || !hasDebugInfo(image.elf)
        ? findDebugFile(image, places, open, list, tell)
        : undefined;
    const table = tableOf(image, separate?.elf);
    const source = separate?.elf ?? image.elf;
    const functionAt = (address: bigint): bigint | undefined => table.at(address)?.address;
    const debug: DebugInfo = createDebugInfo(source, functionAt);
    const has = hasDebugInfo(source);
    if (separate !== undefined) tell(`debugging information from ${separate.file.name}`);
    for (const problem of has ? debug.problems() : []) tell(problem);
    const { lines } = debug;
    const modules = moduleOpener(image, places, open, list);
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
      openModule: modules.openModule,
      dispose: () => {
        separate?.file.close?.();
        modules.close();
      },
    };
  } catch (error) {
    if (error instanceof ImageError) return noSymbols;
    throw error;
  }
}
