import type { Random } from './random';

/** Values worth trying: the edges of every width, and of every floating-point format. */
const EDGES: readonly bigint[] = [
  0n,
  1n,
  2n,
  3n,
  7n,
  8n,
  15n,
  16n,
  31n,
  32n,
  33n,
  63n,
  64n,
  65n,
  127n,
  128n,
  255n,
  256n,
];

export function integer(r: Random): bigint {
  const wrap = (v: bigint): bigint => BigInt.asUintN(64, v);
  switch (r.below(8)) {
    case 0:
      return r.pick(EDGES);
    case 1:
      return wrap(-r.pick(EDGES));
    case 2:
      // A power of two and its neighbours.
      return wrap((1n << BigInt(r.below(64))) + BigInt(r.below(3) - 1));
    case 3:
      return wrap(-(1n << BigInt(r.below(64))) + BigInt(r.below(3) - 1));
    case 4: {
      // Repeated edge bytes, for packed integers.
      let v = 0n;
      for (let i = 0; i < 8; i++)
        v = (v << 8n) | BigInt(r.pick([0, 1, 0x7f, 0x80, 0x81, 0xff, r.below(256)]));
      return v;
    }
    case 5:
      return r.u64() >> BigInt(r.below(64));
    default:
      return r.u64();
  }
}

interface Float {
  readonly exponent: number;
  readonly fraction: number;
}
const F32: Float = { exponent: 8, fraction: 23 };
const F64: Float = { exponent: 11, fraction: 52 };

const fractionBits = (r: Random, n: number): bigint => {
  const mask = (1n << BigInt(n)) - 1n;
  switch (r.below(5)) {
    case 0:
      return 0n;
    case 1:
      return mask;
    case 2:
      return 1n << BigInt(r.below(n));
    case 3:
      // Few significant bits: sums and products that are exact, ties.
      return (r.u64() << BigInt(n - 1 - r.below(Math.min(n, 12)))) & mask;
    default:
      return r.u64() & mask;
  }
};

/** An encoding: zeros, denormals, infinities, NaNs of both kinds, values near one, near the limits, near integers' limits. */
function float(r: Random, { exponent, fraction }: Float): bigint {
  const sign = BigInt(r.below(2));
  const top = (1 << exponent) - 1;
  const bias = top >> 1;
  const biased = (() => {
    switch (r.below(10)) {
      case 0:
        return 0;
      case 1:
        return top;
      case 2:
        return r.below(4);
      case 3:
        return top - 1 - r.below(3);
      case 4:
        return bias + r.pick([30, 31, 32, 62, 63, 64, 15, 16]);
      case 5:
        return r.below(top);
      default:
        return bias + r.below(12) - 4;
    }
  })();
  return (((sign << BigInt(exponent)) | BigInt(biased)) << BigInt(fraction)) | fractionBits(r, fraction);
}
export const single = (r: Random): bigint => float(r, F32);
export const double = (r: Random): bigint => float(r, F64);

/** Ten bytes of an x87 register, the integer bit being clear now and then (unsupported encodings, pseudo-denormals). */
export function extended(r: Random): bigint {
  const sign = BigInt(r.below(2)) << 79n;
  const bias = 16383;
  const biased = BigInt(
    (() => {
      switch (r.below(9)) {
        case 0:
          return 0;
        case 1:
          return 0x7fff;
        case 2:
          return r.below(3);
        case 3:
          return 0x7ffe - r.below(3);
        case 4:
          return bias + r.pick([-149, -127, -126, -1074, -1022, 127, 128, 1023, 1024, 15, 31, 63]);
        case 5:
          return r.below(0x8000);
        default:
          return bias + r.below(40) - 10;
      }
    })(),
  );
  const integerBit = biased === 0n ? r.chance(0.1) : !r.chance(0.04);
  if (biased === 0n && r.chance(0.5)) return sign;
  return sign | (biased << 64n) | (integerBit ? 1n << 63n : 0n) | fractionBits(r, 63);
}

export const FLAVOURS = ['integer', 'single', 'double'] as const;
export type Flavour = (typeof FLAVOURS)[number];

/** 64 bits of one flavour. */
export const quad = (r: Random, flavour: Flavour): bigint =>
  flavour === 'integer' ? integer(r) : flavour === 'double' ? double(r) : (single(r) << 32n) | single(r);
