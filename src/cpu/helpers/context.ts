import type { Exit } from '../exits';
import type { Seg, Width } from '../ops';
import type { FieldName } from '../state';
import type { Hooks, Vcpu } from '../types';

/**
 * What a helper (an instruction too rare or too complex for `Ops`) works on: the same in all tiers. In the
 * tiers, the state is synchronised to linear memory around the call, so a helper reads and writes it freely.
 * `Ops.helper(name, …args)` calls the helper registered under that name; values are unsigned 64-bit.
 */
export interface HelperContext {
  /** For hooks, and for what they need of identity. Registers go through get/set below. */
  readonly vcpu: Vcpu;
  readonly hooks: Hooks;
  /** i64 and i32 fields, unsigned. `next` is the address of the following instruction: setting it branches. */
  get(field: FieldName): bigint;
  set(field: FieldName, value: bigint): void;
  /** i32 fields as unsigned 32-bit numbers. */
  getInt(field: FieldName): number;
  setInt(field: FieldName, value: number): void;
  /** Live bytes of a 16-byte field (xmm, fpr), little-endian. */
  bytes(field: FieldName): Uint8Array;
  /** RFLAGS composed from the lazy slots; setting writes all as given. */
  rflags: bigint;
  /** Guest memory as Ops.load/store: with the current privilege, or as the supervisor (descriptor tables;
   *  SDM Vol. 3 §4.6.1 "implicit supervisor-mode accesses"). May throw a GuestFault. */
  load(w: Width, address: bigint, seg?: Seg, supervisor?: boolean): bigint;
  store(w: Width, address: bigint, value: bigint, seg?: Seg, supervisor?: boolean): void;
  /** Check a write of 1–4096 bytes without doing it. */
  probeWrite(bytes: number, address: bigint, seg?: Seg): void;
  /** Abandon the instruction: throws. */
  raise(vector: number, code?: number): never;
  /** Leave the run loop after this instruction has retired. */
  exit(reason: Exit, info?: bigint): void;
}

/** Arguments and result are unsigned 64-bit; a helper with nothing to say returns nothing (0). */
export type Helper = (c: HelperContext, ...args: bigint[]) => bigint | void; // eslint-disable-line @typescript-eslint/no-invalid-void-type -- "or nothing"
