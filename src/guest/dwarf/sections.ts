import { unzlibSync } from 'fflate';
import type { ByteView } from '../../base/bytes';
import type { ElfFile } from '../elf';
import { SHF_COMPRESSED, findSection, sectionData } from '../elf';
import { ImageError, imageView } from '../error';

export type DwarfSectionName =
  '.debug_abbrev' | '.debug_info' | '.debug_line' | '.debug_line_str' | '.debug_str';

/** The sections of one file; each is found, and decompressed, when it is first asked for. */
export interface DwarfSections {
  readonly elf: ElfFile;
  /** Undefined for a section that is not there. @throws ImageError for one that lies */
  get(name: DwarfSectionName): ByteView | undefined;
}

/** Elf64_Chdr (gABI "Section Compression"). */
const CHDR_SIZE = 24;
const ELFCOMPRESS_ZLIB = 1;
const MAX_SECTION = 2 ** 30;

function inflate(view: ByteView): ByteView {
  const kind = view.u32(0);
  const size = Number(view.u64(8));
  if (kind !== ELFCOMPRESS_ZLIB)
    throw new ImageError(view.thing, 'ch_type', `compression ${kind} is not zlib`);
  if (size > MAX_SECTION)
    throw new ImageError(view.thing, 'ch_size', `${size} bytes are over the limit of ${MAX_SECTION}`);
  try {
    const out = unzlibSync(view.slice(CHDR_SIZE, view.size - CHDR_SIZE), { out: new Uint8Array(size) });
    return imageView(out, view.thing);
  } catch (error) {
    throw new ImageError(view.thing, 'zlib stream', error instanceof Error ? error.message : String(error));
  }
}

export function dwarfSections(elf: ElfFile): DwarfSections {
  const known = new Map<DwarfSectionName, ByteView | undefined>();
  return {
    elf,
    get(name) {
      if (known.has(name)) return known.get(name);
      const section = findSection(elf, name);
      let view = section === undefined ? undefined : sectionData(elf, section);
      if (view !== undefined && section !== undefined && (section.flags & SHF_COMPRESSED) !== 0n)
        view = inflate(view);
      known.set(name, view);
      return view;
    },
  };
}
