/**
 * The part of MXCSR, or of the x87 control and status words, that a
 * floating-point operation reads and writes (SDM Vol 1 §8.1.3-8.1.5, §10.2.3).
 */

/** Exception flags, at their common positions in MXCSR, FSW, and (as masks) FCW. */
export const INVALID = 0x01;
export const DENORMAL = 0x02;
export const ZERO_DIVIDE = 0x04;
export const OVERFLOW = 0x08;
export const UNDERFLOW = 0x10;
export const INEXACT = 0x20;

/** Exceptions found before the operation is carried out (SDM Vol 1 §4.9.2). */
export const PRECOMPUTATION = INVALID | DENORMAL | ZERO_DIVIDE;

export interface FpEnv {
  /** Rounding: 0 nearest (even), 1 down, 2 up, 3 toward zero, as in MXCSR.RC and FCW.RC. */
  rc: 0 | 1 | 2 | 3;
  /** x87 precision control: significand bits for add, sub, mul, div, sqrt in f80. */
  pc: 24 | 53 | 64;
  /** Denormals are zeros (MXCSR bit 6). False for x87. */
  daz: boolean;
  /** Flush to zero (MXCSR bit 15); acts only while underflow is masked. False for x87. */
  ftz: boolean;
  /** A set bit masks the exception. */
  masks: number;
  /** Accumulates what operations raise; the caller clears it before each instruction. */
  flags: number;
  /** The last rounding grew the magnitude: C1 of x87 (SDM Vol 1 §8.1.3.1). */
  roundedUp: boolean;
}

/** Round to nearest, full precision, everything masked: FNINIT's and reset MXCSR's behaviour. */
export function defaultEnv(): FpEnv {
  return { rc: 0, pc: 64, daz: false, ftz: false, masks: 0x3f, flags: 0, roundedUp: false };
}

/** Raise flags; true if any of them is unmasked. */
export function raise(env: FpEnv, flags: number): boolean {
  env.flags |= flags;
  return (flags & ~env.masks) !== 0;
}

/** Load an environment from MXCSR (flags start out clear). */
export function envFromMxcsr(mxcsr: number, env: FpEnv = defaultEnv()): FpEnv {
  env.rc = ((mxcsr >>> 13) & 3) as FpEnv['rc'];
  env.pc = 64;
  env.daz = (mxcsr & 0x40) !== 0;
  env.ftz = (mxcsr & 0x8000) !== 0;
  env.masks = (mxcsr >>> 7) & 0x3f;
  env.flags = 0;
  env.roundedUp = false;
  return env;
}

/** PC field to significand bits; 1 is reserved (SDM Vol 1 table 8-2) and behaves as 64 here. */
const PRECISIONS = [24, 64, 53, 64] as const;

/** Load an environment from the x87 control word (flags start out clear). */
export function envFromFcw(fcw: number, env: FpEnv = defaultEnv()): FpEnv {
  env.rc = ((fcw >>> 10) & 3) as FpEnv['rc'];
  env.pc = PRECISIONS[(fcw >>> 8) & 3] ?? 64;
  env.daz = false;
  env.ftz = false;
  env.masks = fcw & 0x3f;
  env.flags = 0;
  env.roundedUp = false;
  return env;
}

/**
 * The raised flags that are not masked. For SSE a non-zero answer means #XM
 * with the destination unchanged; for x87 see `suppressesResult`.
 */
export const unmaskedPending = (env: FpEnv): number => env.flags & ~env.masks & 0x3f;

/**
 * True when an unmasked pre-computation exception keeps an x87 instruction from
 * writing its result at all (SDM Vol 1 §8.5.1-8.5.3); unmasked overflow, underflow
 * and precision still deliver one to a register.
 */
export const suppressesResult = (env: FpEnv): boolean => (env.flags & ~env.masks & PRECOMPUTATION) !== 0;

/**
 * Settle the flags of a packed SSE instruction after all its elements ran on one
 * environment: an unmasked pre-computation exception in any element keeps every
 * element's post-computation exceptions from being reported (SDM Vol 1 §11.5.3).
 */
export function settlePacked(env: FpEnv): void {
  if (suppressesResult(env)) env.flags &= PRECOMPUTATION;
}
