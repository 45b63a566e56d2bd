/**
 * What the domain builder takes. src/guest's `KernelImage` has this shape (this layer may not import it).
 */

/** A piece of the image. */
export interface KernelSegment {
  /** Guest-virtual address that it is loaded at. */
  readonly virtual: bigint;
  /** Its pseudo-physical address, counted from the start of the domain's memory. */
  readonly pseudoPhysical: bigint;
  readonly data: Uint8Array;
  /** Of an image that is on its way: waits until the bytes of `data` before `end` are there. */
  readonly wait?: (end: number) => void;
  /** Bytes in memory; what lies beyond `data` is zero. */
  readonly memsz: number;
}

export interface KernelInput {
  readonly name: string;
  readonly segments: readonly KernelSegment[];
  readonly layout: {
    /** Guest-virtual address of pseudo-physical 0 (XEN_ELFNOTE_VIRT_BASE). */
    readonly virtBase: bigint;
    readonly virtKstart: bigint;
    readonly virtKend: bigint;
    readonly virtEntry: bigint;
    /** XEN_ELFNOTE_HYPERCALL_PAGE, when there is one. */
    readonly hypercallPage?: bigint;
    /** XEN_ELFNOTE_INIT_P2M, when there is one. */
    readonly p2mBase?: bigint;
  };
  readonly notes: {
    /** XEN_ELFNOTE_MOD_START_PFN is non-zero: mod_start is a frame number and the ramdisk is not mapped. */
    readonly mod_start_pfn?: bigint | number | boolean;
  };
}

export interface DomainBuild {
  readonly name: string;
  readonly cmdline: string;
  readonly ramdisk?: Uint8Array;
  /** Bytes; rounded down to whole frames. */
  readonly memory: number;
  readonly vcpus: number;
}

/** The image or the configuration cannot make a domain; the message names the thing and the values. */
export class BuildError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'BuildError';
  }
}
