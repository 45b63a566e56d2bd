import type { Ops, Vector, Width } from '../ops';

/** A constant vector of 16 bytes. */
export function bytesOf(o: Ops, f: (i: number) => number): Vector {
  const half = (base: number): bigint => {
    let v = 0n;
    for (let i = 7; i >= 0; i--) v = (v << 8n) | BigInt(f(base + i) & 0xff);
    return v;
  };
  return o.kx(half(0), half(8));
}

/** Lanes of `bytes` bytes, by number, out of a:b (b's follow a's), as o.shuffle wants them. */
export const laneList = (bytes: number, lanes: readonly number[]): number[] =>
  lanes.flatMap((n) => Array.from({ length: bytes }, (_, i) => n * bytes + i));

/** Lanes of the low (or high) halves of a and b by turns. */
export function interleave(o: Ops, w: Width, high: boolean, a: Vector, b: Vector): Vector {
  const n = 128 / w;
  const first = high ? n / 2 : 0;
  const lanes = Array.from({ length: n / 2 }, (_, i) => [first + i, n + first + i]).flat();
  return o.shuffle(a, b, laneList(w / 8, lanes));
}
