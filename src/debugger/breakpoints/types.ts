import type { Expression } from '../../machine/expressions';
import type { HypercallInfo, StopPoint } from '../../machine/target';
import type { HypervisorSources } from '../hypervisor-source';
import type { DomainSymbols } from '../symbols';
import type { HitCondition } from './hit-condition';
import type { LogMessage } from './log-message';

/** What a client may attach to any breakpoint. */
export interface BreakpointOptions {
  readonly condition?: string;
  readonly hitCondition?: string;
  readonly logMessage?: string;
}

/** What each kind of breakpoint is asked for. */
export interface BreakpointSpecs {
  /** Virtual address, in whatever domain runs there. */
  instruction: BreakpointOptions & { readonly address: bigint; readonly domain?: number };
  /** `hypercall:mmu_update`, `hypercall:memory_op.populate_physmap:return`, `*0x1000`, or a symbol; `:d2` after it. */
  function: BreakpointOptions & { readonly name: string };
  source: BreakpointOptions & { readonly file: string; readonly line: number };
  exception: BreakpointOptions & { readonly filter: string };
}
export type BreakpointKind = keyof BreakpointSpecs;

/** A stop point before the debugger gives it its number. */
export type StopPointSpec = StopPoint extends infer P ? (P extends StopPoint ? Omit<P, 'id'> : never) : never;

/**
 * Whether only the debugger can evaluate a condition: the machine knows arguments, not registers (written `$rax`)
 * and not memory.
 */
export const isForDebugger = (condition: string): boolean =>
  /[$%][A-Za-z]|\*|\bu(8|16|32|64)\s*\[/.test(condition);

/** A condition in a point is the machine's to evaluate; otherwise it is evaluated here when the point is hit. */
export interface Resolution {
  readonly points: readonly StopPointSpec[];
  readonly message?: string;
  readonly address?: bigint;
  readonly line?: number;
}

/** What resolving needs; before a machine is there, nothing resolves. */
export interface Environment {
  readonly symbols: DomainSymbols;
  readonly hypercalls: readonly HypercallInfo[];
  readonly hypervisor: HypervisorSources;
}

export interface Breakpoint<K extends BreakpointKind = BreakpointKind> {
  /** The client's and the target's number for it. */
  readonly id: number;
  readonly kind: K;
  readonly spec: BreakpointSpecs[K];
  readonly verified: boolean;
  /** Why it is not verified, or what it was taken for. */
  readonly message: string | undefined;
  readonly address: bigint | undefined;
  readonly line: number | undefined;
  readonly points: readonly StopPoint[];
  /** Evaluated here at each stop; hypercall and event conditions are the machine's. */
  readonly condition: Expression | undefined;
  readonly hit: HitCondition | undefined;
  readonly log: LogMessage | undefined;
}
