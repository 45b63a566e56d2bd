/**
 * The machine's frames as the hypervisor reads and writes them. Every store is announced to the CPU first, so
 * that code caches and copy-on-write stay right.
 */
import { PAGE_SIZE } from '../base/branded';
import type { Cpu } from '../cpu/types';

export interface MachineMemory {
  readonly frameCount: number;
  /** All of the host's memory that the machine is in: for what Vcpu.reach found. Read only. */
  readonly all: DataView;
  /** The same as 32-bit words. */
  readonly halves: Uint32Array;
  /** The page itself, not a copy: read only. */
  bytes(mfn: number): Uint8Array;
  /** Announces a store, then hands out the page for writing. */
  writable(mfn: number): Uint8Array;
  /** Entry `index` (0–511) of a frame taken as 64-bit words. */
  read64(mfn: number, index: number): bigint;
  write64(mfn: number, index: number, value: bigint): void;
  /** Word `index` (0–1023) of a frame taken as 32-bit words, unsigned; and entry `index` written by its halves. */
  half(mfn: number, index: number): number;
  setHalf(mfn: number, index: number, value: number): void;
  writeHalves(mfn: number, index: number, low: number, high: number): void;
  /** The first entry from `index` on in which two frames differ; 512: none. */
  difference(a: number, b: number, index: number): number;
  /** The first entry from `index` on that is present; 512: none. */
  present(mfn: number, index: number): number;
  /** One byte, and one 64-bit word, at an offset in bytes within the frame. */
  byteAt(mfn: number, offset: number): number;
  setByteAt(mfn: number, offset: number, value: number): void;
  wordAt(mfn: number, offset: number): bigint;
  setWordAt(mfn: number, offset: number, value: bigint): void;
  /** Offsets in bytes within the frame. */
  view(mfn: number): DataView;
  write(mfn: number, offset: number, bytes: Uint8Array): void;
  zero(mfn: number): void;
  copy(to: number, from: number): void;
}

export function createMachineMemory(cpu: Cpu): MachineMemory {
  const { mem } = cpu;
  const base = (mfn: number): number => {
    if (!Number.isInteger(mfn) || mfn < 0 || mfn >= mem.frameCount) {
      throw new RangeError(`frame 0x${mfn.toString(16)} is not among the machine's ${mem.frameCount}`);
    }
    return mem.framesBase + mfn * PAGE_SIZE;
  };
  const bytes = (mfn: number): Uint8Array => mem.bytes.subarray(base(mfn), base(mfn) + PAGE_SIZE);
  const announced = (mfn: number, offset?: number, length?: number): Uint8Array => {
    const page = bytes(mfn);
    cpu.beforeStore(mfn, offset, length);
    return page;
  };
  return {
    frameCount: mem.frameCount,
    all: mem.view,
    halves: mem.u32,
    bytes,
    writable: (mfn) => announced(mfn),
    read64: (mfn, index) => mem.view.getBigUint64(base(mfn) + (index & 511) * 8, true),
    write64: (mfn, index, value) => {
      const at = base(mfn) + (index & 511) * 8;
      cpu.beforeStore(mfn, (index & 511) * 8, 8);
      mem.view.setBigUint64(at, value, true);
    },
    half: (mfn, index) => mem.u32[(base(mfn) >>> 2) + (index & 1023)] ?? 0,
    setHalf: (mfn, index, value) => {
      const at = (base(mfn) >>> 2) + (index & 1023);
      cpu.beforeStore(mfn, (index & 1023) * 4, 4);
      // The array keeps the low 32 bits.
      mem.u32[at] = value;
    },
    writeHalves: (mfn, index, low, high) => {
      const at = (base(mfn) >>> 2) + 2 * (index & 511);
      cpu.beforeStore(mfn, (index & 511) * 8, 8);
      mem.u32[at] = low;
      mem.u32[at + 1] = high;
    },
    difference: (a, b, index) => {
      const { u32 } = mem;
      const [one, other] = [base(a) >>> 2, base(b) >>> 2];
      for (let i = 2 * index; i < PAGE_SIZE / 4; i++) if (u32[one + i] !== u32[other + i]) return i >> 1;
      return PAGE_SIZE / 8;
    },
    present: (mfn, index) => {
      const { u32 } = mem;
      const table = base(mfn) >>> 2;
      // PTE.PRESENT; most tables are nearly empty.
      for (let i = index; i < PAGE_SIZE / 8; i++) if (((u32[table + 2 * i] ?? 0) & 1) !== 0) return i;
      return PAGE_SIZE / 8;
    },
    byteAt: (mfn, offset) => mem.bytes[base(mfn) + offset] ?? 0,
    setByteAt: (mfn, offset, value) => {
      cpu.beforeStore(mfn, offset, 1);
      mem.bytes[base(mfn) + offset] = value;
    },
    wordAt: (mfn, offset) => mem.view.getBigUint64(base(mfn) + offset, true),
    setWordAt: (mfn, offset, value) => {
      cpu.beforeStore(mfn, offset, 8);
      mem.view.setBigUint64(base(mfn) + offset, value, true);
    },
    view: (mfn) => new DataView(mem.bytes.buffer, mem.bytes.byteOffset + base(mfn), PAGE_SIZE),
    write: (mfn, offset, data) => {
      if (offset < 0 || offset + data.length > PAGE_SIZE) {
        throw new RangeError(`${data.length} bytes at offset ${offset} leave frame 0x${mfn.toString(16)}`);
      }
      announced(mfn, offset, data.length).set(data, offset);
    },
    zero: (mfn) => {
      announced(mfn, 0, PAGE_SIZE).fill(0);
    },
    copy: (to, from) => {
      announced(to, 0, PAGE_SIZE).set(bytes(from));
    },
  };
}
