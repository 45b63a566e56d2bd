import type { AddressSpace, Target, VcpuRef } from '../../machine/target';
import { bytesToNumber } from '../../base/bytes';
import type { SymbolIndex } from '../symbols';

// The kernel's memory whatever a vCPU runs: in user mode a PV guest's tables do not have it.

/** Documentation/x86/x86_64/mm.rst: the kernel's image, which PV guests have from pseudo-physical 0 on, and its modules. */
const IMAGE = 0xffff_ffff_8000_0000n;
const MODULES = 0xffff_ffff_c000_0000n;
/** Where the direct map begins unless the kernel says otherwise, and how far it can reach. */
const DIRECT = 0xffff_8880_0000_0000n;
const DIRECT_SIZE = 64n << 40n;

export interface KernelMemory {
  /** Fewer bytes where something is not there. */
  bytes(address: bigint, length: number): Promise<Uint8Array>;
  /** Undefined where it is not there. */
  word(address: bigint): Promise<bigint | undefined>;
}

export function kernelMemory(target: Target, vcpu: VcpuRef, symbols: SymbolIndex): KernelMemory {
  const pseudophysical: AddressSpace = { kind: 'pseudophysical', domain: vcpu.domain };
  let direct: Promise<bigint> | undefined;
  const directBase = async (): Promise<bigint> => {
    const variable = symbols.find('page_offset_base');
    if (variable === undefined) return DIRECT;
    const found = await target.readMemory(pseudophysical, variable - IMAGE, 8);
    const base = bytesToNumber(found);
    return found.length === 8 && base >> 47n === 0x1ffffn ? base : DIRECT;
  };
  const bytes = async (address: bigint, length: number): Promise<Uint8Array> => {
    if (address >= IMAGE && address < MODULES)
      return target.readMemory(pseudophysical, address - IMAGE, length);
    const base = await (direct ??= directBase());
    if (address >= base && address < base + DIRECT_SIZE)
      return target.readMemory(pseudophysical, address - base, length);
    return target.readMemory({ kind: 'virtual', vcpu }, address, length);
  };
  return {
    bytes,
    word: async (address) => {
      const found = await bytes(address, 8);
      return found.length === 8 ? bytesToNumber(found) : undefined;
    },
  };
}
