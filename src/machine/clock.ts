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
  /** The same as a number, which is exact for some hundred days of running: for what is asked at every exit. */
  count(): number;
  /** How many instructions have retired when it is that time, if no more idle time is skipped till then. */
  countAt(time: bigint): number;
  /** Jump forward to an absolute time; earlier times are ignored. */
  skipTo(time: bigint): void;
  save(): ClockState;
  restore(state: ClockState): void;
}

export interface ClockState {
  readonly skipped: bigint;
}

/** @param retired sum of the vCPUs' instruction counts, exact also inside a run; `count`: the same as a number */
export function createClock(
  retired: () => bigint,
  count: () => number = () => Number(retired()),
): MachineClock {
  let skipped = 0n;
  /** What was asked last: mostly it is the same deadline, exit after exit. */
  let asked = 0n;
  let answer = 0;
  const at = (count: bigint): bigint => count + skipped;
  const now = (): bigint => at(retired());
  return {
    now,
    at,
    retired,
    count,
    countAt(time) {
      if (time !== asked) {
        asked = time;
        answer = Number(time - skipped);
      }
      return answer;
    },
    skipTo(time) {
      const ahead = time - now();
      if (ahead > 0n) skipped += ahead;
      answer = Number(asked - skipped);
    },
    save: () => ({ skipped }),
    restore: (state) => {
      ({ skipped } = state);
      answer = Number(asked - skipped);
    },
  };
}
