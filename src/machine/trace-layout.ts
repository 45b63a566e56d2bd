/** How a record of the trace lies in the ring: the heads of all records together, and what was captured behind them. */
export const TRACE_RECORD_SIZE = 384;
export const HEAD_SIZE = 96;

/** Byte offsets in a head. */
export const HEAD = {
  retired: 0, time: 8, rip: 16, result: 24, args: 32, nr: 80, domain: 84, vcpu: 86, depth: 88, ranges: 89, refused: 90,
} as const; // prettier-ignore
