/** A computed jump's known targets in a table without collisions: `(target · factor mod 2³²) >>> shift` is the place. */
export interface Spread {
  readonly factor: number;
  readonly shift: number;
  /** By place, which target it is; their number where it is none of them. */
  readonly table: readonly number[];
}

/** Fewer are compared one after another. */
const FEWEST = 4;
/** Places for each target, at the most: a place is a word of the host's jump table. */
const ROOM = 4;
const TRIES = 64;
/** Fibonacci hashing: 2³² divided by the golden ratio, and its odd multiples. */
const GOLDEN = 0x9e37_79b1;

/**
 * One jump through a table in place of a comparison for each target: the host predicts where it goes by the way that
 * led there, as it does the guest's own jump. Undefined where there are few, or no such table is found.
 */
export function spreading(targets: readonly bigint[]): Spread | undefined {
  const n = targets.length;
  if (n < FEWEST) return undefined;
  const words = targets.map((rip) => Number(BigInt.asUintN(32, rip)));
  for (let size = 1 << Math.ceil(Math.log2(n)); size <= n * ROOM; size *= 2) {
    const shift = 32 - Math.log2(size);
    for (let i = 0; i < TRIES; i++) {
      const factor = Math.imul(GOLDEN, 2 * i + 1);
      const table = Array<number>(size).fill(n);
      const fits = words.every((word, which) => {
        const at = Math.imul(word, factor) >>> shift;
        if (table[at] !== n) return false;
        table[at] = which;
        return true;
      });
      if (fits) return { factor, shift, table };
    }
  }
  return undefined;
}
