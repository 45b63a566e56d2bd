/**
 * What generated code, the run loop and TypeScript agree upon, besides the vCPU state (state.ts) and the
 * decoded record (record.ts).
 */

/**
 * Bits that a handler returns. Handlers call one another (tail calls) from record to record; one returns to the
 * run loop when its block ends (END alone), or with state.record telling where and other bits why.
 */
export const RC = {
  /** Retired, and the block ends: state.next is the address to go on from. */
  END: 1,
  /** Retired; leave the block (its code was just overwritten). */
  LEAVE: 2,
  /** Retired; run() returns state.exit_reason. */
  EXIT: 4,
  /** Abandoned, not retired; run() returns state.exit_reason. */
  FAULT: 8,
  /** A compiled region was left between two instructions; state.rip and state.icount are exact. */
  REGION: 16,
  /** With REGION: the instruction at rip is one that the region leaves to the interpreter. */
  BAIL: 32,
} as const;

/**
 * One entry of the soft TLB. A tag is the linear page address it serves, or TLB_EMPTY. The sum of the low
 * 32 bits of a linear address and `addend` is the address in linear memory.
 */
export const TLB = {
  /** Plus TLB_BARRED where a watch keeps loads from the fast way: the translation is good for the slow one. */
  tagRead: 0,
  tagWrite: 8,
  addend: 16,
  /** Bit 0: a store is permitted and D is set, though the frame's attention byte bars it from tagWrite. All ones: unused. */
  flags: 20,
} as const;
export const TLB_ENTRY_SHIFT = 5;
export const TLB_ENTRIES = 1024;
/**
 * Fetches have entries of their own, after the others. Every block begins by looking there, linked or not, and
 * nothing else does: so what is looked up, and hence which A bits are set when, does not depend on where runs and
 * blocks happen to be cut.
 */
export const EXEC = { tag: 0, addend: 8 } as const;
export const EXEC_ENTRY_SHIFT = 4;
export const EXEC_ENTRIES = 512;
/** Offsets in a set. */
export const TLB_EXEC = TLB_ENTRIES << TLB_ENTRY_SHIFT;
/** How many data entries were filled since the flush (i32), and the addresses of the first ones. */
export const TLB_USED = TLB_EXEC + (EXEC_ENTRIES << EXEC_ENTRY_SHIFT);
/** So many are remembered; a flush of more clears the whole set. */
export const TLB_USED_MAX = 240;
export const TLB_SET_BYTES = TLB_USED + 4 + 4 * TLB_USED_MAX + 60;
/** Has low bits set, so it equals no page address. */
export const TLB_EMPTY = -1n;
export const TLB_BARRED = 1n;

/** One entry of the direct-mapped table of decoded blocks. */
export const SLOT = {
  /** i64: linear address of the first instruction. */
  rip: 0,
  /** i32: address in linear memory of its first byte: distinguishes address spaces. 0: empty. */
  host: 8,
  /** i32: for an instruction that crosses into a second page, that page's address in linear memory; else 0. */
  host2: 12,
  /** i32: address of the first record. */
  first: 16,
  /** u16: number of instructions. */
  count: 20,
  /** u16: 1 when an instruction breakpoint stands on the first instruction. */
  breakpoint: 22,
} as const;
export const SLOT_SHIFT = 5;
export const SLOT_COUNT = 1 << 15;

/**
 * The shadow return cache: where the block behind a call is, by the address that is returned to. An entry is what a way
 * of a link record is, and holds for as long. 0 as a generation: empty.
 */
export const RETURN = { rip: 0, first: 8, host: 12, generation: 16, count: 20 } as const;
export const RETURN_SHIFT = 5;
export const RETURN_COUNT = 1 << 10;

/** Access kinds of the page walk. */
export const ACCESS = { READ: 0, WRITE: 1, FETCH: 2 } as const;

/**
 * Bytes behind each vCPU's state for who sees to exits in place (`InterpretingCpu.setCrossing`): what they need to
 * know and what they leave, which is no part of the vCPU.
 */
export const ANNEX_SIZE = 256;

/** Addresses, in the shared linear memory, of what generated code needs besides the vCPU. Words of the globals page. */
export const GLOBALS = {
  /** Lowest page is left unused, so that address 0 means "none". */
  base: 64,
  /** i32s. */
  framesBase: 64,
  frameCount: 68,
  attention: 72,
  /** i64 a frame: bit n set when a decoded block covers the frame's 64-byte line n. */
  codeLines: 76,
  slots: 80,
  /** A page of ones: what reading beyond memory yields. */
  ones: 84,
  /** Scratch for the truncated copy of a block. */
  partial: 88,
  returns: 92,
} as const;

/** All of it: part of the key by which a stale module is told (interpreter-module.ts). */
export const ABI = [
  RC, TLB, TLB_ENTRY_SHIFT, TLB_ENTRIES, EXEC, EXEC_ENTRY_SHIFT, EXEC_ENTRIES, TLB_USED_MAX, TLB_SET_BYTES,
  SLOT, SLOT_SHIFT, SLOT_COUNT, RETURN, RETURN_SHIFT, RETURN_COUNT, GLOBALS, ANNEX_SIZE,
]; // prettier-ignore

/** Pages of 64 KiB that a 32-bit memory has at most (WebAssembly Core 2.0 §4.2.8): 4 GiB. */
export const WASM_PAGES = 65536;
