import type { CodeCache, FoundBlock } from '../code-cache';
import type { MachineMemory } from '../memory';
import { LINK, RECORD } from '../record';
import { PAGE_SIZE } from '../types';
import type { Region } from './discover';

/**
 * Compiled regions: installed at the blocks they begin with, or laid aside when those blocks or bytes are gone. A
 * region laid aside is taken up again when its block is there again and its bytes are as they were: flushing the
 * decoded blocks, or a kernel that patches an instruction and puts it back, costs no compiling.
 */
export interface Shelf {
  /** A region is there: it takes over its block, if that and all bytes are still what they were; else it is laid aside. */
  add(made: Made, f: WebAssembly.ExportedFunction): void;
  /** A block has been decoded (anew) at this place: halves of its address. */
  decoded(host: number, ripLow: number, ripHigh: number, block: FoundBlock): void;
  /** Takes up the region that begins here, if there is one. 'changed': there was, but its bytes are others now. */
  revive(rip: bigint, host: number, block: FoundBlock): 'revived' | 'changed' | 'none';
  /** Nothing is laid aside for this place any more. */
  forget(host: number): void;
  /** The region's code may not be run any more. */
  drop(region: number): void;
  dropAll(): void;
  /** Forgets the oldest until no more than so many bytes of WebAssembly are left. */
  trim(bytes: number): void;
  readonly size: number;
  readonly statistics: {
    dropped: number;
    revived: number;
    evicted: number;
    /** Bytes of WebAssembly of all regions at hand, installed or laid aside. */
    readonly live: number;
  };
}

/** Bytes of one page that a region was made of. */
interface Span {
  /** Address in linear memory of the page, and offsets in it. */
  readonly page: number;
  readonly from: number;
  readonly to: number;
  /** Linear address of the byte at `from`. */
  readonly rip: bigint;
  readonly bytes: Uint8Array;
}

export interface Made {
  readonly rip: bigint;
  readonly host: number;
  /** Instructions of the interpreter's block at its entry: the code counts with it. */
  readonly count: number;
  /** Bytes of WebAssembly. */
  readonly size: number;
  readonly spans: readonly Span[];
  /** Where its link records begin, and how many there are. */
  readonly links: number;
  readonly linkCount: number;
}

interface Installed extends Made {
  readonly index: number;
  /** First records of the block: it may have been decoded again, and links lead to the older ones, too. */
  readonly firsts: number[];
  readonly form: number;
  readonly f: WebAssembly.ExportedFunction;
}
type Aside = Made & Pick<Installed, 'f'>;

/** What a region was made of: its blocks' bytes, those that touch as one. */
export function spansOf(mem: MachineMemory, region: Region): Span[] {
  const parts = [...region.blocks.values()].flatMap((b) => {
    const size = b.bytes.length;
    const from = b.host % PAGE_SIZE;
    const here = { page: b.host - from, from, to: Math.min(from + size, PAGE_SIZE), rip: b.rip };
    if (b.second === undefined) return [here];
    const rest = from + size - PAGE_SIZE;
    return [here, { page: b.second.host, from: 0, to: rest, rip: b.second.rip }];
  });
  parts.sort((a, b) => a.page - b.page || a.from - b.from);
  const merged: typeof parts = [];
  for (const part of parts) {
    const last = merged.at(-1);
    const same = last?.page === part.page && part.rip - last.rip === BigInt(part.from - last.from);
    if (last !== undefined && same && part.from <= last.to) last.to = Math.max(last.to, part.to);
    else merged.push(part);
  }
  return merged.map((p) => ({ ...p, bytes: mem.bytes.slice(p.page + p.from, p.page + p.to) }));
}

export function shelf(
  mem: MachineMemory,
  code: CodeCache,
  table: WebAssembly.Table,
  heat: { readonly first: number; readonly again: number },
): Shelf {
  const { view, bytes } = mem;
  const installed = new Map<number, Installed>();
  const byHost = new Map<number, Installed>();
  /** By the place of its first byte. */
  const aside = new Map<number, Aside>();
  const free: number[] = [];
  /** A number for each time that a region is installed: what is known of the last time may be old. */
  let next = 1;
  let live = 0;
  const statistics = {
    dropped: 0,
    revived: 0,
    evicted: 0,
    get live() {
      return live;
    },
  };

  function slotFor(): number {
    const old = free.pop();
    if (old !== undefined) return old;
    const at = table.length;
    table.grow(256);
    for (let n = 255; n > 0; n--) free.push(at + n);
    return at;
  }

  function install(made: Made, f: WebAssembly.ExportedFunction, block: FoundBlock): boolean {
    const number = next++;
    // What is covered under a number that is not installed drops nothing.
    if (!made.spans.every((s) => code.cover(number, s.page, s.from, s.to, s.rip))) return false;
    const index = slotFor();
    table.set(index, f);
    const form = view.getUint16(block.link + LINK.entry, true);
    const i = { ...made, f, index, firsts: [block.first], form };
    installed.set(number, i);
    byHost.set(made.host, i);
    view.setUint16(block.first + RECORD.handler, index, true);
    return true;
  }

  function forget(made: Made): void {
    live -= made.size;
    code.freeLinks(made.links, made.linkCount);
  }

  function forgetAside(host: number): void {
    const made = aside.get(host);
    if (made === undefined) return;
    aside.delete(host);
    forget(made);
  }

  function uninstall(number: number, i: Installed): void {
    installed.delete(number);
    if (byHost.get(i.host) === i) byHost.delete(i.host);
    for (const first of i.firsts)
      if (view.getUint16(first + RECORD.handler, true) === i.index)
        view.setUint16(first + RECORD.handler, i.form, true);
    table.set(i.index, null);
    free.push(i.index);
  }

  /** Its block is to be hot after so many entries; heat that is used up says nothing more. */
  function warm(i: Installed, times: number): void {
    const block = code.find(i.rip, i.host);
    if (block !== undefined && i.firsts.includes(block.first))
      view.setInt32(block.link + LINK.heat, times, true);
  }

  function drop(number: number): void {
    const i = installed.get(number);
    if (i === undefined) return;
    uninstall(number, i);
    statistics.dropped++;
    forgetAside(i.host);
    aside.set(i.host, i);
    // Soon it is asked for again: the block may be untouched, and the bytes.
    warm(i, heat.again);
  }

  const unchanged = (made: Made): boolean =>
    made.spans.every((s) => {
      const at = s.page + s.from;
      return s.bytes.every((b, n) => bytes[at + n] === b);
    });

  function revive(
    rip: bigint,
    host: number,
    block: FoundBlock,
    again = true,
  ): 'revived' | 'changed' | 'none' {
    const made = aside.get(host);
    if (made?.rip !== rip) return 'none';
    if (made.spans.some((s) => code.breakpointIn(s.rip, s.to - s.from))) return 'none';
    if (made.count !== block.count || !unchanged(made)) return 'changed';
    aside.delete(host);
    if (!install(made, made.f, block)) {
      aside.set(host, made);
      return 'none';
    }
    if (again) statistics.revived++;
    return 'revived';
  }

  return {
    statistics,
    get size() {
      return installed.size;
    },
    add(made, f) {
      live += made.size;
      if (byHost.has(made.host)) {
        forget(made);
        return;
      }
      forgetAside(made.host);
      aside.set(made.host, { ...made, f });
      const block = code.find(made.rip, made.host);
      if (block === undefined || revive(made.rip, made.host, block, false) !== 'changed') return;
      forgetAside(made.host);
      view.setInt32(block.link + LINK.heat, heat.first, true);
    },
    decoded(host, ripLow, ripHigh, block) {
      const there = byHost.get(host);
      if (there === undefined && !aside.has(host)) return;
      const rip = (BigInt(ripHigh >>> 0) << 32n) | BigInt(ripLow >>> 0);
      if (there === undefined) revive(rip, host, block);
      else if (there.rip === rip && there.count === block.count) {
        there.firsts.push(block.first);
        view.setUint16(block.first + RECORD.handler, there.index, true);
      }
    },
    revive: (rip, host, block) => revive(rip, host, block),
    forget: forgetAside,
    drop,
    dropAll() {
      for (const number of [...installed.keys()]) drop(number);
    },
    trim(limit) {
      for (const [host, made] of aside) {
        if (live <= limit) return;
        aside.delete(host);
        forget(made);
        statistics.evicted++;
      }
      for (const [number, made] of installed) {
        if (live <= limit) return;
        uninstall(number, made);
        warm(made, heat.first);
        forget(made);
        statistics.evicted++;
      }
    },
  };
}
