/** Reproducible random operands, leaning on the encodings where floating point goes wrong. */
import { type Format, f32, f64, f80 } from '../../../src/cpu/softfloat/format';

export type OperandKind =
  'f32' | 'f64' | 'f80' | 'i64' | 'bcd' | 'angle' | 'unit' | 'near1' | 'positive' | 'packed32' | 'packed64';

/** xorshift128: 32 random bits a call. */
export function generator(seed: number): () => number {
  let x = seed | 1,
    y = 0x9e3779b9,
    z = 0x243f6a88,
    w = 0xb7e15162;
  return () => {
    const t = x ^ (x << 11);
    x = y;
    y = z;
    z = w;
    w = (w ^ (w >>> 19) ^ t ^ (t >>> 8)) | 0;
    return w >>> 0;
  };
}

export class Operands {
  readonly next: () => number;
  constructor(seed: number) {
    this.next = generator(seed);
    for (let i = 0; i < 16; i++) this.next();
  }

  below(limit: number): number {
    return this.next() % limit;
  }

  bits(count: number): bigint {
    let value = 0n;
    for (let have = 0; have < count; have += 32) value = (value << 32n) | BigInt(this.next());
    return BigInt.asUintN(count, value);
  }

  private fraction(count: number): bigint {
    const n = BigInt(count);
    const all = (1n << n) - 1n;
    switch (this.below(8)) {
      case 0:
        return 0n;
      case 1:
        return all;
      case 2:
        return 1n << BigInt(this.below(count));
      case 3:
        return all ^ ((1n << BigInt(this.below(count))) - 1n);
      case 4:
        return (1n << BigInt(this.below(count))) - 1n;
      case 5:
        return (this.bits(8) << (n - 8n)) & all;
      default:
        return this.bits(count);
    }
  }

  private exponent(f: Format): number {
    const pick = this.below(16);
    if (pick < 2) return this.below(4);
    if (pick < 4) return f.maxExponent - this.below(4);
    if (pick < 10) return f.bias + this.below(2 * f.precision) - f.precision;
    if (pick < 13) return f.bias + this.below(7) - 3;
    return this.below(f.maxExponent + 1);
  }

  encode(f: Format, sign: boolean, exponent: number, fraction: bigint): bigint {
    const clamped = Math.min(Math.max(exponent, 0), f.maxExponent);
    let integer = 0n;
    if (f.explicitInteger) {
      // Mostly as the processor itself would write it; sometimes a pseudo-something.
      integer =
        this.below(24) === 0 ? (this.bits(1) === 1n ? f.integerBit : 0n) : clamped === 0 ? 0n : f.integerBit;
    }
    return (sign ? f.signBit : 0n) | (BigInt(clamped) << BigInt(f.fieldBits)) | integer | fraction;
  }

  float(f: Format): bigint {
    return this.encode(f, (this.next() & 64) !== 0, this.exponent(f), this.fraction(f.precision - 1));
  }

  /** A value whose exponent stands in a chosen range around 2^0. */
  around(f: Format, low: number, high: number): bigint {
    const exponent = f.bias + low + this.below(high - low + 1);
    return this.encode(f, (this.next() & 64) !== 0, exponent, this.fraction(f.precision - 1));
  }

  /** A second operand that has something to do with the first. */
  related(f: Format, a: bigint): bigint {
    const sign = this.bits(1) === 1n ? f.signBit : 0n;
    switch (this.below(4)) {
      case 0:
        return a ^ sign;
      case 1:
        return a ^ sign ^ this.bits(3);
      case 2: {
        const exponent = Number((a >> BigInt(f.fieldBits)) & BigInt(f.maxExponent)) + this.below(9) - 4;
        return this.encode(f, sign !== 0n, exponent, this.fraction(f.precision - 1));
      }
      default:
        return a ^ sign ^ (1n << BigInt(this.below(f.bits)));
    }
  }

  operand(kind: OperandKind): bigint {
    switch (kind) {
      case 'f32':
        return this.float(f32);
      case 'f64':
        return this.float(f64);
      case 'f80':
        return this.float(f80);
      case 'i64': {
        const width = 1 + this.below(64);
        const value = this.below(3) === 0 ? 1n << BigInt(width - 1) : this.bits(width);
        const near = value + BigInt(this.below(5) - 2);
        return BigInt.asUintN(64, (this.next() & 64) !== 0 ? -near : near);
      }
      case 'bcd': {
        let value = this.bits(1) << 79n;
        const digits = this.below(19);
        for (let i = 0; i < digits; i++)
          value |= BigInt(this.below(4) === 0 ? 9 : this.below(10)) << BigInt(4 * i);
        return value;
      }
      case 'angle':
        return this.below(8) === 0 ? this.float(f80) : this.around(f80, -40, 63);
      case 'unit':
        return this.below(8) === 0 ? this.float(f80) : this.around(f80, -70, -1);
      case 'near1':
        return this.below(8) === 0 ? this.float(f80) : this.around(f80, -70, -3);
      case 'positive':
        return this.below(8) === 0 ? this.float(f80) : this.around(f80, -3, 3) & (f80.signBit - 1n);
      case 'packed32':
        return [0, 1, 2, 3].reduce((all) => (all << 32n) | this.float(f32), 0n);
      case 'packed64':
        return (this.float(f64) << 64n) | this.float(f64);
    }
  }

  mxcsr(): number {
    switch (this.below(4)) {
      case 0:
        return 0x1f80;
      case 1:
        return 0x1f80 | (this.below(4) << 13);
      case 2:
        return 0x1f80 | (this.below(4) << 13) | (this.below(2) << 15) | (this.below(2) << 6);
      default:
        return (this.next() & 0xffc0) | 0;
    }
  }

  fcw(): number {
    const pc = [0, 2, 3, 3][this.below(4)] ?? 3;
    const masks = this.below(3) === 0 ? this.below(64) : 0x3f;
    return (this.below(4) << 10) | (pc << 8) | 0x40 | masks;
  }
}
