/** A small seeded generator (xorshift32): the same numbers on every run. */
export interface Random {
  /** 0 … limit − 1 */
  readonly below: (limit: number) => number;
  /** The same. */
  next(limit: number): number;
  pick<T>(items: readonly T[]): T;
  chance(oneIn: number): boolean;
  /** 64 bits, often near the edges that break things. */
  wild(): bigint;
}

const EDGES = [0n, 1n, 8n, 0xfffn, 0x1000n, 0x7fff_ffffn, 0x8000_0000n, 0xffff_ffffn, 1n << 47n, 0xffff_8000_0000_0000n, (1n << 64n) - 1n]; // prettier-ignore

export function seeded(seed: number): Random {
  let state = seed | 0 || 1;
  const next = (): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
  const random: Random = {
    below: (limit) => next() % limit,
    next: (limit) => next() % limit,
    pick: (items) => {
      const item = items[next() % items.length];
      if (item === undefined) throw new RangeError('nothing to pick from');
      return item;
    },
    chance: (oneIn) => next() % oneIn === 0,
    wild: () => {
      const kind = next() % 4;
      if (kind === 0) return random.pick(EDGES);
      if (kind === 1) return BigInt(next() % 256);
      const wide = (BigInt(next()) << 32n) | BigInt(next());
      return kind === 2 ? wide : BigInt.asUintN(64, random.pick(EDGES) + BigInt(next() % 64) - 32n);
    },
  };
  return random;
}

/** The same generator, as the tests of images and of the adapter call it. */
export const createRandom = seeded;
