import type { FieldName } from '../state';
import { opInfo, type ValType } from '../wasm/opcodes';
import { bitLength, foldConstants, rangeOf, simplify } from './fold';
import type { Block, Local, LoopLabel, Node, Placing, Read, Special, Statement } from './nodes';

/**
 * Records nodes and statements. Pure nodes are shared within the scope they were made in (and those inside it);
 * `define` marks the place, so that a node used twice is computed where it certainly dominates its uses.
 */
export class Recorder {
  readonly body: Block = [];
  /** Where an act that may fail is, for those who compile regions. */
  placing: ((act: Special) => Placing | undefined) | undefined;
  private block: Block = this.body;
  /** Constants and parameters: known everywhere. */
  private readonly leaves = new Map<string, Node>();
  /** Pure nodes known here; what a scope adds to it is taken out at the scope's end. */
  private known = new Map<string, Node>();
  private added: string[] = [];
  private ids = 0;
  private depth = 0;

  private raw(op: string, type: ValType, args: readonly Node[], imm: Node['imm'], bits: number): Node {
    const node: Node = {
      op,
      type,
      args,
      imm,
      bits,
      depth: this.depth,
      uses: 0,
      slot: -1,
      crossesLoop: false,
      cold: false,
      id: this.ids++,
    };
    return node;
  }

  /** A pure operation; `imm` for lanes and pure loads. */
  pure(op: string, args: readonly Node[], imm?: Node['imm']): Node {
    const type = op === 'select' ? args[0]?.type : opInfo(op).result;
    if (type === undefined) throw new Error(`${op} yields nothing`);
    const folded = foldConstants(op, args);
    if (folded !== undefined) return this.constant(type, folded);
    const same = simplify(
      op,
      args,
      (name, ...rest) => this.pure(name, rest),
      (v) => this.i64(v),
    );
    if (same !== undefined) return same;
    let key = op;
    for (const a of args) key += `,${a.id}`;
    if (imm !== undefined) key += `|${typeof imm === 'object' ? imm.join() : imm}`;
    const known = this.known.get(key);
    if (known !== undefined) return known;
    const node = this.raw(op, type, args, imm, rangeOf(op, args));
    this.known.set(key, node);
    this.added.push(key);
    this.block.push({ kind: 'define', node });
    return node;
  }

  n(op: string, ...args: readonly Node[]): Node {
    return this.pure(op, args);
  }

  constant(type: ValType, value: bigint): Node {
    const width = type === 'i32' || type === 'f32' ? 32 : type === 'v128' ? 128 : 64;
    const v = BigInt.asUintN(width, value);
    const key = `const|${type}|${v}`;
    let node = this.leaves.get(key);
    if (node === undefined) {
      node = this.raw('const', type, [], v, bitLength(v));
      this.leaves.set(key, node);
    }
    return node;
  }
  i32(v: number): Node {
    return this.constant('i32', BigInt(v));
  }
  i64(v: number | bigint): Node {
    return this.constant('i64', BigInt(v));
  }

  param(type: ValType, index: number): Node {
    const key = `param|${index}`;
    let node = this.leaves.get(key);
    if (node === undefined) {
      node = this.raw('param', type, [], index, type === 'i32' ? 32 : 64);
      this.leaves.set(key, node);
    }
    return node;
  }

  /** A fresh immutable value that a statement produces. */
  result(type: ValType, bits = type === 'i32' ? 32 : 64): Node {
    return this.raw('local', type, [], undefined, bits);
  }

  private let(read: Read, type: ValType, bits?: number): Node {
    const result = this.result(type, bits);
    this.block.push({ kind: 'let', result, read });
    return result;
  }

  get(field: FieldName, type: ValType, bits?: number): Node {
    return this.let({ op: 'get', field }, type, bits);
  }
  /** Memory that other statements may change. */
  load(name: string, address: Node, offset = 0): Node {
    const type = opInfo(name).result ?? 'i64';
    return this.let({ op: 'load', name, offset, address }, type, rangeOf(name, []));
  }
  store(op: string, address: Node, value: Node, offset = 0): void {
    this.push({ kind: 'store', op, offset, address, value });
  }

  push(statement: Statement): void {
    this.block.push(statement);
  }

  special(act: Special, args: readonly Node[], type?: ValType, bits?: number): Node | undefined {
    const result = type === undefined ? undefined : this.result(type, bits);
    const placing = this.placing?.(act);
    this.push({ kind: 'special', act, args, result, ...(placing === undefined ? {} : { placing }) });
    return result;
  }

  /** Calls a function known to the lowering. */
  call(name: string, args: readonly Node[], type: ValType): Node {
    const result = this.result(type);
    this.push({ kind: 'special', act: { op: 'call', name, faults: false }, args, result });
    return result;
  }
  callVoid(name: string, args: readonly Node[]): void {
    this.push({ kind: 'special', act: { op: 'call', name, faults: false }, args, result: undefined });
  }

  local(type: ValType, initial?: Node): Local {
    const local: Local = { type, slot: -1 };
    if (initial !== undefined) this.assign(local, initial);
    return local;
  }
  assign(local: Local, value: Node): void {
    this.push({ kind: 'assign', local, value });
  }
  read(local: Local, bits?: number): Node {
    const result = this.result(local.type, bits);
    this.push({ kind: 'read', local, result });
    return result;
  }

  /** Records `body` into a block of its own. */
  inside<T>(body: () => T): { block: Block; value: T } {
    const outer = this.block;
    const block: Block = [];
    this.block = block;
    const { added } = this;
    this.added = [];
    const value = body();
    for (const key of this.added) this.known.delete(key);
    this.added = added;
    this.block = outer;
    return { block, value };
  }

  /** Records `body` into a block in which nothing computed before is known: constants and parameters are. */
  apart(body: () => void): Block {
    const { known } = this;
    this.known = new Map();
    const { block } = this.inside(body);
    this.known = known;
    return block;
  }

  /** `condition` is an i32. */
  if(condition: Node, then: () => void, otherwise?: () => void): void {
    if (condition.op === 'const') {
      if (condition.imm !== 0n) then();
      else otherwise?.();
      return;
    }
    const yes = this.inside(then).block;
    const no = otherwise === undefined ? [] : this.inside(otherwise).block;
    this.push({ kind: 'if', condition, then: yes, otherwise: no });
  }

  /** `index` is an i32 less than the table's length; each case ends in a jump or departs. */
  switch(index: Node, table: readonly number[], cases: readonly (() => void)[]): void {
    const blocks = cases.map((body) => this.inside(body).block);
    this.push({ kind: 'switch', index, table, cases: blocks });
  }

  loop(condition: (label: LoopLabel) => Node, body: (label: LoopLabel) => void): void {
    const label: LoopLabel = { depth: undefined };
    this.depth++;
    const head = this.inside(() => condition(label));
    const inner = this.inside(() => body(label)).block;
    this.depth--;
    this.push({ kind: 'loop', head: head.block, condition: head.value, body: inner, label });
  }
  /** `body` jumps behind itself by `break`. */
  forward(body: (label: LoopLabel) => void): void {
    const label: LoopLabel = { depth: undefined };
    this.push({ kind: 'block', body: this.inside(() => body(label)).block, label });
  }
  /** Takes over what `inside` recorded. */
  splice(block: Block): void {
    for (const s of block) this.block.push(s);
  }
  break(label: LoopLabel): void {
    this.push({ kind: 'jump', label, where: 'break' });
  }
  continue(label: LoopLabel): void {
    this.push({ kind: 'jump', label, where: 'continue' });
  }
  return(...values: readonly Node[]): void {
    this.push({ kind: 'return', values });
  }

  /** A 64-bit value as an i32 condition. */
  condition(v: Node): Node {
    if (v.type === 'i32') return v;
    return this.n('i64.ne', v, this.i64(0));
  }
  bool(i32: Node): Node {
    return this.n('i64.extend_i32_u', i32);
  }
  wrap(v: Node): Node {
    return this.n('i32.wrap_i64', v);
  }
}
