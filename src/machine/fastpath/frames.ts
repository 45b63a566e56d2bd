/**
 * The hypervisor's table of frames (frames.ts), as the generated function reads and changes it where it lies, in the
 * machine's memory: so there is one account of frames. And the page tables that lead from one to the next.
 */
import { PTE, PTE_FRAME } from '../../abi/mmu';
import type { Node } from '../../cpu/ir/nodes';
import type { Recorder } from '../../cpu/ir/recorder';
import { FRAME_FLAG, FRAME_TYPE, type FrameTable } from '../../hypervisor/frames';
import { both, no, unless, wide, word } from './words';

/** Where things lie in the machine's memory. */
export interface Places {
  readonly frames: Pick<FrameTable, 'count' | 'owner' | 'type' | 'typeCount' | 'refs' | 'flags'>;
  readonly framesBase: number;
  /** A byte a frame: who wants to hear of stores to it. */
  readonly attention: number;
  /** JOURNAL_SIZE bytes. */
  readonly journal: number;
}

export type FrameWords = ReturnType<typeof frameWords>;

/** What an entry at that level must not have to name a table: at levels 3 and 2 it would name a large page. */
export const onlyTables = (level: number): bigint => (level === 3 || level === 2 ? PTE.PSE : 0n);

export function frameWords({ frames, framesBase, attention }: Places) {
  const count = (r: Recorder, of: 'refs' | 'typeCount', mfn: Node): Node =>
    r.load('i32.load', r.n('i32.shl', mfn, r.i32(2)), frames[of].byteOffset);
  const add = (r: Recorder, of: 'refs' | 'typeCount', mfn: Node, by: number): void => {
    const sum = r.n('i32.add', count(r, of, mfn), r.i32(by));
    r.store('i32.store', r.n('i32.shl', mfn, r.i32(2)), sum, frames[of].byteOffset);
  };
  const byte = (r: Recorder, of: 'type' | 'flags', mfn: Node): Node =>
    r.load('i32.load8_u', mfn, frames[of].byteOffset);
  const setByte = (r: Recorder, of: 'type' | 'flags', mfn: Node, v: Node): void => {
    r.store('i32.store8', mfn, v, frames[of].byteOffset);
  };
  /** getPage: a frame of the domain at hand. */
  const own = (r: Recorder, mfn: Node): Node => {
    const owner = r.load('i32.load16_u', r.n('i32.shl', mfn, r.i32(1)), frames.owner.byteOffset);
    const id = r.n('i32.and', word(r, 'who'), r.i32(0xffff));
    return both(r, r.n('i32.eq', owner, id), r.n('i32.ne', count(r, 'refs', mfn), r.i32(0)));
  };
  const hasType = (r: Recorder, mfn: Node, type: number): Node =>
    r.n('i32.eq', byte(r, 'type', mfn), r.i32(type));
  const validated = (r: Recorder, mfn: Node): Node =>
    r.n('i32.ne', r.n('i32.and', byte(r, 'flags', mfn), r.i32(FRAME_FLAG.VALIDATED)), r.i32(0));
  /** A frame that 64 bits name, as a number of 32; leaves where there is none. */
  const existing = (r: Recorder, mfn: Node): Node => {
    unless(r, r.n('i64.lt_u', mfn, r.i64(frames.count)));
    return r.wrap(mfn);
  };
  const named = (r: Recorder, entry: Node): Node =>
    existing(r, r.n('i64.shr_u', r.n('i64.and', entry, r.i64(PTE_FRAME)), r.i64(12)));
  const addressOf = (r: Recorder, mfn: Node): Node =>
    r.n('i32.add', r.n('i32.shl', mfn, r.i32(12)), r.i32(framesBase));

  const baseOf = (r: Recorder, name: 'kernelBase' | 'userBase'): Node =>
    r.wrap(r.n('i64.shr_u', wide(r, name), r.i64(12)));

  /** A table of level 1 of the domain's own, to which a store need not be announced. */
  function plainTable(r: Recorder, table: Node): void {
    unless(r, both(r, own(r, table), hasType(r, table, FRAME_TYPE.l1)));
    unless(r, count(r, 'typeCount', table));
    r.if(r.load('i32.load8_u', table, attention), () => {
      no(r);
    });
  }

  /** The tables from the base to `to`, entries having of the bits `looked` at what is `wanted`: the frame that the last names. */
  function walk(
    r: Recorder,
    address: Node,
    to: 1 | 2,
    bits: (level: 1 | 2 | 3 | 4) => { readonly looked: bigint; readonly wanted: bigint },
  ): Node {
    const table = r.local('i32', baseOf(r, 'kernelBase'));
    for (const level of ([4, 3, 2, 1] as const).filter((l) => l >= to)) {
      const index = r.wrap(r.n('i64.and', r.n('i64.shr_u', address, r.i64(9 * level)), r.i64(0xff8)));
      const entry = r.load('i64.load', r.n('i32.add', addressOf(r, r.read(table)), index));
      const { looked, wanted } = bits(level);
      unless(r, r.n('i64.eq', r.n('i64.and', entry, r.i64(looked)), r.i64(wanted)));
      r.assign(table, named(r, entry));
    }
    return r.read(table);
  }

  return {
    count,
    add,
    byte,
    setByte,
    own,
    hasType,
    validated,
    existing,
    named,
    addressOf,
    baseOf,
    plainTable,
    walk,
  };
}
