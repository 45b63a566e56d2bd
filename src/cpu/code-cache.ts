import { breakpointSet, linearAt, touches } from './breakpoints';
import { DECODE, decode, MAX_LENGTH, newDecoded, type Decoded } from './decode';
import type { Form } from './encoding';
import { GuestFault } from './fault';
import type { Handlers } from './interpreter-module';
import type { MachineMemory } from './memory';
import { VECTOR } from './ops';
import { LINK, LINK_SIZE, RECORD, RECORD_SIZE, REST_SHIFT } from './record';
import { recordWriter } from './record-writer';
import { ATTENTION, PAGE_SIZE } from './types';
import {
  SLOT,
  SLOT_COUNT,
  SLOT_SHIFT,
  TLB,
  TLB_EMPTY,
  TLB_ENTRIES,
  TLB_ENTRY_SHIFT,
  TLB_EXEC,
  TLB_SET_BYTES,
} from './wasm/abi';

/** Part of the space for records that link records of regions may take: they outlive the blocks. */
const LINKS_PART = 4;

/** Rows of them have few lengths, so that what one region leaves another can take. */
const rowOf = (count: number): number => Math.max(8, 2 ** Math.ceil(Math.log2(count)));

/** A block ends at the latest after so many instructions: its truncated copy has one page. */
const MAX_BLOCK = 80;

/** A decoded block, as the region compiler looks at it. */
export interface FoundBlock {
  /** First record, link record, number of instructions. */
  readonly first: number;
  readonly link: number;
  readonly count: number;
  /** Of the page into which its one instruction crosses: its place in linear memory; else 0. */
  readonly second: number;
  /** Times it was entered, as far as counted. */
  readonly entered: number;
}

/** Whoever compiled regions is told when their bytes change. */
export interface RegionOwner {
  /** The region's code may not be run any more. */
  drop(region: number): void;
  /** All of them: no block is left. */
  dropAll(): void;
  /** A block has been decoded; its address comes in halves. */
  decoded(host: number, ripLow: number, ripHigh: number, block: FoundBlock): void;
}

export interface CodeCache {
  /**
   * Decodes into the slot the block whose first byte lies at `host`; its linear address comes in unsigned halves.
   * `secondPage` translates the page that an instruction crosses into. Throws a GuestFault.
   */
  decodeBlock(
    slot: number,
    host: number,
    ripLow: number,
    ripHigh: number,
    secondPage: (linear: bigint) => number,
  ): void;
  /** Drops the blocks that touch the 64-byte lines of [offset, offset + bytes) of a frame. */
  invalidate(frame: number, offset: number, bytes: number): void;
  flush(): void;
  setBreakpoints(addresses: readonly bigint[]): void;
  readonly statistics: { decoded: number; flushes: number };

  /** How often a block is entered before it is hot; 0: never. Holds for blocks decoded from now on. */
  setHeat(times: number, owner: RegionOwner): void;
  /** The block decoded last at this address, if it still holds; of one that crosses pages the second may have changed. */
  find(rip: bigint, host: number): FoundBlock | undefined;
  /** Addresses of the blocks that begin in a page, as far as they were entered so often at least. */
  hotIn(page: number, least: number): { readonly rip: bigint; readonly entered: number }[];
  /** So many link records in a row that know nothing, for the exits of a region; 0: no room. They stay until they are given back. */
  makeLinks(count: number): number;
  freeLinks(first: number, count: number): void;
  /**
   * `region` was made from the bytes [from, to) of the page at `page` in linear memory, whose address is `rip` there.
   * False: nothing is done, since there is no room until the next flush.
   */
  cover(region: number, page: number, from: number, to: number, rip: bigint): boolean;
  hasBreakpoint(rip: bigint): boolean;
  /** One stands on a byte of [rip, rip + size). */
  breakpointIn(rip: bigint, size: number): boolean;
}

/**
 * Blocks of decoded records: made on demand, found by the run loop through the slot table, dropped when
 * their bytes change. `endOfBlock` closes a block which no branch ends.
 */
export function codeCache(
  mem: MachineMemory,
  forms: readonly Form[],
  { of: handlers, endOfBlock }: Handlers,
  /** Blocks were killed: no link made so far holds. */
  onChange: () => void,
): CodeCache {
  const { layout, bytes } = mem;
  const buffer = mem.memory.buffer;
  const u16 = new Uint16Array(buffer);
  const i32 = new Int32Array(buffer);
  const u32 = new Uint32Array(buffer);
  const writeRecord = recordWriter(mem, forms, handlers);

  const decoded: Decoded = newDecoded();
  const crossing = new Uint8Array(32);
  const breakpoints = breakpointSet();
  const statistics = { decoded: 0, flushes: 0 };
  /** Link records of regions lie from here on. */
  let recordsEnd = layout.records + layout.recordsSize;
  const lowestLink = recordsEnd - Math.floor(layout.recordsSize / LINKS_PART);
  /** By their length. */
  const freeLinks = new Map<number, number[]>();
  let arena = layout.records;
  let heat = 0;
  let regions: RegionOwner | undefined;

  // Which blocks lie in a frame: lists threaded through typed arrays, because blocks are made by the ten thousand.
  // A block in two frames has two entries. An entry stays when its slot is taken by another block: links may lead to it.
  const capacity = 2 * Math.ceil(layout.recordsSize / RECORD_SIZE);
  const entrySlot = new Uint32Array(capacity);
  const entryFirst = new Uint32Array(capacity);
  /** First and last byte in the frame: from << 16 | to − 1. */
  const entrySpan = new Uint32Array(capacity);
  const entryNext = new Int32Array(capacity);
  /** Low word of the block's linear address, and its length. */
  const entryRip = new Uint32Array(capacity);
  const entryBytes = new Uint16Array(capacity);
  const head = new Int32Array(layout.frameCount).fill(-1);
  /** A block takes two at most. */
  const ENTRIES_LEFT = 2;
  let entries = 0;
  let codeFrames: number[] = [];

  /** Stores to a frame that starts to hold code must take the slow path from now on. */
  function barWrites(page: number): void {
    for (const tlb of layout.tlbs) {
      for (let n = 0; n < 2 * TLB_ENTRIES; n++) {
        const e = tlb + (n < TLB_ENTRIES ? 0 : TLB_SET_BYTES - TLB_EXEC) + (n << TLB_ENTRY_SHIFT);
        // Tags are page addresses: their low word and the addend give the address in linear memory.
        const tag = u32[(e + TLB.tagWrite) >> 2] ?? 0;
        if ((tag + (i32[(e + TLB.addend) >> 2] ?? 0)) >>> 0 === page) {
          mem.u64[(e + TLB.tagWrite) >> 3] = BigInt.asUintN(64, TLB_EMPTY);
        }
      }
    }
  }

  /** The block of an entry is not to be run any more. */
  function kill(entry: number): void {
    const slot = entrySlot[entry] ?? 0;
    if (slot === 0) {
      regions?.drop(entryFirst[entry] ?? 0);
      return;
    }
    if (u32[(slot + SLOT.first) >> 2] === entryFirst[entry]) u32[(slot + SLOT.host) >> 2] = 0;
  }

  function coverLines(frame: number, span: number): void {
    const word = (layout.codeLines + frame * 8) >> 2;
    for (let line = span >>> 22; line <= (span & 0xffff) >> 6; line++) {
      const at = word + (line >> 5);
      u32[at] = (u32[at] ?? 0) | (1 << (line & 31));
    }
  }

  function remember(
    slot: number,
    first: number,
    page: number,
    from: number,
    to: number,
    rip: number,
    size: number,
  ): void {
    const frame = (page - layout.frames) / PAGE_SIZE;
    // Code beyond memory (the page of ones) cannot change.
    if (frame < 0 || frame >= layout.frameCount) return;
    const entry = entries++;
    const span = (from << 16) | (to - 1);
    entrySlot[entry] = slot;
    entryFirst[entry] = first;
    entrySpan[entry] = span;
    entryRip[entry] = rip;
    entryBytes[entry] = size;
    const top = head[frame] ?? -1;
    if (top === -1) codeFrames.push(frame);
    entryNext[entry] = top < 0 ? -1 : top;
    head[frame] = entry;
    coverLines(frame, span);
    const attention = mem.attention[frame] ?? 0;
    if ((attention & ATTENTION.CODE) === 0) {
      mem.attention[frame] = attention | ATTENTION.CODE;
      if (attention === 0) barWrites(page);
    }
  }

  /** Kills and forgets the blocks of a frame that `hit` names (by entry). */
  function sweep(frame: number, hit: (entry: number) => boolean): void {
    let kept = -1;
    const word = (layout.codeLines + frame * 8) >> 2;
    u32[word] = 0;
    u32[word + 1] = 0;
    for (let e = Math.max(head[frame] ?? -1, -1); e !== -1;) {
      const next = entryNext[e] ?? -1;
      if (hit(e)) kill(e);
      else {
        coverLines(frame, entrySpan[e] ?? 0);
        entryNext[e] = kept;
        kept = e;
      }
      e = next;
    }
    // -2: no block, but still in codeFrames.
    head[frame] = kept === -1 ? -2 : kept;
    if (kept === -1) mem.attention[frame] = (mem.attention[frame] ?? 0) & ~ATTENTION.CODE;
  }

  function flush(): void {
    bytes.fill(0, layout.slots, layout.slots + (SLOT_COUNT << SLOT_SHIFT));
    for (const frame of codeFrames) {
      sweep(frame, () => true);
      head[frame] = -1;
    }
    codeFrames = [];
    regions?.dropAll();
    entries = 0;
    arena = layout.records;
    statistics.flushes++;
    onChange();
  }

  return {
    statistics,
    flush,
    setHeat(times, owner) {
      heat = times;
      regions = owner;
    },
    find(rip, host) {
      const slot = layout.slots + (((host ^ (host >>> 15)) & (SLOT_COUNT - 1)) << SLOT_SHIFT);
      if (u32[(slot + SLOT.host) >> 2] !== host || mem.u64[(slot + SLOT.rip) >> 3] !== rip) return undefined;
      const first = u32[(slot + SLOT.first) >> 2] ?? 0;
      const count = u16[(slot + SLOT.count) >> 1] ?? 0;
      const link = first + count * RECORD_SIZE;
      return {
        first,
        link,
        count,
        second: u32[(slot + SLOT.host2) >> 2] ?? 0,
        entered: heat - (i32[(link + LINK.heat) >> 2] ?? 0),
      };
    },
    hotIn(page, least) {
      const found: { rip: bigint; entered: number }[] = [];
      const frame = (page - layout.frames) / PAGE_SIZE;
      for (let e = Math.max(head[frame] ?? -1, -1); e !== -1; e = entryNext[e] ?? -1) {
        const slot = entrySlot[e] ?? 0;
        const first = entryFirst[e] ?? 0;
        if (slot === 0 || u32[(slot + SLOT.first) >> 2] !== first || u32[(slot + SLOT.host2) >> 2] !== 0)
          continue;
        if (u32[(slot + SLOT.host) >> 2] !== page + ((entrySpan[e] ?? 0) >>> 16)) continue;
        const link = first + (u16[(slot + SLOT.count) >> 1] ?? 0) * RECORD_SIZE;
        const entered = heat - (i32[(link + LINK.heat) >> 2] ?? 0);
        if (entered >= least) found.push({ rip: mem.u64[(slot + SLOT.rip) >> 3] ?? 0n, entered });
      }
      return found;
    },
    makeLinks(count) {
      const size = rowOf(count);
      let first = freeLinks.get(size)?.pop();
      if (first === undefined) {
        first = recordsEnd - size * LINK_SIZE;
        if (first < Math.max(arena, lowestLink)) return 0;
        recordsEnd = first;
      }
      for (let n = 0; n < count; n++)
        for (const way of LINK.ways) u32[(first + n * LINK_SIZE + way.generation) >> 2] = 0;
      return first;
    },
    freeLinks(first, count) {
      const size = rowOf(count);
      const rows = freeLinks.get(size);
      if (rows === undefined) freeLinks.set(size, [first]);
      else rows.push(first);
    },
    cover(region, page, from, to, rip) {
      if (entries + ENTRIES_LEFT > capacity) return false;
      remember(0, region, page, from, to, Number(BigInt.asUintN(32, rip)), to - from);
      return true;
    },
    hasBreakpoint: breakpoints.has,
    breakpointIn: breakpoints.within,
    decodeBlock(slot, host, ripLow, ripHigh, secondPage) {
      const full = arena + MAX_BLOCK * RECORD_SIZE + LINK_SIZE > recordsEnd;
      if (full || entries + ENTRIES_LEFT > capacity) flush();
      const first = arena;
      const page = host - (host % PAGE_SIZE);
      const end = page + PAGE_SIZE;
      const marked = breakpoints.any();
      let at = first;
      let p = host;
      let count = 0;
      let second = 0;
      while (count < MAX_BLOCK && p < end) {
        if (count > 0 && marked && breakpoints.at(ripLow + (p - host), ripHigh)) break;
        let length = decode(bytes, p, end, decoded);
        if (length <= 0) {
          if (count > 0) break;
          if (length === DECODE.MORE) {
            // The instruction crosses into the next page, which may fault: a block of its own.
            const next = ((linearAt(ripLow, ripHigh) >> 12n) + 1n) << 12n;
            second = secondPage(BigInt.asUintN(64, next));
            crossing.set(bytes.subarray(p, end));
            crossing.set(bytes.subarray(second, second + MAX_LENGTH), end - p);
            length = decode(crossing, 0, end - p + MAX_LENGTH, decoded);
          }
          if (length === DECODE.TOO_LONG) throw new GuestFault(VECTOR.GP, 0);
          if (length <= 0) throw new GuestFault(VECTOR.UD, undefined);
        }
        p += length;
        const sum = ripLow + (p - host);
        const ends = writeRecord(at, decoded, sum | 0, ripHigh + (sum > 0xffffffff ? 1 : 0));
        at += RECORD_SIZE;
        count++;
        if (ends || second !== 0) break;
      }
      for (let i = 0; i < count; i++) {
        const flags = first + i * RECORD_SIZE + RECORD.flags;
        bytes[flags] = (bytes[flags] ?? 0) | ((count - 1 - i) << REST_SHIFT);
      }
      u16[at >> 1] = endOfBlock;
      u16[(at + LINK.entry) >> 1] = u16[(first + RECORD.handler) >> 1] ?? 0;
      i32[(at + LINK.heat) >> 2] = heat;
      for (const way of LINK.ways) u32[(at + way.generation) >> 2] = 0;
      arena = at + LINK_SIZE;
      statistics.decoded += count;
      u32[(slot + SLOT.rip) >> 2] = ripLow;
      u32[(slot + SLOT.rip + 4) >> 2] = ripHigh;
      u32[(slot + SLOT.host) >> 2] = host;
      u32[(slot + SLOT.host2) >> 2] = second;
      u32[(slot + SLOT.first) >> 2] = first;
      u16[(slot + SLOT.count) >> 1] = count;
      u16[(slot + SLOT.breakpoint) >> 1] = marked && breakpoints.at(ripLow, ripHigh) ? 1 : 0;
      const size = p - host;
      remember(slot, first, page, host - page, Math.min(p, end) - page, ripLow, size);
      if (second !== 0) remember(slot, first, second, 0, p - end, ripLow, size);
      else regions?.decoded(host, ripLow, ripHigh, { first, link: at, count, second, entered: 0 });
    },
    invalidate(frame, offset, size) {
      const low = offset & ~63;
      const high = offset + size - 1;
      sweep(frame, (e) => {
        const span = entrySpan[e] ?? 0;
        return span >>> 16 <= (high | 63) && (span & 0xffff) >= low;
      });
      onChange();
    },
    setBreakpoints(addresses) {
      const changed = breakpoints.change(addresses);
      if (changed === undefined) return;
      // Their bytes are as they were: killed, but not forgotten.
      for (let e = 0; e < entries; e++) if (touches(changed, entryRip[e] ?? 0, entryBytes[e] ?? 0)) kill(e);
      onChange();
    },
  };
}
