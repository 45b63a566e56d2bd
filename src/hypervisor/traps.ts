/** Exceptions: what Xen repairs itself, and what it hands to the guest (xen/arch/x86/traps.c, pv/traps.c). */
import { hex } from '../abi/decoded';
import { INT_KIND } from '../cpu/exits';
import { halfOf, wordOf } from '../cpu/state';
import { bounce } from './bounce';
import type { Core } from './core';
import { emulateInvalid, emulatePrivileged } from './privileged';
import { fixDescriptorFault } from './ldt';
import { emulateTableWrite } from './ptwrite';
import type { Fault } from './state';
import type { GuestVcpu, Outcome } from './types';
import { setInfoCr2 } from './vcpu';

/** SDM vol. 3 table 6-1. */
/** In a trap entry's flags: events are masked while its handler runs. */
export const TI_MASK_EVENTS = 4;

export const VECTOR = {
  DB: 1,
  NMI: 2,
  BP: 3,
  OF: 4,
  UD: 6,
  NM: 7,
  TS: 10,
  NP: 11,
  SS: 12,
  GP: 13,
  PF: 14,
  AC: 17,
} as const;
const NAMES = [
  '#DE', '#DB', 'NMI', '#BP', '#OF', '#BR', '#UD', '#NM', '#DF', 'coprocessor overrun', '#TS', '#NP', '#SS', '#GP',
  '#PF', 'vector 15', '#MF', '#AC', '#MC', '#XM', '#VE', '#CP',
] as const; // prettier-ignore
/** Vectors that push an error code. */
const WITH_ERROR: ReadonlySet<number> = new Set([8, 10, 11, 12, 13, 14, 17]);
const PF = { PRESENT: 1, WRITE: 2, USER: 4, FETCH: 16 } as const;

export const vectorName = (vector: number): string => NAMES[vector] ?? `INT ${hex(vector)}`;

export function faultText(fault: Fault): string {
  const parts = [vectorName(fault.vector)];
  if (fault.error !== undefined) parts.push(`error code ${hex(fault.error)}`);
  if (fault.address !== undefined) parts.push(`at ${hex(fault.address)}`);
  return parts.join(' ');
}

/** Bounces an exception to the guest's handler, unless an observer wants to look first. */
export function inject(core: Core, v: GuestVcpu, raised: Fault): Outcome {
  const fault = asTheGuestSeesIt(v, raised);
  if (core.observer.fault?.(v, fault) === true) {
    v.state.held = { kind: 'fault', fault };
    return 'hold';
  }
  return deliverFault(core, v, fault);
}

/** Everything runs in ring 3: whether it was the guest's user is for Xen to say. */
export function asTheGuestSeesIt(v: GuestVcpu, fault: Fault): Fault {
  if (fault.vector !== VECTOR.PF || fault.software) return fault;
  const error = ((fault.error ?? 0) & ~PF.USER) | (v.state.kernelMode ? 0 : PF.USER);
  return { vector: fault.vector, error, address: fault.address, software: false };
}

export function deliverFault(core: Core, v: GuestVcpu, fault: Fault): Outcome {
  const entry = v.state.traps[fault.vector];
  if (fault.vector === VECTOR.PF && !fault.software) setInfoCr2(core, v, fault.address ?? 0n);
  core.trace?.trap(v, fault.vector === VECTOR.PF ? 'page-fault' : vectorName(fault.vector));
  const handler = { address: entry?.address ?? 0n, maskEvents: ((entry?.flags ?? 0) & 4) !== 0 };
  const extra = { error: fault.software ? undefined : fault.error };
  const delivered = bounce(core, v, () => faultText(fault), handler, extra);
  return delivered ? 'run' : 'shutdown';
}

/** Repairs that need no word to the guest; undefined: it is the guest's after all. */
type Repair = (core: Core, v: GuestVcpu, fault: Fault) => Outcome | undefined;

const repairs: Readonly<Partial<Record<number, Repair>>> = {
  [VECTOR.GP]: (core, v, fault) => (fault.error === 0 ? emulatePrivileged(core, v) : undefined),
  [VECTOR.UD]: emulateInvalid,
  [VECTOR.PF]: (core, v, fault) => fixDescriptorFault(core, v, fault) ?? emulateTableWrite(core, v, fault),
  // Xen clears the flag as it tells the guest, so the handler need not.
  [VECTOR.NM]: (_core, v) => {
    v.cpu.set('cr0', v.cpu.get('cr0') & ~8n);
    if (!v.state.taskSwitched) return 'run';
    v.state.taskSwitched = false;
    return undefined;
  },
};

const [EXIT_VECTOR, EXIT_ERROR] = [halfOf('exit_vector'), halfOf('exit_error')];
const EXIT_ADDRESS = wordOf('exit_address');

/** What the processor has left of the exception that it met last. */
export function exceptionOf(v: GuestVcpu): Fault {
  const { halves, words } = v.cpu;
  const vector = halves[EXIT_VECTOR] ?? 0;
  const code = (halves[EXIT_ERROR] ?? 0) | 0;
  return {
    vector,
    error: WITH_ERROR.has(vector) ? Math.max(0, code) : undefined,
    address: vector === VECTOR.PF ? words[EXIT_ADDRESS] : undefined,
    software: false,
  };
}

export const handleException = (core: Core, v: GuestVcpu): Outcome => decideFault(core, v, exceptionOf(v));

/** Whether it is ours to repair or the guest's to handle. */
function decideFault(core: Core, v: GuestVcpu, fault: Fault): Outcome {
  const repair = repairs[fault.vector];
  return repair?.(core, v, fault) ?? inject(core, v, fault);
}

/** INT n, INT3 and INT1 (pv_emulate_privileged_op's caller, do_general_protection; permit_softint). */
export function handleInterrupt(core: Core, v: GuestVcpu): Outcome {
  const { cpu, state } = v;
  const vector = cpu.getInt('exit_vector');
  const kind = Number(cpu.get('exit_info'));
  if (kind === INT_KIND.INT3 || kind === INT_KIND.INT1) {
    return inject(core, v, { vector, error: undefined, address: undefined, software: true });
  }
  // A gate is open to those whose level is no less privileged: the guest's kernel counts as 1, its user as 3.
  const entry = state.traps[vector];
  const dpl = (entry?.flags ?? 0) & 3;
  if (entry !== undefined && entry.address !== 0n && dpl >= (state.kernelMode ? 1 : 3)) {
    return inject(core, v, { vector, error: undefined, address: undefined, software: true });
  }
  cpu.set('rip', BigInt.asUintN(64, cpu.get('rip') - 2n));
  return inject(core, v, { vector: VECTOR.GP, error: vector * 8 + 2, address: undefined, software: false });
}
