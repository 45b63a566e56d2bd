/**
 * How much a hypercall may do before the machine has its turn (Xen: hypercall_preempt_check and
 * hypercall_create_continuation). Work is counted, not timed, so that a call is interrupted at the same element on
 * every run. One unit is about an mmu_update element, some microseconds.
 */
export const BUDGET = 1 << 15;

export const COST = {
  element: 1,
  /** An entry of a multicall: decoding, trace, result. */
  call: 4,
  /** Every TLB of the machine is emptied. */
  flush: 4,
  /** The 512 entries of a table that becomes one, or is one no more. */
  table: 128,
} as const;
