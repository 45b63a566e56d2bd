import type { Target, VcpuRef } from '../machine/target';

/** Reads as much as is mapped; fewer bytes where a hole begins. */
export type ReadMemory = (address: bigint, length: number) => Promise<Uint8Array>;

const PAGE = 4096;

/** Reads a vCPU's virtual memory by pages and remembers them; for one question at one stop. */
export function cachedMemory(target: Target, vcpu: VcpuRef): ReadMemory {
  const pages = new Map<bigint, Uint8Array>();
  const page = async (at: bigint): Promise<Uint8Array> => {
    const known = pages.get(at);
    if (known !== undefined) return known;
    const fresh = await target.readMemory({ kind: 'virtual', vcpu }, at, PAGE);
    pages.set(at, fresh);
    return fresh;
  };
  return async (address, length) => {
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length;) {
      const at = BigInt.asUintN(64, address + BigInt(done));
      const start = at & ~4095n;
      const offset = Number(at - start);
      const piece = (await page(start)).subarray(offset, offset + length - done);
      if (piece.length === 0) return bytes.subarray(0, done);
      bytes.set(piece, done);
      done += piece.length;
    }
    return bytes;
  };
}
