import type { ElfFile, ElfNote } from './elf';
import { findSection, sectionData, sectionNotes, segmentNotes } from './elf';
import { ImageError } from './error';
import type { FeatureRequest } from './features';
import { parseFeatures } from './features';

// The notes with which a kernel tells Xen how it wants to be started (xen/elfnote.h), and the string that did
// this before them (the same header's LEGACY remarks).

type Decode<T> = (note: ElfNote) => T;

const text: Decode<string> = ({ desc }) => desc.cString(0);

/** Numbers are 4 or 8 bytes depending on the descriptor; libelf takes 1 and 2 as well. */
const number: Decode<bigint> = ({ desc, place }) => {
  switch (desc.size) {
    case 1:
      return BigInt(desc.u8(0));
    case 2:
      return BigInt(desc.u16(0));
    case 4:
      return BigInt(desc.u32(0));
    case 8:
      return desc.u64(0);
    default:
      throw new ImageError(place, 'descriptor', `a number of ${desc.size} bytes; it must be 4 or 8`);
  }
};

const flag: Decode<boolean> = (note) => number(note) !== 0n;
const yes: Decode<boolean> = (note) => text(note) === 'yes';
const features: Decode<FeatureRequest> = (note) => parseFeatures(text(note));
/** An array of 32-bit maps of which there is one so far (XENFEAT_NR_SUBMAPS). */
const featureMap: Decode<number> = ({ desc }) => desc.u32(0);

export interface MfnValidPattern {
  readonly mask: bigint;
  readonly value: bigint;
}
/** Mask and value pairs, each a maddr_t (8 bytes on x86-64). */
const patterns: Decode<readonly MfnValidPattern[]> = ({ desc, place }) => {
  if (desc.size % 16 !== 0)
    throw new ImageError(place, 'descriptor', `${desc.size} bytes are no list of mask and value pairs`);
  return Array.from({ length: desc.size / 16 }, (_, index) => ({
    mask: desc.u64(index * 16),
    value: desc.u64(index * 16 + 8),
  }));
};

const noteTable = {
  info: { type: 0, decode: text },
  entry: { type: 1, decode: number },
  hypercall_page: { type: 2, decode: number },
  virt_base: { type: 3, decode: number },
  paddr_offset: { type: 4, decode: number },
  xen_version: { type: 5, decode: text },
  guest_os: { type: 6, decode: text },
  guest_version: { type: 7, decode: text },
  loader: { type: 8, decode: text },
  pae_mode: { type: 9, decode: text },
  features: { type: 10, decode: features },
  bsd_symtab: { type: 11, decode: yes },
  hv_start_low: { type: 12, decode: number },
  l1_mfn_valid: { type: 13, decode: patterns },
  suspend_cancel: { type: 14, decode: flag },
  init_p2m: { type: 15, decode: number },
  mod_start_pfn: { type: 16, decode: flag },
  supported_features: { type: 17, decode: featureMap },
  phys32_entry: { type: 18, decode: number },
} as const;

type NoteTable = typeof noteTable;
export type XenNoteName = keyof NoteTable;

/** Decoded notes by their header names without XEN_ELFNOTE_, in lower case. An absent note is an absent key; zero is a value. */
export type XenNotes = { readonly [K in XenNoteName]?: ReturnType<NoteTable[K]['decode']> };

export type NotesSource = 'PT_NOTE' | 'SHT_NOTE' | '__xen_guest';

export interface XenNotesFound {
  readonly source: NotesSource;
  readonly notes: XenNotes;
}

function decodeNotes(found: readonly ElfNote[]): XenNotes | undefined {
  const ours = found.filter((note) => note.owner === 'Xen');
  if (ours.length === 0) return undefined;
  const byType = new Map(
    Object.entries(noteTable).map(([name, { type, decode }]) => [type as number, { name, decode }]),
  );
  const notes: Record<string, unknown> = {};
  for (const note of ours) {
    // A type that the header does not have is a newer Xen's, or a crash note: not an error.
    const known = byType.get(note.type);
    if (known !== undefined) notes[known.name] = known.decode(note);
  }
  return notes;
}

const legacyText = (value: string): string => value;

/** As strtoull(…, 0) reads it: 0x…, 0… (octal) or decimal. */
function legacyNumber(value: string, place: string): bigint {
  const digits = /^0[0-7]+$/.test(value) ? `0o${value.slice(1)}` : value;
  if (!/^(0x[0-9a-f]+|0o[0-7]+|\d+)$/i.test(digits)) throw new ImageError(place, value, 'is not a number');
  return BigInt.asUintN(64, BigInt(digits));
}

const legacyTable: Readonly<
  Record<string, { name: XenNoteName; decode: (value: string, place: string) => unknown }>
> = {
  GUEST_OS: { name: 'guest_os', decode: legacyText },
  GUEST_VER: { name: 'guest_version', decode: legacyText },
  XEN_VER: { name: 'xen_version', decode: legacyText },
  LOADER: { name: 'loader', decode: legacyText },
  PAE: { name: 'pae_mode', decode: legacyText },
  BSD_SYMTAB: { name: 'bsd_symtab', decode: () => true },
  VIRT_BASE: { name: 'virt_base', decode: legacyNumber },
  VIRT_ENTRY: { name: 'entry', decode: legacyNumber },
  ELF_PADDR_OFFSET: { name: 'paddr_offset', decode: legacyNumber },
  // A physical page number here; turned into the note's virtual address below, when VIRT_BASE is known.
  HYPERCALL_PAGE: { name: 'hypercall_page', decode: legacyNumber },
  FEATURES: { name: 'features', decode: (value) => parseFeatures(value) },
};

function decodeLegacy(string: string, place: string): XenNotes {
  const notes: Record<string, unknown> = {};
  for (const item of string.split(',')) {
    const [, key = '', , value = ''] = /^\s*([^=\s]*)(=(.*))?$/s.exec(item) ?? [];
    const known = legacyTable[key];
    if (known !== undefined) notes[known.name] = known.decode(value, place);
  }
  const typed: XenNotes = notes;
  if (typed.hypercall_page === undefined) return typed;
  return {
    ...typed,
    hypercall_page: BigInt.asUintN(64, (typed.hypercall_page << 12n) + (typed.virt_base ?? 0n)),
  };
}

/**
 * The image's word to Xen: from PT_NOTE segments, failing those from SHT_NOTE sections (Mini-OS has no other),
 * failing those from the `__xen_guest` section. Undefined for an image that has none of them.
 * @throws ImageError for notes that lie about their size or make no sense
 */
export function readXenNotes(elf: ElfFile): XenNotesFound | undefined {
  const inSegments = decodeNotes(segmentNotes(elf));
  if (inSegments !== undefined) return { source: 'PT_NOTE', notes: inSegments };
  const inSections = decodeNotes(sectionNotes(elf));
  if (inSections !== undefined) return { source: 'SHT_NOTE', notes: inSections };
  const legacy = findSection(elf, '__xen_guest');
  if (legacy === undefined) return undefined;
  const view = sectionData(elf, legacy);
  return { source: '__xen_guest', notes: decodeLegacy(view.cString(0), view.thing) };
}
