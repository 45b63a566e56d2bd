/** What the parts of the generated function have in common: words of the vCPU and its annex, the soft TLB, flags, the trace. */
import { DOMID } from '../../abi/domains';
import { vcpu_info } from '../../abi/info';
import { HYPERVISOR_VIRT_END } from '../../abi/mmu';
import type { Node } from '../../cpu/ir/nodes';
import type { Recorder } from '../../cpu/ir/recorder';
import { STATUS_FLAGS, offsetOf, type FieldName } from '../../cpu/state';
import {
  EXEC,
  EXEC_ENTRIES,
  EXEC_ENTRY_SHIFT,
  TLB,
  TLB_BARRED,
  TLB_ENTRIES,
  TLB_ENTRY_SHIFT,
  TLB_EXEC,
} from '../../cpu/wasm/abi';
import { HEAD, HEAD_SIZE, RANGE_HEADER, TAIL_SIZE } from '../trace-layout';
import { ANNEX, type NarrowName, type WideName } from './annex';

const STATUS = Number(STATUS_FLAGS);
export const INFO = vcpu_info.offset;

export const no = (r: Recorder): void => {
  r.return(r.i32(0));
};
/** Leaves unless it holds (an i32). */
export function unless(r: Recorder, good: Node): void {
  r.if(r.n('i32.eqz', good), () => {
    no(r);
  });
}
export const not = (bits: bigint): bigint => BigInt.asUintN(64, ~bits);
export const both = (r: Recorder, a: Node, b: Node): Node => r.n('i32.and', a, b);
export const has = (r: Recorder, v: Node, bits: bigint): Node =>
  r.n('i64.ne', r.n('i64.and', v, r.i64(bits)), r.i64(0));
export const CPU = (r: Recorder): Node => r.param('i32', 0);
export const reg = (r: Recorder, name: FieldName): Node => r.load('i64.load', CPU(r), offsetOf(name));
export const low = (r: Recorder, name: FieldName): Node => r.load('i32.load', CPU(r), offsetOf(name));
export const setReg = (r: Recorder, name: FieldName, v: Node): void => {
  r.store(v.type === 'i32' ? 'i32.store' : 'i64.store', CPU(r), v, offsetOf(name));
};
export const wide = (r: Recorder, name: WideName): Node => r.load('i64.load', CPU(r), ANNEX[name]);
export const word = (r: Recorder, name: NarrowName): Node => r.load('i32.load', CPU(r), ANNEX[name]);
export const setAnnex = (r: Recorder, name: WideName | NarrowName, v: Node): void => {
  r.store(v.type === 'i32' ? 'i32.store' : 'i64.store', CPU(r), v, ANNEX[name]);
};
export const increment = (r: Recorder, name: NarrowName): void => {
  setAnnex(r, name, r.n('i32.add', word(r, name), r.i32(1)));
};

/** Entries of a TLB set for a linear address. */
export function tlbEntryOf(r: Recorder, set: Node, linear: Node): Node {
  const index = r.n('i32.and', r.n('i32.shr_u', r.wrap(linear), r.i32(12)), r.i32(TLB_ENTRIES - 1));
  return r.n('i32.add', set, r.n('i32.shl', index, r.i32(TLB_ENTRY_SHIFT)));
}
export function execEntryOf(r: Recorder, set: Node, linear: Node): Node {
  const index = r.n('i32.and', r.n('i32.shr_u', r.wrap(linear), r.i32(12)), r.i32(EXEC_ENTRIES - 1));
  return r.n('i32.add', set, r.n('i32.add', r.n('i32.shl', index, r.i32(EXEC_ENTRY_SHIFT)), r.i32(TLB_EXEC)));
}

/** Vcpu.flushPage */
export function flushPage(r: Recorder, address: Node): void {
  for (const name of ['kernelTlb', 'userTlb'] as const) {
    const set = word(r, name);
    r.callVoid('memory.fill', [tlbEntryOf(r, set, address), r.i32(0xff), r.i32(1 << TLB_ENTRY_SHIFT)]);
    r.callVoid('memory.fill', [execEntryOf(r, set, address), r.i32(0xff), r.i32(1 << EXEC_ENTRY_SHIFT)]);
  }
}
/** Vcpu.flushTlb */
export function flushAll(r: Recorder): void {
  r.callVoid('flush_set', [word(r, 'kernelTlb')]);
  r.callVoid('flush_set', [word(r, 'userTlb')]);
}

const asNode = (r: Recorder, v: number | Node): Node => (typeof v === 'number' ? r.i32(v) : v);

/** Address of `bytes` at a linear address, by an entry of the TLB set: Vcpu.reach. Without one it leaves. */
export function reach(r: Recorder, set: Node, linear: Node, bytes: number | Node, write: boolean): Node {
  const at = r.wrap(linear);
  const offset = r.n('i32.and', at, r.i32(4095));
  r.if(r.n('i32.gt_u', offset, r.n('i32.sub', r.i32(4096), asNode(r, bytes))), () => {
    no(r);
  });
  const entry = tlbEntryOf(r, set, linear);
  const tag = r.load('i64.load', entry, write ? TLB.tagWrite : TLB.tagRead);
  const plain = write ? tag : r.n('i64.and', tag, r.i64(not(TLB_BARRED)));
  r.if(r.n('i64.ne', plain, r.n('i64.and', linear, r.i64(not(0xfffn)))), () => {
    no(r);
  });
  return r.n('i32.add', at, r.load('i32.load', entry, TLB.addend));
}

/** Address of the instruction at rip, and so many bytes, in a stretch of code that is being fetched from: Vcpu.readCode. */
export function codeAt(r: Recorder, rip: Node, bytes: number): Node {
  const fetch = execEntryOf(r, low(r, 'tlb'), rip);
  const page = r.n('i64.and', rip, r.i64(not(0xfffn)));
  const inside = r.n('i32.le_u', r.n('i32.and', r.wrap(rip), r.i32(4095)), r.i32(4096 - bytes));
  r.if(r.n('i32.eqz', inside), () => {
    no(r);
  });
  r.if(r.n('i64.ne', r.load('i64.load', fetch, EXEC.tag), page), () => {
    no(r);
  });
  return r.n('i32.add', r.wrap(rip), r.load('i32.load', fetch, EXEC.addend));
}

/** Low half of RFLAGS: composeFlags of cpu/flags.ts. */
export function flagsOf(r: Recorder): Node {
  const or = (...bits: readonly Node[]): Node => bits.reduce((a, b) => r.n('i32.or', a, b));
  const at = (bit: Node, shift: number): Node => r.n('i32.shl', bit, r.i32(shift));
  const odd = r.n('i32.and', r.n('i32.popcnt', r.n('i32.and', low(r, 'pf'), r.i32(0xff))), r.i32(1));
  const sign = (name: FieldName): Node => r.wrap(r.n('i64.shr_u', reg(r, name), r.i64(63)));
  return or(
    r.n('i32.and', low(r, 'rflags'), r.i32(~STATUS)),
    r.i32(2),
    r.n('i64.ne', reg(r, 'cf'), r.i64(0)),
    at(r.n('i32.xor', odd, r.i32(1)), 2),
    r.n('i32.and', low(r, 'af'), r.i32(0x10)),
    at(r.n('i64.eqz', reg(r, 'zf')), 6),
    at(sign('sf'), 7),
    at(sign('of'), 11),
  );
}

/** splitFlags of cpu/flags.ts. */
export function setFlags(r: Recorder, v: Node): void {
  const bit = (mask: number): Node => r.n('i32.and', v, r.i32(mask));
  setReg(r, 'cf', r.bool(bit(1)));
  setReg(r, 'pf', r.bool(r.n('i32.eqz', bit(4))));
  setReg(r, 'af', r.bool(bit(0x10)));
  setReg(r, 'zf', r.bool(r.n('i32.eqz', bit(0x40))));
  setReg(r, 'sf', r.n('i64.shl', r.bool(bit(0x80)), r.i64(56)));
  setReg(r, 'of', r.n('i64.shl', r.bool(bit(0x800)), r.i64(52)));
  setReg(r, 'rflags', r.bool(r.n('i32.or', r.n('i32.and', v, r.i32(~STATUS)), r.i32(2))));
}

/** Stores to vcpu_info are announced (MachineMemory): only where nobody wants to hear of them. */
export function mayStoreInfo(r: Recorder): void {
  r.if(r.load('i32.load8_u', word(r, 'attention')), () => {
    no(r);
  });
}
export const infoByte = (r: Recorder, offset: number): Node => r.load('i32.load8_u', word(r, 'info'), offset);

/** The instruction at hand retires: leaves where the run would end behind it. */
export function retires(r: Recorder): void {
  r.if(r.n('i64.ge_s', r.n('i64.add', reg(r, 'icount'), r.i64(1)), reg(r, 'ilimit')), () => {
    no(r);
  });
}

/** An upcall that would be made before the guest goes on, when events are masked or not then. */
export function noUpcall(r: Recorder, masked: Node): void {
  r.if(upcallDue(r, masked), () => {
    no(r);
  });
}

/** Whether an upcall is to be made before the guest goes on, when events are masked or not then. */
export const upcallDue = (r: Recorder, masked: Node): Node =>
  r.n('i32.and', r.n('i32.ne', infoByte(r, INFO.evtchn_upcall_pending), r.i32(0)), r.n('i32.eqz', masked));
/** One that is due must be possible (bounce.ts). */
export function mayUpcall(r: Recorder, due: Node, kernel: Node, rsp: Node): void {
  r.if(due, () => {
    r.if(r.n('i32.eqz', r.call('may_upcall', [CPU(r), kernel, rsp], 'i32')), () => {
      no(r);
    });
  });
}
export function upcall(r: Recorder, due: Node): void {
  r.if(due, () => {
    r.call('upcall', [CPU(r)], 'i32');
  });
}

/** The exit is done with: the hypervisor's turn is over, and what might hold it was looked at before. */
export function done(r: Recorder): void {
  increment(r, 'crossings');
  // A run that begins anew skips no breakpoint that it was not asked to.
  setReg(r, 'skip_break', r.i32(0));
  r.return(r.i32(1));
}

/** Guest memory behind a call's arguments that is kept with its record. */
export interface Captured {
  readonly linear: Node;
  readonly host: Node;
  /** A multiple of 8, CAPTURE_LIMIT at most. */
  readonly bytes: number | Node;
  /** Says by what names the call is counted (HEAD.names). */
  readonly names: number | Node;
}

/** A record as trace.ts makes it, of a call that was not refused; the arguments stand in the registers. */
export function traceCall(r: Recorder, nr: number, result: Node): void {
  writeRecord(r, nr, result);
  nextRecord(r);
}

/** It counts when the next is turned to; until then, whatever comes of the call is written in its place. */
function writeRecord(r: Recorder, nr: number, result: Node, captured?: Captured): void {
  const slot = word(r, 'slot');
  r.if(word(r, 'heads'), () => {
    const head = r.n('i32.add', word(r, 'heads'), r.n('i32.mul', slot, r.i32(HEAD_SIZE)));
    const retired = r.n('i64.add', reg(r, 'icount'), wide(r, 'othersRetired'));
    r.store('i64.store', head, retired, HEAD.retired);
    r.store('i64.store', head, r.n('i64.add', retired, wide(r, 'skipped')), HEAD.time);
    r.store('i64.store', head, reg(r, 'rip'), HEAD.rip);
    r.store('i64.store', head, result, HEAD.result);
    (['rdi', 'rsi', 'rdx', 'r10', 'r8', 'r9'] as const).forEach((name, i) => {
      r.store('i64.store', head, reg(r, name), HEAD.args + 8 * i);
    });
    // Number, domain and vCPU.
    const who = r.n('i64.shl', r.bool(word(r, 'who')), r.i64(32));
    r.store('i64.store', head, r.n('i64.or', who, r.i64(nr)), HEAD.nr);
    // Depth, ranges, refused; names.
    r.store('i32.store', head, r.i32(captured === undefined ? 0 : 1 << 8), HEAD.depth);
    r.store('i32.store', head, captured === undefined ? r.i32(0) : asNode(r, captured.names), HEAD.names);
    if (captured !== undefined) {
      const tails = r.n('i32.add', word(r, 'heads'), r.n('i32.mul', word(r, 'capacity'), r.i32(HEAD_SIZE)));
      const tail = r.n('i32.add', tails, r.n('i32.mul', slot, r.i32(TAIL_SIZE)));
      r.store('i64.store', tail, captured.linear);
      const { host, bytes } = captured;
      r.store('i32.store16', tail, asNode(r, bytes), 8);
      if (typeof bytes === 'number')
        for (let i = 0; i < bytes; i += 8)
          r.store('i64.store', tail, r.load('i64.load', host, i), RANGE_HEADER + i);
      else r.callVoid('memory.copy', [r.n('i32.add', tail, r.i32(RANGE_HEADER)), host, bytes]);
    }
  });
}

function nextRecord(r: Recorder): void {
  r.if(word(r, 'heads'), () => {
    const following = r.n('i32.add', word(r, 'slot'), r.i32(1));
    setAnnex(r, 'slot', r.n('select', r.i32(0), following, r.n('i32.eq', following, word(r, 'capacity'))));
    setAnnex(r, 'room', r.n('i32.sub', word(r, 'room'), r.i32(1)));
  });
}

/** A call that returns `result` to behind the SYSCALL; `act`: what it does. dispatch.ts enterHypercall. */
export function plainCall(r: Recorder, nr: number, result: number, act: () => void): void {
  const due = upcallDue(r, infoByte(r, INFO.evtchn_upcall_mask));
  mayUpcall(r, due, r.i32(1), reg(r, 'rsp'));
  traceCall(r, nr, r.i64(result));
  act();
  returned(r, result);
  upcall(r, due);
  done(r);
}

/** A call that changes tables and translations, so that no upcall follows it; `act` may leave. */
export function tableCall(r: Recorder, nr: number, act: () => void, captured?: Captured): void {
  noUpcall(r, infoByte(r, INFO.evtchn_upcall_mask));
  writeRecord(r, nr, r.i64(0), captured);
  act();
  nextRecord(r);
  returned(r, 0);
  done(r);
}

/** dispatch.ts returnByRegisters, and the result. */
function returned(r: Recorder, result: number): void {
  setReg(r, 'rcx', reg(r, 'rip'));
  setReg(r, 'r11', r.bool(flagsOf(r)));
  setReg(r, 'rax', r.i64(result));
}

/** What mmu_update and mmuext_op have in common: an array in the kernel's memory, no count wanted, one's own frames. */
export function elements(r: Recorder, bytes: number | Node): Node {
  const at = reg(r, 'rdi');
  const plain = both(
    r,
    both(r, r.n('i64.ge_u', at, r.i64(HYPERVISOR_VIRT_END)), r.n('i64.eqz', reg(r, 'rdx'))),
    r.n('i32.eq', low(r, 'r10'), r.i32(DOMID.SELF)),
  );
  unless(r, plain);
  return reach(r, word(r, 'kernelTlb'), at, bytes, false);
}

/** guest-memory.ts addressOk. */
export const inGuestsPart = (r: Recorder, va: Node): Node =>
  r.n('i32.or', r.n('i64.ge_u', va, r.i64(HYPERVISOR_VIRT_END)), r.n('i64.lt_u', va, r.i64(1n << 47n)));
