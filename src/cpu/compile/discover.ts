import type { CodeCache } from '../code-cache';
import { decode, formOf, newDecoded, type Decoded } from '../decode';
import type { Form } from '../encoding';
import type { MachineMemory } from '../memory';
import { LINK, RECORD, RECORD_SIZE } from '../record';
import { PAGE_SIZE } from '../types';

/** A decoded instruction of a region. */
export interface Instr {
  readonly d: Readonly<Decoded>;
  readonly form: Form;
  readonly rip: bigint;
  readonly next: bigint;
}

/** Instructions that run one after another. Its successors are those of the last one, or the next instruction. */
export interface BasicBlock {
  readonly rip: bigint;
  readonly host: number;
  readonly instrs: Instr[];
  /** Where it may go on: addresses, some of which may be no blocks of the region. */
  readonly successors: bigint[];
  /** The last instruction branches. */
  readonly branches: boolean;
}

export interface Region {
  readonly entry: BasicBlock;
  readonly blocks: ReadonlyMap<bigint, BasicBlock>;
  /** Address in linear memory of each page it has code in. */
  readonly pages: ReadonlyMap<bigint, number>;
}

/** Instructions and blocks of one region at most. */
const MAX_INSTRUCTIONS = 400;
const MAX_BLOCKS = 64;
const MAX_PAGES = 4;
/** A block is worth its code when it was entered this part as often as the region's first. */
const WORTH = 32;

const pageOf = (rip: bigint): bigint => rip & ~0xfffn;

/** Whether regions can contain the form at all. */
export type Supports = (form: Form) => boolean;

export interface DiscoverContext {
  readonly mem: MachineMemory;
  readonly code: CodeCache;
  readonly supports: Supports;
  /** Address in linear memory of a page that instructions were fetched from lately. */
  fetched(page: bigint): number | undefined;
}

/** A run of instructions as the interpreter's block at its head has it. */
interface Run {
  readonly instrs: Instr[];
  readonly successors: bigint[];
  readonly branches: boolean;
}

/** What the interpreter saw behind a branch whose target is computed: link records remember two. */
function seenTargets(mem: MachineMemory, link: number): bigint[] {
  const seen: bigint[] = [];
  const generation = mem.view.getUint32(link + LINK.ways[0].generation, true);
  for (const way of LINK.ways) {
    const g = mem.view.getUint32(link + way.generation, true);
    if (g !== 0 && g === generation) seen.push(mem.view.getBigUint64(link + way.rip, true));
  }
  return seen;
}

/** Grows a region from a block that is hot. Undefined when not even its first instruction can be compiled. */
export function discover(c: DiscoverContext, rip: bigint, host: number): Region | undefined {
  const { mem, code } = c;
  const { bytes } = mem;
  const pages = new Map<bigint, number>([[pageOf(rip), host - (host % PAGE_SIZE)]]);
  const hostOf = (at: bigint): number | undefined => {
    const page = pageOf(at);
    let p = pages.get(page);
    if (p === undefined) {
      p = pages.size < MAX_PAGES ? c.fetched(page) : undefined;
      if (p === undefined) return undefined;
      pages.set(page, p);
    }
    return p + Number(at & 0xfffn);
  };
  const first = code.find(rip, host);
  const least = Math.max(1, Math.floor((first?.entered ?? 0) / WORTH));

  const runs = new Map<bigint, Run>();
  const decoded = newDecoded();
  let total = 0;

  /** Decodes on from a leader to a branch, or to what cannot be compiled. */
  function runFrom(leader: bigint, at: number): Run {
    const instrs: Instr[] = [];
    const end = at - (at % PAGE_SIZE) + PAGE_SIZE;
    let p = at;
    let here = leader;
    const found = code.find(leader, at);
    while (total + instrs.length < MAX_INSTRUCTIONS && p < end) {
      if (code.hasBreakpoint(here)) break;
      const length = decode(bytes, p, end, decoded);
      if (length <= 0) break;
      const form = formOf(decoded);
      if (!c.supports(form)) return { instrs, successors: [], branches: false };
      const next = BigInt.asUintN(64, here + BigInt(length));
      instrs.push({ d: { ...decoded }, form, rip: here, next });
      p += length;
      here = next;
      if (!form.branch) continue;
      const successors: bigint[] = [];
      if (form.immediate.relative) {
        const by = (BigInt(decoded.immHi) << 32n) | BigInt(decoded.immLo >>> 0);
        successors.push(BigInt.asUintN(64, next + by));
        if (form.mnemonic !== 'jmp' && form.mnemonic !== 'call') successors.push(next);
      } else if (found !== undefined && mem.view.getBigUint64(found.link - RECORD_SIZE + RECORD.next, true) === next) {
        successors.push(...seenTargets(mem, found.link));
      }
      return { instrs, successors, branches: true };
    }
    return { instrs, successors: p >= end || total + instrs.length >= MAX_INSTRUCTIONS ? [here] : [], branches: false };
  }

  const queue: { rip: bigint; host: number }[] = [{ rip, host }];
  for (let item = queue.shift(); item !== undefined; item = queue.shift()) {
    if (runs.has(item.rip) || runs.size >= MAX_BLOCKS || total >= MAX_INSTRUCTIONS) continue;
    const run = runFrom(item.rip, item.host);
    if (run.instrs.length === 0) continue;
    runs.set(item.rip, run);
    total += run.instrs.length;
    for (const s of run.successors) {
      const at = hostOf(s);
      if (at === undefined) continue;
      const known = code.find(s, at);
      if (known !== undefined && known.entered >= least) queue.push({ rip: s, host: at });
    }
  }

  // Where one run goes through the head of another, it ends there.
  const blocks = new Map<bigint, BasicBlock>();
  for (const [leader, run] of runs) {
    const at = hostOf(leader);
    if (at === undefined) continue;
    const cut = run.instrs.findIndex((i, n) => n > 0 && runs.has(i.rip));
    const block: BasicBlock =
      cut < 0
        ? { rip: leader, host: at, ...run }
        : { rip: leader, host: at, instrs: run.instrs.slice(0, cut), successors: [run.instrs[cut]?.rip ?? 0n], branches: false };
    blocks.set(leader, block);
  }
  const entry = blocks.get(rip);
  return entry === undefined ? undefined : { entry, blocks, pages };
}
