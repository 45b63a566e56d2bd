/**
 * 64-bit words and their halves, by way of memory: arithmetic on bigints makes a bigint of every intermediate value,
 * which counts where something is done at every exit.
 */
const word = new BigUint64Array(1);
const halves = new Int32Array(word.buffer);

/** Bits 0 to 31, as an unsigned number. */
export function lowHalf(bits: bigint): number {
  word[0] = bits;
  return (halves[0] ?? 0) >>> 0;
}

/** Bits 32 to 63, as an unsigned number. */
export function highHalf(bits: bigint): number {
  word[0] = bits;
  return (halves[1] ?? 0) >>> 0;
}

/** A number of 32 bits, sign-extended to 64, as an unsigned bigint. */
export function signExtended(n: number): bigint {
  halves[0] = n;
  halves[1] = n >> 31;
  return word[0] ?? 0n;
}
