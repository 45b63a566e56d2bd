import type { StopPoint } from '../../machine/target';
import type { BreakpointSpecs, Resolution } from './types';

type Filter = Extract<StopPoint, { kind: 'event' }>['filter'];

export interface ExceptionFilter {
  readonly filter: Filter;
  readonly label: string;
  readonly description: string;
  readonly default: boolean;
  /** Shown in the field where its condition is typed. */
  readonly conditionDescription: string;
}

/** What a person can ask to stop at besides places in the code. */
export const exceptionFilters: readonly ExceptionFilter[] = [
  {
    filter: 'hypercall-failed',
    label: 'Failed hypercalls',
    description: 'A hypercall returns an error; the reason of the refusal is shown.',
    default: false,
    conditionDescription: "For example: name == 'mmu_update' && errno == EINVAL",
  },
  {
    filter: 'failing-check',
    label: 'Failing checks in the hypervisor',
    description:
      'A check of the hypervisor refuses something or ends a domain: stops at it, inside the hypervisor, with its variables.',
    default: false,
    conditionDescription: "For example: errno == EINVAL && name == 'mmu_update'",
  },
  {
    filter: 'guest-fault',
    label: 'Guest faults',
    description: 'An exception is about to be delivered to the guest, such as a page fault.',
    default: false,
    conditionDescription: 'For example: vector == 13',
  },
  {
    filter: 'domain-crash',
    label: 'Domain crashes',
    description: 'The hypervisor or the guest itself declares the domain crashed.',
    default: true,
    conditionDescription: 'For example: dom == 1',
  },
  {
    filter: 'domain-shutdown',
    label: 'Domain shutdowns',
    description: 'A domain ends for whatever reason: power-off, reboot, crash, watchdog.',
    default: false,
    conditionDescription: "For example: reason == 'reboot'",
  },
  {
    filter: 'event-upcall',
    label: 'Event upcalls',
    description: "The hypervisor enters the guest's event callback.",
    default: false,
    conditionDescription: 'For example: vcpu == 0',
  },
  {
    filter: 'privileged-op',
    label: 'Privileged instructions',
    description: 'The hypervisor emulates a privileged instruction for the guest.',
    default: false,
    conditionDescription: "For example: mnemonic == 'rdmsr'",
  },
];

export function resolveException({ filter }: BreakpointSpecs['exception']): Resolution {
  const known = exceptionFilters.find((one) => one.filter === filter);
  if (known === undefined) {
    return { points: [], message: `there is no exception filter '${filter}'; there are ${exceptionFilters.map((one) => one.filter).join(', ')}` }; // prettier-ignore
  }
  return { points: [{ kind: 'event', filter: known.filter }] };
}
