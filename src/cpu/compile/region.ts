import { Emitter } from '../ir/emitter';
import type { LoopLabel, Node } from '../ir/nodes';
import { formOf } from '../decode';
import { LINK_SIZE, RECORD_SIZE } from '../record';
import { FIELD, FLAG_SLOTS, offsetOf } from '../state';
import { EXEC, EXEC_ENTRIES, EXEC_ENTRY_SHIFT, RC, TLB_EXEC } from '../wasm/abi';
import { instructionsOf, type Region } from './discover';
import { isFlag, type AtHand } from './flags';
import { lowerRegion } from './lower';
import { Nearness } from './near';
import { RegionRecorder } from './record';
import { RegionLocals, trackedIndex } from './state';
import { spreading } from './spread';
import { longestWay, structure, type Flow } from './structure';

export interface RegionCode {
  /** Body of a function (vCPU, record) → RC, as the interpreter's handlers are. */
  readonly body: Uint8Array;
  readonly instructions: number;
  /** Link records that its exits need, in a row. */
  readonly links: number;
}

export interface RegionContext {
  /** Index of the global that says where its link records begin. */
  readonly links: number;
  /** Index of an imported function. */
  call(name: string): number;
  /** Instructions of the interpreter's block at the entry: it has counted all but one of them. */
  readonly entryCount: number;
}

const CPU = 0;
const RUN_LOOP = 0;
/** What names a link record is its number, from 1 on, times two, and this for a return: it asks the shadow return cache first. */
const RETURNS = 1;
/** Instructions after which a region is left at the latest, for the run loop to see whether somebody wants it to stop. */
const STRETCH = 2_000_000n;

/** Flags at hand where each tree of blocks begins. */
type Standing = Map<Flow, AtHand>;

/** Compiles a region: the function takes over at its entry and leaves with everything written back. */
export function compileRegion(region: Region, c: RegionContext): RegionCode {
  const entry = structure(region);
  const standing: Standing = new Map();
  for (;;) {
    const made = attempt(entry, c, standing);
    if (made !== undefined) return made;
  }
}

/** Undefined: flags were wanted that were not at hand, and will be the next time. */
function attempt(entry: Flow, c: RegionContext, standing: Standing): RegionCode | undefined {
  const locals = new RegionLocals();
  const exit: LoopLabel = { depth: undefined };
  const w = new RegionRecorder(locals, exit);
  const { r } = w;
  /** Labels of loops and merges that are open here. */
  const labels = new Map<Flow, LoopLabel>();
  const near = new Nearness();
  const lengths = new Map<Flow, number>();
  let instructions = 0;
  let links = 0;
  const makeLink = (): number => 2 * ++links;

  const atHand = (to: Flow): AtHand => {
    let there = standing.get(to);
    if (there === undefined) standing.set(to, (there = new Set()));
    return there;
  };
  const edge = (from: Flow, to: Flow, label: LoopLabel, where: 'break' | 'continue'): void => {
    const sets = w.sets(w.state, atHand(to));
    near.edges.push({ from, to, sets });
    r.push({ kind: 'edge', to: { sets, label, where } });
  };
  const leave = (rip: Node, link: number, condition?: Node, code: number = RC.REGION): void =>
    r.push({ kind: 'leave', condition, to: w.out(rip, link, code) });

  /** Another page: its fetch entry has to be as the code was compiled for, as at the beginning of every block. */
  function checkFetch(to: { readonly rip: bigint; readonly host: number }, rip: bigint, link: number): void {
    const page = to.rip & ~0xfffn;
    const index = Number((page >> 12n) & BigInt(EXEC_ENTRIES - 1));
    const at = r.n('i32.add', locals.read(r, 'tlb'), r.i32(TLB_EXEC + (index << EXEC_ENTRY_SHIFT)));
    const addend = (to.host - Number(BigInt.asUintN(32, to.rip))) | 0;
    const ok = r.n(
      'i32.and',
      r.n('i64.eq', r.load('i64.load', at, EXEC.tag), r.i64(page)),
      r.n('i32.eq', r.load('i32.load', at, EXEC.addend), r.i32(addend)),
    );
    leave(r.i64(rip), link, r.n('i32.eqz', ok));
  }

  /** Goes from one block to an address. */
  function go(from: Flow, rip: bigint): void {
    const way = from.ways.get(rip);
    if (way === undefined) {
      leave(r.i64(rip), makeLink());
      return;
    }
    const { to, back } = way;
    if ((to.rip ^ from.rip) >> 12n !== 0n) checkFetch(to.block, to.rip, makeLink());
    const label = labels.get(to);
    if (back || to.merge) {
      if (label === undefined) throw new Error('a jump to what is not open');
      edge(from, to, label, back ? 'continue' : 'break');
    } else if (to.loop) {
      edgeInto(from, to);
    } else {
      body(to);
    }
  }

  /** Into a loop that begins right here. */
  function edgeInto(from: Flow, to: Flow): void {
    const here: LoopLabel = { depth: undefined };
    r.push({
      kind: 'block',
      body: r.inside(() => edge(from, to, here, 'break')).block,
      label: here,
    });
    w.afresh(atHand(to), () => tree(to));
  }

  /** A block and all that it dominates, with registers in their locals. */
  function tree(x: Flow): void {
    const scoped = (): void => r.splice(r.apart(() => body(x)));
    if (!x.loop) {
      scoped();
      return;
    }
    r.loop(
      () => r.i32(1),
      (label) => {
        const outer = labels.get(x);
        labels.set(x, label);
        scoped();
        if (outer === undefined) labels.delete(x);
        else labels.set(x, outer);
      },
    );
  }

  /** A block from the state at hand on; the merges it dominates come after it. */
  function body(x: Flow): void {
    const nest = (n: number): void => {
      const merge = x.merges[n];
      if (merge === undefined) {
        straight(x);
        return;
      }
      r.forward((label) => {
        labels.set(merge, label);
        w.path(() => nest(n - 1));
        labels.delete(merge);
      });
      w.afresh(atHand(merge), () => tree(merge));
    };
    nest(x.merges.length - 1);
  }

  /** The instructions of a block, and where it goes. */
  function straight(x: Flow): void {
    const instrs = instructionsOf(x.block);
    w.loop = x.within;
    const n = instrs.length;
    const start = r.i64(x.rip);
    // Where the second page is another, the run loop looks both up, the first once more.
    if (x.block.second !== undefined) checkFetch(x.block.second, x.rip, RUN_LOOP);
    const before = w.get('left');
    if (x.loop || x === entry) {
      // Room for all that runs until this is asked again. The interpreter's block at the entry may fit where this does not.
      const code = x === entry ? RC.REGION | RC.BAIL : RC.REGION;
      leave(start, RUN_LOOP, r.n('i64.lt_s', before, r.i64(longestWay(x, lengths))), code);
    }
    const left = r.n('i64.add', before, r.i64(-n));
    w.set('left', left);
    instructions += n;
    instrs.forEach((i, k) => w.instruction(i, n - k));
    const { next } = w;
    const last = instrs.at(-1);
    if (last === undefined) throw new Error('an empty block');
    if (!x.block.branches) {
      if (x.block.successors.length > 0) go(x, last.next);
      else leave(r.i64(last.next), makeLink());
      return;
    }
    const target = next ?? r.i64(last.next);
    const [yes, no, condition] = target.args;
    const { deferred } = w;
    if (target.op === 'const') go(x, BigInt.asUintN(64, target.imm as bigint));
    else if (target.op === 'select' && condition && yes?.op === 'const' && no?.op === 'const') {
      if (deferred !== undefined) r.push(deferred);
      r.if(condition, () => w.path(() => go(x, yes.imm as bigint)), () => w.path(() => go(x, no.imm as bigint))); // prettier-ignore
    } else {
      const link = makeLink() | (formOf(last.d).mnemonic === 'ret' ? RETURNS : 0);
      const away = (): void => {
        if (deferred !== undefined) r.push(deferred);
        leave(target, link);
      };
      const known = [...x.ways.keys()];
      const spread = spreading(known);
      if (spread === undefined) {
        const guess = ([rip, ...others]: readonly bigint[]): void => {
          if (rip === undefined) away();
          else r.if(r.n('i64.eq', target, r.i64(rip)), () => w.path(() => go(x, rip)), () => w.path(() => guess(others))); // prettier-ignore
        };
        guess(known);
        return;
      }
      const index = r.n('i32.shr_u', r.n('i32.mul', r.wrap(target), r.i32(spread.factor)), r.i32(spread.shift)); // prettier-ignore
      const cases = known.map((rip) => (): void => {
        r.if(r.n('i64.ne', target, r.i64(rip)), () => w.path(away));
        w.path(() => go(x, rip));
      });
      r.switch(index, spread.table, [...cases, () => w.path(away)]);
    }
  }

  // Before anything else, all flags are in the state, from where those that are wanted are read.
  if (!entry.loop) standing.set(entry, new Set([...FLAG_SLOTS, 'owed'] as const));
  r.push({
    kind: 'block',
    body: r.inside(() => w.afresh(atHand(entry), () => tree(entry))).block,
    label: exit,
  });
  if (w.flags.again) return undefined;
  w.flags.settle();

  const lowering = lowerRegion(locals, near, (name) => c.call(name));
  const e = new Emitter(2, lowering);
  // Locals that the code asks for only now come after the others.
  locals.of('left');
  locals.of('tlb');
  for (const type of locals.types) e.newLocal(type);
  enter(e, locals, c.entryCount);
  const code = e.function(r.body, () => finish(e, locals, c));
  return { body: code, instructions, links };
}

/** Reads what the region uses. `icount` has been moved on by all instructions of the interpreter's block but one. */
function enter(e: Emitter, locals: RegionLocals, entryCount: number): void {
  for (const [field, local] of locals.fields) {
    if (field === 'left') {
      e.getLocal(CPU).memory('i64.load', offsetOf('ilimit'));
      e.getLocal(CPU).memory('i64.load', offsetOf('icount')).op('i64.sub');
      e.i64(BigInt(entryCount - 1))
        .op('i64.add')
        .setLocal(local);
      // What is beyond a stretch is kept back.
      e.getLocal(local).i64(STRETCH).op('i64.gt_s').if();
      e.getLocal(local).i64(STRETCH).op('i64.sub').setLocal(locals.kept).i64(STRETCH).setLocal(local);
      e.end();
      continue;
    }
    const f = FIELD[field];
    const load =
      field === 'tlb'
        ? 'i32.load'
        : f.size === 16
          ? 'v128.load'
          : f.type === 'i32'
            ? 'i64.load32_u'
            : 'i64.load';
    e.getLocal(CPU).memory(load, f.offset).setLocal(local);
  }
}

/** Behind everything: writes back and goes on, by a link record or by the run loop. */
function finish(e: Emitter, locals: RegionLocals, c: RegionContext): void {
  for (const field of locals.written) {
    if (field === 'left' || isFlag(trackedIndex(field) ?? 0)) continue;
    const f = FIELD[field];
    e.getLocal(CPU)
      .getLocal(locals.of(field))
      .memory(f.size === 16 ? 'v128.store' : 'i64.store', f.offset);
  }
  const icount = (less: bigint): void => {
    e.getLocal(CPU)
      .getLocal(CPU)
      .memory('i64.load', offsetOf('ilimit'))
      .getLocal(locals.of('left'))
      .op('i64.sub')
      .getLocal(locals.kept)
      .op('i64.sub');
    if (less > 0n) e.i64(less).op('i64.sub');
    e.memory('i64.store', offsetOf('icount'));
  };
  e.getLocal(locals.exitLink).if();
  icount(1n);
  e.getLocal(CPU).getLocal(locals.exitRip).memory('i64.store', offsetOf('next'));
  /** A link record is known by the record before it. */
  const go = (chain: string): void => {
    e.getLocal(CPU)
      .getGlobal(c.links)
      .getLocal(locals.exitLink)
      .i32(1)
      .op('i32.shr_u')
      .i32(LINK_SIZE)
      .op('i32.mul');
    e.op('i32.add')
      .i32(LINK_SIZE + RECORD_SIZE)
      .op('i32.sub')
      .returnCall(c.call(chain));
  };
  e.getLocal(locals.exitLink).i32(RETURNS).op('i32.and').if();
  go('chain_return');
  e.end();
  go('chain');
  e.end();
  icount(0n);
  e.getLocal(CPU).getLocal(locals.exitRip).memory('i64.store', offsetOf('rip'));
  e.getLocal(locals.exitCode);
}
