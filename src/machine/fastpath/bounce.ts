/** Entering a handler of the guest's kernel: bounce.ts of the hypervisor. */
import { HYPERVISOR_VIRT_END } from '../../abi/mmu';
import type { Node } from '../../cpu/ir/nodes';
import type { Recorder } from '../../cpu/ir/recorder';
import type { Routines } from '../../cpu/wasm/routines';
import { EFLAGS } from '../../hypervisor/bounce';
import { FLAT_KERNEL_CS, FLAT_KERNEL_SS } from '../../hypervisor/vcpu';
import { ALLOWED } from './annex';
import { INFO, flagsOf, increment, infoByte, low, mayStoreInfo, no, not, noUpcall, reach, reg, setAnnex, setReg, wide, word } from './words'; // prettier-ignore

const [IF, DF, IOPL, TF, NT, RF, VM] = [
  EFLAGS.IF, EFLAGS.DF, EFLAGS.IOPL, EFLAGS.TF, EFLAGS.NT, EFLAGS.RF, EFLAGS.VM,
].map(Number) as [number, number, number, number, number, number, number]; // prettier-ignore

/** vcpu.ts toggleMode. */
export function toggle(r: Recorder, toKernel: boolean): void {
  const gs = reg(r, 'gs_base');
  setReg(r, 'gs_base', wide(r, 'shadowGs'));
  setAnnex(r, 'shadowGs', gs);
  setReg(r, 'cr3', wide(r, toKernel ? 'kernelBase' : 'userBase'));
  setReg(r, 'tlb', word(r, toKernel ? 'kernelTlb' : 'userTlb'));
  setAnnex(r, 'kernelMode', r.i32(toKernel ? 1 : 0));
}

type Kind = 'syscall' | 'fault' | 'event';

/** Where the frame will be: leaves when that, or the handler, is out of the ordinary. */
interface Place {
  readonly sp: Node;
  readonly stack: Node;
}
function placeOf(r: Recorder, kind: Kind, kernel: Node, rsp: Node, bytes: number): Place {
  r.if(r.n('i64.eqz', wide(r, `${kind}Handler`)), () => {
    no(r);
  });
  const from = r.n('select', rsp, wide(r, 'kernelSp'), kernel);
  const sp = r.n('i64.sub', r.n('i64.and', from, r.i64(not(15n))), r.i64(bytes));
  // Stacks above Xen's part, which is where kernels have theirs.
  r.if(r.n('i64.lt_u', sp, r.i64(HYPERVISOR_VIRT_END)), () => {
    no(r);
  });
  return { sp, stack: reach(r, word(r, 'kernelTlb'), sp, bytes, true) };
}

/** What the frame begins with. */
interface Top {
  readonly rcx: Node;
  readonly r11: Node;
  readonly error?: Node;
}

/** @param after what the handler finds beside the frame */
function enter(
  r: Recorder,
  kind: Kind,
  kernel: Node,
  masked: Node,
  { sp, stack }: Place,
  frame: Top,
  after: () => void,
): void {
  const handler = wide(r, `${kind}Handler`);
  const masks = word(r, `${kind}Masks`);
  const flags = flagsOf(r);
  const rip = reg(r, 'rip');
  const level = r.n('select', r.i32(~3), r.i32(-1), kernel);
  const cs = r.bool(r.n('i32.and', low(r, 'cs'), level));
  const ss = r.bool(r.n('i32.and', low(r, 'ss'), level));
  const shown = r.n(
    'i32.or',
    r.n('i32.and', flags, r.i32(~(IF | IOPL))),
    r.n('select', r.i32(0), r.i32(IF), masked),
  );
  [
    frame.rcx,
    frame.r11,
    ...(frame.error === undefined ? [] : [r.bool(frame.error)]),
    rip,
    // The guest's kernel sees itself at privilege level 0.
    r.n('i64.or', cs, r.n('i64.shl', r.bool(masked), r.i64(32))),
    r.bool(shown),
    reg(r, 'rsp'),
    ss,
  ].forEach((value, i) => {
    r.store('i64.store', stack, value, 8 * i);
  });
  after();
  r.if(r.n('i32.eqz', kernel), () => {
    toggle(r, true);
  });
  r.if(masks, () => {
    r.store('i32.store8', word(r, 'info'), r.i32(1), INFO.evtchn_upcall_mask);
  });
  setReg(r, 'rsp', sp);
  setReg(r, 'rip', handler);
  setReg(r, 'cs', r.i32(Number(FLAT_KERNEL_CS)));
  setReg(r, 'ss', r.i32(Number(FLAT_KERNEL_SS)));
  // The status flags stay as they are.
  const cleared = VM | RF | NT | TF | (kind === 'syscall' ? DF : 0);
  setReg(r, 'rflags', r.bool(r.n('i32.and', low(r, 'rflags'), r.i32(~cleared))));
}

/** bounce.ts, where no upcall follows at once. */
export function bounce(
  r: Recorder,
  kind: 'syscall' | 'fault',
  kernel: Node,
  frame: Top,
  after: () => void,
): void {
  const place = placeOf(r, kind, kernel, reg(r, 'rsp'), frame.error === undefined ? 56 : 64);
  mayStoreInfo(r);
  const masked = r.n('i32.ne', infoByte(r, INFO.evtchn_upcall_mask), r.i32(0));
  noUpcall(r, r.n('i32.or', masked, word(r, `${kind}Masks`)));
  enter(r, kind, kernel, masked, place, frame, after);
}

/**
 * hypervisor.ts upcall, behind an exit that is seen to: `may_upcall` (guest kernel?, its stack pointer) says before
 * whether `upcall` can be made after. Between them no translation is flushed.
 */
export function defineUpcall(t: Routines): void {
  t.define('may_upcall', ['i32', 'i32', 'i64'], ['i32'], (r, _cpu, kernel, rsp) => {
    r.if(r.n('i32.eqz', r.n('i32.and', word(r, 'allowed'), r.i32(ALLOWED.upcall))), () => {
      no(r);
    });
    placeOf(r, 'event', kernel, rsp, 56);
    mayStoreInfo(r);
    return r.i32(1);
  });
  t.define('upcall', ['i32'], ['i32'], (r) => {
    const kernel = word(r, 'kernelMode');
    const place = placeOf(r, 'event', kernel, reg(r, 'rsp'), 56);
    const frame = { rcx: reg(r, 'rcx'), r11: reg(r, 'r11') };
    enter(r, 'event', kernel, r.i32(0), place, frame, () => {
      increment(r, 'upcalls');
    });
    return r.i32(1);
  });
}
