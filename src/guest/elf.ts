import type { ByteView } from '../base/bytes';
import { latin1, startsWith } from '../base/bytes';
import { ImageError, hex, imageView } from './error';
import type { GuestFile } from './file';
import { fileView, memoryFile } from './file';

// ELF-64, little-endian, x86-64 (System V gABI, chapters 4 and 5; AMD64 psABI).

export const PT_LOAD = 1;
export const PT_NOTE = 4;
export const SHT_SYMTAB = 2;
export const SHT_STRTAB = 3;
export const SHT_NOTE = 7;
export const SHT_NOBITS = 8;
export const SHT_DYNSYM = 11;
/** Section flag: the content is compressed (gABI "Section Compression"). */
export const SHF_COMPRESSED = 1n << 11n;

export interface ElfSegment {
  readonly index: number;
  /** p_type */
  readonly type: number;
  /** p_flags: 4 = read, 2 = write, 1 = execute. */
  readonly flags: number;
  /** In the file, bytes. */
  readonly offset: number;
  readonly vaddr: bigint;
  readonly paddr: bigint;
  readonly filesz: number;
  readonly memsz: number;
  readonly align: bigint;
}

export interface ElfSection {
  readonly index: number;
  readonly name: string;
  /** sh_type */
  readonly type: number;
  readonly flags: bigint;
  readonly addr: bigint;
  readonly offset: number;
  readonly size: number;
  readonly link: number;
  readonly info: number;
  readonly entsize: number;
}

export interface ElfNote {
  readonly owner: string;
  readonly type: number;
  readonly desc: ByteView;
  /** Where it was found, for messages. */
  readonly place: string;
}

/** What the headers of an ELF file say; contents are read when they are asked for. */
export interface ElfHeaders {
  readonly name: string;
  readonly file: GuestFile;
  /** e_type: 1 relocatable, 2 executable, 3 shared object, 4 core. */
  readonly type: number;
  readonly entry: bigint;
  readonly segments: readonly ElfSegment[];
  readonly sections: readonly ElfSection[];
}

/** One that is in memory, or on its way there. */
export type ElfFile = ElfHeaders;

const MAGIC = [0x7f, 0x45, 0x4c, 0x46];
const EHDR_SIZE = 64;
const PHDR_SIZE = 56;
const SHDR_SIZE = 64;
const EM_386 = 3;
const EM_X86_64 = 62;
/** gABI: e_phnum and e_shnum values from here on mean "look in section 0"; no kernel needs that many. */
const MAX_SEGMENTS = 1024;
const MAX_SECTIONS = 0xff00;

/** e_machine of what people do hand in by mistake (gABI's list of machines). */
const machines: Readonly<Record<number, string>> = {
  2: 'SPARC',
  3: '32-bit x86 (i386)',
  8: 'MIPS',
  20: '32-bit PowerPC',
  21: '64-bit PowerPC',
  22: 's390',
  40: '32-bit ARM',
  43: '64-bit SPARC',
  50: 'IA-64',
  62: 'x86-64',
  183: '64-bit ARM (aarch64)',
  243: 'RISC-V',
  258: 'LoongArch',
};

export const isElf = (bytes: Uint8Array): boolean => startsWith(bytes, MAGIC);

/** Refuses what is ELF, but not for this machine. The identification's offsets are the same in every class. */
function checkIdentification(view: ByteView): void {
  const { thing } = view;
  if (!isElf(view.bytes)) throw new ImageError(thing, 'offset 0x0', 'is not an ELF file');
  const elfClass = view.u8(4);
  const order = view.u8(5);
  if (order === 2) {
    const name = machines[(view.u8(18) << 8) | view.u8(19)];
    throw new ImageError(
      thing,
      'EI_DATA',
      `is big-endian${name === undefined ? '' : `, for ${name}`}; only x86-64 runs here`,
    );
  }
  if (order !== 1)
    throw new ImageError(thing, 'EI_DATA', `byte order ${order} is neither little- nor big-endian`);
  const machine = view.u16(18);
  if (elfClass === 1 && machine === EM_386) {
    throw new ImageError(
      thing,
      'EI_CLASS',
      'is a 32-bit x86 image; only 64-bit paravirtualized kernels run here',
      'Use the x86-64 (amd64) build of the same kernel',
    );
  }
  if (machine !== EM_X86_64) {
    throw new ImageError(
      thing,
      'e_machine',
      `is for ${machines[machine] ?? `machine number ${machine}`}; only x86-64 runs here`,
    );
  }
  if (elfClass === 1)
    throw new ImageError(
      thing,
      'EI_CLASS',
      'is a 32-bit image, and only 64-bit paravirtualized kernels run here',
      'Use an x86-64 build of it',
    );
  if (elfClass !== 2) throw new ImageError(thing, 'EI_CLASS', `class ${elfClass} is not ELF-64`);
}

/** A 64-bit size or offset as a number. One that no file can have is the header's lie. */
function size64(view: ByteView, offset: number, thing: string, field: string): number {
  const value = view.u64(offset);
  if (value > BigInt(Number.MAX_SAFE_INTEGER))
    throw new ImageError(thing, field, `${hex(value)} is no believable size or offset`);
  return Number(value);
}

/** The header table at `offset`; a view of nothing where there is none. */
function table(
  file: GuestFile,
  field: string,
  offset: number,
  count: number,
  entry: number,
  expected: number,
  limit: number,
): ByteView {
  const thing = file.name;
  if (count === 0) return imageView(new Uint8Array(0), thing);
  if (count > limit)
    throw new ImageError(
      thing,
      `e_${field}num`,
      `${count} headers are more than the ${limit} that are believed`,
    );
  if (entry !== expected)
    throw new ImageError(thing, `e_${field}entsize`, `is ${entry}; in ELF-64 it is ${expected}`);
  if (count * entry > file.size - offset) {
    throw new ImageError(
      thing,
      `e_${field}off`,
      `${count} headers at ${hex(offset)} reach beyond the file's ${file.size} bytes: truncated, or a lying header`,
    );
  }
  return fileView(file, offset, count * entry, thing);
}

function readSegment(view: ByteView, index: number, at: number): ElfSegment {
  const thing = `${view.thing}, program header ${index}`;
  return {
    index,
    type: view.u32(at),
    flags: view.u32(at + 4),
    offset: size64(view, at + 8, thing, 'p_offset'),
    vaddr: view.u64(at + 16),
    paddr: view.u64(at + 24),
    filesz: size64(view, at + 32, thing, 'p_filesz'),
    memsz: size64(view, at + 40, thing, 'p_memsz'),
    align: view.u64(at + 48),
  };
}

interface RawSection extends Omit<ElfSection, 'name'> {
  readonly nameAt: number;
}

function readSection(view: ByteView, index: number, at: number): RawSection {
  const thing = `${view.thing}, section header ${index}`;
  return {
    index,
    nameAt: view.u32(at),
    type: view.u32(at + 4),
    flags: view.u64(at + 8),
    addr: view.u64(at + 16),
    offset: size64(view, at + 24, thing, 'sh_offset'),
    size: size64(view, at + 32, thing, 'sh_size'),
    link: view.u32(at + 40),
    info: view.u32(at + 44),
    entsize: size64(view, at + 56, thing, 'sh_entsize'),
  };
}

/**
 * Reads the headers of an x86-64 ELF file. Contents stay unread: a section or segment that lies about its place
 * is refused when it is asked for. So are section headers, of a file that is on its way.
 * @throws ImageError
 */
export function readElfHeaders(file: GuestFile): ElfHeaders {
  const { name } = file;
  if (file.size < EHDR_SIZE) {
    throw new ImageError(name, 'ELF header', `is truncated: ${file.size} of ${EHDR_SIZE} bytes`);
  }
  const view = fileView(file, 0, EHDR_SIZE, name);
  checkIdentification(view);

  const phoff = size64(view, 32, name, 'e_phoff');
  const shoff = size64(view, 40, name, 'e_shoff');
  const phnum = view.u16(56);
  const shnum = shoff === 0 ? 0 : view.u16(60);
  const programs = table(file, 'ph', phoff, phnum, view.u16(54), PHDR_SIZE, MAX_SEGMENTS);

  const segments = Array.from({ length: phnum }, (_, index) =>
    readSegment(programs, index, index * PHDR_SIZE),
  );
  const type = view.u16(16);
  const entry = view.u64(24);
  const sections = sectionsOf(file, shoff, shnum, view.u16(58), view.u16(62));
  if (file.arriving !== true) sections();
  return {
    name,
    file,
    type,
    entry,
    segments,
    get sections() {
      return sections();
    },
  };
}

/** The section headers, which are a file's last part, read when they are asked for. */
function sectionsOf(
  file: GuestFile,
  offset: number,
  count: number,
  size: number,
  namesIn: number,
): () => readonly ElfSection[] {
  let known: readonly ElfSection[] | undefined;
  const read = (): readonly ElfSection[] => {
    const headers = table(file, 'sh', offset, count, size, SHDR_SIZE, MAX_SECTIONS);
    const raw = Array.from({ length: count }, (_, index) => readSection(headers, index, index * SHDR_SIZE));
    const names = raw[namesIn];
    const strings =
      names?.type === SHT_STRTAB && names.offset <= file.size && names.size <= file.size - names.offset
        ? fileView(file, names.offset, names.size, file.name)
        : undefined;
    return raw.map(({ nameAt, ...section }): ElfSection => ({
      ...section,
      name: strings !== undefined && nameAt < strings.size ? strings.cString(nameAt, 256) : '',
    }));
  };
  return () => (known ??= read());
}

/** A file that is in memory. @throws ImageError */
export const readElf = (bytes: Uint8Array, name: string): ElfFile => readElfHeaders(memoryFile(bytes, name));

export const findSection = (elf: ElfHeaders, name: string): ElfSection | undefined =>
  elf.sections.find((section) => section.name === name);

/** Where a section lies in the file. @throws ImageError for one that lies about it */
export function sectionPlace(
  elf: ElfHeaders,
  section: ElfSection,
): { readonly thing: string; readonly offset: number; readonly size: number } {
  const thing = `${elf.name}, section ${section.name === '' ? String(section.index) : section.name}`;
  if (section.type === SHT_NOBITS) return { thing, offset: 0, size: 0 };
  if (section.offset > elf.file.size || section.size > elf.file.size - section.offset) {
    throw new ImageError(
      thing,
      'sh_offset, sh_size',
      `${section.size} bytes at ${hex(section.offset)} reach beyond the file's ${elf.file.size}: truncated, or a lying header`,
    );
  }
  return { thing, offset: section.offset, size: section.size };
}

/** What a section holds in the file; empty for one without (SHT_NOBITS). */
export function sectionData(elf: ElfHeaders, section: ElfSection): ByteView {
  const { thing, offset, size } = sectionPlace(elf, section);
  return fileView(elf.file, offset, size, thing);
}

function checkPlace({ name, file }: ElfHeaders, { index, offset, filesz }: ElfSegment): string {
  const thing = `${name}, program header ${index}`;
  if (offset > file.size || filesz > file.size - offset) {
    throw new ImageError(
      thing,
      'p_offset, p_filesz',
      `${filesz} bytes at ${hex(offset)} reach beyond the file's ${file.size}: truncated, or a lying header`,
    );
  }
  return thing;
}

/** What a segment holds in the file. */
export function segmentData(elf: ElfHeaders, segment: ElfSegment): ByteView {
  const thing = checkPlace(elf, segment);
  return fileView(elf.file, segment.offset, segment.filesz, thing);
}

/** Where a segment lies in `bytes`, the file's, whether it is there yet or not. */
export function segmentPart(elf: ElfHeaders, segment: ElfSegment, bytes: Uint8Array): Uint8Array {
  checkPlace(elf, segment);
  return bytes.subarray(segment.offset, segment.offset + segment.filesz);
}

const align4 = (value: number): number => Math.ceil(value / 4) * 4;

/** The notes in one note segment or section (gABI "Note Section"; names and descriptors padded to 4 bytes). */
function readNotes(view: ByteView): ElfNote[] {
  const notes: ElfNote[] = [];
  for (let at = 0; view.size - at >= 12;) {
    const namesz = view.u32(at);
    const descsz = view.u32(at + 4);
    const type = view.u32(at + 8);
    const descAt = at + 12 + align4(namesz);
    const where = `note ${notes.length} at offset ${hex(at)}`;
    if (!view.has(at + 12, namesz) || !view.has(descAt, descsz)) {
      throw new ImageError(
        view.thing,
        where,
        `name of ${namesz} and descriptor of ${descsz} bytes do not fit in ${view.size} bytes`,
      );
    }
    const owner = latin1(view.slice(at + 12, namesz)).replace(/\0.*$/s, '');
    const place = `${view.thing}, ${where}`;
    notes.push({ owner, type, desc: view.view(descAt, descsz, place), place });
    at = descAt + align4(descsz);
  }
  return notes;
}

/** Notes of every PT_NOTE segment. Some linkers leave such a segment without a place in the file; it has none. */
export const segmentNotes = (elf: ElfHeaders): ElfNote[] =>
  elf.segments
    .filter((segment) => segment.type === PT_NOTE && segment.offset !== 0)
    .flatMap((segment) => readNotes(segmentData(elf, segment)));

/** Notes of every SHT_NOTE section. */
export const sectionNotes = (elf: ElfHeaders): ElfNote[] =>
  elf.sections
    .filter((section) => section.type === SHT_NOTE)
    .flatMap((section) => readNotes(sectionData(elf, section)));

const NT_GNU_BUILD_ID = 3;

/** GNU build id in lower-case hex; names the separate debug file that belongs to this image. */
export function buildId(elf: ElfHeaders): string | undefined {
  const notes = [...segmentNotes(elf), ...sectionNotes(elf)];
  const note = notes.find(
    ({ owner, type, desc }) => owner === 'GNU' && type === NT_GNU_BUILD_ID && desc.size > 0,
  );
  return note === undefined
    ? undefined
    : Array.from(note.desc.bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
