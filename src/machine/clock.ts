/**
 * Virtual time. One retired guest instruction is one nanosecond of a 1 GHz processor; when every vCPU is
 * blocked, time jumps to the next timer. No host clock anywhere.
 */
export interface MachineClock {
  /** Nanoseconds since the machine was made. */
  now(): bigint;
  /** The time at which so many instructions of all vCPUs have retired, if no more idle time is skipped till then. */
  at(retired: bigint): bigint;
  /** Retired guest instructions of all vCPUs. */
  retired(): bigint;
  /** Jump forward to an absolute time; earlier times are ignored. */
  skipTo(time: bigint): void;
  save(): ClockState;
  restore(state: ClockState): void;
}

export interface ClockState {
  readonly skipped: bigint;
}

/** @param retired sum of the vCPUs' instruction counts, exact also inside a run */
export function createClock(retired: () => bigint): MachineClock {
  let skipped = 0n;
  const at = (count: bigint): bigint => count + skipped;
  const now = (): bigint => at(retired());
  return {
    now,
    at,
    retired,
    skipTo(time) {
      const ahead = time - now();
      if (ahead > 0n) skipped += ahead;
    },
    save: () => ({ skipped }),
    restore: (state) => {
      ({ skipped } = state);
    },
  };
}
