import type { Width } from './ops';

/**
 * The decoded record: what the interpreter's handlers read instead of instruction bytes. A block is a run of
 * records in linear memory, one an instruction; the run loop calls `table[handler](cpu, record)`, and each
 * handler goes on to the next record's by a tail call until the block ends.
 *
 * Registers are named by the *byte offset of the operand in the vCPU state* (state.ts), so `ah` is rax's
 * offset + 1 and the x87/MMX register mm3 is fpr3's offset. Whatever depends only on the instruction's address is
 * folded in by the decoder: rip-relative operands get `base` = zero and an absolute `disp`, branch targets
 * are absolute in `imm`. So no handler needs rip, and the run loop stores it only when it leaves a block.
 */
export const RECORD = {
  /** u16: index of the handler = number of the Form. */
  handler: 0,
  /** u8: bytes of the instruction, 1–15. rip = next − length. */
  length: 2,
  /** u8: RECORD_FLAG, and from bit REST_SHIFT on the number of instructions of the block after this one. */
  flags: 3,
  /** u16: state offset of the ModRM.reg (or opcode '50+') register operand. */
  r1: 4,
  /** u16: state offset of the ModRM.rm register operand (mod = 3). */
  r2: 6,
  /** u16: state offset of the address' base register; offset of `zero` when absent or rip-relative. */
  base: 8,
  /** u16: as base. */
  index: 10,
  /** u16: state offset of the segment base: `zero`, `fs_base` or `gs_base`. Also for string sources and moffs. */
  segment: 12,
  /** u8: log2 of the index scale. */
  shift: 14,
  /** u8: number of the sreg/creg/dreg (ModRM.reg) or sti (ModRM.rm) operand: Operand.index(). */
  number: 15,
  /** i64: displacement, sign-extended; rip-relative: the absolute address; moffs: the offset. */
  disp: 16,
  /** i64: immediate as Operand.get() shall see it (extended as the encoding says); branch: absolute target.
   *  ENTER's second immediate sits in bits 32–39. */
  imm: 24,
  /** i64: linear address of the following instruction. */
  next: 32,
  /** i64: all ones, or 0xffffffff under a 67 prefix; applied to base + (index << shift) + disp. */
  mask: 40,
} as const;
export const RECORD_SIZE = 48;
export const REST_SHIFT = 1;

/**
 * After a block's last instruction stands its link record: the handler that closes a block which no branch ends,
 * and where the last two successors' blocks are. A link holds for one value of state.generation.
 */
export const LINK = {
  /** u16 */
  handler: 0,
  /** u16: the form of the block's first instruction, whose place in the record a compiled region may have taken. */
  entry: 6,
  /** i32: counts down as the block is entered; at zero it is hot (compile/). */
  heat: 48,
  ways: [
    /** u16, i64, i32, i32 (address of the bytes in linear memory), i32 */
    { count: 2, rip: 8, first: 16, host: 20, generation: 24 },
    { count: 4, rip: 32, first: 40, host: 44, generation: 28 },
  ],
} as const;

/** A link record is longer than the others. */
export const LINK_SIZE = 56;

export const RECORD_FLAG = {
  /** The memory operand is based on rsp/rbp without fs/gs override: non-canonical → #SS(0) (SDM 1 §3.3.7.1). */
  STACK: 1,
} as const;

/** Register operand places of a record. */
export type RegisterSlot = 'r1' | 'r2';

/**
 * Where the operands of the instruction at hand come from. Two implementations: the decoded record at run
 * time (interpret; see ir/), and a decoded instruction at decode time (evaluate, compile; see operands.ts). The operand
 * binder is written against this and `Ops` only. Implicit registers (al, ax_v, cl, dx) go through Ops.get/set.
 */
export interface OperandSource<V, X> {
  /** Low `w` bits of the GPR (high-byte registers resolved), zero-extended. */
  gpr(slot: RegisterSlot, w: Width): V;
  /** Architectural write: 64 and 32 (zeroing the upper half) whole, 16 and 8 merging. */
  setGpr(slot: RegisterSlot, w: Width, v: V): void;
  /** The same register, sign-extended. */
  gprSigned(slot: RegisterSlot, w: Width): V;
  /** Low `w` bits of an xmm register or of an mm register's 64. */
  vecPart(slot: RegisterSlot, w: Width): V;
  /** Replace the low `w` bits only. */
  setVecPart(slot: RegisterSlot, w: Width, v: V): void;
  vec(slot: RegisterSlot): X;
  setVec(slot: RegisterSlot, v: X): void;
  /** Number of a gpr (high-byte registers: undefined behaviour), xmm or mm register. */
  registerNumber(slot: RegisterSlot, kind: 'gpr' | 'xmm' | 'mm'): V;
  /** RECORD.number: sreg, creg, dreg, sti. */
  number(): V;
  imm(): V;
  /** Effective address without segment base, masked to the address width. */
  offset(): V;
  /** Effective address with segment base. */
  address(): V;
  segBase(): V;
}
