import { waitForBytes, type Arriving } from './arriving';
import type { ElfFile, ElfSegment } from './elf';
import { PT_LOAD, segmentData, segmentPart } from './elf';
import { ImageError, hex } from './error';
import type { XenNotesFound } from './notes';

/**
 * Where a kernel goes, as Xen works it out (4.17, libelf-dominfo.c, elf_xen_addr_calc_check). All are
 * addresses in bytes; the virtual ones wrap at 2^64.
 */
export interface KernelLayout {
  /** Guest-virtual address of pseudo-physical 0. */
  readonly virtBase: bigint;
  /** What the file's p_paddr are too high by. */
  readonly elfPaddrOffset: bigint;
  /** p_paddr + virtOffset = guest-virtual address. */
  readonly virtOffset: bigint;
  readonly virtKstart: bigint;
  /** Just after the last byte, .bss included. */
  readonly virtKend: bigint;
  readonly virtEntry: bigint;
  /** Where the hypercall page goes, when the kernel wants one. */
  readonly hypercallPage?: bigint;
  /** Where the kernel wants its P2M, when not after the image. */
  readonly p2mBase?: bigint;
}

export interface KernelSegment {
  /** Index of its program header. */
  readonly index: number;
  /** p_flags: 4 = read, 2 = write, 1 = execute. */
  readonly flags: number;
  readonly offset: number;
  readonly filesz: number;
  readonly memsz: number;
  /** As the file says, for symbol readers. The loader goes by `virtual` and `pseudoPhysical`. */
  readonly vaddr: bigint;
  readonly paddr: bigint;
  /** Guest-virtual address that it is loaded at. */
  readonly virtual: bigint;
  /** Its pseudo-physical address, counted from the start of the domain's memory. */
  readonly pseudoPhysical: bigint;
  /** `filesz` bytes of the file; the rest up to `memsz` is zero. */
  readonly data: Uint8Array;
  /** Of an image that is on its way: waits until the bytes of `data` before `end` are there. */
  readonly wait?: (end: number) => void;
}

const PAGE_MASK = 0xfffn;
/** A kernel is mapped by its initial page tables as a whole; more than this is a mistake or an attack. */
const MAX_SPAN = 4n * 2n ** 30n;
const wrap = (value: bigint): bigint => BigInt.asUintN(64, value);

/** elf_phdr_is_loadable (libelf-tools.c): a segment without any right is not loaded. */
const isLoadable = (segment: ElfSegment): boolean =>
  segment.type === PT_LOAD && (segment.flags & 7) !== 0 && segment.memsz > 0;

const byAddress = (a: ElfSegment, b: ElfSegment): number =>
  a.paddr < b.paddr ? -1 : a.paddr > b.paddr ? 1 : a.index - b.index;

/** @throws ImageError for segments that are absurd in themselves, overlap, or spread too far */
function checkedSegments(elf: ElfFile): ElfSegment[] {
  const segments = elf.segments.filter(isLoadable).sort(byAddress);
  if (segments.length === 0) throw new ImageError(elf.name, 'program headers', 'there is nothing to load');
  let previous: ElfSegment | undefined;
  for (const segment of segments) {
    const thing = `${elf.name}, program header ${segment.index}`;
    if (segment.filesz > segment.memsz) {
      throw new ImageError(
        thing,
        'p_filesz',
        `${segment.filesz} bytes of file do not fit in p_memsz, ${segment.memsz} bytes of memory`,
      );
    }
    if (segment.paddr + BigInt(segment.memsz) > 2n ** 64n) {
      throw new ImageError(
        thing,
        'p_paddr, p_memsz',
        `${segment.memsz} bytes at ${hex(segment.paddr)} wrap around the address space`,
      );
    }
    if (previous !== undefined && previous.paddr + BigInt(previous.memsz) > segment.paddr) {
      throw new ImageError(
        thing,
        'p_paddr',
        `${hex(segment.paddr)} overlaps program header ${previous.index}, which ends at ${hex(previous.paddr + BigInt(previous.memsz))}`,
      );
    }
    previous = segment;
  }
  return segments;
}

export function kernelLayout(elf: ElfFile, { notes, source }: XenNotesFound): KernelLayout {
  const { name } = elf;
  const segments = checkedSegments(elf);
  const pstart = segments[0]?.paddr ?? 0n;
  const pend = segments.reduce(
    (end, { paddr, memsz }) => (paddr + BigInt(memsz) > end ? paddr + BigInt(memsz) : end),
    0n,
  );
  if (pend - pstart > MAX_SPAN) {
    throw new ImageError(
      name,
      'program headers',
      `the image spans ${pend - pstart} bytes, from ${hex(pstart)} to ${hex(pend)}; at most ${MAX_SPAN} are believed`,
    );
  }
  if (notes.paddr_offset !== undefined && notes.virt_base === undefined) {
    throw new ImageError(name, 'Xen notes', 'PADDR_OFFSET is set and VIRT_BASE is not');
  }
  const virtBase = notes.virt_base ?? 0n;
  // The legacy string's default keeps kernels working that wrote their virtual address into p_paddr.
  const elfPaddrOffset = notes.paddr_offset ?? (source === '__xen_guest' ? virtBase : 0n);
  const virtOffset = wrap(virtBase - elfPaddrOffset);
  const virtKstart = wrap(pstart + virtOffset);
  const virtKend = wrap(pend + virtOffset);
  const virtEntry = notes.entry ?? elf.entry;
  const range = `${hex(virtKstart)} to ${hex(virtKend)}`;

  if (virtKstart > virtKend)
    throw new ImageError(name, 'program headers', `the image wraps around the address space: ${range}`);
  if (virtBase > virtKstart) {
    throw new ImageError(
      name,
      'Xen notes, VIRT_BASE',
      `${hex(virtBase)} lies above the image's start, ${hex(virtKstart)}`,
    );
  }
  if ((virtBase & PAGE_MASK) !== 0n || (virtKstart & PAGE_MASK) !== 0n) {
    throw new ImageError(
      name,
      'program headers',
      `the image starts at ${hex(virtKstart)} with VIRT_BASE ${hex(virtBase)}; both must be page-aligned`,
    );
  }
  if (virtEntry < virtKstart || virtEntry > virtKend) {
    const where = notes.entry === undefined ? 'e_entry' : 'Xen notes, ENTRY';
    throw new ImageError(name, where, `${hex(virtEntry)} lies outside the image, ${range}`);
  }
  const p2mBase = notes.init_p2m;
  if (p2mBase !== undefined && p2mBase >= virtKstart && p2mBase < virtKend) {
    throw new ImageError(name, 'Xen notes, INIT_P2M', `${hex(p2mBase)} lies inside the image, ${range}`);
  }
  const hypercallPage = notes.hypercall_page;
  if (
    hypercallPage !== undefined &&
    (hypercallPage < virtKstart || hypercallPage + PAGE_MASK >= ((virtKend + PAGE_MASK) | PAGE_MASK))
  ) {
    throw new ImageError(
      name,
      'Xen notes, HYPERCALL_PAGE',
      `${hex(hypercallPage)} lies outside the image, ${range}`,
    );
  }
  if (hypercallPage !== undefined && (hypercallPage & PAGE_MASK) !== 0n) {
    throw new ImageError(name, 'Xen notes, HYPERCALL_PAGE', `${hex(hypercallPage)} is not page-aligned`);
  }
  return {
    virtBase,
    elfPaddrOffset,
    virtOffset,
    virtKstart,
    virtKend,
    virtEntry,
    ...(hypercallPage === undefined ? {} : { hypercallPage }),
    ...(p2mBase === undefined ? {} : { p2mBase }),
  };
}

/** What the domain builder copies, in ascending order of address. */
export function loadableSegments(elf: ElfFile, layout: KernelLayout, arriving?: Arriving): KernelSegment[] {
  return checkedSegments(elf).map((segment) => ({
    index: segment.index,
    flags: segment.flags,
    offset: segment.offset,
    filesz: segment.filesz,
    memsz: segment.memsz,
    vaddr: segment.vaddr,
    paddr: segment.paddr,
    virtual: wrap(segment.paddr + layout.virtOffset),
    pseudoPhysical: segment.paddr - layout.elfPaddrOffset,
    ...(arriving === undefined
      ? { data: segmentData(elf, segment).bytes }
      : {
          data: segmentPart(elf, segment, arriving.bytes),
          wait: (end: number) => {
            waitForBytes(arriving, segment.offset + end);
          },
        }),
  }));
}
