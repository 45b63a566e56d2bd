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
import type { GuestVcpu, Hypervisor } from '../../hypervisor/types';
import type { Mfn } from '../../base/branded';
import { TI_MASK_EVENTS, VECTOR } from '../../hypervisor/traps';
import type { MachineClock } from '../clock';
import type { DataWatches } from '../data-watches';
import type { Stops } from '../stops';
import type { Trace } from '../trace';
import { ALLOWED, ANNEX, COUNTED, type NarrowName, type WideName } from './annex';
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
  /** Its frames are counted in the machine's memory. */
  readonly hypervisor: Hypervisor;
  readonly clock: MachineClock;
  readonly trace: Trace;
  readonly stops: Stops;
  readonly watches: DataWatches;
  /** Address of JOURNAL_SIZE bytes in the memory. */
  readonly journal: number;
}

/** Bigints that were written, which need not be written again while they are no others. */
interface Written {
  kernelSp: bigint;
  kernelSs: bigint;
  shadowGs: bigint;
  cr2: bigint;
  syscallHandler: bigint;
  faultHandler: bigint;
  eventHandler: bigint;
}

interface Annex {
  readonly words: BigUint64Array;
  readonly halves: Uint32Array;
  readonly written: Written;
  /** What it says of the guest's IOPL. */
  vmAssist: bigint;
  architecturalIopl: boolean;
  strictM2p: boolean;
  writableTables: boolean;
}

/** Index from the beginning of an annex, in words of their size. */
const at = (name: WideName): number => (ANNEX[name] - STATE_SIZE) >> 3;
const as = (name: NarrowName): number => (ANNEX[name] - STATE_SIZE) >> 2;
const W = {
  kernelSp: at('kernelSp'), kernelSs: at('kernelSs'), shadowGs: at('shadowGs'), cr2: at('cr2'),
  syscallHandler: at('syscallHandler'), faultHandler: at('faultHandler'), eventHandler: at('eventHandler'),
} as const; // prettier-ignore
/** Halves of the wide ones that are written as numbers. */
const [KERNEL_BASE, USER_BASE, OTHERS, SKIPPED] = [
  2 * at('kernelBase'), 2 * at('userBase'), 2 * at('othersRetired'), 2 * at('skipped'),
] as const; // prettier-ignore
const H = {
  allowed: as('allowed'), crossings: as('crossings'), pciAddress: as('pciAddress'), eventMasks: as('eventMasks'),
  kernelMode: as('kernelMode'), nmiMasked: as('nmiMasked'), syscallMasks: as('syscallMasks'), faultMasks: as('faultMasks'),
  kernelTlb: as('kernelTlb'), userTlb: as('userTlb'), info: as('info'), attention: as('attention'), gdt: as('gdt'),
  heads: as('heads'), capacity: as('capacity'), slot: as('slot'), room: as('room'), who: as('who'),
} as const; // prettier-ignore

const COUNTS = COUNTED.map((kind) => ({ ...kind, at: as(kind.word) }));
const PRIVILEGED = ALLOWED.in | ALLOWED.out | ALLOWED.cli | ALLOWED.sti;
const CPL = FIELD.cpl.offset >> 2;

/** After so many runs at whose end nothing had been seen to, only one of so many is armed: what fits it comes in swarms. */
const BARREN = 16;

const isCanonical = (va: bigint): boolean => BigInt.asUintN(64, BigInt.asIntN(48, va)) === va;
/** 0 for what is not to be entered from here. */
const handler = (address: bigint): bigint => (isCanonical(address) ? address : 0n);

/** Those of a machine address space: `mfn << 12`, as a 64-bit word. */
function putBase(halves: Uint32Array, index: number, mfn: number): void {
  // The array keeps the low 32 bits.
  halves[index] = mfn * PAGE_SIZE;
  halves[index + 1] = Math.floor(mfn / 2 ** 20);
}

const baseOf = (halves: Uint32Array, index: number): Mfn =>
  ((halves[index + 1] ?? 0) * 2 ** 20 + ((halves[index] ?? 0) >>> 12)) as Mfn;

export function createFastPath({ cpu, hypervisor, clock, trace, stops, watches, journal }: Parts): FastPath {
  const { mem } = cpu;
  const { frames } = hypervisor;
  if (frames.refs.buffer !== mem.memory.buffer) throw new Error('the frame table is not in the memory');
  const places = { frames, framesBase: mem.framesBase, attention: mem.layout.attention, journal };
  const instance = new WebAssembly.Instance(new WebAssembly.Module(fastPathModule(places)), {
    env: { memory: mem.memory },
  });
  const { crossing } = instance.exports;
  if (typeof crossing !== 'function') throw new Error('the fast path exports no function');
  cpu.setCrossing(crossing);

  const annexes = cpu.vcpus.map(({ address }): Annex => ({
    words: new BigUint64Array(mem.memory.buffer, address + STATE_SIZE, ANNEX_SIZE >> 3),
    halves: new Uint32Array(mem.memory.buffer, address + STATE_SIZE, ANNEX_SIZE >> 2),
    written: {
      kernelSp: 0n,
      kernelSs: 0n,
      shadowGs: 0n,
      cr2: 0n,
      syscallHandler: 0n,
      faultHandler: 0n,
      eventHandler: 0n,
    },
    vmAssist: 0n,
    architecturalIopl: false,
    strictM2p: false,
    writableTables: false,
  }));
  const { tlbs, attention } = mem.layout;

  /** Traps that were counted already, so that counting them later makes no difference. */
  let known = 0;
  let knownOf = -1;
  function countedTraps(): number {
    const now = trace.trapNames();
    if (now === knownOf) return known;
    knownOf = now;
    known = 0;
    for (const { trap, allowed } of COUNTED) if (trace.knowsTrap(trap)) known |= allowed;
    return known;
  }

  /** What nobody wants to be asked about. */
  function allowed(v: GuestVcpu, annex: Annex): number {
    const { state, domain } = v;
    if (domain.state.shutdown !== undefined || state.held !== undefined || state.multicall !== undefined)
      return 0;
    if (state.nmiPending || v.cpu.halves[CPL] !== 3 || watches.any()) return 0;
    const { vmAssist } = domain.state;
    if (vmAssist !== annex.vmAssist) {
      annex.vmAssist = vmAssist;
      annex.architecturalIopl = assists(domain, VMASST_TYPE.VMASST_TYPE_architectural_iopl);
      annex.writableTables = assists(domain, VMASST_TYPE.VMASST_TYPE_writable_pagetables);
      annex.strictM2p = assists(domain, VMASST_TYPE.VMASST_TYPE_m2p_strict);
    }
    if (annex.architecturalIopl) return 0;
    const { faults, calls, privileged, upcalls } = stops.observed(FAST_CALLS);
    const bases = annex.strictM2p || state.ldtPages.length > 0 ? 0 : ALLOWED.bases;
    const hypercalls = ALLOWED.hypercall | bases;
    // ioplAllows
    const barred =
      (annex.writableTables ? 0 : ALLOWED.write) |
      (privileged || state.iopl < 1 ? PRIVILEGED : 0) |
      (upcalls ? ALLOWED.upcall : 0);
    const traps = countedTraps() & ~barred;
    return (
      (faults ? traps & ~(ALLOWED.fault | ALLOWED.write) : traps) |
      (calls || trace.callerOf !== undefined ? 0 : hypercalls)
    );
  }

  let seen = 0;
  /** Runs in a row at whose end nothing had been seen to. */
  let barren = 0;
  return {
    seen: () => seen,
    arm(v) {
      if (++barren > BARREN && barren % BARREN !== 0) return;
      const annex = annexes[v.cpu.index];
      if (annex === undefined) return;
      const may = allowed(v, annex);
      if (may === 0) return;
      const { words: w, halves: h, written } = annex;
      const { state } = v;
      if (written.kernelSp !== state.kernelSp) w[W.kernelSp] = written.kernelSp = state.kernelSp;
      if (written.kernelSs !== state.kernelSs) w[W.kernelSs] = written.kernelSs = state.kernelSs;
      if (written.shadowGs !== state.shadowGs) w[W.shadowGs] = written.shadowGs = state.shadowGs;
      if (written.cr2 !== state.cr2) w[W.cr2] = written.cr2 = state.cr2;
      const { syscall } = state;
      if (written.syscallHandler !== syscall.address)
        w[W.syscallHandler] = handler((written.syscallHandler = syscall.address));
      const fault = state.traps[VECTOR.PF];
      if (fault !== undefined && written.faultHandler !== fault.address)
        w[W.faultHandler] = handler((written.faultHandler = fault.address));
      const { event } = state;
      if (written.eventHandler !== event.address)
        w[W.eventHandler] = handler((written.eventHandler = event.address));
      h[H.eventMasks] = event.maskEvents ? 1 : 0;
      h[H.syscallMasks] = syscall.maskEvents ? 1 : 0;
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
      const gdt = state.gdtFrames[0];
      h[H.gdt] = gdt === undefined ? 0 : mem.framesBase + gdt * PAGE_SIZE;
      clock.bases(v.cpu.icount(), h, OTHERS, SKIPPED);
      const { heads } = trace;
      h[H.heads] = trace.enabled ? heads.at : 0;
      h[H.capacity] = heads.count;
      h[H.slot] = trace.next() % heads.count;
      h[H.room] = trace.room();
      h[H.who] = v.domain.id | (v.id << 16);
      h[H.pciAddress] = v.domain.state.pciAddress;
      h[H.allowed] = may;
    },
    collect(v) {
      const annex = annexes[v.cpu.index];
      if (annex === undefined) return 0;
      const { words: w, halves: h, written } = annex;
      h[H.allowed] = 0;
      const crossings = h[H.crossings] ?? 0;
      if (crossings === 0) return 0;
      barren = 0;
      seen += crossings;
      const { state } = v;
      let calls = crossings;
      let asks = 0;
      h[H.crossings] = 0;
      state.kernelMode = h[H.kernelMode] !== 0;
      state.nmiMasked = h[H.nmiMasked] !== 0;
      state.shadowGs = written.shadowGs = w[W.shadowGs] ?? 0n;
      state.cr2 = written.cr2 = w[W.cr2] ?? 0n;
      for (const { at, trap, asks: each, exits } of COUNTS) {
        const n = h[at] ?? 0;
        if (n === 0) continue;
        h[at] = 0;
        trace.traps(trap, n);
        calls -= n * exits;
        asks += n * each;
      }
      v.domain.state.pciAddress = h[H.pciAddress] ?? 0;
      // Nobody was asked before and after each call, and at each fault and instruction: a position counts as if (position.ts).
      stops.resetAsked(stops.asked() + 2 * calls + asks);
      if (calls === 0) return crossings;
      state.kernelSp = written.kernelSp = w[W.kernelSp] ?? 0n;
      state.kernelSs = written.kernelSs = w[W.kernelSs] ?? 0n;
      state.kernelTable = baseOf(h, KERNEL_BASE);
      const user = baseOf(h, USER_BASE);
      state.userTable = user === 0 ? undefined : user;
      if (h[H.heads] !== 0) trace.wrote(calls);
      return crossings;
    },
  };
}
