/** Instruction breakpoints of a machine, as the code cache asks for them. Addresses come in halves where many are asked about. */
export interface BreakpointSet {
  any(): boolean;
  readonly has: (rip: bigint) => boolean;
  at(low: number, high: number): boolean;
  /** One stands on a byte of [rip, rip + size). */
  readonly within: (rip: bigint, size: number) => boolean;
  /** Low words, ascending, of those that come or go; undefined: none does. */
  change(addresses: readonly bigint[]): Uint32Array | undefined;
}

export const linearAt = (low: number, high: number): bigint =>
  (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);

export function breakpointSet(): BreakpointSet {
  const all = new Set<bigint>();
  /** Their low words: decides nearly always. */
  const lows = new Set<number>();
  /** The list they were given by. */
  let given: readonly bigint[] | undefined;
  return {
    any: () => lows.size > 0,
    has: (rip) => lows.size > 0 && all.has(rip),
    at: (low, high) => lows.has(low >>> 0) && all.has(linearAt(low, high)),
    within: (rip, size) => lows.size > 0 && [...all].some((at) => at >= rip && at < rip + BigInt(size)),
    change(addresses) {
      if (addresses === given) return undefined;
      given = addresses;
      const wanted = new Set(addresses);
      const changed = [...new Set([...all, ...wanted])].filter((a) => all.has(a) !== wanted.has(a));
      if (changed.length === 0) return undefined;
      all.clear();
      lows.clear();
      for (const a of wanted) {
        all.add(a);
        lows.add(Number(a & 0xffff_ffffn));
      }
      return Uint32Array.from(changed, (a) => Number(a & 0xffff_ffffn)).sort();
    },
  };
}

/** Whether one of these low words lies in the `size` bytes from a low word on. */
export function touches(lows: Uint32Array, rip: number, size: number): boolean {
  // The next one from there on, around the end.
  const at = lows[lowerBound(lows, rip) % lows.length] ?? 0;
  return (at - rip) >>> 0 < size;
}

/** Index of the first of ascending numbers that is no less than `n`; their length when there is none. */
function lowerBound(of: Uint32Array, n: number): number {
  let [low, high] = [0, of.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((of[middle] ?? 0) < n) low = middle + 1;
    else high = middle;
  }
  return low;
}
