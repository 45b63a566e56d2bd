/**
 * Virtual time. One retired guest instruction is one nanosecond of a 1 GHz processor; when every vCPU is
 * blocked, time jumps to the next timer. No host clock anywhere.
 */
export interface MachineClock {
  /** Nanoseconds since the machine was made. */
  now(): bigint;
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
  const now = (): bigint => retired() + skipped;
  return {
    now,
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
