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
