/** What a machine looks like from outside: values that `Target` answers with. They cross threads and wires. */

import type { DecodedValue } from '../abi/decoded';
import type { CallView as HypercallView } from '../hypervisor/types';
import type { ShutdownReason } from './config';

export type { DecodedValue, HypercallView };

/** Which memory an address means. `virtual` is the guest-linear address under a vCPU's current tables. */
export type AddressSpace =
  | { readonly kind: 'virtual'; readonly vcpu: VcpuRef }
  | { readonly kind: 'pseudophysical'; readonly domain: number }
  | { readonly kind: 'machine' };

export interface VcpuRef {
  readonly domain: number;
  readonly vcpu: number;
}

/** A point in the run: deterministic, comparable. `retired` counts all guest instructions of the machine. */
export interface Moment {
  readonly retired: bigint;
  /** Virtual nanoseconds (retired instructions scaled, plus skipped idle). */
  readonly time: bigint;
}

/** What the hypervisor does for a vCPU that is stopped in it. */
export interface CrossingView {
  readonly kind:
    | 'hypercall'
    | 'syscall'
    | 'fault'
    | 'bounce'
    | 'emulation'
    | 'page-table write'
    | 'descriptor table'
    | 'upcall'
    | 'nmi'
    | 'timer';
  /** `#PF error code 0x2 at 0x1000` */
  readonly fault?: string;
  /** The instruction that it is about, as far as there is one. */
  readonly rip?: bigint;
}

/** A call of the hypervisor's own code, and the statement it is at. */
export interface HypervisorFrame {
  readonly function: string;
  /** As the probe table names it. */
  readonly file: string;
  /** Both from 1. */
  readonly line: number;
  readonly column: number;
}

/** What a variable of the hypervisor's holds. */
export interface HypervisorValue {
  readonly name: string;
  readonly type: string;
  readonly text: string;
  readonly expandable: boolean;
}

export interface HypervisorWatch {
  readonly expression: string;
  readonly name: string;
  readonly text: string;
}

export interface Register {
  readonly name: string;
  readonly group: 'general' | 'control' | 'segment' | 'sse' | 'x87' | 'debug' | 'hypervisor';
  readonly bits: number;
  /** Little-endian bytes. */
  readonly bytes: Uint8Array;
  /** Decoded bits etc.: 'CF ZF IF' */
  readonly note?: string;
  readonly writable: boolean;
}

/** One level of a page-table walk, L4 first. */
export interface WalkLevel {
  readonly level: 4 | 3 | 2 | 1;
  readonly tableMfn: number;
  readonly index: number;
  readonly entry: bigint;
  readonly flags: readonly string[];
  readonly mfn: number | undefined;
  readonly pfn: number | undefined;
  /** Type and counts of the frame the entry points at, e.g. 'writable, type count 1, count 2'. */
  readonly frame: string | undefined;
}
export interface Walk {
  readonly address: bigint;
  readonly levels: readonly WalkLevel[];
  readonly machineAddress: bigint | undefined;
  /** Why the walk ended without a translation. */
  readonly problem?: string;
}

/** One entry of a table page for tree views; absent entries are omitted. */
export interface TableEntry {
  readonly index: number;
  readonly virtual: bigint;
  readonly entry: bigint;
  readonly flags: readonly string[];
  readonly mfn: number;
  readonly pfn: number | undefined;
  readonly owner: string;
  readonly frame: string;
  /** True when the entry points to a next-level table. */
  readonly table: boolean;
  /** How many equal consecutive entries this row folds. */
  readonly run: number;
}

export interface FrameInfo {
  readonly mfn: number;
  readonly owner: string;
  readonly type: string;
  readonly typeCount: number;
  readonly count: number;
  readonly pinned: boolean;
  readonly pfn: number | undefined;
}

/** An entry of a page table that names a frame. */
export interface FrameUse {
  readonly level: number;
  /** The table's frame, its owner, and the entry in it. */
  readonly table: number;
  readonly owner: string;
  readonly index: number;
  readonly entry: bigint;
  readonly flags: readonly string[];
  /** Where the entry is in the address spaces of those who use the table; of a table, the first address below it. */
  readonly virtual: readonly bigint[];
}
export interface FrameUses {
  readonly frame: FrameInfo;
  readonly entries: readonly FrameUse[];
  /** Entries beyond those listed. */
  readonly more: number;
  /** vCPUs whose base table it is. */
  readonly roots: readonly (VcpuRef & { readonly as: 'kernel table' | 'user table' })[];
  readonly grants: readonly {
    readonly domain: number;
    readonly ref: number;
    readonly to: number;
    readonly writable: boolean;
    readonly mappedBy: readonly { readonly domain: number; readonly writable: boolean }[];
  }[];
}

/** Pages of an address space that follow one another and are mapped alike. */
export interface MappedRange {
  readonly virtual: bigint;
  /** Of 4 KiB. */
  readonly pages: number;
  readonly flags: readonly string[];
  /** Both of the first page. */
  readonly mfn: number;
  readonly pfn: number | undefined;
  readonly owner: string;
}

/** A node of xenstore and the names below it. Values hold a character a byte. */
export interface StoreNode {
  readonly path: string;
  readonly value: string;
  /** As xenstore-ls -p has them: the owner's first. */
  readonly permissions: readonly string[];
  /** Domains that watch this very node. */
  readonly watchers: readonly number[];
  readonly children: readonly StoreChild[];
}
export interface StoreChild {
  readonly name: string;
  readonly value: string;
  readonly permissions: readonly string[];
  readonly watchers: readonly number[];
  /** How many nodes are right below it. */
  readonly below: number;
}

/** One declared hypercall or sub-operation, for trees, completions and breakpoints. */
export interface HypercallInfo {
  readonly name: string;
  readonly nr: number;
  readonly status: 'implemented' | 'refused' | 'unimplemented';
  readonly doc: string;
  readonly ops: readonly {
    readonly name: string;
    readonly cmd: number;
    readonly status: 'implemented' | 'refused' | 'unimplemented';
    readonly doc: string;
    /** Members of the structure that its argument points at. */
    readonly args: readonly string[];
  }[];
  readonly args: readonly string[];
}

export interface TraceRecord {
  readonly seq: number;
  readonly retired: bigint;
  readonly time: bigint;
  readonly domain: number;
  readonly vcpu: number;
  readonly rip: bigint;
  /** Where the hypercall page was called from: the address after that call, where it is known. */
  readonly caller?: bigint;
  readonly call: HypercallView;
  /** Nesting: 1 for an entry of a multicall. */
  readonly depth: number;
}

export interface CallCount {
  readonly name: string;
  readonly count: number;
  readonly refused: number;
  /** Virtual nanoseconds from one to the next; the median is one of four steps to an octave. */
  readonly between?: { readonly mean: number; readonly median: number };
}
export interface TraceSummary {
  readonly total: number;
  readonly calls: readonly (CallCount & { readonly ops: readonly CallCount[] })[];
  /** What was refused with which error; the reason is that of the first time. */
  readonly refusals: readonly {
    readonly name: string;
    readonly errno: string;
    readonly count: number;
    readonly reason: string;
  }[];
  readonly traps: readonly { readonly name: string; readonly count: number }[];
}

export interface VcpuView {
  readonly ref: VcpuRef;
  readonly state: 'running' | 'runnable' | 'blocked' | 'offline' | 'dead';
  readonly rip: bigint;
  readonly mode: 'kernel' | 'user';
  readonly icount: bigint;
}
export interface DomainView {
  readonly id: number;
  readonly name: string;
  readonly frames: number;
  readonly vcpus: readonly VcpuView[];
  readonly shutdown?: ShutdownReason;
  /** What it was asked for and has not acknowledged (xenstore's control/shutdown). */
  readonly asked?: string;
  readonly consolePorts: number;
}
