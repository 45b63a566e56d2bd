import type { Expression } from '../../machine/expressions';
import type { DataPlace, HypercallInfo, StopPoint } from '../../machine/target';
import type { HypervisorSources } from '../hypervisor-source';
import type { DomainSymbols } from '../symbols';
import type { HitCondition } from '../../machine/hit-condition';
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
  /** `label`: what a person calls it. */
  data: BreakpointOptions & {
    readonly place: DataPlace | { readonly expression: string };
    readonly access: DataAccess;
    readonly label: string;
  };
}
export type DataAccess = Extract<StopPoint, { kind: 'data' }>['access'];
export type BreakpointKind = keyof BreakpointSpecs;

/** A stop point before the debugger gives it its number. Conditions are added when all is known (index.ts). */
export type StopPointSpec = StopPoint extends infer P ? (P extends StopPoint ? Omit<P, 'id'> : never) : never;

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
  /** Split devices by the names that stop points have for them, `vbd/51712`; those there are now. */
  readonly devices?: readonly string[];
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
  /** Why the condition is evaluated here, at each stop, and not in the machine. */
  readonly slow?: string;
  /** Evaluated here at each stop, with the hit count; most are the machine's (in-machine.ts). */
  readonly condition: Expression | undefined;
  readonly hit: HitCondition | undefined;
  readonly log: LogMessage | undefined;
}
