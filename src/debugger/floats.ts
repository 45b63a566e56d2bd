// How floating-point registers read. Values only for display and for setting; arithmetic is the processor's.

const view = new DataView(new ArrayBuffer(8));

export const float64 = (bits: bigint): number => {
  view.setBigUint64(0, bits, true);
  return view.getFloat64(0, true);
};
export const float32 = (bits: number): number => {
  view.setUint32(0, bits, true);
  return view.getFloat32(0, true);
};
export const bitsOf64 = (value: number): bigint => {
  view.setFloat64(0, value, true);
  return view.getBigUint64(0, true);
};
export const bitsOf32 = (value: number): bigint => {
  view.setFloat32(0, value, true);
  return BigInt(view.getUint32(0, true));
};

/** Double extended precision (SDM vol. 1 §4.2.2): 64-bit significand with its integer bit, 15-bit exponent, sign. */
export function float80Text(bits: bigint): string {
  const significand = BigInt.asUintN(64, bits);
  const exponent = Number((bits >> 64n) & 0x7fffn);
  const sign = (bits >> 79n) & 1n ? '-' : '';
  if (exponent === 0x7fff) {
    if (BigInt.asUintN(63, significand) === 0n) return `${sign}Infinity`;
    return `${sign}${(significand >> 62n) & 1n ? 'QNaN' : 'SNaN'}`;
  }
  if (significand === 0n) return `${sign}0`;
  const scale = Math.max(exponent, 1) - 16383 - 63;
  // Two steps, so that the power of two itself neither overflows nor vanishes where the product would not.
  const half = Math.trunc(scale / 2);
  const value = Number(significand) * 2 ** half * 2 ** (scale - half);
  if (Number.isFinite(value) && value !== 0) return `${sign}${value}`;
  return `${sign}0x${significand.toString(16)}p${scale}`;
}

/** 1.5, -0.25e3, NaN, Infinity; undefined for anything else, so that hexadecimal stays a bit pattern. */
export function parseFloatText(text: string): number | undefined {
  const trimmed = text.trim();
  if (/^[-+]?(\d+\.\d*|\.\d+|\d+(?=e)|\d+)(e[-+]?\d+)?$/i.test(trimmed)) return Number(trimmed);
  if (/^[-+]?Infinity$/.test(trimmed) || trimmed === 'NaN') return Number(trimmed);
  return undefined;
}
