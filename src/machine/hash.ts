/**
 * A fast, order-dependent 64-bit hash for comparing machine states (not cryptographic): two 32-bit lanes of
 * multiply-and-rotate in the manner of MurmurHash3, fed with 32-bit words.
 */
export interface Hasher {
  words(data: Uint32Array): void;
  bytes(data: Uint8Array): void;
  text(data: string): void;
  /** 16 hex digits. */
  digest(): string;
}

const rotl = (x: number, n: number): number => (x << n) | (x >>> (32 - n));

export function createHasher(): Hasher {
  let a = 0x9747b28c | 0;
  let b = 0x85ebca6b | 0;
  let length = 0;

  const word = (w: number): void => {
    a = (Math.imul(rotl(a ^ Math.imul(w, 0xcc9e2d51), 13), 5) + 0xe6546b64) | 0;
    b = (Math.imul(rotl(b ^ Math.imul(w, 0x1b873593), 17), 5) + a) | 0;
  };
  const hasher: Hasher = {
    words(data) {
      for (const w of data) word(w);
      length += data.length * 4;
    },
    bytes(data) {
      let i = 0;
      for (; i + 4 <= data.length; i += 4) {
        word(
          (data[i] ?? 0) |
            ((data[i + 1] ?? 0) << 8) |
            ((data[i + 2] ?? 0) << 16) |
            ((data[i + 3] ?? 0) << 24),
        );
      }
      for (; i < data.length; i++) word(data[i] ?? 0);
      word(data.length);
      length += data.length;
    },
    text(data) {
      hasher.bytes(new TextEncoder().encode(data));
    },
    digest() {
      const finish = (h: number): string => {
        let x = h ^ length;
        x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
        x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
        return ((x ^ (x >>> 16)) >>> 0).toString(16).padStart(8, '0');
      };
      return finish(a) + finish(b);
    },
  };
  return hasher;
}

/** A stable text of plain state (objects, arrays, bigints, typed arrays, Maps): keys sorted. */
export function canonicalText(value: unknown): string {
  if (typeof value === 'bigint') return `${value.toString()}n`;
  if (value === undefined) return 'undefined';
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  if (ArrayBuffer.isView(value)) {
    const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    const h = createHasher();
    h.bytes(bytes);
    return `bytes:${h.digest()}`;
  }
  if (Array.isArray(value)) return `[${value.map(canonicalText).join(',')}]`;
  const entries =
    value instanceof Map
      ? [...value.entries()].map(([k, v]) => [String(k), v as unknown] as const)
      : Object.entries(value);
  return `{${entries
    .sort(([x], [y]) => (x < y ? -1 : x > y ? 1 : 0))
    .map(([k, v]) => `${k}:${canonicalText(v)}`)
    .join(',')}}`;
}
