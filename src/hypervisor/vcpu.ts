/** A guest vCPU's own business: its vcpu_info, guest kernel and user mode, base tables. */
import { vcpu_info, vcpu_time_info } from '../abi/info';
import type { Mfn } from '../base/branded';
import { wordOf } from '../cpu/state';
import type { Core } from './core';
import type { RunState, TrapEntry, VcpuState } from './state';
import type { GuestVcpu } from './types';

const [GS_BASE, CR3] = [wordOf('gs_base'), wordOf('cr3')];

/** Flat selectors of a 64-bit guest (arch-x86/xen-x86_64.h). */
export const FLAT_KERNEL_CS = 0xe033n;
export const FLAT_KERNEL_SS = 0xe02bn;

const RUN_STATES: readonly RunState[] = ['running', 'runnable', 'blocked', 'offline'];
export const runStateNumber = (run: RunState): number => RUN_STATES.indexOf(run);

export function newVcpuState(infoFrame: Mfn, infoOffset: number): VcpuState {
  const callback = (): { address: bigint; maskEvents: boolean } => ({ address: 0n, maskEvents: false });
  return {
    initialised: false,
    online: false,
    run: 'offline',
    runSince: 0n,
    runTimes: [0n, 0n, 0n, 0n],
    kernelMode: true,
    traps: Array.from({ length: 256 }, (): TrapEntry => ({ cs: 0, flags: 0, address: 0n })),
    event: callback(),
    failsafe: callback(),
    syscall: callback(),
    nmiPending: false,
    nmiMasked: false,
    kernelSs: 0n,
    kernelSp: 0n,
    gdtFrames: [],
    gdtEntries: 0,
    ldtBase: 0n,
    ldtEntries: 0,
    ldtPages: [],
    kernelTable: 0 as Mfn,
    userTable: undefined,
    taskSwitched: false,
    cr2: 0n,
    cr4: 0n,
    shadowGs: 0n,
    iopl: 0,
    ioBitmap: undefined,
    infoFrame,
    infoOffset,
    infoRegistered: false,
    timeArea: 0n,
    runstateArea: 0n,
    singleshot: undefined,
    period: 0n,
    periodicNext: 0n,
    pollPorts: undefined,
    pollTimeout: undefined,
    virqPorts: {},
    fifo: undefined,
    held: undefined,
    multicall: undefined,
    yielded: false,
  };
}

const {
  evtchn_upcall_pending: PENDING,
  evtchn_upcall_mask: MASK,
  evtchn_pending_sel: SELECTOR,
  time: TIME,
  arch: ARCH,
} = vcpu_info.offset;

export const upcallPending = ({ memory }: Core, { state }: GuestVcpu): boolean =>
  memory.byteAt(state.infoFrame, state.infoOffset + PENDING) !== 0;
export const upcallMasked = ({ memory }: Core, { state }: GuestVcpu): boolean =>
  memory.byteAt(state.infoFrame, state.infoOffset + MASK) !== 0;

export const setUpcallPending = ({ memory }: Core, { state }: GuestVcpu): void =>
  memory.setByteAt(state.infoFrame, state.infoOffset + PENDING, 1);
export const setUpcallMask = ({ memory }: Core, { state }: GuestVcpu, masked: boolean): void =>
  memory.setByteAt(state.infoFrame, state.infoOffset + MASK, masked ? 1 : 0);

/** @returns whether the bit was clear before */
export function setPendingSelector({ memory }: Core, { state }: GuestVcpu, word: number): boolean {
  const where = state.infoOffset + SELECTOR;
  const old = memory.wordAt(state.infoFrame, where);
  const bit = 1n << BigInt(word);
  if ((old & bit) !== 0n) return false;
  memory.setWordAt(state.infoFrame, where, old | bit);
  return true;
}

export function setInfoCr2(core: Core, v: GuestVcpu, address: bigint): void {
  v.state.cr2 = address;
  core.memory.setWordAt(v.state.infoFrame, v.state.infoOffset + ARCH, address);
}

/**
 * pvclock parameters (xen.h vcpu_time_info): the TSC counts virtual nanoseconds, so
 * system time = ((tsc << 1) * 2^31) >> 32 = tsc, from the beginning, for ever.
 */
export const TIME_INFO = {
  version: 2,
  pad0: 0,
  tsc_timestamp: 0n,
  system_time: 0n,
  tsc_to_system_mul: 0x8000_0000,
  tsc_shift: 1,
  flags: 0,
  pad1: new Uint8Array(2),
} as const;
/** Hz, as CPUID and the scale above say. */
export const TSC_FREQUENCY = 1_000_000_000n;

export function writeTimeInfo(core: Core, v: GuestVcpu): void {
  core.cpu.beforeStore(v.state.infoFrame, v.state.infoOffset + TIME, vcpu_time_info.size);
  vcpu_time_info.write(core.memory.view(v.state.infoFrame), v.state.infoOffset + TIME, { ...TIME_INFO });
}

/** Exchanges guest kernel and guest user: base table, TLB set and GS base (Xen: toggle_guest_mode). */
export function toggleMode(v: GuestVcpu): void {
  const { state, cpu } = v;
  state.kernelMode = !state.kernelMode;
  const gs = cpu.words[GS_BASE] ?? 0n;
  cpu.words[GS_BASE] = state.shadowGs;
  state.shadowGs = gs;
  loadBase(v);
}

/** Puts the base table of the present mode into CR3. Without a user table, the kernel's stays (Xen crashes before). */
export function loadBase(v: GuestVcpu): void {
  const { state, cpu } = v;
  const table = state.kernelMode ? state.kernelTable : (state.userTable ?? state.kernelTable);
  cpu.words[CR3] = BigInt(table) << 12n;
  cpu.selectTlb(state.kernelMode ? 0 : 1);
}

/** Enters another run state and accounts for the time in the last. */
export function setRunState(core: Core, v: GuestVcpu, run: RunState): void {
  const { state } = v;
  if (state.run === run) return;
  const now = core.now();
  const n = runStateNumber(state.run);
  state.runTimes[n] = (state.runTimes[n] ?? 0n) + (now - state.runSince);
  state.runSince = now;
  state.run = run;
}

/** Sets the upcall flag; a vCPU that waits for events runs again. */
export function raiseUpcall(core: Core, v: GuestVcpu): void {
  if (upcallPending(core, v)) return;
  setUpcallPending(core, v);
  wake(core, v);
}

/** Makes a vCPU that waits run again; nothing for one that does not. */
export function wake(core: Core, v: GuestVcpu): void {
  if (v.state.run !== 'blocked') return;
  v.state.pollPorts = undefined;
  v.state.pollTimeout = undefined;
  setRunState(core, v, 'runnable');
}
