import type { DomainId, EventPort, Mfn, VcpuId } from '../base/branded';
import type { Log } from '../base/log';
import type { Cpu, Vcpu } from '../cpu/types';
import type { Exit } from '../cpu/exits';
import type { DecodedValue } from '../abi/decoded';
import type { BackendContext, BackendPort } from './backend';
import type { GuestMemory } from './context';
import type { KernelInput, DomainBuild } from './builder/input';
import type { Declaration } from './hypercall';
import type { FrameTable, FrameTablePlace } from './frames';
import type { ChannelsView, GrantTableView } from './inspect-domain';
import type { MachineMemory } from './memory';
import type { GrantState, PortState } from './inspect';
import type { Observer, TraceSink } from './observer';
import type { Call, DomainState, Held, ShutdownReason, VcpuState } from './state';

/** A guest's vCPU: hypervisor state beside the CPU that runs it. */
export interface GuestVcpu {
  readonly domain: Domain;
  readonly id: VcpuId;
  /** The processor; each guest vCPU has one of its own. */
  readonly cpu: Vcpu;
  /** Its memory as its handlers see it. */
  readonly guest: GuestMemory;
  readonly state: VcpuState;
}

export interface Domain {
  readonly id: DomainId;
  readonly name: string;
  readonly vcpus: readonly GuestVcpu[];
  readonly state: DomainState;
}

/** Virtual time: nanoseconds since the machine was made, a function of retired instructions and skipped idle. */
export interface Clock {
  now(): bigint;
}

export interface CpuidResult {
  eax: number;
  ebx: number;
  ecx: number;
  edx: number;
}

export interface HypervisorOptions {
  readonly cpu: Cpu;
  readonly clock: Clock;
  /** What the processor itself announces; the hypervisor adds its own leaves and hides what PV cannot have. */
  readonly cpuid: (leaf: number, subleaf: number) => CpuidResult;
  readonly log: Log;
  readonly observer?: Observer;
  readonly trace?: TraceSink;
  /** For who counts uses of frames by other means than this hypervisor: the table in memory that both see. */
  readonly frameTable?: FrameTablePlace;
  /** Text that a guest writes to the hypervisor's console (console_io). */
  readonly console?: (domain: Domain, bytes: Uint8Array) => void;
  /** Seconds since 1970 that the guests take for the moment the machine was made. */
  readonly wallclock?: bigint;
}

/**
 * What became of an exit.
 * - run: enter the guest again (after `deliverPending`)
 * - deschedule: this vCPU gave up the processor; look at its state (blocked, offline, or runnable after a yield)
 * - hold: an observer stopped it (`vcpu.state.held`); `resume` goes on
 * - shutdown: its domain is gone (`domain.state.shutdown`)
 * - foreign: not the hypervisor's business (limit, breakpoint, watchpoint, kick): the state is untouched
 */
export type Outcome = 'run' | 'deschedule' | 'hold' | 'shutdown' | 'foreign';

/** A hypercall, for people. */
export interface CallView {
  /** mmu_update, event_channel_op … */
  readonly name: string;
  /** bind_virq … (first sub-operation of a batch) */
  readonly op?: string;
  readonly nr: number;
  readonly args: readonly DecodedValue[];
  /** Present when it has been served. */
  readonly result?: bigint;
  readonly errno?: string;
  readonly reason?: string;
}

export interface Hypervisor {
  readonly domains: ReadonlyMap<number, Domain>;
  readonly frames: FrameTable;
  readonly memory: MachineMemory;
  readonly hypercalls: readonly Declaration[];

  /** Makes a domain from a kernel image; its vCPU 0 is ready to run. Throws a BuildError with the reason. */
  buildDomain(build: DomainBuild, kernel: KernelInput): Domain;

  /** What to do with what `vcpu.cpu.run()` returned. Never throws: a defect of ours crashes the domain. */
  handleExit(vcpu: GuestVcpu, exit: Exit): Outcome;
  /** Go on from where an observer held the vCPU. */
  resume(vcpu: GuestVcpu): Outcome;
  /** Before entering the guest: time info, then an event upcall if one is due and not masked. */
  deliverPending(vcpu: GuestVcpu): Outcome;
  /** A vCPU begins or stops to run on the processor (run-state accounting). */
  scheduled(vcpu: GuestVcpu, running: boolean): void;

  /** The earliest timer of any vCPU, or of only one, and of the back ends (absolute ns); undefined: there is none. */
  nextDeadline(only?: GuestVcpu): bigint | undefined;
  /** Fires every timer whose time has come; makes vCPUs runnable. */
  expireTimers(): void;

  /** Hooks for the CPU. */
  cpuid(vcpu: Vcpu, leaf: number, subleaf: number): CpuidResult;
  tsc(vcpu: Vcpu): bigint;

  /** Domain 0's side, where back ends live. */
  readonly backend: BackendContext;
  /** Runs the event callbacks of back ends that were notified; machine calls it between guest runs too. @returns whether there were any */
  drainBackend(): boolean;

  /** Decoded for people. `live` reads guest memory as it is now, otherwise what was captured with the call. */
  view(vcpu: GuestVcpu | undefined, call: Call): CallView;
  /** Names that a call answers to: 'mmu_update', 'memory_op', 'memory_op.populate_physmap' … */
  namesOf(vcpu: GuestVcpu | undefined, call: Call): readonly string[];
  /** The hypercall in which a vCPU is held, if any. */
  currentCall(vcpu: GuestVcpu): Call | undefined;
  /** The hypercall whose handler is at work: there is one only in the middle of it. */
  servedCall(vcpu: GuestVcpu): Call | undefined;
  /** What a vCPU's last refused hypercall was refused with, or its domain ended by, for whoever asks where. */
  failureOf(vcpu: GuestVcpu): Error | undefined;
  /** Trap table, callbacks, events, timers …, as trees. */
  inspect(vcpu: GuestVcpu): readonly DecodedValue[];
  channels(domain: Domain): ChannelsView;
  grants(domain: Domain): GrantTableView;
  /** An event channel and a grant of a domain's as they stand now; undefined beyond its tables. */
  portAt(domain: Domain, port: number): PortState | undefined;
  grantAt(domain: Domain, ref: number): GrantState | undefined;

  /** Ends a domain from outside. */
  crash(domain: Domain, text: string): void;
  /** Gives all memory of a domain back to the machine, after its end or as its end. It cannot be looked at any more. */
  destroy(domain: Domain): void;

  /** All state under names; plain data and typed arrays, safe to clone. Guest frames are the machine's to save. */
  save(): HypervisorSnapshot;
  restore(snapshot: HypervisorSnapshot): void;
  /**
   * Makes the domains of a snapshot that was taken on another machine of as many frames and processors, which has
   * none yet. Guest frames are loaded by then; back ends are not told.
   */
  adopt(snapshot: HypervisorSnapshot): void;
}

export interface HypervisorSnapshot {
  readonly frames: unknown;
  readonly backend: unknown;
  readonly domains: readonly {
    readonly id: number;
    readonly name: string;
    readonly state: DomainState;
    readonly vcpus: readonly VcpuState[];
  }[];
}

export type { BackendContext, BackendPort, Call, Declaration, DomainState, Held, ShutdownReason, VcpuState };
export type { DomainId, EventPort, Mfn };
