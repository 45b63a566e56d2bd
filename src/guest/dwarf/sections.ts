import { unzlibSync } from 'fflate';
import { decompress } from 'fzstd';
import type { ByteView } from '../../base/bytes';
import { latin1, startsWith } from '../../base/bytes';
import type { ElfHeaders, ElfSection } from '../elf';
import { SHF_COMPRESSED, findSection, sectionPlace } from '../elf';
import { ImageError, hex, imageView } from '../error';
import { fileView } from '../file';
import { relocate, relocationsOf } from '../relocatable';

// Access to the sections of a debug file. Those that lie in the file as they are, are read piece by piece;
// compressed ones are expanded as a whole when they are first asked for, since deflate has no middle, and so are those
// with relocations.

export const dwarfSectionNames = [
  '.debug_abbrev',
  '.debug_addr',
  '.debug_aranges',
  '.debug_frame',
  '.debug_info',
  '.debug_line',
  '.debug_line_str',
  '.debug_loc',
  '.debug_loclists',
  '.debug_names',
  '.debug_ranges',
  '.debug_rnglists',
  '.debug_str',
  '.debug_str_offsets',
  '.debug_types',
  '.eh_frame',
] as const;
export type DwarfSectionName = (typeof dwarfSectionNames)[number];

export interface DwarfSection {
  /** File and section, for messages. */
  readonly thing: string;
  /** Virtual address, where it is loaded; .eh_frame's pointers are relative to it. */
  readonly address: bigint;
  /** Bytes, expanded. */
  readonly size: number;
  /**
   * Exactly that part, with offsets from its start.
   * @param what it is, for messages
   * @throws ImageError beyond the end
   */
  view(offset: number, length: number, what?: string): ByteView;
  /** Up to `length` bytes from `offset`, fewer at the end of the section. @throws ImageError beyond the end */
  from(offset: number, length: number): ByteView;
  /** A NUL-terminated string. @throws ImageError beyond the end */
  cString(offset: number): string;
}

/** The sections of one file; each is found, and decompressed, when it is first asked for. */
export interface DwarfSections {
  readonly elf: ElfHeaders;
  /** Undefined for a section that is not there. @throws ImageError for one that lies */
  get(name: DwarfSectionName): DwarfSection | undefined;
}

/** Elf64_Chdr (gABI "Section Compression"): ch_type, reserved, ch_size, ch_addralign. */
const CHDR_SIZE = 24;
const ELFCOMPRESS_ZLIB = 1;
const ELFCOMPRESS_ZSTD = 2;
/** Before that standard, GNU's tools renamed the section `.zdebug_…` and began it with "ZLIB" and the size, big-endian. */
const GNU_MAGIC = [0x5a, 0x4c, 0x49, 0x42];
const GNU_HEADER = 12;
/** One buffer must hold it. */
const MAX_EXPANDED = 2 ** 30;

const expanders: Readonly<Record<number, (input: Uint8Array, out: Uint8Array) => Uint8Array>> = {
  [ELFCOMPRESS_ZLIB]: (input, out) => unzlibSync(input, { out }),
  [ELFCOMPRESS_ZSTD]: (input, out) => decompress(input, out),
};

function expand(view: ByteView, kind: number, size: number, header: number): Uint8Array {
  const expander = expanders[kind];
  if (expander === undefined)
    throw new ImageError(view.thing, 'ch_type', `compression ${kind} is neither zlib nor zstd`);
  if (size > MAX_EXPANDED)
    throw new ImageError(
      view.thing,
      'ch_size',
      `expands to ${size} bytes, over the limit of ${MAX_EXPANDED}`,
      'Expand it first: objcopy --decompress-debug-sections',
    );
  let bytes: Uint8Array;
  try {
    bytes = expander(view.slice(header, view.size - header), new Uint8Array(size));
  } catch (error) {
    throw new ImageError(
      view.thing,
      'compressed data',
      error instanceof Error ? error.message : String(error),
    );
  }
  if (bytes.length !== size)
    throw new ImageError(
      view.thing,
      'compressed data',
      `expand to ${bytes.length} bytes where ${size} are announced`,
    );
  return bytes;
}

/** A read smaller than this is served from a piece of this size, of which some are kept. */
const PIECE = 4 * 2 ** 10;
/** Whoever goes through a section from piece to piece is read so many at once; who leaps is not. */
const AHEAD = 16;
const MAX_PIECES = 768;

function pieces(size: number, read: (offset: number, length: number) => Uint8Array) {
  const kept = new Map<number, Uint8Array>();
  const keep = (start: number, piece: Uint8Array): void => {
    kept.delete(start);
    const [oldest] = kept.keys();
    if (kept.size >= MAX_PIECES && oldest !== undefined) kept.delete(oldest);
    kept.set(start, piece);
  };
  const fetch = (start: number): Uint8Array => {
    const count = kept.has(start - PIECE) ? AHEAD : 1;
    const bytes = read(start, Math.min(count * PIECE, size - start));
    // Backwards, so that the one that is wanted now is the last to go.
    for (let at = Math.floor((bytes.length - 1) / PIECE) * PIECE; at >= 0; at -= PIECE)
      keep(start + at, bytes.subarray(at, at + PIECE));
    return bytes.subarray(0, PIECE);
  };
  return (offset: number, length: number): Uint8Array => {
    const start = Math.floor(offset / PIECE) * PIECE;
    if (offset + length > start + PIECE) return read(offset, length);
    const known = kept.get(start);
    if (known !== undefined) keep(start, known);
    return (known ?? fetch(start)).subarray(offset - start, offset - start + length);
  };
}

/** Strings of .debug_line_str are asked for by every unit again; there are not many of them. */
const MAX_STRINGS = 1 << 16;
/** Longest name that is believed; C++ has long ones. */
const MAX_STRING = 2 ** 20;

function section(
  thing: string,
  address: bigint,
  size: number,
  bytes: (offset: number, length: number) => Uint8Array,
): DwarfSection {
  const check = (offset: number, length: number): void => {
    if (offset < 0 || length < 0 || offset > size || length > size - offset)
      throw new ImageError(
        thing,
        `offset ${hex(offset)}`,
        `needs ${length} bytes and has ${size} in all: truncated, or a lying offset`,
      );
  };
  const view = (offset: number, length: number, what?: string): ByteView => {
    check(offset, length);
    return imageView(
      bytes(offset, length),
      what === undefined ? thing : `${thing}, ${what} at ${hex(offset)}`,
    );
  };
  const strings = new Map<number, string>();
  return {
    thing,
    address,
    size,
    view,
    from: (offset, length) => view(offset, Math.min(length, Math.max(0, size - offset))),
    cString: (offset) => {
      const known = strings.get(offset);
      if (known !== undefined) return known;
      check(offset, 1);
      const fresh = cString(offset);
      if (strings.size >= MAX_STRINGS) strings.clear();
      strings.set(offset, fresh);
      return fresh;
    },
  };

  function cString(offset: number): string {
    for (let length = 256; ; length *= 4) {
      const part = bytes(offset, Math.min(length, size - offset));
      const nul = part.indexOf(0);
      if (nul >= 0) return latin1(part.subarray(0, nul));
      if (part.length < length || length >= MAX_STRING) return latin1(part);
    }
  }
}

function open(elf: ElfHeaders, found: ElfSection, old: boolean): DwarfSection {
  const { thing, offset, size } = sectionPlace(elf, found);
  const whole = (): ByteView => fileView(elf.file, offset, size, thing);
  const relocations = relocationsOf(elf, found);
  const expanded = (bytes: Uint8Array): DwarfSection => {
    if (relocations !== undefined) relocate(elf, found, relocations, bytes);
    return section(thing, found.addr, bytes.length, (at, length) => bytes.subarray(at, at + length));
  };
  if ((found.flags & SHF_COMPRESSED) !== 0n) {
    const view = whole();
    return expanded(expand(view, view.u32(0), Number(view.u64(8)), CHDR_SIZE));
  }
  if (old) {
    const view = whole();
    if (!startsWith(view.bytes, GNU_MAGIC))
      throw new ImageError(thing, 'offset 0x0', 'does not begin with "ZLIB", as its name would have it');
    const length = new DataView(view.bytes.buffer, view.bytes.byteOffset + 4, 8).getBigUint64(0);
    return expanded(expand(view, ELFCOMPRESS_ZLIB, Number(length), GNU_HEADER));
  }
  // A copy: the file may be somebody's bytes.
  if (relocations !== undefined) return expanded(whole().bytes.slice());
  const read = (at: number, length: number): Uint8Array =>
    fileView(elf.file, offset + at, length, thing).bytes;
  return section(thing, found.addr, size, pieces(size, read));
}

export function dwarfSections(elf: ElfHeaders): DwarfSections {
  const known = new Map<DwarfSectionName, DwarfSection | undefined>();
  return {
    elf,
    get(name) {
      if (known.has(name)) return known.get(name);
      const plain = findSection(elf, name);
      const old = findSection(elf, name.replace(/^\./, '.z'));
      const found =
        plain !== undefined ? open(elf, plain, false) : old !== undefined ? open(elf, old, true) : undefined;
      known.set(name, found);
      return found;
    },
  };
}

/** @throws ImageError when it is not there, naming what is missing for what */
export function needSection(sections: DwarfSections, name: DwarfSectionName): DwarfSection {
  const found = sections.get(name);
  if (found === undefined)
    throw new ImageError(sections.elf.name, name, 'is missing, and something in it is referred to');
  return found;
}
