/** What the hypervisor's parts share. Plain wiring: behaviour is in the modules that take a `Core`. */
import type { Log } from '../base/log';
import type { Cpu } from '../cpu/types';
import type { BackendState } from './backend-ports';
import type { FrameTable } from './frames';
import type { MachineMemory } from './memory';
import type { Observer, TraceSink } from './observer';
import type { PageTypes } from './pagetypes';
import type { Domain, HypervisorOptions } from './types';
import type { XenSlots } from './xenslots';

export interface Core {
  readonly cpu: Cpu;
  readonly memory: MachineMemory;
  readonly frames: FrameTable;
  readonly types: PageTypes;
  readonly slots: XenSlots;
  readonly domains: Map<number, Domain>;
  readonly backend: BackendState;
  readonly options: HypervisorOptions;
  readonly log: Log;
  readonly observer: Observer;
  readonly trace: TraceSink | undefined;
  /** Virtual time in ns. */
  now(): bigint;
  /** Work done in handlers since the machine was made, in the units of budget.ts; only differences mean anything. */
  readonly work: { spent: number };
  /** A warning that is given once per machine. */
  warnOnce(text: string): void;
}
