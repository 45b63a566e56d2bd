import { list, record, uint16s, uint32s, uint64s, type Schema } from '../base/schema';
import type { MachineMemory } from '../cpu/memory';
import { WALK } from '../cpu/paging';
import { ATTENTION, PAGE_SIZE } from '../cpu/types';
import {
  EXEC,
  EXEC_ENTRIES,
  EXEC_ENTRY_SHIFT,
  TLB,
  TLB_BARRED,
  TLB_EMPTY,
  TLB_ENTRIES,
  TLB_ENTRY_SHIFT,
  TLB_EXEC,
  TLB_SET_BYTES,
  TLB_USED,
  TLB_USED_MAX,
  GLOBALS,
} from '../cpu/wasm/abi';

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
  /** Frames are watched that were not, or no longer: entries let through what they may, and nothing is looked up anew. */
  follow(): void;
  /** The same by names, without a trace of where things lie in this memory: two sets a vCPU, in order. */
  entries(): readonly TlbSet[];
  /** Throws words for people when they cannot be those of a machine like this. */
  load(sets: readonly TlbSet[]): void;
}

/** Translations of one set, in three lists side by side: where in the set, of which page, to which frame. */
export interface TlbEntries {
  readonly index: Uint16Array;
  readonly page: BigUint64Array;
  /** NOWHERE: beyond the machine's memory. */
  readonly frame: Uint32Array;
}
export interface TlbSet {
  readonly data: TlbEntries;
  /** Of `data`, 1 for each that a store may use, D being set. */
  readonly stores: Uint16Array;
  readonly fetches: TlbEntries;
}
const NOWHERE = 0xffff_ffff;

const tlbEntries = record<TlbEntries>({ index: uint16s, page: uint64s, frame: uint32s });
/** A change of what the names mean is a new TLBS_VERSION. */
export const TLBS_VERSION = 1;
export const tlbsSchema: Schema<readonly TlbSet[]> = list(
  record<TlbSet>({ data: tlbEntries, stores: uint16s, fetches: tlbEntries }),
);

const ENTRY = 1 << TLB_ENTRY_SHIFT;
/** Kernel and user. */
const SETS = 2;
const BYTES = SETS * TLB_SET_BYTES;
const EMPTY = BigInt.asUintN(64, TLB_EMPTY);
const WRITABLE = Number(WALK.WRITABLE);

interface Kind {
  readonly entries: number;
  readonly shift: number;
  readonly tag: number;
  readonly addend: number;
}
const DATA: Kind = { entries: TLB_ENTRIES, shift: TLB_ENTRY_SHIFT, tag: TLB.tagRead, addend: TLB.addend };
const FETCHES: Kind = { entries: EXEC_ENTRIES, shift: EXEC_ENTRY_SHIFT, tag: EXEC.tag, addend: EXEC.addend };

export function createTlbs(mem: MachineMemory): Tlbs {
  const { tlbs } = mem.layout;
  const barStores = (): void => {
    for (const tlb of tlbs) {
      for (let set = tlb; set < tlb + BYTES; set += TLB_SET_BYTES) {
        for (let n = 0; n < TLB_ENTRIES; n++) mem.u64[(set + n * ENTRY + TLB.tagWrite) / 8] = EMPTY;
      }
    }
  };
  const sets = tlbs.flatMap((tlb) => [tlb, tlb + TLB_SET_BYTES]);
  const ones = mem.view.getUint32(GLOBALS.ones, true);

  /** The entries of one kind in a set that are in use. */
  function collect(from: number, kind: Kind): TlbEntries & { readonly at: readonly number[] } {
    const found: { index: number; page: bigint; frame: number; at: number }[] = [];
    for (let index = 0; index < kind.entries; index++) {
      const at = from + (index << kind.shift);
      const tag = mem.u64[(at + kind.tag) / 8] ?? EMPTY;
      if (tag === EMPTY) continue;
      const page = tag & ~TLB_BARRED;
      const host = (Number(page & 0xffff_ffffn) + mem.view.getUint32(at + kind.addend, true)) >>> 0;
      found.push({ index, page, frame: host === ones ? NOWHERE : (host - mem.framesBase) / PAGE_SIZE, at });
    }
    return {
      index: Uint16Array.from(found, (e) => e.index),
      page: BigUint64Array.from(found, (e) => e.page),
      frame: Uint32Array.from(found, (e) => e.frame),
      at: found.map((e) => e.at),
    };
  }
  function put(to: number, kind: Kind, { index, page, frame }: TlbEntries): readonly number[] {
    if (page.length !== index.length || frame.length !== index.length)
      throw new Error('the lists of its TLB are not of one length');
    return Array.from(index, (n, i) => {
      const [of = EMPTY, mfn = NOWHERE] = [page[i], frame[i]];
      if (n >= kind.entries || Number((of >> 12n) % BigInt(kind.entries)) !== n || (of & 0xfffn) !== 0n)
        throw new Error(`an entry of its TLB for page 0x${of.toString(16)} stands at ${n}, where it cannot`);
      if (mfn !== NOWHERE && mfn >= mem.frameCount)
        throw new Error(`an entry of its TLB is for frame 0x${mfn.toString(16)} of ${mem.frameCount}`);
      const at = to + (n << kind.shift);
      const host = mfn === NOWHERE ? ones : mem.framesBase + mfn * PAGE_SIZE;
      mem.u64[(at + kind.tag) / 8] = of;
      mem.view.setUint32(at + kind.addend, (host - Number(of & 0xffff_ffffn)) >>> 0, true);
      return at;
    });
  }

  /** By the attention of the frame that it leads to, which the sum of a tag and the addend names. */
  function followEntry(at: number): void {
    const tag = mem.u32[(at + TLB.tagRead) >> 2] ?? 0;
    if (tag === 0xffff_ffff) return;
    const page = (tag & ~Number(TLB_BARRED)) >>> 0;
    const host = (page + mem.view.getUint32(at + TLB.addend, true)) >>> 0;
    if (host === ones) return;
    const attention = mem.attention[(host - mem.framesBase) / PAGE_SIZE] ?? 0;
    const barred = (attention & ATTENTION.WATCH_READ) === 0 ? 0 : Number(TLB_BARRED);
    mem.u32[(at + TLB.tagRead) >> 2] = page | barred;
    if (attention !== 0) mem.u64[(at + TLB.tagWrite) / 8] = EMPTY;
  }

  return {
    follow() {
      for (const set of sets) for (let n = 0; n < TLB_ENTRIES; n++) followEntry(set + n * ENTRY);
    },
    entries: () =>
      sets.map((set) => {
        const { at, ...data } = collect(set, DATA);
        const { index, page, frame } = collect(set + TLB_EXEC, FETCHES);
        const stores = Uint16Array.from(at, (entry) => mem.view.getUint32(entry + TLB.flags, true) & 1);
        return { data, stores, fetches: { index, page, frame } };
      }),
    load(given) {
      if (given.length !== sets.length)
        throw new Error(`it has ${given.length} sets of TLB entries, the machine ${sets.length}`);
      sets.forEach((set, i) => {
        mem.bytes.fill(0xff, set, set + TLB_USED);
        // So many that a flush does not look which.
        mem.view.setUint32(set + TLB_USED, TLB_USED_MAX + 1, true);
        const saved = given[i];
        if (saved === undefined) return;
        put(set, DATA, saved.data).forEach((at, n) => {
          mem.view.setUint32(at + TLB.flags, saved.stores[n] === 1 ? WRITABLE : 0, true);
        });
        put(set + TLB_EXEC, FETCHES, saved.fetches);
      });
    },
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
