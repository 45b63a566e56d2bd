import { Bytes, VALTYPE } from '../wasm/encoder';
import { ALIGN, opInfo, type ValType } from '../wasm/opcodes';
import type { FieldName } from '../state';
import { prune } from './liveness';
import type { Block, Departure, Local, LoopLabel, Node, Placing, Special, Statement } from './nodes';

/** Decides where state lives and what accesses, faults and calls look like. */
export interface Lowering {
  /** Pushes the field's value. */
  get(e: Emitter, field: FieldName): void;
  put(e: Emitter, field: FieldName, value: Node): void;
  /** Each argument is to be emitted exactly once; a result, when there is one, is left in its local by `e.bind`. */
  special(
    e: Emitter,
    act: Special,
    args: readonly Node[],
    result: Node | undefined,
    placing: Placing | undefined,
  ): void;
}

type Pending = Extract<Statement, { kind: 'let' | 'read' }>;

/** Locals that bodies share which stand in one function, each of them as if it had them alone. */
export class LocalPool {
  private readonly types: ValType[] = [];
  private readonly byType: Partial<Record<ValType, number[]>> = {};

  /** The `n`th of a type. */
  take(type: ValType, n: number): number {
    const known = (this.byType[type] ??= []);
    return (known[n] ??= this.reserve(type));
  }

  /** One that is no body's own. */
  reserve(type: ValType): number {
    return this.types.push(type) - 1;
  }

  declare(): Uint8Array {
    return declareLocals(this.types);
  }
}

/** Before the code of a function. */
function declareLocals(types: readonly ValType[]): Uint8Array {
  const groups: { type: ValType; count: number }[] = [];
  for (const type of types) {
    const last = groups.at(-1);
    if (last?.type === type) last.count++;
    else groups.push({ type, count: 1 });
  }
  const out = new Bytes().u32(groups.length);
  for (const g of groups) out.u32(g.count).byte(VALTYPE[g.type]);
  return out.take();
}

/** Turns a recorded block into the body of one WebAssembly function. */
export class Emitter {
  readonly code = new Bytes();
  private readonly locals: ValType[] = [];
  private depth = 0;
  /** How many locals of the pool, of each type. */
  private readonly taken: Partial<Record<ValType, number>> = {};
  private readonly pending = new Map<Node, Pending>();
  /** Locals that departures compute with. */
  private readonly spare: Partial<Record<ValType, number[]>> = {};

  constructor(
    private readonly paramCount: number,
    private readonly lowering: Lowering,
    private readonly pool?: LocalPool,
  ) {}

  // --- raw code -------------------------------------------------------------------------------------------
  op(name: string): this {
    this.code.byte(...opInfo(name).code);
    return this;
  }
  memory(name: string, offset = 0): this {
    this.op(name)
      .code.u32(name.includes('atomic') ? (ALIGN.get(name) ?? 0) : 0)
      .u32(offset);
    return this;
  }
  i32(value: number): this {
    this.code.byte(0x41).s32(value);
    return this;
  }
  i64(value: bigint): this {
    this.code.byte(0x42).s64(value);
    return this;
  }
  getLocal(index: number): this {
    this.code.byte(0x20).u32(index);
    return this;
  }
  setLocal(index: number): this {
    this.code.byte(0x21).u32(index);
    return this;
  }
  teeLocal(index: number): this {
    this.code.byte(0x22).u32(index);
    return this;
  }
  getGlobal(index: number): this {
    this.code.byte(0x23).u32(index);
    return this;
  }
  call(index: number): this {
    this.code.byte(0x10).u32(index);
    return this;
  }
  callIndirect(type: number): this {
    this.code.byte(0x11).u32(type).u32(0);
    return this;
  }
  returnCallIndirect(type: number): this {
    this.code.byte(0x13).u32(type).u32(0);
    return this;
  }
  returnCall(index: number): this {
    this.code.byte(0x12).u32(index);
    return this;
  }
  return(): this {
    this.code.byte(0x0f);
    return this;
  }
  drop(): this {
    this.code.byte(0x1a);
    return this;
  }
  if(type?: ValType): this {
    this.code.byte(0x04, type === undefined ? 0x40 : VALTYPE[type]);
    this.depth++;
    return this;
  }
  else(): this {
    this.code.byte(0x05);
    return this;
  }
  end(): this {
    this.code.byte(0x0b);
    this.depth--;
    return this;
  }
  newLocal(type: ValType): number {
    if (this.pool !== undefined) {
      const n = this.taken[type] ?? 0;
      this.taken[type] = n + 1;
      return this.paramCount + this.pool.take(type, n);
    }
    this.locals.push(type);
    return this.paramCount + this.locals.length - 1;
  }
  /** To the `n`th label around the body. */
  outward(n: number): this {
    this.code.byte(0x0c).u32(this.depth + n);
    return this;
  }
  slotOf(local: Local): number {
    if (local.slot < 0) local.slot = this.newLocal(local.type);
    return local.slot;
  }

  // --- values ---------------------------------------------------------------------------------------------
  private slot(node: Node): number {
    if (node.slot < 0) node.slot = this.newLocal(node.type);
    return node.slot;
  }

  /** Pops the value of a special's result into its local; drops it when nobody looks. */
  bind(result: Node | undefined): void {
    if (result === undefined || result.uses === 0) this.drop();
    else this.setLocal(this.slot(result));
  }

  private shared(node: Node): boolean {
    return node.uses > 1 || node.crossesLoop;
  }

  /** Pushes a value. */
  value(node: Node): this {
    if (node.slot >= 0) return this.getLocal(node.slot);
    if (node.op === 'local') {
      const wait = this.pending.get(node);
      if (wait === undefined) throw new Error('IR: a value is used before the statement that makes it');
      this.pending.delete(node);
      return this.readNow(wait);
    }
    return this.compute(node);
  }

  private readNow(s: Pending): this {
    if (s.kind === 'read') return this.getLocal(this.slotOf(s.local));
    if (s.read.op === 'get') this.lowering.get(this, s.read.field);
    else this.value(s.read.address).memory(s.read.name, s.read.offset);
    return this;
  }

  private compute(node: Node, operand: (arg: Node) => void = (arg) => void this.value(arg)): this {
    const { op, imm } = node;
    if (op === 'const') return this.constant(node.type, imm as bigint);
    if (op === 'param') return this.getLocal(imm as number);
    for (const arg of node.args) operand(arg);
    if (op === 'select') {
      if (node.type === 'v128') this.code.byte(0x1c, 1, VALTYPE.v128);
      else this.code.byte(0x1b);
      return this;
    }
    if (ALIGN.has(op)) return this.memory(op, imm as number);
    this.op(op);
    if (typeof imm === 'number') this.code.byte(imm);
    else if (typeof imm === 'object') this.code.byte(...imm);
    return this;
  }

  private constant(type: ValType, value: bigint): this {
    if (type === 'i32') return this.i32(Number(BigInt.asIntN(32, value)));
    if (type === 'i64') return this.i64(value);
    const bytes = type === 'f32' ? 4 : type === 'f64' ? 8 : 16;
    this.code.byte(...(type === 'f32' ? [0x43] : type === 'f64' ? [0x44] : [0xfd, 0x0c]));
    for (let i = 0; i < bytes; i++) this.code.byte(Number((value >> BigInt(8 * i)) & 0xffn));
    return this;
  }

  /** Evaluates into a local that may be read any number of times. */
  toLocal(node: Node): number {
    if (node.slot >= 0) return node.slot;
    if (node.op === 'param') return node.imm as number;
    this.value(node);
    const index = this.newLocal(node.type);
    this.setLocal(index);
    return index;
  }

  // --- statements -----------------------------------------------------------------------------------------
  private consumed(node: Node, into: Set<Node>): void {
    if (node.slot >= 0) return;
    if (node.op === 'local') {
      into.add(node);
      const wait = this.pending.get(node);
      if (wait?.kind === 'let' && wait.read.op === 'load') this.consumed(wait.read.address, into);
      return;
    }
    for (const arg of node.args) this.consumed(arg, into);
  }

  /** Before an effect: reads that wait and are not operands of it happen now. */
  private flush(...operands: readonly Node[]): void {
    if (this.pending.size === 0) return;
    const spare = new Set<Node>();
    for (const o of operands) this.consumed(o, spare);
    for (const [node, s] of [...this.pending]) {
      if (spare.has(node) || !this.pending.delete(node)) continue;
      this.readNow(s).setLocal(this.slot(node));
    }
  }

  private list(block: Block): void {
    for (const s of block) this.statement(s);
    this.flush();
  }

  private statement(s: Statement): void {
    switch (s.kind) {
      case 'let':
      case 'read':
        if (this.shared(s.result)) this.readNow(s).setLocal(this.slot(s.result));
        else this.pending.set(s.result, s);
        return;
      case 'define':
        if (this.shared(s.node) && s.node.op !== 'const') {
          this.compute(s.node).setLocal(this.slot(s.node));
        }
        return;
      case 'assign':
        this.flush(s.value);
        this.value(s.value).setLocal(this.slotOf(s.local));
        return;
      case 'put':
        this.flush(s.value);
        this.lowering.put(this, s.field, s.value);
        return;
      case 'store':
        this.flush(s.address, s.value);
        this.value(s.address).value(s.value).memory(s.op, s.offset);
        return;
      case 'special':
        this.flush(...s.args);
        this.lowering.special(this, s.act, s.args, s.result, s.placing);
        return;
      case 'return':
        this.flush(...s.values);
        for (const v of s.values) this.value(v);
        this.return();
        return;
      case 'if':
        this.flush(s.condition);
        this.value(s.condition);
        if (s.then.length > 0) {
          this.if();
          this.list(s.then);
          if (s.otherwise.length > 0) {
            this.else();
            this.list(s.otherwise);
          }
        } else {
          this.op('i32.eqz').if();
          this.list(s.otherwise);
        }
        this.end();
        return;
      case 'switch':
        this.switch(s);
        return;
      case 'loop':
        this.loop(s);
        return;
      case 'jump':
        this.flush();
        this.jump(s.label, s.where);
        return;
      case 'block':
        this.flush();
        this.code.byte(0x02, 0x40);
        this.depth++;
        s.label.depth = { outer: this.depth, inner: this.depth };
        this.list(s.body);
        this.end();
        return;
      case 'keep':
        return;
      case 'edge':
        this.flush(...s.to.sets.map((x) => x.value));
        for (const { value } of s.to.sets) this.value(value);
        this.arrive(s.to);
        return;
      case 'leave':
        if (s.condition === undefined) {
          this.flush();
          this.leave(s.to);
          return;
        }
        this.flush(s.condition);
        this.value(s.condition).if();
        this.leave(s.to);
        this.end();
        return;
    }
  }

  private arrive({ sets, label, where }: Departure): void {
    for (let i = sets.length - 1; i >= 0; i--) this.setLocal(sets[i]?.local ?? 0);
    this.jump(label, where);
  }

  /** Departs: what is not in a local already is computed here, nodes that several values share once. */
  leave(to: Departure): void {
    const shares = new Map<Node, number>();
    const count = (node: Node): void => {
      if (node.slot >= 0) return;
      const n = shares.get(node) ?? 0;
      shares.set(node, n + 1);
      if (n === 0) node.args.forEach(count);
    };
    for (const { value } of to.sets) count(value);
    const known = new Map<Node, number>();
    const taken: Partial<Record<ValType, number>> = {};
    const emit = (node: Node): void => {
      const at = known.get(node);
      if (at !== undefined) {
        this.getLocal(at);
        return;
      }
      if (node.slot >= 0 || node.op === 'local') {
        this.value(node);
        return;
      }
      this.compute(node, emit);
      if ((shares.get(node) ?? 0) < 2 || node.args.length === 0) return;
      const n = taken[node.type] ?? 0;
      taken[node.type] = n + 1;
      const pool = (this.spare[node.type] ??= []);
      const local = (pool[n] ??= this.newLocal(node.type));
      known.set(node, local);
      this.teeLocal(local);
    };
    for (const { value } of to.sets) emit(value);
    this.arrive(to);
  }

  private switch({ index, table, cases }: Extract<Statement, { kind: 'switch' }>): void {
    this.flush(index);
    for (const _ of cases) this.code.byte(0x02, 0x40);
    this.depth += cases.length;
    this.value(index).code.byte(0x0e).u32(table.length);
    for (const to of table) this.code.u32(to);
    this.code.u32(cases.length - 1);
    for (const body of cases) {
      this.end();
      this.list(body);
    }
  }

  private loop(s: Extract<Statement, { kind: 'loop' }>): void {
    this.flush();
    this.code.byte(0x02, 0x40, 0x03, 0x40);
    s.label.depth = { outer: this.depth + 1, inner: this.depth + 2 };
    this.depth += 2;
    for (const h of s.head) this.statement(h);
    this.flush(s.condition);
    if (s.condition.op !== 'const' || s.condition.imm === 0n) {
      this.value(s.condition).op('i32.eqz').code.byte(0x0d).u32(1);
    }
    this.list(s.body);
    this.code.byte(0x0c).u32(0);
    this.end().end();
  }

  private jump(label: LoopLabel, where: 'break' | 'continue'): void {
    if (label.depth === undefined) throw new Error('IR: jump out of a loop that is not open');
    const target = where === 'break' ? label.depth.outer : label.depth.inner;
    this.code.byte(0x0c).u32(this.depth - target);
  }

  /** Emits the whole function; `finish` pushes what falls out of its end. */
  function(block: Block, finish: (e: Emitter) => void): Uint8Array {
    this.list(prune(block));
    finish(this);
    this.code.byte(0x0b);
    return new Bytes().append(declareLocals(this.locals)).append(this.code.take()).take();
  }

  /** Emits a body that stands among others; `finish` leaves it. */
  part(block: Block, finish: (e: Emitter) => void): Uint8Array {
    this.list(prune(block));
    finish(this);
    return this.code.take();
  }
}
