/** Segment descriptors looked up as the processor would, where the hypervisor loads selectors for a guest. */
import { hex } from '../abi/decoded';
import { descriptorBase } from './descriptors';
import type { Core } from './core';
import type { GuestVcpu } from './types';
import { FLAT_KERNEL_CS, FLAT_KERNEL_SS } from './vcpu';

/** SDM vol. 3 §3.4.5. */
const WRITABLE = 1n << 41n;
const EXECUTABLE = 1n << 43n;
const CODE_OR_DATA = 1n << 44n;
const DPL = 3n << 45n;
const PRESENT = 1n << 47n;
const LONG = 1n << 53n;

/** The descriptor at hand. */
const descriptorWord = new BigUint64Array(1);
const descriptorBytes = new Uint8Array(descriptorWord.buffer);

/** The descriptor that a selector names, or why there is none. */
function descriptorOf({ memory }: Core, v: GuestVcpu, selector: number): bigint | string {
  if (selector <= 3) return 'it is null';
  const { cpu } = v;
  const local = (selector & 4) !== 0;
  const base = cpu.get(local ? 'ldt_base' : 'gdt_base');
  const limit = cpu.getInt(local ? 'ldt_limit' : 'gdt_limit');
  const offset = selector & 0xfff8;
  if (base === 0n || offset + 7 > limit) return `it lies beyond the ${local ? 'LDT' : 'GDT'}`;
  const own = local ? undefined : v.state.gdtFrames[offset >> 12];
  // One of the guest's pages of its GDT, which is mapped where the processor looks.
  if (own !== undefined) descriptorWord[0] = memory.wordAt(own, offset & 0xfff);
  // The processor's own read: supervisor rights.
  else if (cpu.readLinear(base + BigInt(offset), descriptorBytes, 0) < 8)
    return 'its descriptor is not mapped';
  const [descriptor = 0n] = descriptorWord;
  if ((descriptor & PRESENT) === 0n) return `its descriptor ${hex(descriptor)} is not present`;
  if ((descriptor & CODE_OR_DATA) === 0n) return `its descriptor ${hex(descriptor)} is a system segment`;
  return descriptor;
}

/** Base address that a data-segment load would give; 0n for null and unusable selectors. */
export function loadSegmentBase(core: Core, v: GuestVcpu, selector: number): bigint {
  const descriptor = descriptorOf(core, v, selector);
  return typeof descriptor === 'string' ? 0n : descriptorBase(descriptor);
}

export interface SelectorProblem {
  readonly reason: string;
  /** 32-bit code: legal, but this processor does not run it. */
  readonly unsupported?: boolean;
}

/** Why ring 3 cannot run with this code segment (SDM vol. 2 IRET). */
export function codeProblem(core: Core, v: GuestVcpu, selector: bigint): SelectorProblem | undefined {
  if (selector === FLAT_KERNEL_CS) return undefined;
  const descriptor = descriptorOf(core, v, Number(selector));
  if (typeof descriptor === 'string') return { reason: `CS ${hex(selector)}: ${descriptor}` };
  if ((descriptor & EXECUTABLE) === 0n || (descriptor & DPL) !== DPL) {
    return { reason: `CS ${hex(selector)}: ${hex(descriptor)} is no code segment of ring 3` };
  }
  if ((descriptor & LONG) !== 0n) return undefined;
  return { reason: `CS ${hex(selector)}: ${hex(descriptor)} is 32-bit code`, unsupported: true };
}

/** Why ring 3 cannot have this stack segment. */
export function stackProblem(core: Core, v: GuestVcpu, selector: bigint): SelectorProblem | undefined {
  if (selector === FLAT_KERNEL_SS) return undefined;
  const descriptor = descriptorOf(core, v, Number(selector));
  if (typeof descriptor === 'string') return { reason: `SS ${hex(selector)}: ${descriptor}` };
  const fits =
    (descriptor & WRITABLE) !== 0n && (descriptor & EXECUTABLE) === 0n && (descriptor & DPL) === DPL;
  return fits
    ? undefined
    : { reason: `SS ${hex(selector)}: ${hex(descriptor)} is no stack segment of ring 3` };
}
