/**
 * The frame table: who owns each machine frame, what it is used as, and how often.
 *
 * Two counts, as in Xen: `refs` counts every use of the frame, `typeCount` the uses in its present type. The
 * type can change only while typeCount is 0, and that is what keeps page tables from being writable: a writable
 * mapping holds the type `writable`, an entry pointing at a table holds the type of that table.
 */
import { DOMID } from '../abi/domains';
import { hex } from '../abi/decoded';
import type { DomainId, Mfn } from '../base/branded';
import type { MachineMemory } from './memory';

export const FRAME_TYPE = {
  none: 0,
  l1: 1,
  l2: 2,
  l3: 3,
  l4: 4,
  segdesc: 5,
  writable: 6,
  shared: 7,
} as const;
export type FrameType = (typeof FRAME_TYPE)[keyof typeof FRAME_TYPE];
export const FRAME_TYPE_NAMES = ['none', 'L1', 'L2', 'L3', 'L4', 'segdesc', 'writable', 'shared'] as const;

export const FRAME_FLAG = {
  /** Contents were checked for the present type. */
  VALIDATED: 1,
  /** The guest pinned it: one reference and one type count of its own. */
  PINNED: 2,
  /** The owner's own reference; cleared when the domain gives the frame back. */
  ALLOCATED: 4,
  /** The hypervisor's page, lent to its owner (shared_info, grant table). */
  LENT: 8,
  /** Held data of a former owner: cleared before it is handed out again. */
  DIRTY: 16,
} as const;

/** Owner of frames nobody has. */
export const FREE: DomainId = DOMID.INVALID;

export interface FrameTable {
  readonly count: number;
  readonly owner: Uint16Array;
  readonly type: Uint8Array;
  readonly typeCount: Uint32Array;
  readonly refs: Uint32Array;
  readonly flags: Uint8Array;
  /** Linear page tables: entries of the table's that name others of its level, or (negative) entries that name it. */
  readonly linear: Int32Array;
  /** Frames that can be allocated. */
  readonly available: () => number;
  /** A zeroed frame, owned and with its owner's reference. Undefined when none is left. */
  allocate(owner: DomainId): Mfn | undefined;
  /** 2^order frames in a row, aligned to their number; the first one. */
  allocateRun(owner: DomainId, order: number): Mfn | undefined;
  /** Takes frames of the machine's top end for the hypervisor itself, before anything else is allocated. */
  reserve(count: number): Mfn;
  /** Drops one reference; the last one frees the frame. */
  drop(mfn: number): void;
  describe(mfn: number): string;
  save(): FrameSnapshot;
  restore(snapshot: FrameSnapshot): void;
}

export interface FrameSnapshot {
  readonly owner: Uint16Array;
  readonly type: Uint8Array;
  readonly typeCount: Uint32Array;
  readonly refs: Uint32Array;
  readonly flags: Uint8Array;
  readonly linear: Int32Array;
  readonly free: Int32Array;
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

/**
 * The order in which frames are handed out: scattered, so that a machine frame number taken for a
 * pseudo-physical one (or the other way round) shows at once, and the same on every run.
 */
function scatter(count: number): Int32Array {
  const order = new Int32Array(count);
  // About the golden ratio, the usual choice for spreading a sequence evenly; any number coprime to the count does.
  let stride = Math.max(1, Math.floor(count * 0.6180339887)) | 1;
  while (gcd(stride, count) !== 1) stride += 2;
  for (let i = 0, at = Math.floor(count / 3); i < count; i++) {
    order[i] = at;
    at = (at + stride) % count;
  }
  return order;
}

/** Where the table lies: `frameTableSize` bytes from `at` on, a multiple of 4. */
export interface FrameTablePlace {
  readonly buffer: ArrayBufferLike;
  readonly at: number;
}
export const frameTableSize = (count: number): number => count * (4 + 4 + 4 + 2 + 1 + 1);

export function createFrameTable(
  memory: MachineMemory,
  freed: (mfn: number, owner: DomainId) => void,
  place?: FrameTablePlace,
): FrameTable {
  const { frameCount: count } = memory;
  const { buffer, at } = place ?? { buffer: new ArrayBuffer(frameTableSize(count)), at: 0 };
  const typeCount = new Uint32Array(buffer, at, count);
  const refs = new Uint32Array(buffer, at + 4 * count, count);
  const linear = new Int32Array(buffer, at + 8 * count, count);
  const owner = new Uint16Array(buffer, at + 12 * count, count).fill(FREE);
  const type = new Uint8Array(buffer, at + 14 * count, count);
  const flags = new Uint8Array(buffer, at + 15 * count, count);
  let top = count;
  /** A stack: the next frame to hand out is the last. Made at the first allocation. */
  let free: number[] | undefined;

  const stack = (): number[] => (free ??= Array.from(scatter(top)).reverse());

  function take(mfn: number, by: DomainId): void {
    if (((flags[mfn] ?? 0) & FRAME_FLAG.DIRTY) !== 0) memory.zero(mfn);
    owner[mfn] = by;
    type[mfn] = FRAME_TYPE.none;
    typeCount[mfn] = 0;
    refs[mfn] = 1;
    flags[mfn] = FRAME_FLAG.ALLOCATED;
  }

  return {
    count,
    owner,
    type,
    typeCount,
    refs,
    flags,
    linear,
    available: () => stack().length,
    allocate: (by) => {
      const mfn = stack().pop();
      if (mfn === undefined) return undefined;
      take(mfn, by);
      return mfn as Mfn;
    },
    allocateRun: (by, order) => {
      const length = 2 ** order;
      for (let first = 0; first + length <= top; first += length) {
        let n = 0;
        while (n < length && owner[first + n] === FREE) n++;
        if (n < length) continue;
        free = stack().filter((mfn) => mfn < first || mfn >= first + length);
        for (let i = 0; i < length; i++) take(first + i, by);
        return first as Mfn;
      }
      return undefined;
    },
    reserve: (number) => {
      if (free !== undefined) throw new Error('frames are reserved before the first allocation');
      top -= number;
      for (let mfn = top; mfn < top + number; mfn++) take(mfn, DOMID.XEN);
      return top as Mfn;
    },
    drop: (mfn) => {
      const left = (refs[mfn] ?? 0) - 1;
      if (left < 0) throw new Error(`frame ${hex(mfn)} has no reference to drop`);
      refs[mfn] = left;
      if (left > 0) return;
      const by = owner[mfn] as DomainId;
      if ((typeCount[mfn] ?? 0) !== 0) {
        throw new Error(`frame ${hex(mfn)} is freed with type count ${typeCount[mfn] ?? 0}`);
      }
      owner[mfn] = FREE;
      type[mfn] = FRAME_TYPE.none;
      flags[mfn] = FRAME_FLAG.DIRTY;
      stack().push(mfn);
      freed(mfn, by);
    },
    describe: (mfn) => {
      if (mfn < 0 || mfn >= count) return `no such frame ${hex(mfn)}`;
      const by = owner[mfn] ?? FREE;
      const who = by === FREE ? 'free' : by === DOMID.XEN ? 'Xen' : `d${by}`;
      const references = refs[mfn] === 1 ? '1 reference' : `${refs[mfn] ?? 0} references`;
      return `mfn ${hex(mfn)} (${who}, ${FRAME_TYPE_NAMES[type[mfn] ?? 0] ?? '?'} ×${typeCount[mfn] ?? 0}, ${references})`;
    },
    save: () => ({
      owner: owner.slice(),
      type: type.slice(),
      typeCount: typeCount.slice(),
      refs: refs.slice(),
      flags: flags.slice(),
      linear: linear.slice(),
      free: Int32Array.from(stack()),
    }),
    restore: (s) => {
      owner.set(s.owner);
      type.set(s.type);
      typeCount.set(s.typeCount);
      refs.set(s.refs);
      flags.set(s.flags);
      linear.set(s.linear);
      free = Array.from(s.free);
    },
  };
}
