/** What the two event ABIs have in common: how a port's state stands in memory that guest and hypervisor share. */
import type { Core } from './core';
import type { Domain } from './types';

export interface PortAbi {
  /** Ports that can exist. */
  readonly channels: number;
  readonly isPending: (core: Core, domain: Domain, number: number) => boolean;
  readonly isMasked: (core: Core, domain: Domain, number: number) => boolean;
  /** Still queued for the guest, so that the number cannot be used again yet. */
  readonly isBusy: (core: Core, domain: Domain, number: number) => boolean;
  /** @returns whether it was not pending before */
  readonly setPending: (core: Core, domain: Domain, number: number) => boolean;
  readonly clearPending: (core: Core, domain: Domain, number: number) => void;
  readonly unmask: (core: Core, domain: Domain, number: number) => void;
}
