import { ImageError } from '../error';
import type { ElfHeaders, ElfSection } from '../elf';
import { SHT_DYNSYM, SHT_STRTAB, SHT_SYMTAB, sectionData } from '../elf';
import type { SymbolEntry, SymbolKind } from './table';

/** Elf64_Sym (gABI "Symbol Table"). */
const SYM_SIZE = 24;
const SHN_UNDEF = 0;
const SHN_ABS = 0xfff1;
const STB_LOCAL = 0;
/** What Linux links at address 0 (include/asm-generic/vmlinux.lds.h, PERCPU_VADDR): offsets, and no places. */
const PER_CPU = '.data..percpu';

/** st_type; sections, files and thread-local symbols are no places in the image. */
const kinds: Readonly<Record<number, SymbolKind>> = {
  0: 'label',
  1: 'object',
  2: 'function',
  10: 'function',
};

function readTable(elf: ElfHeaders, section: ElfSection): SymbolEntry[] {
  const view = sectionData(elf, section);
  if (section.entsize !== SYM_SIZE) {
    throw new ImageError(
      view.thing,
      'sh_entsize',
      `is ${section.entsize}; a symbol of ELF-64 has ${SYM_SIZE} bytes`,
    );
  }
  const strings = elf.sections[section.link];
  if (strings?.type !== SHT_STRTAB)
    throw new ImageError(view.thing, 'sh_link', `section ${section.link} is not a string table`);
  const names = sectionData(elf, strings);
  const perCpu = elf.sections.find(({ name }) => name === PER_CPU)?.index;
  const entries: SymbolEntry[] = [];
  for (let at = SYM_SIZE; at + SYM_SIZE <= view.size; at += SYM_SIZE) {
    const nameAt = view.u32(at);
    const info = view.u8(at + 4);
    const home = view.u16(at + 6);
    const kind = kinds[info & 0xf];
    if (kind === undefined || home === SHN_UNDEF || nameAt === 0 || nameAt >= names.size) continue;
    const size = view.u64(at + 16);
    entries.push({
      name: names.cString(nameAt),
      address: view.u64(at + 8),
      size: size > BigInt(Number.MAX_SAFE_INTEGER) ? 0 : Number(size),
      kind: home === SHN_ABS || home === perCpu ? 'absolute' : kind,
      global: info >> 4 !== STB_LOCAL,
    });
  }
  return entries;
}

/**
 * The symbols of .symtab, or of .dynsym where there is no other; empty for a stripped image.
 * @throws ImageError for a table that lies about its place or shape
 */
export function elfSymbols(elf: ElfHeaders): SymbolEntry[] {
  const section =
    elf.sections.find(({ type }) => type === SHT_SYMTAB) ??
    elf.sections.find(({ type }) => type === SHT_DYNSYM);
  return section === undefined ? [] : readTable(elf, section);
}
