import { DECODE, decode, HIGH_BYTE, newDecoded, NO_REGISTER, RIP_BASE, type Decoded } from './decode';
import type { Form, OperandSpec } from './encoding';
import { GuestFault } from './fault';
import type { MachineMemory } from './memory';
import { VECTOR } from './ops';
import { RECORD, RECORD_FLAG, RECORD_SIZE } from './record';
import { GPR, offsetOf, type FieldName } from './state';
import { ATTENTION, PAGE_SIZE } from './types';
import { SLOT, SLOT_COUNT, SLOT_SHIFT, TLB, TLB_EMPTY, TLB_ENTRIES, TLB_ENTRY_SHIFT } from './wasm/abi';

/** A block ends at the latest after so many instructions: its truncated copy has one page. */
const MAX_BLOCK = 80;

/** What a decoded block covers: one or two runs of bytes inside frames. */
interface Block {
  readonly slot: number;
  readonly host: number;
  readonly first: number;
  readonly rip: bigint;
  /** Linear address after the last instruction. */
  readonly end: bigint;
  readonly frames: readonly { readonly frame: number; readonly from: number; readonly to: number }[];
}

export interface CodeCache {
  /** Decodes the block at `rip`, whose first byte lies at `host`, into the slot. Throws a GuestFault. */
  decodeBlock(slot: number, host: number, rip: bigint, secondPage: (linear: bigint) => number): void;
  /** Drops the blocks that touch the 64-byte lines of [offset, offset + bytes) of a frame. */
  invalidate(frame: number, offset: number, bytes: number): void;
  flush(): void;
  setBreakpoints(addresses: readonly bigint[]): void;
  readonly statistics: { decoded: number; flushes: number };
}

interface RegisterPlaces {
  readonly gpr: Uint16Array;
  readonly xmm: Uint16Array;
  readonly mm: Uint16Array;
}

/** State offsets by decoded register number; 16 | n are AH CH DH BH (n = 4…7). */
function registerPlaces(): RegisterPlaces {
  const gpr = new Uint16Array(32);
  GPR.forEach((name, i) => (gpr[i] = offsetOf(name)));
  for (let i = 4; i < 8; i++) gpr[HIGH_BYTE | i] = (gpr[i - 4] ?? 0) + 1;
  const vector = (prefix: 'xmm' | 'fpr', n: number): Uint16Array =>
    Uint16Array.from({ length: 32 }, (_, i) => offsetOf(`${prefix}${i % n}` as FieldName));
  return { gpr, xmm: vector('xmm', 16), mm: vector('fpr', 8) };
}

/** For each form, which register file r1 and r2 name; and whether the immediate is relative. */
interface FormPlaces {
  readonly r1: Uint16Array;
  readonly r2: Uint16Array;
  readonly relative: boolean;
  readonly ends: boolean;
}

function placesOf(form: Form, files: RegisterPlaces): FormPlaces {
  const file = (from: OperandSpec['from']): Uint16Array => {
    const kind = form.operands.find((o) => o.from === from)?.kind;
    return kind === 'xmm' ? files.xmm : kind === 'mm' ? files.mm : files.gpr;
  };
  return { r1: file('r1'), r2: file('r2'), relative: form.immediate.relative, ends: form.ends };
}

/**
 * Blocks of decoded records: made on demand, found by the run loop through the slot table, dropped when
 * their bytes change. `endOfBlock` is the handler that closes a block which no branch ends.
 */
export function codeCache(mem: MachineMemory, forms: readonly Form[], endOfBlock: number): CodeCache {
  const { layout, bytes } = mem;
  const buffer = mem.memory.buffer;
  const u16 = new Uint16Array(buffer);
  const i32 = new Int32Array(buffer);
  const u32 = new Uint32Array(buffer);
  const files = registerPlaces();
  const places = forms.map((f) => placesOf(f, files));
  const ZERO = offsetOf('zero');
  const SEGMENT = [ZERO, offsetOf('fs_base'), offsetOf('gs_base')];
  const base = Uint16Array.from({ length: 18 }, (_, i) => (i < 16 ? (files.gpr[i] ?? 0) : ZERO));

  const decoded: Decoded = newDecoded();
  const crossing = new Uint8Array(32);
  const byFrame = new Map<number, Set<Block>>();
  const breakpoints = new Set<bigint>();
  const statistics = { decoded: 0, flushes: 0 };
  const recordsEnd = layout.records + layout.recordsSize;
  let arena = layout.records;

  const frameOf = (host: number): number => (host - layout.frames) / PAGE_SIZE;

  /** Stores to a frame that starts to hold code must take the slow path from now on. */
  function barWrites(frame: number): void {
    const page = layout.frames + frame * PAGE_SIZE;
    for (const tlb of layout.tlbs) {
      for (let n = 0, e = tlb; n < 2 * TLB_ENTRIES; n++, e += 1 << TLB_ENTRY_SHIFT) {
        // Tags are page addresses: their low word and the addend give the address in linear memory.
        const tag = u32[(e + TLB.tagWrite) >> 2] ?? 0;
        if (((tag + (i32[(e + TLB.addend) >> 2] ?? 0)) >>> 0) === page) {
          mem.u64[(e + TLB.tagWrite) >> 3] = BigInt.asUintN(64, TLB_EMPTY);
        }
      }
    }
  }

  function coverLines(frame: number, from: number, to: number): void {
    const word = (layout.codeLines + frame * 8) >> 2;
    for (let line = from >> 6; line <= (to - 1) >> 6; line++) {
      const at = word + (line >> 5);
      u32[at] = (u32[at] ?? 0) | (1 << (line & 31));
    }
  }

  function remember(block: Block): void {
    for (const { frame, from, to } of block.frames) {
      // Code beyond memory (the page of ones) cannot change.
      if (frame < 0 || frame >= layout.frameCount) continue;
      let set = byFrame.get(frame);
      if (set === undefined) byFrame.set(frame, (set = new Set()));
      set.add(block);
      coverLines(frame, from, to);
      const attention = mem.attention[frame] ?? 0;
      if ((attention & ATTENTION.CODE) === 0) {
        mem.attention[frame] = attention | ATTENTION.CODE;
        if (attention === 0) barWrites(frame);
      }
    }
  }

  function drop(block: Block): void {
    if (u32[(block.slot + SLOT.first) >> 2] === block.first) u32[(block.slot + SLOT.host) >> 2] = 0;
    for (const { frame } of block.frames) byFrame.get(frame)?.delete(block);
  }

  /** After blocks of a frame were dropped. */
  function recover(frame: number): void {
    const word = (layout.codeLines + frame * 8) >> 2;
    u32[word] = 0;
    u32[word + 1] = 0;
    const rest = byFrame.get(frame);
    if (rest !== undefined && rest.size > 0) {
      for (const b of rest) for (const f of b.frames) if (f.frame === frame) coverLines(frame, f.from, f.to);
      return;
    }
    byFrame.delete(frame);
    mem.attention[frame] = (mem.attention[frame] ?? 0) & ~ATTENTION.CODE;
  }

  function dropAll(blocks: readonly Block[]): void {
    const frames = new Set<number>();
    for (const b of blocks) {
      drop(b);
      for (const f of b.frames) frames.add(f.frame);
    }
    for (const f of frames) if (f >= 0 && f < layout.frameCount) recover(f);
  }

  function flush(): void {
    bytes.fill(0, layout.slots, layout.slots + (SLOT_COUNT << SLOT_SHIFT));
    for (const frame of byFrame.keys()) {
      byFrame.get(frame)?.clear();
      recover(frame);
    }
    byFrame.clear();
    arena = layout.records;
    statistics.flushes++;
  }

  /** Writes one record; `lo`, `hi` are the halves of the following instruction's address. */
  function writeRecord(at: number, d: Decoded, place: FormPlaces, lo: number, hi: number): void {
    const h = at >> 1;
    const w = at >> 2;
    u16[h] = d.form;
    bytes[at + RECORD.length] = d.length;
    bytes[at + RECORD.flags] = d.stack ? RECORD_FLAG.STACK : 0;
    u16[h + (RECORD.r1 >> 1)] = place.r1[d.r1] ?? 0;
    u16[h + (RECORD.r2 >> 1)] = place.r2[d.r2] ?? 0;
    u16[h + (RECORD.base >> 1)] = base[d.base] ?? ZERO;
    u16[h + (RECORD.index >> 1)] = d.index === NO_REGISTER ? ZERO : (files.gpr[d.index] ?? ZERO);
    u16[h + (RECORD.segment >> 1)] = SEGMENT[d.segment] ?? ZERO;
    bytes[at + RECORD.shift] = d.shift;
    bytes[at + RECORD.number] = d.number;
    const dispHigh = d.disp >> 31;
    if (d.base === RIP_BASE) {
      const sum = (lo >>> 0) + (d.disp >>> 0);
      i32[w + (RECORD.disp >> 2)] = sum | 0;
      i32[w + (RECORD.disp >> 2) + 1] = hi + dispHigh + (sum > 0xffffffff ? 1 : 0);
    } else {
      i32[w + (RECORD.disp >> 2)] = d.disp;
      i32[w + (RECORD.disp >> 2) + 1] = dispHigh;
    }
    if (place.relative) {
      const sum = (lo >>> 0) + (d.immLo >>> 0);
      i32[w + (RECORD.imm >> 2)] = sum | 0;
      i32[w + (RECORD.imm >> 2) + 1] = hi + d.immHi + (sum > 0xffffffff ? 1 : 0);
    } else {
      i32[w + (RECORD.imm >> 2)] = d.immLo;
      i32[w + (RECORD.imm >> 2) + 1] = d.immHi;
    }
    i32[w + (RECORD.next >> 2)] = lo;
    i32[w + (RECORD.next >> 2) + 1] = hi;
    i32[w + (RECORD.mask >> 2)] = -1;
    i32[w + (RECORD.mask >> 2) + 1] = d.address32 ? 0 : -1;
  }

  const ALL = (1n << 64n) - 1n;

  return {
    statistics,
    flush,
    decodeBlock(slot, host, rip, secondPage) {
      if (arena + (MAX_BLOCK + 1) * RECORD_SIZE > recordsEnd) flush();
      const first = arena;
      const pageEnd = (host & -PAGE_SIZE) + PAGE_SIZE;
      const ripLow = Number(rip & 0xffffffffn);
      const ripHigh = Number(rip >> 32n) | 0;
      let at = first;
      let p = host >>> 0;
      let count = 0;
      let second: number | undefined;
      let ended = false;
      const end = pageEnd >>> 0;
      while (count < MAX_BLOCK && p < end) {
        if (count > 0 && breakpoints.size > 0 && breakpoints.has((rip + BigInt(p - host)) & ALL)) break;
        let length = decode(bytes, p, end, decoded);
        if (length <= 0) {
          if (count > 0) break;
          if (length === DECODE.MORE) {
            // The instruction crosses into the next page, which may fault: a block of its own.
            second = secondPage(((rip >> 12n) + 1n) << 12n & ALL);
            crossing.set(bytes.subarray(p, end));
            crossing.set(bytes.subarray(second, second + 16), end - p);
            length = decode(crossing, 0, end - p + 16, decoded);
          }
          if (length === DECODE.TOO_LONG) throw new GuestFault(VECTOR.GP, 0);
          if (length <= 0) throw new GuestFault(VECTOR.UD, undefined);
        }
        p += length;
        const place = places[decoded.form];
        if (place === undefined) throw new RangeError(`no form ${decoded.form}`);
        const sum = ripLow + (p - host);
        writeRecord(at, decoded, place, sum | 0, ripHigh + (sum > 0xffffffff ? 1 : 0));
        at += RECORD_SIZE;
        count++;
        ended = place.ends;
        if (ended || second !== undefined) break;
      }
      if (!ended) {
        u16[at >> 1] = endOfBlock;
        at += RECORD_SIZE;
      }
      arena = at;
      statistics.decoded += count;
      mem.u64[(slot + SLOT.rip) >> 3] = rip;
      u32[(slot + SLOT.host) >> 2] = host;
      u32[(slot + SLOT.host2) >> 2] = second ?? 0;
      u32[(slot + SLOT.first) >> 2] = first;
      u16[(slot + SLOT.count) >> 1] = count;
      u16[(slot + SLOT.breakpoint) >> 1] = breakpoints.size > 0 && breakpoints.has(rip) ? 1 : 0;
      const page = host & -PAGE_SIZE;
      const from = (host - page) >>> 0;
      const frames = [{ frame: frameOf(page >>> 0), from, to: Math.min(p, end) - (page >>> 0) }];
      if (second !== undefined) frames.push({ frame: frameOf(second), from: 0, to: p - end });
      remember({ slot, host, first, rip, end: (rip + BigInt(p - host)) & ALL, frames });
    },
    invalidate(frame, offset, size) {
      const blocks = byFrame.get(frame);
      if (blocks === undefined) return;
      const low = offset & ~63;
      const high = (offset + size + 63) & ~63;
      const hit = [...blocks].filter((b) => b.frames.some((f) => f.frame === frame && f.from < high && f.to > low));
      dropAll(hit);
    },
    setBreakpoints(addresses) {
      const wanted = new Set(addresses);
      const changed = [...new Set([...breakpoints, ...wanted])].filter((a) => breakpoints.has(a) !== wanted.has(a));
      if (changed.length === 0) return;
      breakpoints.clear();
      for (const a of wanted) breakpoints.add(a);
      const blocks = new Set<Block>();
      for (const set of byFrame.values()) {
        for (const b of set) if (changed.some((a) => a >= b.rip && a < b.end)) blocks.add(b);
      }
      dropAll([...blocks]);
    },
  };
}
