/** Page tables and the calls that change them (xen.h; SDM vol. 3 §4.5 for the entry formats). */
import { highHalf, lowHalf } from '../base/words';
import { enumOf, hex64, mfnType, struct, u32, union, ulong, vaddr } from './layout';
import type { DecodedValue } from './decoded';
import { hex } from './decoded';
import type { Scalar } from './layout';

export const PTE = {
  PRESENT: 1n << 0n,
  RW: 1n << 1n,
  USER: 1n << 2n,
  PWT: 1n << 3n,
  PCD: 1n << 4n,
  ACCESSED: 1n << 5n,
  DIRTY: 1n << 6n,
  /** In L2 and L3: a superpage. In L1: PAT. */
  PSE: 1n << 7n,
  GLOBAL: 1n << 8n,
  /** Xen marks the guest kernel's pages with the first available high bit. */
  GUEST_KERNEL: 1n << 52n,
  NX: 1n << 63n,
} as const;
/** Frame number: bits 12–51 (SDM vol. 3 table 4-20 with MAXPHYADDR 52). */
export const PTE_FRAME = 0x000f_ffff_ffff_f000n;

export const pteFrame = (entry: bigint): number =>
  (highHalf(entry) & 0xf_ffff) * 2 ** 20 + (lowHalf(entry) >>> 12);
export const makePte = (mfn: number, flags: bigint): bigint => (BigInt(mfn) << 12n) | flags;

const shown: readonly (readonly [string, bigint])[] = [
  ['P', PTE.PRESENT], ['RW', PTE.RW], ['US', PTE.USER], ['PWT', PTE.PWT], ['PCD', PTE.PCD], ['A', PTE.ACCESSED],
  ['D', PTE.DIRTY], ['PS', PTE.PSE], ['G', PTE.GLOBAL], ['GK', PTE.GUEST_KERNEL], ['NX', PTE.NX],
]; // prettier-ignore
/** Names of the flags of an entry, in bit order. */
export const pteFlags = (entry: bigint): string[] =>
  shown.filter(([, bit]) => (entry & bit) !== 0n).map(([name]) => name);
export const pteText = (entry: bigint): string =>
  (entry & PTE.PRESENT) === 0n && entry === 0n
    ? '0 (not present)'
    : `${hex(entry)} (mfn ${hex(pteFrame(entry))} ${pteFlags(entry).join(' ')})`;

/** A page-table entry as a 64-bit number. */
export const pte: Scalar<bigint> = {
  ...hex64,
  name: 'pte',
  decode: (name, value): DecodedValue => ({ name, type: 'pte', text: pteText(value), value }),
};

/** Commands of mmu_update, in the low bits of `ptr`. */
export const MMU = {
  MMU_NORMAL_PT_UPDATE: 0,
  MMU_MACHPHYS_UPDATE: 1,
  MMU_PT_UPDATE_PRESERVE_AD: 2,
  MMU_PT_UPDATE_NO_TRANSLATE: 3,
} as const;

const updatePointer: Scalar<bigint> = {
  ...hex64,
  name: 'ptr',
  decode: (name, value): DecodedValue => {
    const command = Object.entries(MMU).find(([, n]) => n === Number(value & 3n))?.[0] ?? '';
    const address = value & ~7n;
    return {
      name,
      type: 'maddr',
      text: `${command} ${hex(address)}`,
      value,
      memory: { space: 'machine', address },
    };
  },
};

export const mmu_update = struct('mmu_update', { ptr: updatePointer, val: pte });

export const MMUEXT = {
  MMUEXT_PIN_L1_TABLE: 0, MMUEXT_PIN_L2_TABLE: 1, MMUEXT_PIN_L3_TABLE: 2, MMUEXT_PIN_L4_TABLE: 3,
  MMUEXT_UNPIN_TABLE: 4, MMUEXT_NEW_BASEPTR: 5, MMUEXT_TLB_FLUSH_LOCAL: 6, MMUEXT_INVLPG_LOCAL: 7,
  MMUEXT_TLB_FLUSH_MULTI: 8, MMUEXT_INVLPG_MULTI: 9, MMUEXT_TLB_FLUSH_ALL: 10, MMUEXT_INVLPG_ALL: 11,
  MMUEXT_FLUSH_CACHE: 12, MMUEXT_SET_LDT: 13, MMUEXT_NEW_USER_BASEPTR: 15, MMUEXT_CLEAR_PAGE: 16,
  MMUEXT_COPY_PAGE: 17, MMUEXT_FLUSH_CACHE_GLOBAL: 18, MMUEXT_MARK_SUPER: 19, MMUEXT_UNMARK_SUPER: 20,
} as const; // prettier-ignore

/** What arg1 and arg2 mean to each command. */
const arg1Of = (cmd: unknown): 'mfn' | 'linear_addr' | undefined => {
  if (typeof cmd !== 'number') return undefined;
  if ([7, 9, 11, 13].includes(cmd)) return 'linear_addr';
  return cmd <= 5 || (cmd >= 15 && cmd !== 18) ? 'mfn' : undefined;
};
const arg2Of = (cmd: unknown): 'nr_ents' | 'vcpumask' | 'src_mfn' | undefined =>
  cmd === 13 ? 'nr_ents' : cmd === 8 || cmd === 9 ? 'vcpumask' : cmd === 17 ? 'src_mfn' : undefined;

export const mmuext_op = struct('mmuext_op', {
  cmd: enumOf(u32, MMUEXT),
  arg1: union('mmuext_op.arg1', { mfn: mfnType, linear_addr: vaddr }, (op) => arg1Of(op['cmd'])),
  arg2: union('mmuext_op.arg2', { nr_ents: u32, vcpumask: vaddr, src_mfn: mfnType }, (op) =>
    arg2Of(op['cmd']),
  ),
});

/** Flags of update_va_mapping. */
export const UVMF = { UVMF_TLB_FLUSH: 1, UVMF_INVLPG: 2, UVMF_ALL: 4 } as const;
export const UVMF_FLUSHTYPE_MASK = 3n;

export const VMASST_CMD = { VMASST_CMD_enable: 0, VMASST_CMD_disable: 1 } as const;
export const VMASST_TYPE = {
  VMASST_TYPE_4gb_segments: 0,
  VMASST_TYPE_4gb_segments_notify: 1,
  VMASST_TYPE_writable_pagetables: 2,
  VMASST_TYPE_pae_extended_cr3: 3,
  VMASST_TYPE_architectural_iopl: 4,
  VMASST_TYPE_runstate_update_flag: 5,
  VMASST_TYPE_m2p_strict: 32,
} as const;

/** Fixed places of Xen's part of the address space (arch-x86/xen-x86_64.h). */
export const HYPERVISOR_VIRT_START = 0xffff_8000_0000_0000n;
export const HYPERVISOR_VIRT_END = 0xffff_8800_0000_0000n;
export const MACH2PHYS_VIRT_START = 0xffff_8000_0000_0000n;
export const MACH2PHYS_VIRT_END = 0xffff_8040_0000_0000n;
/** L4 slots of that part. */
export const FIRST_XEN_SLOT = 256;
export const LAST_XEN_SLOT = 271;
/** What the M2P holds for frames without a pseudo-physical number. */
export const INVALID_M2P_ENTRY = 0xffff_ffff_ffff_ffffn;

export const multicall_entry = struct('multicall_entry', {
  op: ulong, result: ulong, arg0: ulong, arg1: ulong, arg2: ulong, arg3: ulong, arg4: ulong, arg5: ulong,
}); // prettier-ignore
