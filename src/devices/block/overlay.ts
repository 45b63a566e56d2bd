/**
 * What a guest wrote, over a store that keeps what was there before. The overlay is part of the machine's state:
 * saving it is a matter of remembering the root of a tree whose nodes are copied, not changed, from then on, so
 * that a mark costs nothing until the guest writes again.
 *
 * With `writeThrough` the store follows as well: it holds what the machine's disk holds, also after the machine
 * went back to an earlier mark. What it held before the run is kept in memory, block by block as it is written
 * over, since going back must find it. Where the host fails to write, the flush that comes next tries again, and
 * succeeds only when everything is there.
 */
import { SECTOR_SIZE } from './blkif';
import type { BlockStore } from './store';

const BLOCK_SIZE = 4096;
const BLOCK_SECTORS = BLOCK_SIZE / SECTOR_SIZE;
const FANOUT = 512;

/** What the memory of the process is good for, in bytes; a guest that writes more gets errors for it. */
const DEFAULT_LIMIT = 2 ** 31;

/** Absent: as the store below has it. */
type Leaf = readonly (Uint8Array | undefined)[];
/** The blocks written so far, in leaves of 512. Never changed once it was given to somebody. */
export interface OverlayState {
  readonly root: readonly (Leaf | undefined)[];
  readonly blocks: number;
}

export interface OverlayStore extends BlockStore {
  /** The sectors read as zeroes from now on. */
  discard(sector: number, count: number): void;
  /** To more sectors; what is new reads as zeroes where the store below has nothing. */
  grow(sectors: number): void;
  save(): OverlayState;
  restore(state: OverlayState): void;
}

const ZEROES = new Uint8Array(BLOCK_SIZE);

export function overlayStore(
  below: BlockStore,
  { writeThrough = false, limit = DEFAULT_LIMIT } = {},
): OverlayStore {
  let { sectors } = below;
  /** Blocks in the tree. */
  let blocks = 0;
  let root: (Leaf | undefined)[] = [];
  /** Nodes and blocks that nobody else has seen: these may be changed. */
  let own = new Set<object>([root]);
  /** With `writeThrough`: what the store below held before it was first written over. */
  const originals = new Map<number, Uint8Array>();
  /** Blocks that the store below does not have as they are here, since it failed; the next flush tries again. */
  const behind = new Set<number>();
  /** Blocks written to the store below since its last flush. */
  const unflushed = new Set<number>();

  const overlaid = (block: number): Uint8Array | undefined =>
    root[Math.floor(block / FANOUT)]?.[block % FANOUT];

  /** Bytes of a block that the store has: less at its very end. */
  const lengthOf = (block: number): number =>
    Math.min(BLOCK_SECTORS, sectors - block * BLOCK_SECTORS) * SECTOR_SIZE;

  function original(block: number): Uint8Array {
    const bytes = new Uint8Array(BLOCK_SIZE);
    const kept = originals.get(block);
    if (kept === undefined) below.read(block * BLOCK_SECTORS, bytes.subarray(0, lengthOf(block)));
    else bytes.set(kept);
    return bytes;
  }

  function makeRoom(block: number): void {
    if (overlaid(block) === undefined && (blocks + 1) * BLOCK_SIZE > limit)
      throw new Error(`what was written does not fit into ${limit} bytes of memory`);
    if (writeThrough && !originals.has(block)) originals.set(block, original(block));
  }

  /** Puts `bytes`, which become the overlay's own to share. */
  function put(block: number, bytes: Uint8Array): void {
    const at = Math.floor(block / FANOUT);
    if (!own.has(root)) {
      root = root.slice();
      own.add(root);
    }
    let leaf = root[at] as (Uint8Array | undefined)[] | undefined;
    if (leaf === undefined || !own.has(leaf)) {
      leaf = leaf === undefined ? new Array<Uint8Array | undefined>(FANOUT).fill(undefined) : leaf.slice();
      own.add(leaf);
      while (root.length <= at) root.push(undefined);
      root[at] = leaf;
    }
    if (leaf[block % FANOUT] === undefined) blocks++;
    leaf[block % FANOUT] = bytes;
  }

  /** The block's bytes to be changed in place. */
  function changeable(block: number): Uint8Array {
    const there = overlaid(block);
    if (there !== undefined && own.has(there)) return there;
    const bytes = there?.slice() ?? original(block);
    own.add(bytes);
    put(block, bytes);
    return bytes;
  }

  /** Puts the block into the store below as it is here. Until that succeeded, it counts as not yet there. */
  function writeBelow(block: number): void {
    if (!writeThrough) return;
    const bytes = overlaid(block) ?? originals.get(block) ?? ZEROES;
    behind.add(block);
    below.write(block * BLOCK_SECTORS, bytes.subarray(0, lengthOf(block)));
    behind.delete(block);
    unflushed.add(block);
  }

  /**
   * After a failed fsync the host may have dropped what it could not write, and the next fsync would succeed
   * without it: so everything since the last good one is written again.
   */
  function flush(): void {
    if (!writeThrough) return;
    for (const block of behind) writeBelow(block);
    try {
      below.flush();
    } catch (error) {
      for (const block of unflushed) behind.add(block);
      throw error;
    } finally {
      unflushed.clear();
    }
  }

  /** Calls `part` for each block that the range touches: the bytes within it, and where in the range they are. */
  function each(
    sector: number,
    length: number,
    part: (block: number, from: number, to: number, at: number) => void,
  ): void {
    const start = sector * SECTOR_SIZE;
    for (let at = 0; at < length;) {
      const from = (start + at) % BLOCK_SIZE;
      const to = Math.min(BLOCK_SIZE, from + length - at);
      part((start + at - from) / BLOCK_SIZE, from, to, at);
      at += to - from;
    }
  }

  return {
    get sectors() {
      return sectors;
    },
    readOnly: false,
    read(sector, into) {
      each(sector, into.length, (block, from, to, at) => {
        const bytes = overlaid(block);
        if (bytes !== undefined) into.set(bytes.subarray(from, to), at);
        else if (originals.has(block)) into.set(original(block).subarray(from, to), at);
        else below.read(block * BLOCK_SECTORS + from / SECTOR_SIZE, into.subarray(at, at + to - from));
      });
    },
    write(sector, given) {
      each(sector, given.length, (block, from, to, at) => {
        makeRoom(block);
        changeable(block).set(given.subarray(at, at + to - from), from);
        writeBelow(block);
      });
    },
    discard(sector, count) {
      each(sector, count * SECTOR_SIZE, (block, from, to) => {
        makeRoom(block);
        // All discarded blocks share one; it is nobody's own, so it is never changed.
        if (to - from === lengthOf(block)) put(block, ZEROES);
        else changeable(block).fill(0, from, to);
        writeBelow(block);
      });
    },
    flush,
    grow: (more) => (sectors = more),
    save() {
      own = new Set();
      return { root, blocks };
    },
    restore(state) {
      root = state.root as (Leaf | undefined)[];
      ({ blocks } = state);
      own = new Set();
      if (!writeThrough) return;
      // All of them, also where one fails: what is behind stays noted.
      for (const block of originals.keys()) behind.add(block);
      for (const block of originals.keys()) writeBelow(block);
    },
  };
}
