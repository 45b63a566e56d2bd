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
  /** Writes `retired` and `now`, 64-bit words each, into the 32-bit words from `at` on. @returns `now` as a number */
  stamp(into: Uint32Array, at: number): number;
  /**
   * What makes the count of one vCPU's instructions that of all, and that the time, as 64-bit words into the 32-bit words
   * from `others` and from `skipped` on.
   */
  bases(own: number, into: Uint32Array, others: number, skipped: number): void;
  /** The same two as one: what is added to the count of one vCPU's instructions is the time. */
  base(own: number, into: Uint32Array, at: number): void;
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
  /** The same in halves. */
  let [skippedLow, skippedHigh] = [0, 0];
  const skip = (to: bigint): void => {
    skipped = to;
    skippedLow = Number(BigInt.asUintN(32, to));
    skippedHigh = Number(to >> 32n);
    answer = Number(asked - skipped);
  };
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
    stamp(into, at) {
      const retiredNow = count();
      const low = retiredNow >>> 0;
      const high = Math.floor(retiredNow / 2 ** 32);
      const timeLow = low + skippedLow;
      const timeHigh = high + skippedHigh + (timeLow > 0xffff_ffff ? 1 : 0);
      // The array keeps the low 32 bits.
      into[at] = low;
      into[at + 1] = high;
      into[at + 2] = timeLow;
      into[at + 3] = timeHigh;
      return timeHigh * 2 ** 32 + (timeLow >>> 0);
    },
    bases(own, into, others, skipped) {
      const rest = count() - own;
      into[others] = rest;
      into[others + 1] = rest / 2 ** 32;
      into[skipped] = skippedLow;
      into[skipped + 1] = skippedHigh;
    },
    base(own, into, at) {
      const rest = count() - own;
      const low = (rest >>> 0) + skippedLow;
      into[at] = low;
      into[at + 1] = Math.floor(rest / 2 ** 32) + skippedHigh + (low > 0xffff_ffff ? 1 : 0);
    },
    skipTo(time) {
      const ahead = time - now();
      if (ahead > 0n) skip(skipped + ahead);
    },
    save: () => ({ skipped }),
    restore: (state) => {
      skip(state.skipped);
    },
  };
}
