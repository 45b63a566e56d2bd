/**
 * `Target`: the debugger's whole view of a machine. Implementations: the embedded machine (in process or
 * behind a worker), later a GDB remote. Everything is asynchronous; everything sent is structured-clone-able
 * (bigint and Uint8Array allowed, no functions). Nothing here knows DAP.
 */

import type {
  DevicesView,
  DiskInput,
  GuestRequest,
  NetworkInput,
  NetworkOutput,
  Resumption,
} from '../devices/index';

import type { ChannelsView, GrantTableView } from '../hypervisor/inspect-domain';
import type { Code } from './compiled';
import type { Answer, Question } from './records/questions';

import type {
  AddressSpace,
  VcpuRef,
  Moment,
  HypercallView,
  DecodedValue,
  CrossingView,
  HypervisorFrame,
  HypervisorValue,
  HypervisorWatch,
  Register,
  Walk,
  TableEntry,
  FrameInfo,
  FrameUses,
  MappedRange,
  StoreNode,
  HypercallInfo,
  TraceRecord,
  TraceSummary,
  DomainView,
} from './views';
import type { ShutdownReason, EndAction } from './config';
import type { Position } from './position';

export type * from './views';
export type * from './config';
export type { Position } from './position';
export type { GuestRequest, Resumption } from '../devices/index';
export type { ChannelsView, ChannelView, GrantTableView, GrantView } from '../hypervisor/inspect-domain';

/** An expression over what is there at the stop: see conditions.ts. */
export type Condition = string;

/** What the machine decides by itself before it stops at a point. */
export interface Gate {
  readonly id: number;
  readonly condition?: Condition;
  /** Numbers that names in the condition stand for: symbols of the guest. */
  readonly names?: Readonly<Record<string, bigint>>;
  /** What is evaluated instead of the condition, at this point: it is about the guest's C variables. */
  readonly code?: Code;
  /** Which of the times that the condition held: `5`, `>= 5`, `% 5` (hit-condition.ts). */
  readonly hits?: string;
}

/** What happens in the machine that run() can stop at. */
export type EventFilter =
  | 'hypercall-failed'
  | 'guest-fault'
  | 'domain-crash'
  | 'domain-shutdown'
  | 'event-upcall'
  | 'privileged-op'
  /** A check of the hypervisor's refuses something, or ends a domain: held there. Needs probes. */
  | 'failing-check'
  /** An event channel's port becomes pending. */
  | 'event-port'
  /** A request to xenstore, of a guest or of the toolstack and the back ends. */
  | 'xenstore'
  /** A back end takes a request from a ring. */
  | 'ring-request';

/** What a data stop point looks at. A further kind is a member here and a row in watch-kinds.ts. */
export type DataPlace =
  /** Bytes. Virtual ones are followed when the guest maps something else there, in the address space they are set in. */
  | {
      readonly kind: 'memory';
      readonly space: AddressSpace;
      readonly address: bigint;
      readonly bytes: number;
    }
  /** The page-table entry of a level that maps a virtual address; A and D, which the processor sets, left aside. */
  | {
      readonly kind: 'entry';
      readonly vcpu: VcpuRef;
      readonly address: bigint;
      readonly level: 1 | 2 | 3 | 4;
    }
  | { readonly kind: 'register'; readonly vcpu: VcpuRef; readonly name: string };

/** Everything run() can stop at. Ids are the debugger's own; the stop names the ids that matched. */
export type StopPoint = Gate &
  (
    | { readonly kind: 'instruction'; readonly address: bigint; readonly domain?: number }
    | {
        readonly kind: 'hypercall';
        /** 'mmu_update', 'memory_op.populate_physmap', or '*' */
        readonly name: string;
        readonly when: 'entry' | 'return';
        readonly domain?: number;
      }
    | {
        readonly kind: 'event';
        readonly filter: EventFilter;
        /** Only where these have these values: `vector`, `mnemonic`, `port`; `path`: it or one below it. */
        readonly only?: Readonly<Record<string, bigint | string>>;
        readonly domain?: number;
      }
    /**
     * Stops after the instruction, or the hypervisor's work, that did it. Stores of the value that was there count;
     * with a place that is no memory, changes only.
     */
    | {
        readonly kind: 'data';
        readonly place: DataPlace;
        readonly access: 'read' | 'write' | 'readWrite';
      }
    /**
     * The hypervisor's own state changes: `frame[0x123].type`, `d1.port[5].pending`, `d1.grant[8]`, `d1v0.run`, or what
     * `hypervisorWatch` gave a name. Looked at between its statements, where there are probes, and after each exit; its
     * condition is over `old` and `new`.
     */
    | { readonly kind: 'state'; readonly expression: string }
    /** A statement of the hypervisor's own source. Where the machine has no probes, it never matches. */
    | {
        readonly kind: 'statement';
        /** As the probe table names it: hypervisor/hypercalls/mmu.ts */
        readonly file: string;
        readonly line: number;
      }
  );

export interface RunUntil {
  /**
   * Stop after this many further retired instructions; with `vcpu`, count only that vCPU's. One is a step: it ends,
   * too, where a fault or a hypercall of that instruction begins, though nothing retires.
   */
  readonly instructions?: bigint;
  readonly vcpu?: VcpuRef;
  /** Additional one-shot instruction breakpoint, with an optional stack guard: stop only when rsp ≥ minRsp
   *  (step over / out of recursive calls). */
  readonly address?: { readonly at: bigint; readonly minRsp?: bigint; readonly vcpu?: VcpuRef };
  /** Stop before that entry of the multicall that the vCPU is about to make or is in, with reason `step`. */
  readonly entry?: { readonly index: number; readonly vcpu: VcpuRef };
  /** For line stepping: run while rip stays inside [low, high) on `vcpu`, stop when outside. */
  readonly outside?: { readonly low: bigint; readonly high: bigint; readonly vcpu: VcpuRef };
  /**
   * For line stepping at full speed: stop before any of these instructions on `vcpu`, with reason `address`. With
   * `intoFaults`, also at the first instruction of a handler that a fault of the vCPU was bounced to (`step`).
   */
  readonly exits?: { readonly at: readonly bigint[]; readonly vcpu: VcpuRef; readonly intoFaults: boolean };
  /**
   * Run through event upcalls that come in during a step (default true for steps). A fault of the instruction
   * itself is stepped into: the step ends at the first instruction of its handler.
   */
  readonly skipUpcalls?: boolean;
  /** Only this vCPU has its turn, the others stay where they are. Is input, like all that changes the future. */
  readonly alone?: VcpuRef;
  /**
   * Not beyond a position that it has been at: stop there with reason `reached`, whatever else there is. What happens
   * until then has happened before, and idle time is not waited for.
   */
  readonly before?: Position;
  /** Return with reason `idle` instead of waiting for input when nothing else can ever happen. */
  readonly stopWhenIdle?: boolean;
  /**
   * Stop at a statement of the hypervisor: `in`, the first of what handles the vCPU's next hypercall, fault or
   * privileged instruction or, inside, the next that runs; `over`, the next that is not in a deeper call; `out`, the next in the caller. Where the hypervisor is
   * left before that, the run ends at the guest's next instruction with reason `step`.
   */
  readonly hypervisor?: 'in' | 'over' | 'out';
  /** With `hypervisor: 'in'`: also where it delivers an event, an NMI or a timer. Default false. */
  readonly deliveries?: boolean;
  /** Breakpoints at the current instruction are stepped over first. Default true. */
  readonly skipCurrent?: boolean;
}

export type StopReason =
  | { readonly kind: 'entry' | 'pause' | 'reached' }
  /** With the instruction stop points at the place where it ended: their gates are open. */
  | { readonly kind: 'step' | 'address'; readonly ids?: readonly number[] }
  | { readonly kind: 'instruction' | 'event'; readonly ids: readonly number[]; readonly text?: string }
  | { readonly kind: 'data'; readonly ids: readonly number[]; readonly hits: readonly DataHit[] }
  | {
      readonly kind: 'hypercall';
      readonly ids: readonly number[];
      readonly when: 'entry' | 'return';
      readonly call: HypercallView;
    }
  /** `action`: what becomes of the domain; a `restart` happens when the machine runs on. */
  | { readonly kind: 'crash'; readonly text: string; readonly action?: EndAction }
  | {
      readonly kind: 'shutdown';
      readonly reason: ShutdownReason;
      readonly text: string;
      readonly action?: EndAction;
    }

  /**
   * Held inside the hypervisor, before a statement; ids are those of the stop points there. `text` says what has
   * changed, or which check has failed.
   */
  | { readonly kind: 'statement'; readonly ids: readonly number[]; readonly text?: string }
  /** The hypervisor's state has changed, and it is through with what it did. */
  | { readonly kind: 'state'; readonly ids: readonly number[]; readonly text: string }
  /** Every vCPU blocked with no timer armed and no input pending: only input can go on. run() returns only
   *  with this if `stopWhenIdle`, otherwise the worker waits for input or a kick. */
  | { readonly kind: 'idle' }
  /** The vCPU that runs alone cannot, for as long as it is alone. */
  | { readonly kind: 'stuck'; readonly text: string };

/** What happened at a data stop point. */
export interface DataHit {
  readonly id: number;
  readonly access: 'read' | 'write';
  /** The guest's instruction before rip; the hypervisor or a device; or another page is mapped there than was. */
  readonly by: 'guest' | 'hypervisor' | 'mapping';
  /** The hypercall that was served, where one was. */
  readonly call?: string;
  /** Where in the place `old` and `now` begin: of a long stretch they are only the first bytes that differ. */
  readonly offset: number;
  /** Undefined where nothing was or is there. */
  readonly old: Uint8Array | string | undefined;
  readonly now: Uint8Array | string | undefined;
}

export interface Stop {
  readonly reason: StopReason;
  readonly at: Moment;
  readonly vcpu: VcpuRef;
}

export type { DevicesView, NetworkInput, NetworkOutput, VifConfig } from '../devices/index';

export type ConsoleListener = (domain: number, data: Uint8Array, console: number) => void;

export interface SaveOptions {
  /** With the hypercall trace; default true. */
  readonly trace?: boolean;
}
export interface SaveReport {
  /** Bytes of the file. */
  readonly bytes: number;
  /** Bytes before compression. */
  readonly raw: number;
  /** Frames that are in it: those that are not all zeroes. */
  readonly frames: number;
}

/** What can be gone back to. */
export type HistoryView =
  | { readonly kept: false }
  | {
      readonly kept: true;
      /** Where it begins, and whether that is where the machine began. */
      readonly from: Moment;
      readonly position: Position;
      readonly whole: boolean;
      readonly marks: number;
      /** About what the marks take. */
      readonly bytes: number;
      /** The machine stands before a position at which it has been. */
      readonly repeats: boolean;
    };

/** An opaque snapshot handle. */
export type Mark = number;

export interface Target {
  now(): Promise<Moment>;
  domains(): Promise<readonly DomainView[]>;

  setStops(points: readonly StopPoint[]): Promise<void>;
  run(until: RunUntil): Promise<Stop>;
  /**
   * Ask the run() that was called before it to stop at the next block boundary with reason 'pause'. Without one
   * under way it has no effect; in particular it does not end the next.
   */
  pause(): void;

  /** Where it stands, for `seekTo`; in the middle of the hypervisor: in what was entered there. */
  position(): Promise<Position>;
  history(): Promise<HistoryView>;
  /**
   * To a position of the run so far: by the nearest mark of the history before it, and the same way again. Going on from
   * there does what was done before, with the same input, until somebody changes something. Rejects where none is kept.
   */
  seekTo(position: Position): Promise<Moment>;
  /** To the latest mark before a position; undefined: there is none. `near`: with marks close to it. */
  rewind(before: Position, near: boolean): Promise<Position | undefined>;
  /**
   * To where a vCPU stood one step before a position: before its instruction, or where it had a fault that a handler was
   * called for. Undefined: the history begins later, and there the machine stands.
   * @param overUpcalls an upcall that came in between, and was over by then, is no step
   */
  stepBack(vcpu: VcpuRef, from: Position, overUpcalls?: boolean): Promise<Position | undefined>;

  mark(): Promise<Mark>;
  /** Go back (or forward) to a mark. */
  seek(mark: Mark): Promise<Moment>;
  dropMark(mark: Mark): Promise<void>;
  /**
   * Writes the machine, which stands still, into a file that a `MachineConfig.saved` may name. The file is there
   * when all of it is on disk, and otherwise what was there before still is. Rejects with words for people.
   */
  save(path: string, options?: SaveOptions): Promise<SaveReport>;
  /** The save under way ends; its promise rejects. */
  cancelSave(): void;
  /** How much of a save is done, of 1. */
  onSaving(listener: (done: number) => void): () => void;
  /** Back to the first instruction, or to where the machine was saved. */
  restart(): Promise<void>;
  /** Settles when a machine elsewhere is there no longer, whether it was disposed of or died. */
  readonly gone?: Promise<Error>;
  /** Canonical hash of all architectural and hypervisor state, for determinism tests. */
  stateHash(): Promise<string>;

  registers(vcpu: VcpuRef): Promise<readonly Register[]>;
  setRegister(vcpu: VcpuRef, name: string, bytes: Uint8Array): Promise<void>;
  /** Reads as much as is mapped from `address`; a hole ends it (shorter result). */
  readMemory(space: AddressSpace, address: bigint, length: number): Promise<Uint8Array>;
  /** Bytes written; a debugger's write ignores read-only mappings but never leaves the domain's frames. */
  writeMemory(space: AddressSpace, address: bigint, data: Uint8Array): Promise<number>;

  walk(vcpu: VcpuRef, address: bigint): Promise<Walk>;
  /** Entries of the table at `path` (indices from L4 down; empty path = the L4 itself). */
  tableEntries(vcpu: VcpuRef, path: readonly number[]): Promise<readonly TableEntry[]>;
  frame(mfn: number): Promise<FrameInfo>;
  /** Who maps a frame. Looks through every table of the machine. */
  frameUses(mfn: number): Promise<FrameUses>;
  /** What the guest has in a vCPU's address space, from the lowest address up. */
  mappedRanges(vcpu: VcpuRef, at?: bigint): Promise<readonly MappedRange[]>;

  hypercalls(): Promise<readonly HypercallInfo[]>;
  /** The hypercall the vCPU is stopped in (entry or return), if any. */
  currentHypercall(vcpu: VcpuRef): Promise<HypercallView | undefined>;
  /** vCPU state that the hypervisor keeps: trap table, callbacks, upcall mask, pending events, timers … */
  hypervisorState(vcpu: VcpuRef): Promise<readonly DecodedValue[]>;
  /** While it is held at a statement of the hypervisor: the calls there, innermost first. Empty otherwise. */
  hypervisorStack(): Promise<readonly HypervisorFrame[]>;
  /** What is under a variable of one of those; an empty path is the frame's locals. */
  hypervisorValues(frame: number, path: readonly string[]): Promise<readonly HypervisorValue[]>;
  /** An expression over a frame's locals. Rejects with an ExpressionError. */
  hypervisorEvaluate(frame: number, expression: string): Promise<HypervisorValue>;
  /** What a vCPU is stopped in the hypervisor for, if it is. */
  crossing(vcpu: VcpuRef): Promise<CrossingView | undefined>;
  /**
   * What a stop point of kind `state` would look at: an expression for it, its name, and what it is now. Given a frame
   * and a path, what a local variable there leads to. Rejects with an ExpressionError.
   */
  hypervisorWatch(
    what: string | { readonly frame: number; readonly path: readonly string[] },
  ): Promise<HypervisorWatch>;
  /** Where the hypervisor last refused a vCPU something, or ended its domain; innermost first, empty when unknown. */
  hypervisorFailure(vcpu: VcpuRef): Promise<readonly HypervisorFrame[]>;
  trace(
    from: number,
    count: number,
  ): Promise<{ readonly first: number; readonly next: number; readonly records: readonly TraceRecord[] }>;
  traceSummary(): Promise<TraceSummary>;
  /** Ports in use, by domain. */
  channels(): Promise<readonly ChannelsView[]>;
  /** Grant tables and what is mapped of others', by domain. */
  grants(): Promise<readonly GrantTableView[]>;
  /** A node of xenstore; undefined when there is none. */
  storeNode(path: string): Promise<StoreNode | undefined>;
  /**
   * What the views of the trace ask (records/questions.ts). From the first question on, more records are kept than
   * the ring holds. Rejects in words for people.
   */
  traceQuestion(question: Question): Promise<Answer>;
  /** Consoles, disks, interfaces and bridges, with the requests in their rings. */
  devices(): Promise<DevicesView>;

  /** Bytes typed at one of a domain's consoles, the first where none is named: logged with the moment they were
   *  taken (input log). */
  consoleInput(domain: number, data: Uint8Array, console?: number): Promise<void>;
  /** Asks the guest, as xl does; what it does about it, it does when it runs. Logged as console input is. */
  askGuest(domain: number, request: GuestRequest): Promise<void>;
  /**
   * Lets a suspended domain go on: as if its suspension had been cancelled, or as one that was restored by xl, which
   * has its event channels, grants and devices to connect anew. Rejects when it is not suspended.
   */
  resumeDomain(domain: number, how: Resumption): Promise<void>;
  onConsole(listener: ConsoleListener): () => void;
  /** What the host's end of a connection into a domain says: logged like console input. */
  networkInput(input: NetworkInput): Promise<void>;
  /** A disk that the domain was configured with is unplugged, plugged again or grows: logged like console input. */
  diskInput(input: DiskInput): Promise<void>;
  /** Writes a node of xenstore as domain 0 (a character a byte), or removes it: logged like console input. */
  storeInput(path: string, value: string | undefined): Promise<void>;
  onNetwork(listener: (output: NetworkOutput) => void): () => void;
  /** Hypervisor messages: unimplemented calls, guest crashes, warnings. */
  onLog(listener: (text: string) => void): () => void;

  dispose(): Promise<void>;
}
