/** CRC-32 (IEEE 802.3, reflected), as gzip (RFC 1952 §8) and xz (format 1.2.1 §6) use it; eight bytes a step. */

const POLYNOMIAL = 0xedb88320;

const tables: Uint32Array = (() => {
  const all = new Uint32Array(8 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) !== 0 ? POLYNOMIAL : 0);
    all[byte] = crc;
  }
  for (let at = 256; at < all.length; at++) {
    const below = all[at - 256] ?? 0;
    all[at] = (below >>> 8) ^ (all[below & 0xff] ?? 0);
  }
  return all;
})();

/** @param before the sum of what comes before `bytes` */
export function crc32(bytes: Uint8Array, before = 0): number {
  const t = tables;
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const look = (table: number, byte: number): number => t[table * 256 + (byte & 0xff)] ?? 0;
  let crc = ~before;
  let at = 0;
  for (; at + 8 <= bytes.length; at += 8) {
    const low = crc ^ data.getInt32(at, true);
    const high = data.getInt32(at + 4, true);
    crc =
      look(7, low) ^
      look(6, low >>> 8) ^
      look(5, low >>> 16) ^
      look(4, low >>> 24) ^
      look(3, high) ^
      look(2, high >>> 8) ^
      look(1, high >>> 16) ^
      look(0, high >>> 24);
  }
  for (; at < bytes.length; at++) crc = (crc >>> 8) ^ look(0, crc ^ data.getUint8(at));
  return ~crc >>> 0;
}

/** CRC-64 (ECMA-182, reflected), xz's default check, as two 32-bit halves: [low, high]. */
const tables64: { low: Uint32Array; high: Uint32Array } = (() => {
  const low = new Uint32Array(256);
  const high = new Uint32Array(256);
  for (let byte = 0; byte < 256; byte++) {
    let l = byte;
    let h = 0;
    for (let bit = 0; bit < 8; bit++) {
      const odd = (l & 1) !== 0;
      l = (l >>> 1) | (h << 31);
      h >>>= 1;
      if (odd) {
        l ^= 0xd7870f42;
        h ^= 0xc96c5795;
      }
    }
    low[byte] = l;
    high[byte] = h;
  }
  return { low, high };
})();

/** @param before the sum of what comes before `bytes` */
export function crc64(bytes: Uint8Array, before = 0n): bigint {
  const { low, high } = tables64;
  let l = ~Number(before & 0xffff_ffffn);
  let h = ~Number(before >> 32n);
  for (const byte of bytes) {
    const index = (l ^ byte) & 0xff;
    l = (l >>> 8) ^ (h << 24) ^ (low[index] ?? 0);
    h = (h >>> 8) ^ (high[index] ?? 0);
  }
  return (BigInt(~h >>> 0) << 32n) | BigInt(~l >>> 0);
}
