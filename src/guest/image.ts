import { latin1, startsWith } from '../base/bytes';
import type { Arriving } from './arriving';
import { isBzImage, readBzImage } from './bzimage';
import type { Codec, CodecName, DecompressTools } from './decompress';
import { decompress, sniffCodec } from './decompress';
import type { ElfFile } from './elf';
import { isElf, readElf, readElfHeaders } from './elf';
import { ImageError } from './error';
import { arrivingFile } from './file';
import type { KernelLayout, KernelSegment } from './layout';
import { kernelLayout, loadableSegments } from './layout';
import type { NotesSource, XenNotes } from './notes';
import { readXenNotes } from './notes';

/** A kernel that a PV domain can be built from. Everything in it has been checked. */
export interface KernelImage {
  readonly name: string;
  readonly format: 'elf' | 'bzImage';
  readonly compression: CodecName | 'none';
  /** Version string of a bzImage's header; empty for others. */
  readonly kernelVersion: string;
  /** The (decompressed) ELF file. */
  readonly elf: ElfFile;
  readonly notes: XenNotes;
  readonly notesSource: NotesSource;
  /** What is to be loaded, in ascending order; the segments do not overlap. */
  readonly segments: readonly KernelSegment[];
  readonly layout: KernelLayout;
  /** Guest-virtual address of the first instruction. */
  readonly entry: bigint;
}

/** More than any kernel; keeps a small hostile file from filling the host's memory. */
const MAX_DECOMPRESSED = 512 * 2 ** 20;

/** Things handed in as kernels by mistake, recognized by how they start. */
const mistaken: readonly { magic: readonly number[]; offset?: number; is: string; fix: string }[] = [
  {
    magic: [0x30, 0x37, 0x30, 0x37, 0x30],
    is: 'a cpio archive, so probably an initramfs',
    fix: 'Give it as the ramdisk',
  },
  {
    magic: [0x4d, 0x5a],
    is: 'a PE (EFI) file without a Linux boot header',
    fix: 'Give the vmlinuz or vmlinux inside it',
  },
  { magic: [0x23, 0x21], is: 'a script', fix: 'Give the kernel it starts' },
  {
    magic: [0x51, 0x46, 0x49, 0xfb],
    is: 'a qcow2 disk image',
    fix: 'Give it as a disk, and a kernel as the kernel',
  },
  {
    magic: [0x55, 0xaa],
    offset: 0x1fe,
    is: 'a boot sector or disk image',
    fix: 'Give it as a disk, and a kernel as the kernel',
  },
];

/** What was inside the file that a kernel came in; who has it need not unpack the file again. */
export interface UnpackedImage {
  /** The ELF file. */
  readonly bytes: Uint8Array;
  readonly format: 'elf' | 'bzImage';
  readonly compression: CodecName | 'none';
  readonly kernelVersion: string;
  /** `bytes` are on their way: how far they are (arriving.ts). */
  readonly progress?: Arriving['progress'];
}

/** What a file says about the kernel in it before anything is unpacked. */
export type AnnouncedImage = Omit<UnpackedImage, 'bytes' | 'progress'> & {
  /** Bytes. */
  readonly size: number;
};

function refuse(bytes: Uint8Array, name: string): never {
  if (bytes.length === 0) throw new ImageError(name, '', 'is empty');
  const known = mistaken.find(({ magic, offset = 0 }) => startsWith(bytes, magic, offset));
  if (known !== undefined) throw new ImageError(name, '', `is ${known.is}, not a kernel`, known.fix);
  const start = latin1(bytes.subarray(0, 8)).replace(/[^ -~]/g, '.');
  throw new ImageError(
    name,
    'offset 0x0',
    `is neither an ELF file nor a bzImage, compressed or not (it starts with "${start}")`,
  );
}

/** Rejects with an {@link ImageError} for what is no kernel in any of the forms that {@link loadImage} knows. */
export const unpackImage = (
  bytes: Uint8Array,
  name: string,
  tools: DecompressTools = {},
): Promise<UnpackedImage> => unpack(bytes, name, tools);

interface Payload {
  readonly part: string;
  readonly stream: Uint8Array;
  readonly codec: (Codec & { readonly name: CodecName }) | undefined;
  readonly expected: number;
  readonly kernelVersion: string;
}

/** The compressed kernel in a bzImage; without a codec where it is not compressed. */
function payloadOf(bytes: Uint8Array, name: string): Payload {
  const { payload, kernelVersion } = readBzImage(bytes, name);
  const part = `${name}, payload`;
  if (isElf(payload))
    return { part, stream: payload, codec: undefined, expected: payload.length, kernelVersion };
  const codec = sniffCodec(payload);
  if (codec === undefined)
    throw new ImageError(part, 'offset 0x0', 'is compressed in a way that is not known here');
  // The build appends the uncompressed length (Linux, scripts/Makefile.lib, size_append); gzip has it anyway.
  const tail = new DataView(payload.buffer, payload.byteOffset + payload.length - 4, 4);
  const expected = tail.getUint32(0, true);
  const stream = codec.name === 'gzip' ? payload : payload.subarray(0, -4);
  return { part, stream, codec, expected, kernelVersion };
}

/** Undefined where nothing is said, or nothing believable: then it shows when it is unpacked. */
export function announceImage(bytes: Uint8Array, name: string): AnnouncedImage | undefined {
  if (!isBzImage(bytes)) return undefined;
  try {
    const { codec, expected, kernelVersion } = payloadOf(bytes, name);
    if (codec?.decompress === undefined || expected > MAX_DECOMPRESSED) return undefined;
    return { format: 'bzImage', compression: codec.name, kernelVersion, size: expected };
  } catch (error) {
    if (error instanceof ImageError) return undefined;
    throw error;
  }
}

async function unpack(
  bytes: Uint8Array,
  name: string,
  tools: DecompressTools,
  depth = 0,
): Promise<UnpackedImage> {
  if (isElf(bytes)) return { bytes, format: 'elf', compression: 'none', kernelVersion: '' };
  if (isBzImage(bytes)) {
    const { part, stream, codec, expected, kernelVersion } = payloadOf(bytes, name);
    if (codec === undefined) return { bytes: stream, format: 'bzImage', compression: 'none', kernelVersion };
    const inner = await decompress(codec, stream, { what: part, limit: MAX_DECOMPRESSED, expected, tools });
    if (!isElf(inner)) throw new ImageError(part, 'offset 0x0', 'does not decompress to an ELF file');
    return { bytes: inner, format: 'bzImage', compression: codec.name, kernelVersion };
  }
  const codec = sniffCodec(bytes);
  if (codec === undefined || depth > 0) return refuse(bytes, name);
  const inner = await decompress(codec, bytes, { what: name, limit: MAX_DECOMPRESSED, tools });
  const unpacked = await unpack(inner, `${name} (${codec.name})`, tools, depth + 1);
  return unpacked.compression === 'none' ? { ...unpacked, compression: codec.name } : unpacked;
}

/** The refusals of libelf's note check (Xen 4.17, xen/common/libelf/libelf-dominfo.c), each with its reason. */
function checkNotes(name: string, notes: XenNotes): void {
  if (notes.phys32_entry !== undefined && notes.entry === undefined && notes.virt_base === undefined) {
    throw new ImageError(
      name,
      'Xen notes',
      'has a PHYS32_ENTRY note, but neither ENTRY nor VIRT_BASE: it is built for HVM and PVH guests only',
      'Use an image built for PV guests (Linux: CONFIG_XEN_PV=y)',
    );
  }
  if (notes.xen_version?.startsWith('xen-3.0') !== true) {
    const found = notes.xen_version === undefined ? 'is missing' : `is "${notes.xen_version}"`;
    throw new ImageError(name, 'Xen notes, XEN_VERSION', `${found}; Xen's PV interface is "xen-3.0"`);
  }
  if (notes.loader?.startsWith('generic') !== true && notes.guest_os?.startsWith('linux') !== true) {
    throw new ImageError(
      name,
      'Xen notes, LOADER',
      `${notes.loader === undefined ? 'is missing' : `is "${notes.loader}"`}; only "generic" can be served`,
    );
  }
  const impossible = notes.features?.unknownRequired ?? [];
  if (impossible.length > 0) {
    throw new ImageError(
      name,
      'Xen notes, FEATURES',
      `requires ${impossible.join(', ')}, which xen/features.h does not have`,
    );
  }
}

/**
 * Reads a kernel in any of the forms it comes in: ELF or bzImage, compressed by gzip, xz, zstd or lz4.
 * @param name what to call it in messages; usually its path
 * @param unpacked what `unpackImage` made of it
 * Rejects with an {@link ImageError}, and with nothing else, for what is not a bootable x86-64 PV kernel; of one that
 * is on its way also with a NotArriving.
 */
export const loadImage = async (
  bytes: Uint8Array,
  name: string,
  unpacked?: UnpackedImage,
): Promise<KernelImage> => readImage(unpacked ?? (await unpack(bytes, name, {})), name);

/** What has been unpacked, or is being so: then it waits for what it reads, which are the notes and what is before them. */
export function readImage(unpacked: UnpackedImage, name: string): KernelImage {
  const { bytes, progress, format, compression, kernelVersion } = unpacked;
  const arriving = progress === undefined ? undefined : { bytes, progress };
  const elf = arriving === undefined ? readElf(bytes, name) : readElfHeaders(arrivingFile(arriving, name));
  const found = readXenNotes(elf);
  if (found === undefined) {
    throw new ImageError(
      name,
      'Xen notes',
      'is not built for Xen: no Xen notes in its segments or sections, and no __xen_guest section',
      'Use an image built for Xen PV guests (Linux: CONFIG_XEN_PV=y)',
    );
  }
  checkNotes(name, found.notes);
  const layout = kernelLayout(elf, found);
  const segments = loadableSegments(elf, layout, arriving);
  return {
    name,
    format,
    compression,
    kernelVersion,
    elf,
    notes: found.notes,
    notesSource: found.source,
    segments,
    layout,
    entry: layout.virtEntry,
  };
}
