import { crc32 } from './decompress/crc';
import type { ElfHeaders } from './elf';
import { buildId, findSection, readElfHeaders, sectionData } from './elf';
import { ImageError } from './error';
import type { GuestFile } from './file';

// Where the debugging information of an image is when it is not in the image: by build ID, by the name the image
// leaves (.gnu_debuglink; both as GDB's manual has them, "Separate Debug Files"), or where distributions put a
// kernel's.

const DEBUG_ROOT = '/usr/lib/debug';

export const hasDebugInfo = (elf: ElfHeaders): boolean =>
  findSection(elf, '.debug_info') !== undefined || findSection(elf, '.zdebug_info') !== undefined;

/** Name and checksum in .gnu_debuglink: a string padded to four bytes, then a CRC-32. */
function debugLink(elf: ElfHeaders): { readonly name: string; readonly crc: number } | undefined {
  const section = findSection(elf, '.gnu_debuglink');
  if (section === undefined) return undefined;
  const view = sectionData(elf, section);
  const name = view.cString(0);
  const at = Math.ceil((name.length + 1) / 4) * 4;
  return name === '' || !view.has(at, 4) ? undefined : { name, crc: view.u32(at) };
}

const folderOf = (path: string): string => path.slice(0, path.lastIndexOf('/') + 1);

export interface DebugImage {
  readonly elf: ElfHeaders;
  /** Path of the image, where it has one. */
  readonly path: string | undefined;
  /** Version string of a bzImage's header: the release, then who built it. */
  readonly kernelVersion: string;
}

/** Paths in the order in which they are to be tried. */
export function debugFileCandidates({ elf, path, kernelVersion }: DebugImage): string[] {
  const candidates: string[] = [];
  const id = buildId(elf);
  if (id !== undefined && id.length > 2)
    candidates.push(`${DEBUG_ROOT}/.build-id/${id.slice(0, 2)}/${id.slice(2)}.debug`);
  const folder = path === undefined ? undefined : folderOf(path);
  const link = debugLink(elf);
  if (link !== undefined && folder !== undefined && !link.name.includes('/'))
    candidates.push(
      `${folder}${link.name}`,
      `${folder}.debug/${link.name}`,
      `${DEBUG_ROOT}${folder}${link.name}`,
    );
  const [release = ''] = kernelVersion.split(' ');
  if (/^[\w.+~-]+$/.test(release)) {
    candidates.push(`${DEBUG_ROOT}/boot/vmlinux-${release}`, `${DEBUG_ROOT}/lib/modules/${release}/vmlinux`);
    if (folder !== undefined) candidates.push(`${folder}vmlinux-${release}`);
  }
  return candidates.filter((one) => one !== path);
}

/** A debug file is read once for it, piece by piece. */
const PIECE = 4 * 2 ** 20;

function crc32Of(file: GuestFile): number {
  let sum = 0;
  for (let at = 0; at < file.size; at += PIECE)
    sum = crc32(file.read(at, Math.min(PIECE, file.size - at)), sum);
  return sum;
}

/** Whether a file is the one that belongs to the image; in words, why not. */
function mismatch(image: ElfHeaders, file: GuestFile, debug: ElfHeaders): string | undefined {
  const [wanted, found] = [buildId(image), buildId(debug)];
  if (wanted !== undefined && found !== undefined)
    return wanted === found ? undefined : `is of build ${found}; the image is of build ${wanted}`;
  const link = debugLink(image);
  if (link === undefined) return undefined;
  return crc32Of(file) === link.crc
    ? undefined
    : 'has not the checksum that the image names: it is of another build';
}

export interface DebugFile {
  readonly file: GuestFile;
  readonly elf: ElfHeaders;
}

/**
 * Opens a debug file.
 * @throws ImageError for what is no ELF file, or of another build
 */
export function openDebugFile(image: ElfHeaders, file: GuestFile): DebugFile {
  const elf = readElfHeaders(file);
  const problem = mismatch(image, file, elf);
  if (problem !== undefined) throw new ImageError(file.name, 'build ID', problem);
  return { file, elf };
}
