/**
 * What the generated function (module.ts) and index.ts tell each other, in the bytes behind a vCPU's state. Words that
 * begin with the state's name are the hypervisor's (VcpuState) while none runs.
 */
import { STATE_SIZE } from '../../cpu/state';
import { ANNEX_SIZE } from '../../cpu/wasm/abi';

/** i64s first. */
const WIDE = [
  /** VcpuState.kernelSp, kernelSs, shadowGs, cr2. */
  'kernelSp', 'kernelSs', 'shadowGs', 'cr2',
  /** CR3 of guest kernel and guest user; the latter 0 when there is none. */
  'kernelBase', 'userBase',
  /** Handlers; 0: none, or none to be called from here. */
  'syscallHandler', 'faultHandler', 'eventHandler',
  /** What makes retired instructions of this vCPU those of the machine, and these virtual time. */
  'othersRetired', 'skipped',
] as const; // prettier-ignore
const NARROW = [
  /** Bits of ALLOWED; 0: every exit leaves. */
  'allowed',
  /** Since index.ts looked last: exits seen to, and of which kinds. */
  'crossings', 'syscalls', 'faults', 'writes', 'ins', 'outs', 'clis', 'stis', 'upcalls',
  /** VcpuState.kernelMode, nmiMasked: 0 or 1. */
  'kernelMode', 'nmiMasked',
  /** The handlers' Callback.maskEvents. */
  'syscallMasks', 'faultMasks', 'eventMasks',
  /** Addresses: the two sets of the soft TLB, vcpu_info and its frame's attention byte, the first page of the GDT. */
  'kernelTlb', 'userTlb', 'info', 'attention', 'gdt',
  /** The trace: address of the ring's heads, how many there are, the next one's number, how many may be written. */
  'heads', 'capacity', 'slot', 'room',
  /** As a head has it: domain | vCPU << 16. */
  'who',
  /** DomainState.pciAddress. */
  'pciAddress',
  /** Where it is written next what a call has changed (tables.ts). */
  'journal',
] as const; // prettier-ignore

export type WideName = (typeof WIDE)[number];
export type NarrowName = (typeof NARROW)[number];

/** Byte offsets from the vCPU's address. */
export const ANNEX = Object.fromEntries([
  ...WIDE.map((name, i) => [name, STATE_SIZE + 8 * i] as const),
  ...NARROW.map((name, i) => [name, STATE_SIZE + 8 * WIDE.length + 4 * i] as const),
]) as Readonly<Record<WideName | NarrowName, number>>;

if (8 * WIDE.length + 4 * NARROW.length > ANNEX_SIZE)
  throw new RangeError('the annex of a vCPU is too small');

/** What may be seen to without leaving. */
export const ALLOWED = {
  /** SYSCALL of the guest's user. */
  syscall: 1,
  /** #PF that is the guest's. */
  fault: 2,
  /** Hypercalls of this family. */
  hypercall: 4,
  /** Of these, new base tables. */
  bases: 8,
  /** Stores of the guest's kernel to page tables that it may not write itself. */
  write: 16,
  /** Instructions of the guest's kernel. */
  in: 32,
  out: 64,
  cli: 128,
  sti: 256,
  /** Event upcalls behind what is seen to. */
  upcall: 512,
} as const;

/**
 * What is no hypercall: the word that counts it, the name that the trace counts it by, how often an observer is asked, and
 * whether it is an exit.
 */
export const COUNTED = [
  { word: 'syscalls', trap: 'syscall', allowed: ALLOWED.syscall, asks: 0, exits: 1 },
  { word: 'faults', trap: 'page-fault', allowed: ALLOWED.fault, asks: 1, exits: 1 },
  { word: 'writes', trap: 'page-table-write', allowed: ALLOWED.write, asks: 0, exits: 1 },
  { word: 'ins', trap: 'in', allowed: ALLOWED.in, asks: 1, exits: 1 },
  { word: 'outs', trap: 'out', allowed: ALLOWED.out, asks: 1, exits: 1 },
  { word: 'clis', trap: 'cli', allowed: ALLOWED.cli, asks: 1, exits: 1 },
  { word: 'stis', trap: 'sti', allowed: ALLOWED.sti, asks: 1, exits: 1 },
  { word: 'upcalls', trap: 'event-upcall', allowed: ALLOWED.upcall, asks: 1, exits: 0 },
] as const satisfies readonly {
  readonly word: NarrowName;
  readonly trap: string;
  readonly allowed: number;
  readonly asks: number;
  readonly exits: number;
}[];
export type CountName = (typeof COUNTED)[number]['word'];
