/** What a handler gets: who calls, and the caller's memory. */
import type { MemoryReader } from '../abi/decoded';
import type { Type } from '../abi/layout';
import type { Core } from './core';
import type { Domain, GuestVcpu } from './types';

export interface CallContext {
  readonly core: Core;
  readonly domain: Domain;
  readonly vcpu: GuestVcpu;
  readonly guest: GuestMemory;
  /** Why something did not happen although the call succeeds: kept with the call, as a refusal's reason is. */
  note(reason: string): void;
  /** Counts work (units: budget.ts). @returns whether a loop over the guest's elements should stop here, and go on later */
  spend(units: number): boolean;
  /** Ends the handler for now: the guest executes its `syscall` again, with these first arguments. */
  goOnWith(args: readonly bigint[]): void;
}

/**
 * Guest-virtual memory under the caller's tables, with the rights the guest itself has. `what` names the thing
 * in the reason. Everything fails with EFAULT, which names the address and the level that did not translate.
 */
export interface GuestMemory {
  read<T>(type: Type<T>, at: bigint, what: string): T;
  write<T>(type: Type<T>, at: bigint, value: T, what: string): void;
  /** Fills `into`: what `read` does, for what is read at every turn. */
  load(into: Uint32Array, at: bigint, what: string | (() => string)): void;
  copyIn(at: bigint, length: number, what: string): Uint8Array;
  copyOut(at: bigint, bytes: Uint8Array, what: string): void;
  /** Undefined instead of failing. */
  readonly reader: MemoryReader;
}
