import { hex } from '../abi/decoded';
import type { MemoryReader } from '../abi/decoded';
import { HYPERVISOR_VIRT_END, PTE, pteFrame, pteText } from '../abi/mmu';
import { guestVa, isCanonical } from '../base/branded';
import { highHalf, lowHalf } from '../base/words';
import type { Vcpu } from '../cpu/types';
import type { GuestMemory } from './context';
import { fail } from './hypercall';
import type { MachineMemory } from './memory';

/** SDM vol. 3 §4.5: which table index bits of an address select at each level. */
export function tableIndex(va: bigint, level: number): number {
  const [low, high] = [lowHalf(va), highHalf(va)];
  if (level <= 2) return (low >>> (3 + 9 * level)) & 511;
  return level === 3 ? ((high << 2) | (low >>> 30)) & 511 : (high >>> 7) & 511;
}

/** Upper halves of the addresses at which the lower half ends, and Xen's own part. */
const LOWER_END = 0x8000;
const XEN_END = highHalf(HYPERVISOR_VIRT_END);

/** Whether Xen takes an address for the guest's: the lower half, or above its own part (__addr_ok). */
export function addressOk(at: bigint, length = 1): boolean {
  const high = highHalf(at);
  const end = lowHalf(at) + Math.max(length, 1);
  if (high >= XEN_END) return high < 0xffff_ffff || end <= 2 ** 32;
  return high < LOWER_END - 1 || (high < LOWER_END && end <= 2 ** 32);
}

export interface WalkStep {
  readonly level: 4 | 3 | 2 | 1;
  readonly table: number;
  readonly index: number;
  readonly entry: bigint;
}

/** Reads a translation's entries from the base table down, ending at one that is absent or a superpage. */
export function walkTables(memory: MachineMemory, base: number, va: bigint): WalkStep[] {
  const steps: WalkStep[] = [];
  let table = base;
  for (const level of [4, 3, 2, 1] as const) {
    if (table >= memory.frameCount) break;
    const index = tableIndex(va, level);
    const entry = memory.read64(table, index);
    steps.push({ level, table, index, entry });
    if ((entry & PTE.PRESENT) === 0n) break;
    if ((level === 3 || level === 2) && (entry & PTE.PSE) !== 0n) break;
    table = pteFrame(entry);
  }
  return steps;
}

/** Why an access fails, in words: the address and the entry that stops it. */
export function explainFault(memory: MachineMemory, cr3: bigint, va: bigint, write: boolean): string {
  if (!isCanonical(guestVa(va))) return `${hex(va)} is not canonical`;
  const steps = walkTables(memory, pteFrame(cr3), va);
  for (const { level, table, index, entry } of steps) {
    const place = `the L${level} entry ${index} of mfn ${hex(table)}`;
    if ((entry & PTE.PRESENT) === 0n) return `${hex(va)}: ${place} is not present`;
    if ((entry & PTE.USER) === 0n) return `${hex(va)}: ${place} is not the guest's: ${pteText(entry)}`;
    if (write && (entry & PTE.RW) === 0n) return `${hex(va)}: ${place} is read-only: ${pteText(entry)}`;
  }
  return `${hex(va)} cannot be ${write ? 'written' : 'read'}`;
}

/** A linear address and its halves. */
const address64 = new BigUint64Array(1);
const address32 = new Uint32Array(address64.buffer);

/** Largest piece of guest memory handled at once: more than any structure or list a call may pass. */
const MAX_COPY = 1 << 20;

export function createGuestMemory(cpu: Vcpu, memory: MachineMemory): GuestMemory {
  function refuse(what: string, at: bigint, done: number, write: boolean): never {
    const bad = BigInt.asUintN(64, at + BigInt(done));
    return fail('EFAULT', `${what}: ${explainFault(memory, cpu.get('cr3'), bad, write)}`);
  }
  function check(what: string, at: bigint, length: number): void {
    if (length > MAX_COPY)
      fail('EFAULT', `${what}: ${length} bytes at ${hex(at)} are more than can be copied`);
    if (!addressOk(at, length)) {
      fail('EFAULT', `${what}: ${hex(at)} (${length} bytes) is not in the guest's part of the address space`);
    }
  }
  function copyIn(at: bigint, length: number, what: string): Uint8Array {
    check(what, at, length);
    const bytes = new Uint8Array(length);
    const done = cpu.readLinear(at, bytes, 3);
    return done < length ? refuse(what, at, done, false) : bytes;
  }
  function copyOut(at: bigint, bytes: Uint8Array, what: string): void {
    check(what, at, bytes.length);
    const done = cpu.writeLinear(at, bytes, 3);
    if (done < bytes.length) refuse(what, at, done, true);
  }
  const reader: MemoryReader = (at, length) => {
    if (length > MAX_COPY || !addressOk(at, length)) return undefined;
    const bytes = new Uint8Array(length);
    return cpu.readLinear(at, bytes, 3) === length ? bytes : undefined;
  };
  return {
    copyIn,
    copyOut,
    reader,
    load: (into, at, what) => {
      const size = into.length * 4;
      address64[0] = at;
      const host = addressOk(at, size) ? cpu.reach(address32[0] ?? 0, address32[1] ?? 0, size, false) : 0;
      if (host !== 0 && (host & 3) === 0) {
        for (let i = 0; i < into.length; i++) into[i] = memory.halves[(host >>> 2) + i] ?? 0;
        return;
      }
      const bytes = copyIn(at, size, typeof what === 'string' ? what : what());
      into.set(new Uint32Array(bytes.buffer));
    },
    read: (type, at, what) => {
      const { size } = type;
      check(what, at, size);
      address64[0] = at;
      // Straight from the page, where the vCPU itself would read it without a walk.
      const host = cpu.reach(address32[0] ?? 0, address32[1] ?? 0, size, false);
      if (host !== 0) return type.read(memory.all, host);
      const bytes = copyIn(at, size, what);
      return type.read(new DataView(bytes.buffer), 0);
    },
    write: (type, at, value, what) => {
      const bytes = new Uint8Array(type.size);
      type.write(new DataView(bytes.buffer), 0, value);
      copyOut(at, bytes, what);
    },
  };
}
