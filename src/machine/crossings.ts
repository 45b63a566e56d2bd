import { EXIT, INT_KIND, type Exit } from '../cpu/exits';
import type { Fault, Held } from '../hypervisor/state';
import { asTheGuestSeesIt, exceptionOf, faultText } from '../hypervisor/traps';
import type { GuestVcpu } from '../hypervisor/types';
import type { CrossingView, StopReason } from './target';

/**
 * Ways into the hypervisor: what it was entered for, where a person who steps in wants to begin, and what the
 * boundary is called on the stack.
 */

export type Way = 'hypercall' | 'syscall' | 'exception' | 'interrupt' | 'gap' | 'delivery';

/** One way in, taken. */
export interface Crossing {
  readonly way: Way;
  readonly vcpu: GuestVcpu;
  /** The guest's instruction pointer at the time. */
  readonly rip: bigint;
  readonly fault: Fault | undefined;
  /** Of what a step is about: not of a handler that it lets run by. */
  readonly own: boolean;
}

/** Told by a run of what the hypervisor is called for, while `active`. */
export interface Crossings {
  readonly active: boolean;
  begin(way: Way, vcpu: GuestVcpu, own: boolean): void;
  /** What comes now is no vCPU's. */
  leave(): void;
  /** @returns why the machine stops before the guest goes on */
  end(): StopReason | undefined;
}

const EXITS: Readonly<Partial<Record<Exit, Way>>> = {
  [EXIT.EXCEPTION]: 'exception',
  [EXIT.INT]: 'interrupt',
  [EXIT.UNIMPLEMENTED]: 'gap',
};
/** Undefined for exits that the hypervisor has no part in. */
export const wayOfExit = (v: GuestVcpu, exit: Exit): Way | undefined =>
  exit === EXIT.SYSCALL ? (v.state.kernelMode ? 'hypercall' : 'syscall') : EXITS[exit];

const HELD: Readonly<Record<Held['kind'], Way>> = {
  'hypercall-entry': 'hypercall',
  'hypercall-return': 'hypercall',
  fault: 'exception',
  privileged: 'exception',
  upcall: 'delivery',
};
export const wayOfHeld = ({ kind }: Held): Way => HELD[kind];

export function crossing(way: Way, vcpu: GuestVcpu, own: boolean): Crossing {
  const { cpu, state } = vcpu;
  const { held } = state;
  const fault =
    held?.kind === 'fault'
      ? held.fault
      : way === 'exception'
        ? asTheGuestSeesIt(vcpu, exceptionOf(vcpu))
        : way === 'interrupt'
          ? interruptOf(vcpu)
          : undefined;
  return { way, vcpu, rip: cpu.get('rip'), fault, own };
}

const interruptOf = ({ cpu }: GuestVcpu): Fault => ({
  vector: cpu.getInt('exit_vector'),
  error: undefined,
  address: undefined,
  software: Number(cpu.get('exit_info')) !== INT_KIND.INT1,
});

const set = (...places: readonly string[]): ((place: string) => boolean) => {
  const all = new Set(places);
  return (place) => all.has(place);
};

/** Parts of declarations, which run on the way to what a person calls the handler. */
const PLUMBING = /\.(?!run$)\w+$/;
/** Where a hypercall's own code begins; what comes before looks up, decodes and dispatches. */
const HANDLER = /^hypervisor\/hypercalls\/(?!table\.ts)\S+ /;

/** Functions, as `file name`, at whose first statement a step into the hypervisor ends. */
const ENTRIES: Readonly<Record<Way, (place: string) => boolean>> = {
  hypercall: (place) => HANDLER.test(place) && !PLUMBING.test(place.slice(place.indexOf(' '))),
  syscall: set('hypervisor/hypervisor.ts systemCall'),
  exception: set(
    'hypervisor/traps.ts decideFault',
    'hypervisor/traps.ts deliverFault',
    'hypervisor/privileged.ts performPrivileged',
  ),
  interrupt: set('hypervisor/traps.ts handleInterrupt'),
  gap: set('hypervisor/hypervisor.ts processorGap'),
  delivery: set('hypervisor/hypervisor.ts upcall', 'hypervisor/hypervisor.ts deliverNmi'),
};
/** Timers are nobody's crossing: they expire between two of them. */
const TIMERS = 'hypervisor/timers.ts expireTimers';

/** @param deliveries whether what comes from outside is to be entered, too */
export function isEntry(place: string, now: Crossing | undefined, deliveries: boolean): boolean {
  if (place === TIMERS) return deliveries;
  if (now?.own !== true || (now.way === 'delivery' && !deliveries)) return false;
  return ENTRIES[now.way](place);
}

/** What the functions under way say of the crossing, innermost first. */
const NAMES: Readonly<Record<string, CrossingView['kind']>> = {
  'hypervisor/traps.ts deliverFault': 'bounce',
  'hypervisor/privileged.ts emulatePrivileged': 'emulation',
  'hypervisor/privileged.ts performPrivileged': 'emulation',
  'hypervisor/privileged.ts emulateInvalid': 'emulation',
  'hypervisor/ptwrite.ts emulateTableWrite': 'page-table write',
  'hypervisor/ldt.ts fixDescriptorFault': 'descriptor table',
  'hypervisor/hypervisor.ts upcall': 'upcall',
  'hypervisor/hypervisor.ts deliverNmi': 'nmi',
  [TIMERS]: 'timer',
};
/** All functions that are named here, for a test that they are still there. */
export const NAMED_FUNCTIONS: readonly string[] = [
  ...Object.keys(NAMES),
  'hypervisor/hypervisor.ts systemCall',
  'hypervisor/hypervisor.ts processorGap',
  'hypervisor/traps.ts decideFault',
  'hypervisor/traps.ts handleInterrupt',
];

const KINDS: Readonly<Record<Way, CrossingView['kind']>> = {
  hypercall: 'hypercall',
  syscall: 'syscall',
  exception: 'fault',
  interrupt: 'fault',
  gap: 'fault',
  delivery: 'upcall',
};

/** While the hypervisor is at work. @param places functions under way, innermost first */
export function viewCrossing(now: Crossing | undefined, places: readonly string[]): CrossingView | undefined {
  const named = places.map((place) => NAMES[place]).find((kind) => kind !== undefined);
  const kind = named ?? (now === undefined ? undefined : KINDS[now.way]);
  if (kind === undefined) return undefined;
  return view(kind, now?.fault, now?.rip);
}

/** Where an observer has it held between two of its own steps. */
export function viewHeld(v: GuestVcpu): CrossingView | undefined {
  const { held } = v.state;
  switch (held?.kind) {
    case undefined:
      return undefined;
    case 'fault':
      return view('bounce', held.fault, undefined);
    case 'privileged':
      return view('emulation', undefined, v.cpu.get('rip'));
    case 'upcall':
      return view('upcall', undefined, undefined);
    default:
      return view('hypercall', undefined, undefined);
  }
}

const view = (
  kind: CrossingView['kind'],
  fault: Fault | undefined,
  rip: bigint | undefined,
): CrossingView => ({
  kind,
  ...(fault === undefined ? {} : { fault: faultText(fault) }),
  ...(rip === undefined ? {} : { rip }),
});
