/**
 * What the hypervisor keeps about a vCPU and a domain: plain data under names, so that saving is copying.
 * Whatever a guest register holds while it runs lives in the CPU's state, not here.
 */
import type { DomainId, EventPort, Mfn, VcpuId } from '../base/branded';

/** One entry of the virtual IDT (arch-x86/xen.h trap_info). */
export interface TrapEntry {
  cs: number;
  /** Bits 0–1 privilege level; bit 2: entering masks event delivery. */
  flags: number;
  /** 0: no handler. */
  address: bigint;
}

/** RUNSTATE_* (vcpu.h). */
export type RunState = 'running' | 'runnable' | 'blocked' | 'offline';

export interface Callback {
  address: bigint;
  /** Entering it masks event delivery (CALLBACKF_mask_events). */
  maskEvents: boolean;
}

/** A hypercall between its entry and its return. */
export interface Call {
  readonly nr: number;
  /** rdi rsi rdx r10 r8 r9 at entry. */
  readonly args: readonly bigint[];
  /** Address of the instruction after `syscall`. */
  readonly rip: bigint;
  /** 0: made by the guest; 1: an entry of a multicall. */
  readonly depth: number;
  /** Set once the handler has run. */
  result?: bigint | undefined;
  /** The name of the error it was refused with. */
  errno?: string | undefined;
  /** Why it failed, or why it did less than asked. */
  reason?: string | undefined;
  /** Guest memory behind the arguments as it stood at entry. */
  captured: CapturedRange[];
  /** Work done in it so far, with that of a multicall's entries (budget.ts). */
  spent?: number | undefined;
}

export interface CapturedRange {
  readonly address: bigint;
  readonly bytes: Uint8Array;
}

/** A multicall under way: `index` is the entry being run (xen.h multicall_entry). */
export interface Multicall {
  readonly call: Call;
  readonly list: bigint;
  readonly count: number;
  index: number;
  /** Why the last entry's result could not be given back: it is the last, and the multicall fails. */
  problem: string | undefined;
}

/** An exception on its way to the guest. */
export interface Fault {
  readonly vector: number;
  readonly error: number | undefined;
  /** Faulting address of a #PF. */
  readonly address: bigint | undefined;
  /** INT n, INT3, INTO: rip is after the instruction. */
  readonly software: boolean;
}

/** Where an observer made a vCPU stop; `resume` goes on from there. */
export type Held =
  | { readonly kind: 'hypercall-entry'; readonly call: Call }
  | { readonly kind: 'hypercall-return'; readonly call: Call }
  | { readonly kind: 'fault'; readonly fault: Fault }
  | { readonly kind: 'privileged'; readonly mnemonic: string; readonly text: string }
  | { readonly kind: 'upcall' };

export interface VcpuState {
  /** VCPUOP_initialise has run (or the builder made it). */
  initialised: boolean;
  /** Down: never scheduled (VCPUOP_up/down). */
  online: boolean;
  run: RunState;
  /** System time (ns) at which `run` was entered, and time spent in each, in RUNSTATE order. */
  runSince: bigint;
  runTimes: [bigint, bigint, bigint, bigint];
  /** Guest kernel (own base table, kernel stack) or guest user. */
  kernelMode: boolean;

  traps: TrapEntry[];
  event: Callback;
  failsafe: Callback;
  syscall: Callback;
  nmiPending: boolean;
  nmiMasked: boolean;
  kernelSs: bigint;
  kernelSp: bigint;

  /** Frames of the guest's GDT (at most 14), and the number of its entries. */
  gdtFrames: Mfn[];
  gdtEntries: number;
  ldtBase: bigint;
  ldtEntries: number;
  /** Pages of the LDT that are mapped for the processor. */
  ldtPages: { page: number; mfn: Mfn }[];

  /** Base tables. The user table may be absent. */
  kernelTable: Mfn;
  userTable: Mfn | undefined;

  /** CR0.TS as the guest sees it (fpu_taskswitch); CR2 and CR4 as the guest reads them. */
  taskSwitched: boolean;
  cr2: bigint;
  cr4: bigint;
  /** The inactive GS base: the user's while in kernel mode, the kernel's while in user mode. */
  shadowGs: bigint;
  /** IOPL that the guest believes in (physdev_op.set_iopl), 0–3. */
  iopl: number;
  /** Ports the guest's user may use (physdev_op.set_iobitmap): a set bit forbids. */
  ioBitmap: { address: bigint; ports: number } | undefined;

  /** Where vcpu_info lives: in shared_info, or where register_vcpu_info put it. */
  infoFrame: Mfn;
  infoOffset: number;
  infoRegistered: boolean;
  /** Guest-virtual addresses, 0n when not registered. */
  timeArea: bigint;
  runstateArea: bigint;

  /** Absolute system time (ns) of the one-shot timer. */
  singleshot: bigint | undefined;
  /** Period (ns, 0n: off) and next firing of the periodic timer. */
  period: bigint;
  periodicNext: bigint;
  /** sched_op.poll: the ports waited for (all of them for SCHEDOP_poll with none named) and the end of waiting. */
  pollPorts: number[] | undefined;
  pollTimeout: bigint | undefined;
  /** Ports bound to per-vCPU VIRQs, by VIRQ number. */
  virqPorts: Record<number, number>;

  fifo: FifoQueues | undefined;
  held: Held | undefined;
  multicall: Multicall | undefined;
  /** Gave up the processor of its own will (sched_op.yield) and has not run since. */
  yielded: boolean;
}

export type ShutdownReason = 'poweroff' | 'reboot' | 'suspend' | 'crash' | 'watchdog' | 'soft_reset';

/** What a port is connected to (event_channel.h EVTCHNSTAT_*). */
export type Channel =
  | { readonly kind: 'free' }
  | { readonly kind: 'reserved' }
  | { readonly kind: 'unbound'; readonly remote: DomainId }
  | { readonly kind: 'interdomain'; readonly remote: DomainId; readonly remotePort: EventPort }
  | { readonly kind: 'virq'; readonly virq: number }
  | { readonly kind: 'ipi' };

export interface Port {
  channel: Channel;
  /** vCPU that is notified. */
  vcpu: VcpuId;
  /** FIFO priority 0 (highest) to 15. */
  priority: number;
  /** The FIFO queue it was last linked to. */
  lastVcpu: VcpuId;
  lastPriority: number;
  /** Became pending before the guest gave the page with its FIFO word. */
  early?: boolean;
}

/** A vCPU's FIFO control block, and the last port of each queue (0: none). */
export interface FifoQueues {
  readonly frame: Mfn;
  readonly offset: number;
  readonly tails: number[];
}

/** A handle of map_grant_ref. It is in use while one of its two mappings is. */
export interface MappedGrant {
  readonly domain: DomainId;
  readonly ref: number;
  readonly mfn: number;
  readonly writable: boolean;
  /** Mapped by an entry of the domain's tables, and whether that was named by the entry's own address. */
  host: boolean;
  readonly containsPte: boolean;
  /** Mapped for devices: the handle itself holds the frame. */
  device: boolean;
}

export interface DomainState {
  /** Frames the domain may own at most (max_pages) and owns now (tot_pages). */
  maxPages: number;
  totalPages: number;
  /** What the domain's memory map says it has. */
  mapPages: number;
  /** Bits of VMASST_TYPE_*. */
  vmAssist: bigint;
  shutdown: ShutdownReason | undefined;
  /** Why it crashed, in words. */
  crashText: string | undefined;
  sharedInfo: Mfn;
  consoleFrame: Mfn;
  storeFrame: Mfn;
  consolePort: EventPort;
  storePort: EventPort;
  ports: Port[];
  /** Pages of FIFO words; undefined while the domain uses the two-level ABI. */
  fifoArray: Mfn[] | undefined;
  /** Page given for physdev_op.pirq_eoi_gmfn, held though nothing is ever written to it. */
  eoiFrame: Mfn | undefined;
  /** Numbers of physical interrupts given away (physdev_op.get_free_pirq). */
  pirqs: number[];
  /** Last written to port 0xcf8. */
  pciAddress: number;
  /** What sched_op.shutdown_code said: any later shutdown has this reason. */
  shutdownCode: number | undefined;
  /** Global VIRQs: port by VIRQ number. */
  globalVirqs: Record<number, number>;
  /** Absolute system time (ns) at which each of the watchdogs shuts the domain down; undefined: not in use. */
  watchdogs: (bigint | undefined)[];
  grantVersion: 1 | 2;
  /** The highest that set_version gives (xl's max_grant_version). */
  grantMaxVersion: 1 | 2;
  grantFrames: Mfn[];
  /** Marks of use, in version 2. */
  statusFrames: Mfn[];
  grantMaxFrames: number;
  /** Grants of others that the domain has mapped, by handle (Xen: the maptrack). */
  maptrack: (MappedGrant | undefined)[];
  /** Machine frame of each pseudo-physical frame, −1 for none: the inverse of the M2P for this domain. */
  p2m: Int32Array;
}
