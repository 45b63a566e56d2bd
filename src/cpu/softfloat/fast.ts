/**
 * Round-to-nearest f32 and f64 arithmetic in JavaScript numbers, for operands and
 * results so far from the format's edges that the only possible flag is precision,
 * and that one is found exactly by error-free transformations (TwoSum, TwoProduct).
 * Whatever does not qualify is left to the general path.
 */
import { type FpEnv, INEXACT } from './env';
import { type Format, f32 } from './format';

const u64 = new BigUint64Array(4);
const doubles = new Float64Array(u64.buffer);
const floats = new Float32Array(u64.buffer);
const words = new Uint32Array(u64.buffer);

interface Range {
  /** Results and operands (zero apart) must lie between these in magnitude. */
  readonly low: number;
  readonly high: number;
}
/** TwoProduct of doubles is exact in this range; sums are too. */
const SAFE64: Range = { low: 2 ** -480, high: 2 ** 480 };
/** Strictly inside the normal numbers of f32. A double holds every f32 product exactly, quotients and roots with bits to spare. */
const SAFE32: Range = { low: 2 ** -125, high: 2 ** 127 };

const inside = (r: Range, x: number): boolean => x === 0 || (Math.abs(x) >= r.low && Math.abs(x) <= r.high);

/** Rounding error of s = x + y (Knuth). */
function sumError(x: number, y: number, s: number): number {
  const t = s - x;
  return x - (s - t) + (y - t);
}

const SPLIT = 2 ** 27 + 1;

/** Rounding error of p = x * y (Dekker). */
function productError(x: number, y: number, p: number): number {
  const cx = SPLIT * x,
    cy = SPLIT * y;
  const hx = cx - (cx - x),
    hy = cy - (cy - y);
  const lx = x - hx,
    ly = y - hy;
  return lx * ly - (p - hx * hy - lx * hy - hx * ly);
}

/** One operation in doubles: its result and whether that is off. */
interface Operation {
  readonly run: (x: number, y: number) => number;
  /** Whether the double result r is inexact. */
  readonly inexact: (x: number, y: number, r: number) => boolean;
  /** A zero divisor or a negative radicand is not for this path. */
  readonly allows: (x: number, y: number) => boolean;
}

const always = (): boolean => true;
export const FAST = {
  add: { run: (x, y) => x + y, inexact: (x, y, r) => sumError(x, y, r) !== 0, allows: always },
  sub: { run: (x, y) => x - y, inexact: (x, y, r) => sumError(x, -y, r) !== 0, allows: always },
  mul: { run: (x, y) => x * y, inexact: (x, y, r) => productError(x, y, r) !== 0, allows: always },
  div: {
    run: (x, y) => x / y,
    inexact: (x, y, r) => r * y !== x || productError(r, y, x) !== 0,
    allows: (_, y) => y !== 0,
  },
  /** Of y, as SQRTSD takes its source. */
  sqrt: {
    run: (_, y) => Math.sqrt(y),
    inexact: (_, y, r) => r * r !== y || productError(r, r, y) !== 0,
    allows: (_, y) => y > 0,
  },
} as const satisfies Record<string, Operation>;

/** The result's encoding, or undefined when the general path must decide. Raises precision only. */
export function fast(operation: Operation, f: Format, a: bigint, b: bigint, env: FpEnv): bigint | undefined {
  if (env.rc !== 0 || f.explicitInteger) return undefined;
  u64[0] = a;
  u64[1] = b;
  if (f === f32) {
    const x = floats[0] ?? NaN,
      y = floats[2] ?? NaN;
    if (!inside(SAFE32, x) || !inside(SAFE32, y) || !operation.allows(x, y)) return undefined;
    const r = operation.run(x, y);
    if (!inside(SAFE32, r)) return undefined;
    floats[4] = r;
    // A double result that is itself rounded still tells: rounding twice is harmless here (53 >= 2 * 24 + 2).
    if (floats[4] !== r || operation.inexact(x, y, r)) env.flags |= INEXACT;
    return BigInt(words[4] ?? 0);
  }
  const x = doubles[0] ?? NaN,
    y = doubles[1] ?? NaN;
  if (!inside(SAFE64, x) || !inside(SAFE64, y) || !operation.allows(x, y)) return undefined;
  const r = operation.run(x, y);
  if (!inside(SAFE64, r) || (r === 0 && x !== 0 && y !== 0 && Math.abs(x) !== Math.abs(y))) return undefined;
  if (operation.inexact(x, y, r)) env.flags |= INEXACT;
  doubles[2] = r;
  return u64[2];
}
