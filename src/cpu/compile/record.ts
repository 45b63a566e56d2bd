import { formOf } from '../decode';
import type { Block, Departure, LoopLabel, Node, Placing, Special, Statement } from '../ir/nodes';
import { asOps, irOps, type IrOps } from '../ir/ops';
import { asSource } from '../ir/record-source';
import { Recorder } from '../ir/recorder';
import type { Width } from '../ops';
import { execute } from '../operands';
import { decodedSource } from '../evaluate/source';
import { FIELD, type FieldName } from '../state';
import { RC } from '../wasm/abi';
import { plainMxcsr, plainPacked, plainResult, type Plain } from '../wasm/floating-point';
import { isFlag, RegionFlags, type AtHand } from './flags';
import { TRACKED, isFixed, trackedIndex, type RegionLocals, type RegionState, type Tracked } from './state';
import type { Instr } from './discover';
import type { Loop } from './structure';

/** The semantics want something that regions leave to the interpreter. */
export class Unsupported extends Error {}

const NOWHERE: AtHand = new Set(['owed'] as const);

/** Pure, and safe to compute whether or not it is wanted. */
const speculative = (b: Block): boolean =>
  b.every((s) => s.kind === 'define' && !/\.(div|rem)_/.test(s.node.op));

/** Where an instruction is, for whoever leaves before it. */
export interface Place {
  readonly rip: bigint;
  /** Instructions of its block that have not run yet: they are given back. */
  readonly rest: number;
}

/**
 * Records instructions one after another with registers and flags as values: what one puts the next one gets. An act
 * that may fail departs with the state as it was before its instruction, to be run by the interpreter.
 */
export class RegionRecorder {
  readonly r = new Recorder();
  state: RegionState = Array<Node | undefined>(TRACKED.length).fill(undefined);
  /** Where a branch goes: the instruction's `next`. */
  next: Node | undefined;
  private before: RegionState = this.state;
  private place: Place = { rip: 0n, rest: 0 };
  /** The path at hand has departed. */
  private gone = false;
  /** A computed jump's target has to be canonical: asked only where it is none of those that are known. */
  deferred: Extract<Statement, { kind: 'leave' }> | undefined;
  private defers = false;
  /** Conditions known not to hold here, by paths that departed when they did. */
  private refuted: Node[] = [];
  private stored = false;
  private o: IrOps | undefined;
  /** Address of the instruction after the one at hand. */
  private after = 0n;
  readonly flags: RegionFlags;
  /** The innermost loop around the block at hand. */
  loop: Loop | undefined;
  /** Flags that are at hand where this tree of blocks begins. */
  private here: AtHand = new Set();
  /** Results of floating-point arithmetic that were found to be right: none of them is a denormal. */
  private readonly numbers = new Set<Node>();
  /** Nodes that are kept in locals. */
  private readonly held = new Set<Node>();

  constructor(
    readonly locals: RegionLocals,
    private readonly exit: LoopLabel,
  ) {
    this.r.placing = (act) => this.placing(act);
    this.flags = new RegionFlags(this.r, locals);
  }

  /** The value of a tracked field. */
  get(field: Tracked): Node {
    return this.state[trackedIndex(field) ?? 0] ?? this.found(field);
  }
  /** The field as the tree of blocks found it. */
  private found(field: Tracked): Node {
    if (field !== 'left' && isFlag(trackedIndex(field) ?? 0)) return this.flags.found(field, this.here);
    return this.locals.read(this.r, field);
  }
  set(field: Tracked, value: Node): void {
    this.state[trackedIndex(field) ?? 0] = value;
  }

  /** Sets for a departure, or an edge to where the flags `there` are to be at hand: what `state` has that the locals have not. */
  sets(state: RegionState, there: AtHand, give = 0): Departure['sets'] {
    const sets = [...this.flags.sets(state, this.here, there, this.held)];
    state.forEach((value, i) => {
      const field = TRACKED[i];
      if (field === undefined || isFlag(i)) return;
      let v = value;
      if (field === 'left' && give !== 0)
        v = this.r.n('i64.add', v ?? this.locals.read(this.r, field), this.r.i64(give));
      if (v === undefined) return;
      const local = this.locals.of(field);
      if (v.op === 'param' && v.imm === local) return;
      this.locals.written.add(field);
      sets.push({ local, value: v });
    });
    return sets;
  }

  /** A departure from the region: to `rip`, by the link record `link` (0: by the run loop). */
  out(rip: Node, link: number, code: number, state = this.state, give = 0): Departure {
    const { r, locals } = this;
    const sets = [...this.sets(state, NOWHERE, give), { local: locals.exitRip, value: rip }];
    sets.push({ local: locals.exitLink, value: r.i32(link) });
    sets.push({ local: locals.exitCode, value: r.i32(code) });
    return { sets, label: this.exit, where: 'break' };
  }

  private bail(): Departure {
    if (this.stored) throw new Unsupported('an act that may fail after one that cannot be undone');
    return this.out(this.r.i64(this.place.rip), 0, RC.REGION | RC.BAIL, this.before, this.place.rest);
  }

  private placing(act: Special): Placing | undefined {
    switch (act.op) {
      case 'guestLoad':
      case 'guestStore':
      case 'fpCheck':
        return { bail: this.bail(), loop: this.loop };
      case 'fp':
      case 'bulk':
        return undefined;
      default:
        throw new Unsupported(act.op);
    }
  }

  /** One instruction; `rest` counts it and those after it in its block. */
  instruction(i: Instr, rest: number): void {
    const { r } = this;
    this.before = this.state.slice();
    this.place = { rip: i.rip, rest };
    this.next = undefined;
    this.after = i.next;
    this.gone = false;
    this.stored = false;
    this.deferred = undefined;
    // Nothing that they do comes between that question and their end but a register.
    const form = formOf(i.d);
    this.defers = form.mnemonic === 'jmp' || form.mnemonic === 'ret';
    const o = (this.o ??= this.ops());
    o.begin();
    execute(form, asOps(o), asSource(decodedSource(o, form, i.d, i.next)));
    // Registers written here are computed here: departures then find them.
    this.state.forEach((v, n) => {
      if (v === undefined || v === this.before[n] || v.op === 'const') return;
      if (n >= 16 && v.type !== 'v128') return;
      r.push({ kind: 'keep', node: v });
      this.held.add(v);
    });
  }

  private ops(): IrOps {
    const { r } = this;
    const o = irOps(r, {
      scalar: (op, operands) => {
        const plain = plainResult(r, op, operands, this.numbers);
        return plain && this.plainly(plain);
      },
      packed: (op, fmt, a, b) => this.plainly(plainPacked(r, op, fmt, a, b, this.numbers)),
    });
    const get = (f: FieldName): Node => {
      if (f === 'zero') return r.i64(0);
      if (f === 'next') return this.next ?? r.i64(this.after);
      if (f === 'rip') return r.i64(this.place.rip);
      if (trackedIndex(f) !== undefined) return this.get(f);
      if (isFixed(f)) return this.locals.read(r, f);
      const wide = FIELD[f].size === 16;
      return r.get(f, wide ? 'v128' : 'i64', wide ? 128 : FIELD[f].type === 'i32' ? 32 : 64);
    };
    const set = (f: FieldName, v: Node): void => {
      if (f === 'next') this.next = v;
      else if (trackedIndex(f) !== undefined) this.set(f, v);
      else if (isFixed(f) || f === 'rip') throw new Unsupported(`put ${f}`);
      else {
        this.stored = true;
        r.push({ kind: 'put', field: f, value: v });
      }
    };
    /** Departs without condition: what follows is never run. */
    const depart = (): void => {
      if (this.gone) return;
      r.push({ kind: 'leave', condition: undefined, to: this.bail() });
      this.gone = true;
    };
    /** All elements, or the interpreter. */
    const whole = (name: 'move_all' | 'fill_all', w: Width, to: Node, of: Node, n: Node): Node => {
      const act = { op: 'bulk', name, shift: Math.log2(w / 8) } as const;
      const done = r.special(act, [to, of, n], 'i64', 1);
      if (done !== undefined) this.demand(r.condition(done));
      this.stored = true;
      return n;
    };
    const overrides: Partial<IrOps> = {
      get,
      set,
      getx: get,
      setx: set,
      only: (holds) => this.demand(r.condition(holds)),
      bulkMove: (w, to, from, n) => whole('move_all', w, to, from, n),
      bulkFill: (w, to, value, n) => whole('fill_all', w, to, value, n),
      raise: depart,
      probeWrite: depart,
      exit: () => {
        throw new Unsupported('exit');
      },
      if: (c, then, otherwise) => this.branch(r.condition(c), then, otherwise),
      choose: () => {
        throw new Unsupported('choose');
      },
    };
    return Object.assign(o, overrides);
  }

  /** The host's result, where it is right; the interpreter's business where it may not be. */
  private plainly({ value, rounds, doubt, ok, number }: Plain): Node {
    const { r } = this;
    if (rounds) this.demand(plainMxcsr(r, r.wrap(this.locals.read(r, 'mxcsr'))));
    if (doubt === undefined) this.demand(ok());
    else r.if(doubt, () => this.path(() => this.demand(ok())));
    // A constant is the same node everywhere.
    if (number && value.op !== 'const') this.numbers.add(value);
    return value;
  }

  /** What does not hold is the interpreter's. */
  private demand(ok: Node): void {
    const fails = this.r.n('i32.eqz', ok);
    if (this.refuted.includes(fails)) return;
    this.refuted.push(fails);
    this.r.push({ kind: 'leave', condition: fails, to: this.bail() });
  }

  /** One side of a run-time branch, recorded apart. */
  private side(body: (() => void) | undefined): {
    block: Block;
    state: RegionState;
    next: Node | undefined;
    gone: boolean;
  } {
    const { state, next } = this;
    const refuted = this.refuted.length;
    this.state = state.slice();
    this.gone = false;
    const { block } = this.r.inside(() => body?.());
    const side = { block, state: this.state, next: this.next, gone: this.gone };
    this.state = state;
    this.next = next;
    this.gone = false;
    this.refuted.length = refuted;
    return side;
  }

  private branch(condition: Node, then: () => void, otherwise: (() => void) | undefined): void {
    const { r } = this;
    if (condition.op === 'const') {
      if (condition.imm !== 0n) then();
      else otherwise?.();
      return;
    }
    const yes = this.side(then);
    const no = this.side(otherwise);
    const onlyLeaves = (b: Block): boolean =>
      b.every((s) => s.kind === 'define' || s.kind === 'leave' || s.kind === 'let');
    if (yes.gone && onlyLeaves(yes.block)) {
      if (this.defers) this.deferred = { kind: 'leave', condition, to: this.bail() };
      else if (!this.refuted.includes(condition)) {
        this.refuted.push(condition);
        r.push({ kind: 'leave', condition, to: this.bail() });
      }
      r.splice(no.block);
      this.adopt(no);
      return;
    }
    if (no.gone && onlyLeaves(no.block)) {
      r.push({ kind: 'leave', condition: r.n('i32.eqz', condition), to: this.bail() });
      r.splice(yes.block);
      this.adopt(yes);
      return;
    }
    if (yes.gone && no.gone) {
      this.gone = true;
      r.push({ kind: 'if', condition, then: yes.block, otherwise: no.block });
      return;
    }
    const flat = speculative(yes.block) && speculative(no.block);
    if (flat) {
      r.splice(yes.block);
      r.splice(no.block);
    }
    const merge = (a: Node, b: Node): Node => {
      if (a === b) return a;
      if (flat) return r.n('select', a, b, condition);
      const local = r.local(a.type);
      yes.block.push({ kind: 'assign', local, value: a });
      no.block.push({ kind: 'assign', local, value: b });
      merged.push(() => r.read(local));
      return a;
    };
    const merged: (() => Node)[] = [];
    const places: number[] = [];
    TRACKED.forEach((field, n) => {
      const [a, b] = [yes.state[n], no.state[n]];
      if (a === b) {
        this.state[n] = a;
        return;
      }
      const leaf = (v: Node | undefined): Node => v ?? this.found(field);
      const v = merge(leaf(a), leaf(b));
      this.state[n] = v;
      places.push(n);
    });
    if (yes.next !== no.next) {
      const after = r.i64(this.after);
      this.next = r.n('select', yes.next ?? after, no.next ?? after, condition);
    }
    if (!flat) {
      r.push({ kind: 'if', condition, then: yes.block, otherwise: no.block });
      merged.forEach((read, k) => (this.state[places[k] ?? 0] = read()));
    }
  }

  /** A path of its own, from the state at hand on: what is known there is forgotten after it. */
  path(body: () => void): void {
    const { state, refuted } = this;
    this.state = state.slice();
    this.refuted = refuted.slice();
    body();
    this.state = state;
    this.refuted = refuted;
  }

  /** A tree of blocks, from the locals on; `here` are the flags that are to be at hand. */
  afresh(here: AtHand, body: () => void): void {
    const { state, refuted, here: outer } = this;
    this.state = Array<Node | undefined>(TRACKED.length).fill(undefined);
    this.refuted = [];
    this.here = here;
    body();
    this.state = state;
    this.refuted = refuted;
    this.here = outer;
  }

  private adopt(side: { readonly state: RegionState; readonly next: Node | undefined }): void {
    this.state = side.state;
    this.next = side.next;
  }
}
