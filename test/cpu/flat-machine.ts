import { processorCpuid } from '../../src/cpu/processor';
import { createCpu, type CpuOptions, type InterpretingCpu } from '../../src/cpu/cpu';
import { createMemory } from '../../src/cpu/memory';
import type { Hooks } from '../../src/cpu/types';
import type { StatefulVcpu } from '../../src/cpu/vcpu';
import { interpreterBytes } from '../../scripts/generate-interpreter';

let compiled: WebAssembly.Module | undefined;
export const interpreterModule = (): WebAssembly.Module =>
  (compiled ??= new WebAssembly.Module(interpreterBytes()));

/** Page-table entry bits. */
export const P = 1n;
export const W = 2n;
export const U = 4n;
export const A = 0x20n;
export const D = 0x40n;
export const PS = 0x80n;
export const NX = 1n << 63n;

export interface FlatMachine {
  readonly cpu: InterpretingCpu;
  readonly v: StatefulVcpu;
  /** Puts bytes at a machine address (no announcements). */
  put(machine: number, bytes: readonly number[]): void;
  get(machine: number, size: number): number[];
  u64(machine: number): bigint;
  setU64(machine: number, value: bigint): void;
  /** Maps one 4 KiB page; tables are made as needed. */
  map(linear: bigint, machine: bigint, bits: bigint): void;
  /** Machine address of the level-1 entry that maps `linear`. */
  pteAt(linear: bigint): number;
  /** Sets rip and runs `n` instructions (1 if not given). */
  step(rip?: bigint, n?: bigint): number;
}

export const CODE = 0x10000n;
export const DATA = 0x20000n;
export const STACK_TOP = 0x30000n;
/** Page tables: this frame and those after it. */
const ROOT = 0x60000;

/**
 * 2 MiB of memory with one vCPU at CPL 3: code at 0x10000, data pages 0x20000–0x21fff, stack below 0x30000,
 * each mapped where it lies; nothing else is.
 */
export function flatMachine(
  hooks: Partial<Hooks> = {},
  frames = 512,
  { vcpus = 1, ...tier }: Pick<CpuOptions, 'tier' | 'compile'> & { readonly vcpus?: number } = {},
): FlatMachine {
  const mem = createMemory({ frames, vcpus, records: 65536 * 4 });
  const cpu = createCpu({
    memory: mem,
    interpreter: interpreterModule(),
    ...tier,
    hooks: {
      cpuid: (_, leaf, subleaf) => processorCpuid(leaf, subleaf),
      tsc: (v) => v.get('icount'),
      cow: () => undefined,
      watch: () => true,
      ...hooks,
    },
  });
  const v = cpu.vcpus[0];
  if (v === undefined) throw new Error('no vCPU');
  let nextTable = (ROOT >> 12) + 1;
  const u64 = (machine: number): bigint => mem.view.getBigUint64(mem.framesBase + machine, true);
  const setU64 = (machine: number, value: bigint): void =>
    mem.view.setBigUint64(mem.framesBase + machine, value, true);
  const pteAt = (linear: bigint): number => {
    let table = ROOT;
    for (let level = 3; level > 0; level--) {
      const at = table + 8 * Number((linear >> BigInt(12 + 9 * level)) & 511n);
      if ((u64(at) & P) === 0n) setU64(at, (BigInt(nextTable++) << 12n) | P | W | U | A);
      table = Number(u64(at) & 0x000f_ffff_ffff_f000n);
    }
    return table + 8 * Number((linear >> 12n) & 511n);
  };
  const map = (linear: bigint, machine: bigint, bits: bigint): void => setU64(pteAt(linear), machine | bits);
  v.set('cr3', BigInt(ROOT));
  map(CODE, CODE, P | U);
  map(DATA, DATA, P | W | U | NX);
  map(DATA + 0x1000n, DATA + 0x1000n, P | W | U | NX);
  map(STACK_TOP - 0x1000n, STACK_TOP - 0x1000n, P | W | U | NX);
  v.set('cr0', 0x8001_0033n);
  v.set('cr4', 0x620n);
  v.set('efer', 0xd01n);
  v.setInt('cpl', 3);
  v.set('rsp', STACK_TOP - 0x100n);
  return {
    cpu,
    v,
    put: (machine, bytes) => mem.bytes.set(bytes, mem.framesBase + machine),
    get: (machine, size) => [
      ...mem.bytes.subarray(mem.framesBase + machine, mem.framesBase + machine + size),
    ],
    u64,
    setU64,
    map,
    pteAt,
    step(rip, n = 1n) {
      if (rip !== undefined) v.set('rip', rip);
      return v.run(v.get('icount') + n);
    },
  };
}
