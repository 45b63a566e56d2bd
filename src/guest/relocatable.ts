import type { ElfHeaders, ElfSection } from './elf';
import { PT_LOAD, SHT_STRTAB, SHT_SYMTAB, sectionData } from './elf';
import { ImageError, hex } from './error';

// Relocatable files (gABI, "Relocation"): what a kernel module is before a kernel loads it, and its debug file stays.
// Its sections have no addresses, and what would be an address in them is left to be filled in.

/** e_type */
export const ET_REL = 1;
const SHT_RELA = 4;
const SHF_ALLOC = 2n;
/** Elf64_Rela, Elf64_Sym. */
const RELA_SIZE = 24;
const SYM_SIZE = 24;
const SHN_LORESERVE = 0xff00;
const SHN_ABS = 0xfff1;

/** Bytes that a relocation fills in, and whether it counts from its own place (AMD64 psABI, table 4.9). */
const kinds: Readonly<Record<number, { readonly size: 0 | 4 | 8; readonly relative: boolean }>> = {
  0: { size: 0, relative: false }, // NONE
  1: { size: 8, relative: false }, // 64
  2: { size: 4, relative: true }, // PC32
  4: { size: 4, relative: true }, // PLT32
  10: { size: 4, relative: false }, // 32
  11: { size: 4, relative: false }, // 32S
  24: { size: 8, relative: true }, // PC64
};

/** Section and place in it of what has a name, in the order of the symbol table. */
export interface SectionSymbol {
  readonly name: string;
  readonly section: number;
  readonly value: bigint;
}

/** Symbols with their sections, as a relocatable file has them; empty where there are none. */
export function sectionSymbols(elf: ElfHeaders): readonly SectionSymbol[] {
  const table = elf.sections.find(({ type }) => type === SHT_SYMTAB);
  const strings = table === undefined ? undefined : elf.sections[table.link];
  if (table === undefined || strings?.type !== SHT_STRTAB) return [];
  const view = sectionData(elf, table);
  const names = sectionData(elf, strings);
  const found: SectionSymbol[] = [];
  for (let at = SYM_SIZE; at + SYM_SIZE <= view.size; at += SYM_SIZE) {
    const nameAt = view.u32(at);
    const section = view.u16(at + 6);
    if (nameAt === 0 || nameAt >= names.size || section === 0 || section >= SHN_LORESERVE) continue;
    found.push({ name: names.cString(nameAt), section, value: view.u64(at + 8) });
  }
  return found;
}

/**
 * The same file as it looks once its sections are somewhere.
 * @param addressOf undefined for a section that is nowhere, as what a kernel has freed after a module's start
 */
export function placed(elf: ElfHeaders, addressOf: (section: ElfSection) => bigint | undefined): ElfHeaders {
  const sections = elf.sections.map((section) => {
    const addr = (section.flags & SHF_ALLOC) === 0n ? undefined : addressOf(section);
    return addr === undefined ? section : { ...section, addr };
  });
  const segments = sections.flatMap(({ addr, offset, size }, index) =>
    addr === elf.sections[index]?.addr || size === 0
      ? []
      : [
          {
            index,
            type: PT_LOAD,
            flags: 0,
            offset,
            vaddr: addr,
            paddr: 0n,
            filesz: 0,
            memsz: size,
            align: 1n,
          },
        ],
  );
  return { ...elf, sections, segments };
}

/** The relocations of a section, where its file is a relocatable one. */
export const relocationsOf = (elf: ElfHeaders, { index }: ElfSection): ElfSection | undefined =>
  elf.type === ET_REL
    ? elf.sections.find(({ type, info, size }) => type === SHT_RELA && info === index && size > 0)
    : undefined;

/**
 * Fills in what a section's relocations ask for, with the addresses that the sections have.
 * @param bytes the section's own, which are changed
 * @throws ImageError for a relocation that makes no sense
 */
export function relocate(
  elf: ElfHeaders,
  section: ElfSection,
  relocations: ElfSection,
  bytes: Uint8Array,
): void {
  const table = sectionData(elf, relocations);
  const fault = (at: number, problem: string): never => {
    throw new ImageError(table.thing, `relocation at offset ${hex(at)}`, problem);
  };
  const symbols = elf.sections[relocations.link];
  if (symbols?.type !== SHT_SYMTAB)
    throw new ImageError(table.thing, 'sh_link', `section ${relocations.link} is not a symbol table`);
  const names = sectionData(elf, symbols);
  const valueOf = (symbol: number, at: number): bigint => {
    if (symbol === 0) return 0n;
    if (!names.has(symbol * SYM_SIZE, SYM_SIZE)) return fault(at, `there is no symbol ${symbol}`);
    const home = names.u16(symbol * SYM_SIZE + 6);
    const value = names.u64(symbol * SYM_SIZE + 8);
    if (home === SHN_ABS) return value;
    // What the file does not define itself is nothing that debugging information has an address of.
    if (home === 0 || home >= SHN_LORESERVE) return 0n;
    return (elf.sections[home]?.addr ?? 0n) + value;
  };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at + RELA_SIZE <= table.size; at += RELA_SIZE) {
    const kind = kinds[table.u32(at + 8)];
    if (kind === undefined) return fault(at, `its kind ${table.u32(at + 8)} is not known`);
    if (kind.size === 0) continue;
    const offset = table.u64(at);
    if (offset > BigInt(bytes.length - kind.size))
      return fault(at, `${hex(offset)} lies outside of its section`);
    const own = kind.relative ? section.addr + offset : 0n;
    const value = valueOf(table.u32(at + 12), at) + table.u64(at + 16) - own;
    if (kind.size === 8) view.setBigUint64(Number(offset), BigInt.asUintN(64, value), true);
    else view.setUint32(Number(offset), Number(BigInt.asUintN(32, value)), true);
  }
}
