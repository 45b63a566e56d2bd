import type { CodeCache } from '../code-cache';
import { DECODE, decode, formOf, MAX_LENGTH, newDecoded, type Decoded } from '../decode';
import type { Form } from '../encoding';
import type { MachineMemory } from '../memory';
import { LINK, RECORD, RECORD_SIZE } from '../record';
import { PAGE_SIZE } from '../types';

/** A decoded instruction of a region. */
export interface Instr {
  readonly d: Readonly<Decoded>;
  readonly rip: bigint;
  readonly next: bigint;
}

/** Names a block of a region: its address, and above it a number for copies made for one way into it. */
export type BlockKey = bigint;

/** Instructions that run one after another. Plain data, and little of it: another thread may compile it. */
export interface BasicBlock {
  readonly key: BlockKey;
  readonly rip: bigint;
  readonly host: number;
  readonly bytes: Uint8Array;
  /** Of instructions. */
  readonly count: number;
  /** Where it may go on; some of them may be no blocks of the region. */
  readonly successors: BlockKey[];
  /** The last instruction branches. */
  readonly branches: boolean;
  /** It is one instruction that goes on in another page: that page's place in linear memory, and address. */
  readonly second: SecondPage | undefined;
}

export interface SecondPage {
  readonly host: number;
  readonly rip: bigint;
}

export interface Region {
  readonly entry: BasicBlock;
  readonly blocks: ReadonlyMap<BlockKey, BasicBlock>;
}

/** Instructions and blocks of one region at most. */
const MAX_INSTRUCTIONS = 300;
const MAX_BLOCKS = 64;
const MAX_PAGES = 6;
/** A block is worth its code when it was entered this part as often as the region's first. */
const WORTH = 4;
/** … and the arm of a `switch`, of which there may be many. */
const WORTH_ARM = 32;
/** A computed jump may lead to so many blocks near it, which lie within so many bytes. */
const MAX_TARGETS = 12;
const NEAR = 384n;
/** Calls into one another that returns are followed out of. */
const MAX_CALLS = 6;

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
  readonly rip: bigint;
  readonly host: number;
  /** Where its instructions begin, and where the last one ends. */
  readonly starts: readonly bigint[];
  readonly end: bigint;
  readonly successors: BlockKey[];
  readonly branches: boolean;
  readonly second: SecondPage | undefined;
}

/** A way to go on: `stack` are the addresses that calls on the way so far will return to. */
interface Item {
  readonly key: BlockKey;
  readonly host: number;
  readonly stack: readonly bigint[];
}

const ripOf = (key: BlockKey): bigint => BigInt.asUintN(64, key);

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
  const leastArm = Math.max(1, Math.floor((first?.entered ?? 0) / WORTH_ARM));

  const runs = new Map<BlockKey, Run>();
  const decoded = newDecoded();
  const crossing = new Uint8Array(2 * MAX_LENGTH);
  let total = 0;
  let copies = 0n;

  /** A block that does nothing but return (Linux' return thunk) is copied for each jump to it: each returns elsewhere. */
  function onlyReturns(target: bigint): boolean {
    const at = hostOf(target);
    if (at === undefined || decode(bytes, at, at - (at % PAGE_SIZE) + PAGE_SIZE, decoded) <= 0) return false;
    return formOf(decoded).mnemonic === 'ret';
  }

  /** Decodes on from a leader to a branch, or to what cannot be compiled; queues where it goes. */
  function runFrom({ key, host: at, stack }: Item): Run {
    const rip = ripOf(key);
    const starts: bigint[] = [];
    let second: SecondPage | undefined;
    const run = (branches: boolean, ...successors: BlockKey[]): Run => ({
      rip,
      host: at,
      starts,
      end: here,
      successors,
      branches,
      second,
    });
    const end = at - (at % PAGE_SIZE) + PAGE_SIZE;
    let p = at;
    let here = rip;
    const found = code.find(rip, at);
    let crossed = false;
    /** Where the instruction before `next` went, if the interpreter's block ends with it. */
    const seenBehind = (next: bigint): bigint[] =>
      found !== undefined && mem.view.getBigUint64(found.link - RECORD_SIZE + RECORD.next, true) === next
        ? seenTargets(mem, found.link)
        : [];
    while (total + starts.length < MAX_INSTRUCTIONS && p < end) {
      if (code.hasBreakpoint(here)) break;
      let length = decode(bytes, p, end, decoded);
      if (length === DECODE.MORE) {
        // It goes on in the next page: a block of its own, as the interpreter has it.
        crossed = starts.length > 0;
        if (crossed || found === undefined || found.second === 0) break;
        second = { host: found.second, rip: pageOf(here) + 0x1000n };
        if (!pages.has(second.rip) && pages.size < MAX_PAGES) pages.set(second.rip, second.host);
        if (pages.get(second.rip) !== second.host) break;
        crossing.set(bytes.subarray(p, end));
        crossing.set(bytes.subarray(second.host, second.host + MAX_LENGTH), end - p);
        length = decode(crossing, 0, end - p + MAX_LENGTH, decoded);
      }
      if (length <= 0) break;
      const form = formOf(decoded);
      if (!c.supports(form)) return run(false);
      const next = BigInt.asUintN(64, here + BigInt(length));
      starts.push(here);
      p += length;
      here = next;
      if (!form.branch) continue;
      if (form.mnemonic === 'ret') {
        // Back to a call on the way, and to where it was seen to go: another call that the region has made meanwhile.
        const back = stack.at(-1);
        const to = new Set(back === undefined ? [] : [back]);
        if (back !== undefined) follow(back, stack.slice(0, -1));
        for (const s of seenBehind(next)) {
          follow(s, []);
          to.add(s);
        }
        return run(true, ...to);
      }
      const inner = form.mnemonic === 'call' ? [...stack, next].slice(-MAX_CALLS) : stack;
      if (form.immediate.relative) {
        const by = (BigInt(decoded.immHi) << 32n) | BigInt(decoded.immLo >>> 0);
        let target = BigInt.asUintN(64, next + by);
        const jumps = form.mnemonic === 'jmp';
        if (jumps && onlyReturns(target)) target |= ++copies << 64n;
        follow(target, inner);
        if (jumps || form.mnemonic === 'call') return run(true, target);
        follow(next, stack);
        return run(true, target, next);
      }
      const seen = seenBehind(next);
      for (const s of seen) follow(s, inner);
      const computed = run(true, ...seen);
      if (form.mnemonic === 'jmp' && seen.length > 1) jumps.push({ run: computed, at: here, stack });
      return computed;
    }
    const goesOn = crossed || p >= end || total + starts.length >= MAX_INSTRUCTIONS;
    if (goesOn) follow(here, stack);
    return goesOn ? run(false, here) : run(false);
  }

  /** Computed jumps that went to more than one place: there may be more than link records remember. */
  const jumps: { readonly run: Run; readonly at: bigint; readonly stack: readonly bigint[] }[] = [];
  /** What is hot near a jump, and nothing else leads to: the other ways of a `switch`. */
  function guessTargets({ run, at, stack }: (typeof jumps)[number]): void {
    const led = new Set([...runs.values()].flatMap((r) => r.successors));
    const near = [...pages]
      .flatMap(([page, p]) => (at - page < 0x1000n + NEAR && page - at < NEAR ? code.hotIn(p, leastArm) : []))
      .filter((b) => b.rip - at < NEAR && at - b.rip < NEAR && !led.has(b.rip))
      .sort((a, b) => b.entered - a.entered);
    for (const { rip: target } of near.slice(0, MAX_TARGETS)) {
      run.successors.push(target);
      follow(target, stack, leastArm);
    }
  }

  const queue: Item[] = [{ key: rip, host, stack: [] }];
  function follow(key: BlockKey, stack: readonly bigint[], enough = least): void {
    if (runs.has(key)) return;
    const at = hostOf(ripOf(key));
    if (at === undefined) return;
    const known = code.find(ripOf(key), at);
    if (known !== undefined && known.entered >= enough) queue.push({ key, host: at, stack });
  }
  for (;;) {
    const item = queue.shift();
    if (item === undefined) {
      const jump = jumps.shift();
      if (jump === undefined) break;
      guessTargets(jump);
      continue;
    }
    if (runs.has(item.key) || runs.size >= MAX_BLOCKS || total >= MAX_INSTRUCTIONS) continue;
    const run = runFrom(item);
    if (run.starts.length === 0) continue;
    runs.set(item.key, run);
    total += run.starts.length;
  }

  // Where one run goes through the head of another, it ends there.
  const blocks = new Map<BlockKey, BasicBlock>();
  for (const [key, run] of runs) {
    const cut = run.starts.findIndex((at, n) => n > 0 && runs.has(at));
    const { rip, host, starts, end, second } = run;
    const stop = starts[cut];
    const size = Number((stop ?? end) - rip);
    const there = bytes.slice(host, host + size);
    if (second !== undefined) {
      const here = PAGE_SIZE - (host % PAGE_SIZE);
      there.set(bytes.subarray(second.host, second.host + size - here), here);
    }
    const block: BasicBlock = {
      key,
      rip,
      host,
      bytes: there,
      count: stop === undefined ? starts.length : cut,
      successors: stop === undefined ? run.successors : [stop],
      branches: stop === undefined && run.branches,
      second,
    };
    blocks.set(key, block);
  }
  const entry = blocks.get(rip);
  return entry === undefined ? undefined : { entry, blocks };
}

/** What a block's bytes say. */
export function instructionsOf({ bytes, rip }: BasicBlock): Instr[] {
  const instrs: Instr[] = [];
  for (let at = 0, here = rip; at < bytes.length;) {
    const d = newDecoded();
    const length = decode(bytes, at, bytes.length, d);
    if (length <= 0) throw new Error(`no instruction at 0x${here.toString(16)}`);
    const next = BigInt.asUintN(64, here + BigInt(length));
    instrs.push({ d, rip: here, next });
    at += length;
    here = next;
  }
  return instrs;
}
