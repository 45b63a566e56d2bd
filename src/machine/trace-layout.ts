/** How a record of the trace lies in the ring: the heads of all records together, and what was captured behind them. */
export const TRACE_RECORD_SIZE = 384;
export const HEAD_SIZE = 96;

/** Byte offsets in a head. */
export const HEAD = {
  retired: 0, time: 8, rip: 16, result: 24, args: 32, nr: 80, domain: 84, vcpu: 86, depth: 88, ranges: 89, refused: 90,
  /** For counting by who writes records by itself: which names a call has that are in guest memory; 0: not said. */
  names: 92,
} as const; // prettier-ignore

/** Each captured range behind the head: u64 address, u16 length, bytes. */
export const RANGE_HEADER = 10;
export const TAIL_SIZE = TRACE_RECORD_SIZE - HEAD_SIZE;
