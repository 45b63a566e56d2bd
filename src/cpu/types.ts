import type { Exit } from './exits';
import type { FieldName } from './state';

/** Bytes of a page / machine frame. */
export const PAGE_SIZE = 4096;

/**
 * The machine's one shared linear memory: vCPU states, soft TLBs, decoded records, trace ring, frames.
 * Frame `mfn` occupies PAGE_SIZE bytes at `framesBase + mfn * PAGE_SIZE`; machine address = mfn << 12 | offset.
 */
export interface PhysicalMemory {
  readonly memory: WebAssembly.Memory;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly u64: BigUint64Array;
  readonly u32: Uint32Array;
  readonly framesBase: number;
  readonly frameCount: number;
  /** One byte a frame; non-zero bars the frame from the write TLB, so every store takes the slow path. */
  readonly attention: Uint8Array;
}

/** Why a frame's stores take the slow path (bits of its attention byte). */
export const ATTENTION = {
  /** Holds decoded or compiled code. */
  CODE: 1,
  /** Copy-on-write for a snapshot: `Hooks.cow` runs before the first store, then the bit is clear. */
  COW: 2,
  /** Watched for writes / reads by a data breakpoint (a READ watch also bars the read TLB). */
  WATCH_WRITE: 4,
  WATCH_READ: 8,
} as const;

/** What the CPU asks of the world around it. Everything must be deterministic. */
export interface Hooks {
  cpuid(vcpu: Vcpu, leaf: number, subleaf: number): { eax: number; ebx: number; ecx: number; edx: number };
  /** RDTSC value at the current instruction. */
  tsc(vcpu: Vcpu): bigint;
  /**
   * Before a run: writes, as a 64-bit word into the 32-bit words from `at` on, what RDTSC is more than the vCPU's icount
   * during it. Then `tsc` is not asked.
   */
  tscBase?(vcpu: Vcpu, into: Uint32Array, at: number): void;
  /** Frame is about to be stored to for the first time since its COW bit was set. */
  cow(mfn: number): void;
  /**
   * A frame watched for writes is about to be stored to by something else than an instruction's own access: by the
   * hypervisor, a device, the debugger. The processor's page walk, which sets A and D, is not told of.
   * `length` is 0 where nobody says to which bytes.
   */
  stored?(mfn: number, offset: number, length: number): void;
  /**
   * A watched frame is accessed, after a store and before a load; true stops the run with EXIT.WATCH after the
   * instruction.
   */
  watch(vcpu: Vcpu, machineAddress: number, linear: bigint, size: number, write: boolean): boolean;
}

export type Access = 'read' | 'write' | 'fetch';
export interface Translation {
  readonly ok: true;
  readonly machineAddress: number;
  /** 12, 21 or 30. */
  readonly pageShift: number;
  readonly writable: boolean;
  readonly user: boolean;
  readonly executable: boolean;
}
export interface Untranslated {
  readonly ok: false;
  /** #PF error code the access would push, SDM Vol. 3 §4.7; undefined for a non-canonical address. */
  readonly error: number | undefined;
}

export interface Vcpu {
  readonly index: number;
  /** i64 (and i32) fields as unsigned 64-bit. */
  get(field: FieldName): bigint;
  set(field: FieldName, value: bigint): void;
  /** i32 fields as unsigned 32-bit number; i64 fields as a number when < 2^53 (else throws). */
  getInt(field: FieldName): number;
  setInt(field: FieldName, value: number): void;
  /** RFLAGS composed from the lazy slots; setting writes all bits as given (no privilege filter). */
  rflags: bigint;
  /** The low 32 bits of `rflags`, as a number; setting clears the others. */
  flags: number;
  /**
   * The state itself in words of 64 and of 32 bits, indexed by wordOf and halfOf of state.ts: for what runs at every
   * exit, where a bigint for each register would cost more than the rest.
   */
  readonly words: BigUint64Array;
  readonly halves: Uint32Array;
  /** Raw little-endian bytes of a 16-byte field (xmm, fpr). */
  bytes(field: FieldName): Uint8Array;

  /** Canonical bytes of all architectural fields (flag slots normalised): snapshots, hashes, tier comparison. */
  saveState(): Uint8Array;
  restoreState(bytes: Uint8Array): void;

  /** Run until icount == limit or an exit. */
  run(limit: bigint): Exit;
  /** The same, with so many instructions as the limit; and the count, as a number: exact as long as it is below 2^53. */
  runFor(instructions: number): Exit;
  icount(): number;

  /** Soft TLB: two sets, for guest kernel (0) and guest user (1) base tables; set() of cr3 does not flush. */
  selectTlb(set: 0 | 1): void;
  flushTlb(set?: 0 | 1): void;
  /** INVLPG in both sets. */
  flushPage(linear: bigint): void;

  /** Walk without side effects (no A/D), as `cpl` (3 = user) under current cr3, or under the given base table. */
  translate(linear: bigint, access: Access, cpl: number, cr3?: bigint): Translation | Untranslated;
  /** Copy between guest linear memory and a buffer; returns bytes done before the first fault. A/D bits are
   *  set and attention honoured as the CPU's own accesses do. Access rights as `cpl`. */
  readLinear(linear: bigint, into: Uint8Array, cpl: number): number;
  /**
   * The bytes of an instruction about to run: by the translation that it was fetched by, where they lie in one page, so
   * that nothing is walked; else as readLinear at level 3.
   */
  readCode(linear: bigint, into: Uint8Array): number;
  /**
   * Where, in the memory's bytes, an access at a linear address (its halves, unsigned or not) goes, if it stays in one
   * page, at the vCPU's own level, and its soft TLB serves it without a look at the tables or at attention; else 0:
   * then readLinear and writeLinear do the same.
   */
  reach(low: number, high: number, bytes: number, write: boolean): number;
  writeLinear(linear: bigint, from: Uint8Array, cpl: number): number;
}

export interface Cpu {
  /** What the region compiler did; undefined without it. */
  readonly regions?: { readonly statistics: object } | undefined;
  readonly mem: PhysicalMemory;
  readonly vcpus: readonly Vcpu[];
  /** Flush address translations of every vCPU for a frame whose attention byte or mapping rights changed. */
  flushAllTlbs(): void;
  /** All stores to frames not made by guest instructions (hypervisor, devices, debugger) go through or announce
   *  themselves here, so that code caches and COW stay right. Call before writing. Without the bytes that are
   *  written, whoever watches the frame sees only what changes. */
  beforeStore(mfn: number, offset?: number, length?: number): void;
  /** Instruction breakpoints by linear address (all vCPUs). */
  setBreakpoints(addresses: readonly bigint[]): void;
  /** Execute exactly past a breakpoint at the current rip on the next run. */
  skipBreakpoint(vcpu: Vcpu): void;
}
