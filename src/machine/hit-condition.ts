/** `5`, `== 5`, `>= 5`, `> 5`, `< 5`, `<= 5`, `% 5`: whether the n-th hit, counted from 1, is one to stop at. */
export type HitCondition = (hits: number) => boolean;

const comparisons: Readonly<Record<string, (n: number) => HitCondition>> = {
  // As VS Code's own debuggers have it: a bare number is the hit to stop at.
  '': (n) => (hits) => hits === n,
  '=': (n) => (hits) => hits === n,
  '==': (n) => (hits) => hits === n,
  '>=': (n) => (hits) => hits >= n,
  '>': (n) => (hits) => hits > n,
  '<=': (n) => (hits) => hits <= n,
  '<': (n) => (hits) => hits < n,
  '%': (n) => (hits) => n > 0 && hits % n === 0,
};

/** @returns a message when it cannot be read */
export function parseHitCondition(text: string): HitCondition | string {
  const match = /^\s*(==?|>=?|<=?|%|)\s*(\d{1,15})\s*$/.exec(text);
  const make = comparisons[match?.[1] ?? ''];
  if (match === null || make === undefined) {
    return `hit condition '${text}' is none of N, == N, > N, >= N, < N, <= N, % N`;
  }
  return make(Number(match[2]));
}

/** How often the stop points of a machine have been reached, their conditions being met. */
export interface HitCounts {
  /** Counts go on for points that are as they were. */
  set(points: readonly CountedPoint[]): void;
  /** Counts one; whether it is one to stop at. */
  reached(id: number): boolean;
  /** From nothing again. */
  reset(): void;
}
interface CountedPoint {
  readonly id: number;
  readonly condition?: string;
  readonly hits?: string;
}

export function createHitCounts(): HitCounts {
  let known = new Map<number, { readonly text: string; readonly hit: HitCondition; count: number }>();
  return {
    set: (points) => {
      const fresh: typeof known = new Map();
      for (const { id, condition = '', hits } of points) {
        if (hits === undefined) continue;
        const hit = parseHitCondition(hits);
        if (typeof hit === 'string') throw new Error(hit);
        const text = `${condition}\0${hits}`;
        const old = known.get(id);
        fresh.set(id, old?.text === text ? old : { text, hit, count: 0 });
      }
      known = fresh;
    },
    reached: (id) => {
      const one = known.get(id);
      return one === undefined || one.hit(++one.count);
    },
    reset: () => {
      for (const one of known.values()) one.count = 0;
    },
  };
}
