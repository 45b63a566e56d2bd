/** Trap table, callbacks, return from traps, stacks and segment bases (xen/arch/x86/pv/{callback,iret,misc-hypercalls}.c). */
import { hex } from '../../abi/decoded';
import { enumOf, pointer, u32, ulong, vaddr } from '../../abi/layout';
import {
  CALLBACKF_mask_events,
  CALLBACKOP,
  CALLBACKTYPE,
  SEGBASE,
  VGCF_in_syscall,
  XENNMI,
  callback_register,
  callback_unregister,
  iret_context,
  trap_info,
  xennmi_callback,
} from '../../abi/traps';
import { guestVa, isCanonical } from '../../base/branded';
import { halfOf, wordOf } from '../../cpu/state';
import { bounce, EFLAGS } from '../bounce';
import type { CallContext } from '../context';
import type { Core } from '../core';
import { getDebugRegister, setDebugRegister } from '../debugregs';
import { crash } from '../domain';
import { family, fail, hypercall, opsOf } from '../hypercall';
import { codeProblem, loadSegmentBase, stackProblem } from '../segments';
import type { GuestVcpu } from '../types';
import { setTaskSwitched } from '../privileged';
import { TI_MASK_EVENTS, VECTOR } from '../traps';
import { FLAT_KERNEL_CS, setUpcallMask, toggleMode } from '../vcpu';

const canonical = (va: bigint, what: string): void => {
  if (!isCanonical(guestVa(va))) fail('EINVAL', `${what} ${hex(va)} is not canonical`);
};

const TRAP_ENTRIES = 257;

export const set_trap_table = hypercall({
  name: 'set_trap_table',
  nr: 0,
  doc: 'xen.h HYPERVISOR_set_trap_table; arch-x86/xen.h struct trap_info',
  args: { traps: pointer(trap_info) },
  captures: ({ traps }) => (traps === 0n ? [] : [{ address: traps, length: trap_info.size * 8 }]),
  run({ vcpu, guest }, { traps }) {
    const table = vcpu.state.traps;
    if (traps === 0n) {
      for (const entry of table) Object.assign(entry, { cs: 0, flags: 0, address: 0n });
      return 0;
    }
    // The list ends with an address of 0; more entries than vectors cannot be meant.
    for (let i = 0; i < TRAP_ENTRIES; i++) {
      const entry = guest.read(trap_info, traps + BigInt(i * trap_info.size), `trap entry ${i}`);
      if (entry.address === 0n) return 0;
      canonical(entry.address, `handler of vector ${entry.vector}`);
      const slot = table[entry.vector];
      if (slot !== undefined)
        Object.assign(slot, { cs: entry.cs | 3, flags: entry.flags, address: entry.address });
    }
    return fail('EINVAL', `the list at ${hex(traps)} has no end within ${TRAP_ENTRIES} entries`);
  },
});

/** The handler of NMIs is that of vector 2: three calls set the same thing. Events are masked while it runs. */
function setNmi({ state }: GuestVcpu, address: bigint): void {
  const on = address !== 0n;
  state.traps[VECTOR.NMI] = { cs: on ? Number(FLAT_KERNEL_CS) : 0, flags: on ? TI_MASK_EVENTS : 0, address };
}

type Register = (context: CallContext, address: bigint, maskEvents: boolean) => void;

const callbacks: Readonly<Partial<Record<number, Register>>> = {
  [CALLBACKTYPE.CALLBACKTYPE_event]: ({ vcpu }, address) => {
    // An event upcall always masks further ones.
    vcpu.state.event = { address, maskEvents: true };
  },
  [CALLBACKTYPE.CALLBACKTYPE_failsafe]: ({ vcpu }, address, maskEvents) => {
    vcpu.state.failsafe = { address, maskEvents };
  },
  [CALLBACKTYPE.CALLBACKTYPE_syscall]: ({ vcpu }, address, maskEvents) => {
    vcpu.state.syscall = { address, maskEvents };
  },
  // For 32-bit programs, which this processor does not run; Xen takes them, and so Linux insists.
  [CALLBACKTYPE.CALLBACKTYPE_sysenter]: () => undefined,
  [CALLBACKTYPE.CALLBACKTYPE_syscall32]: () => undefined,
  [CALLBACKTYPE.CALLBACKTYPE_nmi]: ({ vcpu }, address) => {
    setNmi(vcpu, address);
  },
};

export const set_callbacks = hypercall({
  name: 'set_callbacks',
  nr: 4,
  doc: 'xen.h HYPERVISOR_set_callbacks (legacy; callback_op replaces it)',
  args: { event_address: vaddr, failsafe_address: vaddr, syscall_address: vaddr },
  run({ vcpu: { state } }, { event_address, failsafe_address, syscall_address }) {
    // Xen ignores an address that it cannot take.
    const set = (which: 'event' | 'failsafe' | 'syscall', address: bigint, maskEvents: boolean): void => {
      if (isCanonical(guestVa(address))) state[which] = { address, maskEvents };
    };
    set('event', event_address, true);
    set('failsafe', failsafe_address, false);
    set('syscall', syscall_address, false);
    return 0;
  },
});

const callbackArgs = { cmd: enumOf(u32, CALLBACKOP, 'callback_op'), arg: pointer() };
const callbackOp = opsOf('callback_op', callbackArgs);

export const callback_op = family({
  name: 'callback_op',
  nr: 30,
  doc: 'callback.h',
  args: callbackArgs,
  cmd: ({ cmd }) => cmd,
  pointer: ({ arg }) => arg,
  ops: [
    callbackOp({
      name: 'register',
      cmd: CALLBACKOP.CALLBACKOP_register,
      struct: callback_register,
      run(context, { type, flags, address }) {
        const register = callbacks[type];
        canonical(address, 'callback');
        if (register === undefined) return fail('ENOSYS', `there is no callback of type ${type}`);
        register(context, address, (flags & CALLBACKF_mask_events) !== 0);
        return 0;
      },
    }),
    callbackOp({
      name: 'unregister',
      cmd: CALLBACKOP.CALLBACKOP_unregister,
      struct: callback_unregister,
      run(context, { type }) {
        if (type === CALLBACKTYPE.CALLBACKTYPE_nmi) {
          setNmi(context.vcpu, 0n);
          return 0;
        }
        if (callbacks[type] === undefined) return fail('ENOSYS', `there is no callback of type ${type}`);
        return fail('EINVAL', `a callback of type ${type} cannot be unregistered, only replaced`);
      },
    }),
  ],
});

const nmiArgs = { cmd: enumOf(u32, XENNMI, 'nmi_op'), arg: pointer() };
const nmiOp = opsOf('nmi_op', nmiArgs);

export const nmi_op = family({
  name: 'nmi_op',
  nr: 28,
  doc: 'nmi.h',
  args: nmiArgs,
  cmd: ({ cmd }) => cmd,
  pointer: ({ arg }) => arg,
  ops: [
    nmiOp({
      name: 'register_callback',
      cmd: XENNMI.XENNMI_register_callback,
      struct: xennmi_callback,
      run({ vcpu }, { handler_address }) {
        canonical(handler_address, 'NMI callback');
        setNmi(vcpu, handler_address);
        return 0;
      },
    }),
    nmiOp({
      name: 'unregister_callback',
      cmd: XENNMI.XENNMI_unregister_callback,
      run({ vcpu }) {
        setNmi(vcpu, 0n);
        return 0;
      },
    }),
  ],
});

const [RIP, RSP, RCX, R11] = [wordOf('rip'), wordOf('rsp'), wordOf('rcx'), wordOf('r11')];
const [CS, SS] = [halfOf('cs'), halfOf('ss')];
/** EFLAGS as a number: what of the frame's is taken, and what is set whatever it says. */
const IF = Number(EFLAGS.IF);
export const RETURNED_FLAGS = 0x3f_ffff & ~Number(EFLAGS.IOPL | EFLAGS.NT | EFLAGS.VM);
export const SET_FLAGS = IF | 2;
const IN_SYSCALL = Number(VGCF_in_syscall);

/** The frame that is returned by, and the index of each of its words. */
const frame = new BigUint64Array(iret_context.size / 8);
const frameHalves = new Uint32Array(frame.buffer);
const { offset: at } = iret_context;
const SAVED = {
  rax: at.rax / 8, r11: at.r11 / 8, rcx: at.rcx / 8, flags: at.flags / 8, rip: at.rip / 8, cs: at.cs / 8,
  rflags: at.rflags / 8, rsp: at.rsp / 8, ss: at.ss / 8,
} as const; // prettier-ignore

export const iret = hypercall({
  name: 'iret',
  nr: 23,
  doc: 'arch-x86/xen-x86_64.h struct iret_context, at the top of the stack',
  args: {},
  run({ core, domain, vcpu, guest }) {
    const { cpu, state } = vcpu;
    const { words, halves } = cpu;
    guest.load(frameHalves, words[RSP] ?? 0n, 'iret frame');
    const rip = frame[SAVED.rip] ?? 0n;
    const cs = frameHalves[2 * SAVED.cs] ?? 0;
    const rflags = frameHalves[2 * SAVED.rflags] ?? 0;
    const toUser = (cs & 3) === 3;
    if (toUser) {
      if (state.userTable === undefined) {
        crash(core, domain, `vCPU ${vcpu.id}: iret to guest user at ${hex(rip)} without a user base table`);
        return 0;
      }
      toggleMode(vcpu);
    }
    // Ring 3 is as privileged as a guest gets.
    halves[CS] = (cs & 0xffff) | 3;
    halves[SS] = ((frameHalves[2 * SAVED.ss] ?? 0) & 0xffff) | 3;
    words[RIP] = rip;
    words[RSP] = frame[SAVED.rsp] ?? 0n;
    cpu.flags = (rflags & RETURNED_FLAGS) | SET_FLAGS;
    if (((frameHalves[2 * SAVED.flags] ?? 0) & IN_SYSCALL) === 0) {
      words[RCX] = frame[SAVED.rcx] ?? 0n;
      words[R11] = frame[SAVED.r11] ?? 0n;
    } else {
      words[RCX] = rip;
      words[R11] = cpu.rflags;
    }
    setUpcallMask(core, vcpu, (rflags & IF) === 0);
    state.nmiMasked = false;
    const rax = frame[SAVED.rax] ?? 0n;
    checkReturn(core, vcpu, rip);
    return rax;
  },
});

/** What the processor would refuse to return to goes to the failsafe callback instead (failsafe_callback, entry.S). */
function checkReturn(core: Core, v: GuestVcpu, rip: bigint): void {
  const problem =
    codeProblem(core, v, v.cpu.get('cs')) ??
    stackProblem(core, v, v.cpu.get('ss')) ??
    (isCanonical(guestVa(rip)) ? undefined : { reason: `rip ${hex(rip)} is not canonical` });
  if (problem === undefined) return;
  if (problem.unsupported === true) {
    crash(core, v.domain, `vCPU ${v.id}: iret to ${problem.reason}, which this processor does not run`);
    return;
  }
  const { failsafe } = v.state;
  bounce(core, v, `the failsafe callback (iret to ${problem.reason})`, failsafe, { failsafe: true });
}

export const stack_switch = hypercall({
  name: 'stack_switch',
  nr: 3,
  doc: 'xen.h HYPERVISOR_stack_switch: kernel stack for entries from guest user',
  args: { ss: ulong, esp: vaddr },
  run({ vcpu }, { ss, esp }) {
    vcpu.state.kernelSs = ss | 3n;
    vcpu.state.kernelSp = esp;
    return 0;
  },
});

export const set_segment_base = hypercall({
  name: 'set_segment_base',
  nr: 25,
  doc: 'arch-x86/xen-x86_64.h SEGBASE_*',
  args: { which: enumOf(u32, SEGBASE, 'SEGBASE'), base: vaddr },
  run({ core, vcpu }, { which, base }) {
    const { cpu, state } = vcpu;
    if (which === SEGBASE.SEGBASE_GS_USER_SEL) {
      // Errors do not fail the call: an unusable selector gives a null base, as on real Xen.
      state.shadowGs = loadSegmentBase(core, vcpu, Number(base & 0xffffn));
      return 0;
    }
    const set: Readonly<Partial<Record<number, () => void>>> = {
      [SEGBASE.SEGBASE_FS]: () => cpu.set('fs_base', base),
      [SEGBASE.SEGBASE_GS_USER]: () => {
        state.shadowGs = base;
      },
      [SEGBASE.SEGBASE_GS_KERNEL]: () => cpu.set('gs_base', base),
    };
    const act = set[which];
    if (act === undefined) return fail('EINVAL', `segment base ${which} does not exist`);
    canonical(base, 'segment base');
    act();
    return 0;
  },
});

export const fpu_taskswitch = hypercall({
  name: 'fpu_taskswitch',
  nr: 5,
  doc: 'xen.h HYPERVISOR_fpu_taskswitch: CR0.TS as the guest sees it',
  args: { set: u32 },
  run({ vcpu }, { set }) {
    setTaskSwitched(vcpu, set !== 0);
    return 0;
  },
});

export const set_debugreg = hypercall({
  name: 'set_debugreg',
  nr: 8,
  doc: 'xen.h HYPERVISOR_set_debugreg',
  args: { reg: u32, value: ulong },
  run({ vcpu }, { reg, value }) {
    const refusal = setDebugRegister(vcpu, reg, value);
    if (refusal !== undefined) throw refusal;
    return 0;
  },
});

export const get_debugreg = hypercall({
  name: 'get_debugreg',
  nr: 9,
  doc: 'xen.h HYPERVISOR_get_debugreg',
  args: { reg: u32 },
  run({ vcpu }, { reg }) {
    return getDebugRegister(vcpu, reg) ?? fail('ENODEV', `there is no debug register ${reg}`);
  },
});
