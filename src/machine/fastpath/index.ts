/**
 * Exits seen to in place (module.ts): when that may be, and what the rest of the machine is told of it afterwards. While
 * anybody wants to be asked at one of these exits, it leaves to the hypervisor as the others do.
 */
import { PAGE_SIZE } from '../../base/branded';
import { VMASST_TYPE } from '../../abi/mmu';
import type { InterpretingCpu } from '../../cpu/cpu';
import { FIELD, STATE_SIZE } from '../../cpu/state';
import { ANNEX_SIZE, TLB_SET_BYTES } from '../../cpu/wasm/abi';
import { assists } from '../../hypervisor/domain';
import type { GuestVcpu } from '../../hypervisor/types';
import { TI_MASK_EVENTS, VECTOR } from '../../hypervisor/traps';
import type { MachineClock } from '../clock';
import type { DataWatches } from '../data-watches';
import type { Stops } from '../stops';
import type { Trace } from '../trace';
import { ALLOWED, ANNEX, type NarrowName, type WideName } from './annex';
import { FAST_CALLS, fastPathModule } from './module';

export interface FastPath {
  /** Before the vCPU runs: what may be seen to until it comes back. */
  arm(v: GuestVcpu): void;
  /** It is back. @returns how many exits were seen to, each with the delivery after it */
  collect(v: GuestVcpu): number;
  /** How many there were since the machine was made: for tests and measurements. */
  seen(): number;
}

interface Parts {
  readonly cpu: InterpretingCpu;
  readonly clock: MachineClock;
  readonly trace: Trace;
  readonly stops: Stops;
  readonly watches: DataWatches;
}

/** Index from the beginning of an annex, in words of their size. */
const at = (name: WideName): number => (ANNEX[name] - STATE_SIZE) >> 3;
const as = (name: NarrowName): number => (ANNEX[name] - STATE_SIZE) >> 2;
const W = {
  kernelSp: at('kernelSp'), kernelSs: at('kernelSs'), shadowGs: at('shadowGs'), cr2: at('cr2'),
  syscallHandler: at('syscallHandler'), faultHandler: at('faultHandler'),
} as const; // prettier-ignore
/** Halves of the wide ones that are written as numbers. */
const [KERNEL_BASE, USER_BASE, OTHERS, SKIPPED] = [
  2 * at('kernelBase'), 2 * at('userBase'), 2 * at('othersRetired'), 2 * at('skipped'),
] as const; // prettier-ignore
const H = {
  allowed: as('allowed'), crossings: as('crossings'), syscalls: as('syscalls'), faults: as('faults'),
  kernelMode: as('kernelMode'), nmiMasked: as('nmiMasked'), syscallMasks: as('syscallMasks'), faultMasks: as('faultMasks'),
  kernelTlb: as('kernelTlb'), userTlb: as('userTlb'), info: as('info'), attention: as('attention'), gdt: as('gdt'),
  heads: as('heads'), capacity: as('capacity'), slot: as('slot'), room: as('room'), who: as('who'),
} as const; // prettier-ignore

/** Names that the trace counts them by. */
const TRAPS = { syscall: 'syscall', fault: 'page-fault' } as const;
const CPL = FIELD.cpl.offset >> 2;

const isCanonical = (va: bigint): boolean => BigInt.asUintN(64, BigInt.asIntN(48, va)) === va;

/** Those of a machine address space: `mfn << 12`, as a 64-bit word. */
function putBase(halves: Uint32Array, index: number, mfn: number): void {
  // The array keeps the low 32 bits.
  halves[index] = mfn * PAGE_SIZE;
  halves[index + 1] = Math.floor(mfn / 2 ** 20);
}

export function createFastPath({ cpu, clock, trace, stops, watches }: Parts): FastPath {
  const { mem } = cpu;
  const instance = new WebAssembly.Instance(new WebAssembly.Module(fastPathModule()), {
    env: { memory: mem.memory },
  });
  const { crossing } = instance.exports;
  if (typeof crossing !== 'function') throw new Error('the fast path exports no function');
  cpu.setCrossing(crossing);

  const annexes = cpu.vcpus.map(({ address }) => ({
    words: new BigUint64Array(mem.memory.buffer, address + STATE_SIZE, ANNEX_SIZE >> 3),
    halves: new Uint32Array(mem.memory.buffer, address + STATE_SIZE, ANNEX_SIZE >> 2),
  }));
  const { tlbs, attention } = mem.layout;

  /** What nobody wants to be asked about. */
  function allowed(v: GuestVcpu): number {
    const { state, domain } = v;
    if (domain.state.shutdown !== undefined || state.held !== undefined || state.multicall !== undefined)
      return 0;
    if (state.nmiPending || v.cpu.halves[CPL] !== 3 || watches.any()) return 0;
    if (assists(domain, VMASST_TYPE.VMASST_TYPE_architectural_iopl)) return 0;
    const { faults, calls } = stops.observed(FAST_CALLS);
    return (
      (trace.knowsTrap(TRAPS.syscall) ? ALLOWED.syscall : 0) |
      (faults || !trace.knowsTrap(TRAPS.fault) ? 0 : ALLOWED.fault) |
      (calls || trace.callerOf !== undefined ? 0 : ALLOWED.hypercall)
    );
  }

  let seen = 0;
  return {
    seen: () => seen,
    arm(v) {
      const annex = annexes[v.cpu.index];
      if (annex === undefined) return;
      const may = allowed(v);
      if (may === 0) return;
      const { words: w, halves: h } = annex;
      const { state } = v;
      w[W.kernelSp] = state.kernelSp;
      w[W.kernelSs] = state.kernelSs;
      w[W.shadowGs] = state.shadowGs;
      w[W.cr2] = state.cr2;
      const fault = state.traps[VECTOR.PF];
      const put = (where: number, address: bigint): void => {
        w[where] = isCanonical(address) ? address : 0n;
      };
      put(W.syscallHandler, state.syscall.address);
      put(W.faultHandler, fault?.address ?? 0n);
      h[H.syscallMasks] = state.syscall.maskEvents ? 1 : 0;
      h[H.faultMasks] = ((fault?.flags ?? 0) & TI_MASK_EVENTS) === 0 ? 0 : 1;
      putBase(h, KERNEL_BASE, state.kernelTable);
      putBase(h, USER_BASE, state.userTable ?? 0);
      h[H.kernelMode] = state.kernelMode ? 1 : 0;
      h[H.nmiMasked] = state.nmiMasked ? 1 : 0;
      const set = tlbs[v.cpu.index] ?? 0;
      h[H.kernelTlb] = set;
      h[H.userTlb] = set + TLB_SET_BYTES;
      h[H.info] = mem.framesBase + state.infoFrame * PAGE_SIZE + state.infoOffset;
      h[H.attention] = attention + state.infoFrame;
      const [gdt] = state.gdtFrames;
      h[H.gdt] = gdt === undefined ? 0 : mem.framesBase + gdt * PAGE_SIZE;
      clock.bases(v.cpu.icount(), h, OTHERS, SKIPPED);
      const { heads } = trace;
      h[H.heads] = trace.enabled ? heads.at : 0;
      h[H.capacity] = heads.count;
      h[H.slot] = trace.next() % heads.count;
      h[H.room] = trace.room();
      h[H.who] = v.domain.id | (v.id << 16);
      h[H.allowed] = may;
    },
    collect(v) {
      const annex = annexes[v.cpu.index];
      if (annex === undefined) return 0;
      const { words: w, halves: h } = annex;
      h[H.allowed] = 0;
      const crossings = h[H.crossings] ?? 0;
      if (crossings === 0) return 0;
      const { state } = v;
      const syscalls = h[H.syscalls] ?? 0;
      const faults = h[H.faults] ?? 0;
      h[H.crossings] = 0;
      seen += crossings;
      h[H.syscalls] = 0;
      h[H.faults] = 0;
      state.kernelMode = h[H.kernelMode] !== 0;
      state.nmiMasked = h[H.nmiMasked] !== 0;
      state.shadowGs = w[W.shadowGs] ?? 0n;
      if (faults > 0) state.cr2 = w[W.cr2] ?? 0n;
      if (syscalls > 0) trace.traps(TRAPS.syscall, syscalls);
      if (faults > 0) trace.traps(TRAPS.fault, faults);
      const calls = crossings - syscalls - faults;
      if (calls === 0) return crossings;
      state.kernelSp = w[W.kernelSp] ?? 0n;
      state.kernelSs = w[W.kernelSs] ?? 0n;
      if (h[H.heads] !== 0) trace.wrote(calls);
      return crossings;
    },
  };
}
