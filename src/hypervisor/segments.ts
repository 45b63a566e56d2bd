/** Segment descriptors looked up as the processor would, for hypercalls that name a selector. */
import type { Core } from './core';
import { descriptorBase } from './descriptors';
import type { GuestVcpu } from './types';

const PRESENT = 1n << 47n;
const CODE_OR_DATA = 1n << 44n;

/** Base address that a data-segment load would give; 0n for null and unusable selectors. */
export function loadSegmentBase(_core: Core, v: GuestVcpu, selector: number): bigint {
  if (selector <= 3) return 0n;
  const { cpu } = v;
  const local = (selector & 4) !== 0;
  const base = cpu.get(local ? 'ldt_base' : 'gdt_base');
  const limit = cpu.getInt(local ? 'ldt_limit' : 'gdt_limit');
  const offset = selector & 0xfff8;
  if (base === 0n || offset + 7 > limit) return 0n;
  const bytes = new Uint8Array(8);
  // The processor's own read: supervisor rights.
  if (cpu.readLinear(base + BigInt(offset), bytes, 0) < 8) return 0n;
  const descriptor = new DataView(bytes.buffer).getBigUint64(0, true);
  return (descriptor & PRESENT) !== 0n && (descriptor & CODE_OR_DATA) !== 0n
    ? descriptorBase(descriptor)
    : 0n;
}
