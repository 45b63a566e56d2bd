import { inflateSync } from 'fflate';

/**
 * One piece of raw deflate data (RFC 1951) of known length; what follows its last block is ignored.
 * @param size of the result in bytes; a longer result is an error, a shorter one is returned as it is
 */
export function inflateRaw(deflated: Uint8Array, size: number): Uint8Array {
  // With room for one byte more than wanted, data that are too long show, and memory stays bounded.
  const bytes = inflateSync(deflated, { out: new Uint8Array(size + 1) });
  if (bytes.length > size) throw new Error(`the data are longer than ${size.toString()} bytes`);
  return bytes;
}
