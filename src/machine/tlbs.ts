import type { MachineMemory } from '../cpu/memory';
import { TLB, TLB_EMPTY, TLB_ENTRIES, TLB_ENTRY_SHIFT, TLB_SET_BYTES } from '../cpu/wasm/abi';

/**
 * The vCPUs' soft TLBs as part of a snapshot. What is cached there decides when A and D bits are set and how long
 * a translation outlives its page-table entry (SDM Vol. 3 §4.10.2), so a run that goes on from a mark must begin
 * with the entries it had when the mark was taken.
 */
export interface Tlbs {
  /** A copy. From here on no frame has an entry for fast stores, so every first store is noticed. */
  save(): Uint8Array;
  /** The entries of the save; without fast stores, too. */
  restore(saved: Uint8Array): void;
}

const ENTRY = 1 << TLB_ENTRY_SHIFT;
/** Kernel and user. */
const SETS = 2;
const BYTES = SETS * TLB_SET_BYTES;
const EMPTY = BigInt.asUintN(64, TLB_EMPTY);

export function createTlbs(mem: MachineMemory): Tlbs {
  const { tlbs } = mem.layout;
  const barStores = (): void => {
    for (const tlb of tlbs) {
      for (let set = tlb; set < tlb + BYTES; set += TLB_SET_BYTES) {
        for (let n = 0; n < TLB_ENTRIES; n++) mem.u64[(set + n * ENTRY + TLB.tagWrite) / 8] = EMPTY;
      }
    }
  };
  return {
    save() {
      barStores();
      const saved = new Uint8Array(tlbs.length * BYTES);
      tlbs.forEach((tlb, i) => {
        saved.set(mem.bytes.subarray(tlb, tlb + BYTES), i * BYTES);
      });
      return saved;
    },
    restore(saved) {
      tlbs.forEach((tlb, i) => {
        mem.bytes.set(saved.subarray(i * BYTES, (i + 1) * BYTES), tlb);
      });
    },
  };
}
