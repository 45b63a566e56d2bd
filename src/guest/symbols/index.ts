import type { ElfHeaders } from '../elf';
import type { KernelImage } from '../image';
import { elfSymbols } from './elf-symbols';
import { kallsymsIn } from './kallsyms';
import type { SymbolTable } from './table';
import { createSymbolTable, emptySymbolTable } from './table';

export type { SymbolAt, SymbolEntry, SymbolKind, SymbolTable } from './table';
export { createSymbolTable, emptySymbolTable } from './table';
export { elfSymbols } from './elf-symbols';
export { kallsymsIn } from './kallsyms';

export interface KernelSymbols {
  readonly source: 'symtab' | 'kallsyms' | 'none';
  readonly table: SymbolTable;
}

/** Symbols of an ELF file's own table. @throws ImageError */
export const symbolsOfElf = (elf: ElfHeaders): SymbolTable => createSymbolTable(elfSymbols(elf));

/**
 * The best symbols that a kernel image carries: its ELF table, or, for a stripped Linux, its kallsyms.
 * @throws ImageError for an ELF table that lies
 */
export function kernelSymbols(image: Pick<KernelImage, 'elf' | 'segments'>): KernelSymbols {
  const entries = elfSymbols(image.elf);
  if (entries.length > 0) return { source: 'symtab', table: createSymbolTable(entries) };
  for (const { data } of image.segments) {
    const found = kallsymsIn(data);
    if (found !== undefined) return { source: 'kallsyms', table: createSymbolTable(found) };
  }
  return { source: 'none', table: emptySymbolTable };
}
