import type { Seg } from '../ops';
import { RECORD, RECORD_FLAG, RECORD_SIZE } from '../record';
import { FIELD, offsetOf, type FieldName } from '../state';
import type { Emitter, Lowering } from '../ir/emitter';
import type { Node, Special } from '../ir/nodes';
import { RC, TLB, TLB_ENTRIES, TLB_ENTRY_SHIFT } from './abi';
import type { FunctionRef } from './encoder';

/** Functions that handlers call, by name. */
export type Functions = ReadonlyMap<string, FunctionRef>;

const CPU = 0;
const REC = 1;

export function functionIndex(functions: Functions, name: string): number {
  const f = functions.get(name);
  if (f === undefined) throw new Error(`no function ${name} in the interpreter's module`);
  return f.index;
}

const loadOp = (f: FieldName): string =>
  FIELD[f].type === 'i32' ? 'i64.load32_u' : FIELD[f].size === 16 ? 'v128.load' : 'i64.load';
const storeOp = (f: FieldName): string =>
  FIELD[f].type === 'i32' ? 'i64.store32' : FIELD[f].size === 16 ? 'v128.store' : 'i64.store';

/** State accesses that simply go to memory; parameter 0 is the vCPU. */
export const stateInMemory = {
  get: (e: Emitter, f: FieldName): void => void e.getLocal(CPU).memory(loadOp(f), offsetOf(f)),
  put: (e: Emitter, f: FieldName, value: Node): void =>
    void e.getLocal(CPU).value(value).memory(storeOp(f), offsetOf(f)),
};

/** Lowering of routines that are not instructions: state in memory, calls, nothing that faults. */
export function lowerRoutine(functions: Functions, handlerType: number): Lowering {
  return {
    ...stateInMemory,
    special(e, act, args, result) {
      if (act.op !== 'call') throw new Error(`${act.op} in a routine`);
      for (const a of args) e.value(a);
      if (act.name === 'memory.fill') {
        e.code.byte(0xfc, 0x0b, 0);
        return;
      }
      if (act.name === 'memory.copy') {
        e.code.byte(0xfc, 0x0a, 0, 0);
        return;
      }
      // dispatch(vcpu, record, handler); goto(vcpu, record): on with a record, by a tail call
      if (act.name === 'chain_tail') {
        e.returnCall(functionIndex(functions, 'chain'));
        return;
      }
      if (act.name === 'goto') {
        e.returnCall(functionIndex(functions, 'steps'));
        return;
      }
      if (act.name === 'dispatch') e.callIndirect(handlerType);
      else e.call(functionIndex(functions, act.name));
      if (result !== undefined) e.bind(result);
    },
  };
}

export interface HandlerLowering extends Lowering {
  /** How the handler ends when nothing happened: on to the next record, or out of the block. */
  finish(e: Emitter): void;
}

/** Where handlers stand together in a function (steps.ts). */
export interface Together {
  /** Local that has the address to go on from, in place of state.next. */
  readonly next: number;
  /** Local that tells LEAVE and EXIT, zero where a handler begins. */
  readonly leave: number;
  /** On with the next record; to the block at `next`. */
  again(e: Emitter): void;
  chain(e: Emitter, returns: boolean): void;
}

/**
 * Lowering for interpreter handlers `(vcpu, record) → RC bits`. `ends`: the form ends its block, so
 * state.next is kept (set from the record first) and the handler returns END.
 */
export function lowerHandler(
  { functions }: { readonly functions: Functions },
  helperNumber: (name: string) => number,
  { ends, branch, mnemonic }: { readonly ends: boolean; readonly branch: boolean; readonly mnemonic: string },
  together?: Together,
): HandlerLowering {
  const f = (name: string): number => functionIndex(functions, name);
  /** Local that gathers LEAVE and EXIT. */
  let leave = -1;
  let nextWritten = false;
  /** The run loop has to look at the state before it goes on (TF, time, …). */
  let stops = !branch;

  const leaveLocal = (e: Emitter): number =>
    leave < 0 ? (leave = together?.leave ?? e.newLocal('i32')) : leave;
  /** Tells the run loop where it left. */
  const here = (e: Emitter): Emitter => e.getLocal(CPU).getLocal(REC).memory('i32.store', offsetOf('record'));
  const fault = (e: Emitter): void => void here(e).i32(RC.FAULT).return();
  const field = (e: Emitter, name: FieldName): void =>
    void e.getLocal(CPU).memory('i32.load', offsetOf(name));

  const recordNext = (e: Emitter): void => void e.getLocal(REC).memory('i64.load', RECORD.next);
  const rip = (e: Emitter): void => {
    recordNext(e);
    e.getLocal(REC).memory('i64.load8_u', RECORD.length).op('i64.sub');
  };

  /** `seg << 8 | bytes`, as the slow paths take it. */
  const segment = (e: Emitter, seg: Seg | undefined, bytes: number): void => {
    if (seg !== 'operand') e.i32(seg === 'ss' ? bytes | 256 : bytes);
    else {
      e.getLocal(REC).memory('i32.load8_u', RECORD.flags).i32(RECORD_FLAG.STACK).op('i32.and');
      e.i32(8).op('i32.shl').i32(bytes).op('i32.or');
    }
  };
  /** After a slow path that did not fault: what it asks for. */
  const gather = (e: Emitter): void => {
    const l = leaveLocal(e);
    e.getLocal(l);
    field(e, 'pending');
    e.op('i32.or').setLocal(l);
  };
  /** Pops 0 → fault. */
  const faultIfZero = (e: Emitter): void => {
    e.op('i32.eqz').if();
    fault(e);
    e.end();
  };

  /** Pushes whether the soft TLB serves `bytes` at the address in local `va`; leaves the entry in local `entry`. */
  const probeTlb = (e: Emitter, va: number, entry: number, bytes: number, tag: number): void => {
    e.getLocal(va)
      .i64(BigInt(12 - TLB_ENTRY_SHIFT))
      .op('i64.shr_u')
      .op('i32.wrap_i64');
    e.i32((TLB_ENTRIES - 1) << TLB_ENTRY_SHIFT).op('i32.and');
    field(e, 'tlb');
    e.op('i32.add').teeLocal(entry).memory('i64.load', tag);
    e.getLocal(va);
    if (bytes > 1) e.i64(BigInt(bytes - 1)).op('i64.add');
    e.i64(-4096n).op('i64.and').op('i64.eq');
  };
  const host = (e: Emitter, va: number, entry: number): void => {
    e.getLocal(va).op('i32.wrap_i64').getLocal(entry).memory('i32.load', TLB.addend).op('i32.add');
  };
  const rawLoad = (width: number): string =>
    width === 128 ? 'v128.load' : width === 64 ? 'i64.load' : `i64.load${width}_u`;
  const rawStore = (width: number): string =>
    width === 128 ? 'v128.store' : width === 64 ? 'i64.store' : `i64.store${width}`;

  type Act<K extends Special['op']> = Extract<Special, { op: K }>;
  const acts: {
    readonly [K in Special['op']]: (
      e: Emitter,
      act: Act<K>,
      args: readonly Node[],
      result: Node | undefined,
    ) => void;
  } = {
    guestLoad(e, { width, seg, write, host: kept }, [address], result) {
      if (address === undefined) return;
      const bytes = width / 8;
      const va = e.toLocal(address);
      const entry = e.newLocal('i32');
      probeTlb(e, va, entry, bytes, write ? TLB.tagWrite : TLB.tagRead);
      e.if('i32');
      host(e, va, entry);
      if (kept) e.teeLocal(e.slotOf(kept));
      e.else();
      e.getLocal(CPU).getLocal(va);
      segment(e, seg, bytes);
      e.call(f(write ? 'slow_rmw' : 'slow_read')).teeLocal(entry);
      faultIfZero(e);
      gather(e);
      if (kept) e.i32(0).setLocal(e.slotOf(kept));
      e.getLocal(entry).end().memory(rawLoad(width));
      e.bind(result);
    },
    guestStore(e, { width, seg, host: kept }, [address, v]) {
      if (address === undefined || v === undefined) return;
      const bytes = width / 8;
      const va = e.toLocal(address);
      const value = e.toLocal(v);
      const entry = kept ? -1 : e.newLocal('i32');
      if (kept) e.getLocal(e.slotOf(kept));
      else probeTlb(e, va, entry, bytes, TLB.tagWrite);
      e.if();
      if (kept) e.getLocal(e.slotOf(kept));
      else host(e, va, entry);
      e.getLocal(value).memory(rawStore(width));
      e.else();
      e.getLocal(CPU)
        .getLocal(value)
        .memory(width === 128 ? 'v128.store' : 'i64.store', offsetOf('scratch0'));
      e.getLocal(CPU).getLocal(va);
      segment(e, seg, bytes);
      e.call(f('slow_write'));
      faultIfZero(e);
      gather(e);
      e.end();
    },
    guestProbe(e, { width, seg }, [address]) {
      if (address === undefined) return;
      e.getLocal(CPU).value(address);
      // Up to 4096 bytes do not fit the packed argument: the width goes apart.
      segment(e, seg, 0);
      e.i32(width / 8).call(f('slow_probe'));
      faultIfZero(e);
    },
    raise(e, { vector }, [code]) {
      e.getLocal(CPU).i32(vector);
      if (code === undefined) e.i32(-1);
      else e.value(code).op('i32.wrap_i64');
      e.call(f('raise'));
      fault(e);
    },
    exit(e, { reason }, [info]) {
      e.getLocal(CPU).i32(reason).memory('i32.store', offsetOf('exit_reason'));
      e.getLocal(CPU);
      if (info === undefined) e.i64(0n);
      else e.value(info);
      e.memory('i64.store', offsetOf('exit_info'));
      const l = leaveLocal(e);
      e.getLocal(l).i32(RC.EXIT).op('i32.or').setLocal(l);
    },
    helper(e, { name }, args, result) {
      const values = args.map((a) => e.toLocal(a));
      const time = name === 'rdtsc';
      if (time) {
        field(e, 'tsc_known');
        e.if('i64');
        for (const part of ['icount', 'tsc_base'] as const)
          e.getLocal(CPU).memory('i64.load', offsetOf(part));
        e.op('i64.add').else();
      }
      e.getLocal(CPU);
      rip(e);
      e.memory('i64.store', offsetOf('rip'));
      e.getLocal(CPU)
        .getLocal(REC)
        .memory('i32.load8_u', RECORD.flags)
        .memory('i32.store', offsetOf('record_flags'));
      if (!ends) {
        e.getLocal(CPU);
        recordNext(e);
        e.memory('i64.store', offsetOf('next'));
      }
      e.getLocal(CPU).i32(helperNumber(name));
      for (const v of values) e.getLocal(v);
      e.call(f(`helper${args.length}`));
      if (time) e.end();
      e.bind(result);
      nextWritten = true;
      // What is asked for the time changes nothing that the run loop has to look at.
      stops = !time;
      field(e, 'pending');
      e.if();
      field(e, 'pending');
      e.i32(RC.FAULT).op('i32.and').if();
      fault(e);
      e.end();
      gather(e);
      e.end();
    },
    fp(e, { name }, args, result) {
      e.getLocal(CPU);
      for (const a of args) e.value(a);
      e.call(f(`fp_${name}`));
      e.bind(result);
    },
    fpCheck(e) {
      field(e, 'fp_flags');
      e.if().getLocal(CPU).call(f('fp_settle')).if();
      fault(e);
      e.end().end();
    },
    bulk(e, { name, shift }, args, result) {
      e.getLocal(CPU);
      for (const a of args) e.value(a);
      e.i32(shift).call(f(name));
      e.bind(result);
    },
    call() {
      throw new Error('a bare call in an instruction');
    },
  };

  return {
    get(e, name) {
      if (name === 'rip') rip(e);
      else if (name === 'next' && !nextWritten) recordNext(e);
      else if (name === 'next' && together !== undefined) e.getLocal(together.next);
      else stateInMemory.get(e, name);
    },
    put(e, name, value) {
      if (name === 'rip') throw new Error('rip is set through next');
      if (name === 'next') {
        if (!ends) throw new Error('an instruction sets next but does not end its block');
        nextWritten = true;
        if (together !== undefined) {
          e.value(value).setLocal(together.next);
          return;
        }
      }
      if (name === 'rflags') stops = true;
      stateInMemory.put(e, name, value);
    },
    special(e, act, args, result) {
      const lower = acts[act.op] as (
        e: Emitter,
        act: Special,
        args: readonly Node[],
        result: Node | undefined,
      ) => void;
      lower(e, act, args, result);
    },
    finish(e) {
      if (leave >= 0) {
        e.getLocal(leave).if();
        if (ends && together !== undefined)
          e.getLocal(CPU).getLocal(together.next).memory('i64.store', offsetOf('next'));
        here(e).getLocal(leave);
        if (ends) e.i32(RC.END).op('i32.or');
        e.return().end();
      }
      if (ends) {
        const returns = mnemonic === 'ret';
        if (together !== undefined && stops)
          throw new Error('a handler that goes to the run loop among the frequent ones');
        if (together !== undefined) together.chain(e, returns);
        else if (stops) e.i32(RC.END);
        else
          e.getLocal(CPU)
            .getLocal(REC)
            .returnCall(f(returns ? 'chain_return' : 'chain'));
        return;
      }
      if (together !== undefined)
        together.again(e.getLocal(REC).i32(RECORD_SIZE).op('i32.add').setLocal(REC));
      else e.getLocal(CPU).getLocal(REC).i32(RECORD_SIZE).op('i32.add').returnCall(f('steps'));
    },
  };
}

/** Handlers that end a block first take `next` from the record. */
export function prologue(e: Emitter, ends: boolean, together?: Together): void {
  if (together !== undefined) e.i32(0).setLocal(together.leave);
  if (!ends) return;
  if (together !== undefined) e.getLocal(REC).memory('i64.load', RECORD.next).setLocal(together.next);
  else e.getLocal(CPU).getLocal(REC).memory('i64.load', RECORD.next).memory('i64.store', offsetOf('next'));
}
