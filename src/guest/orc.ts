import type { ElfHeaders } from './elf';
import { findSection, sectionData } from './elf';
import { ImageError } from './error';

// Linux's own unwind tables for x86-64, which a stripped kernel keeps (CONFIG_UNWINDER_ORC): .orc_unwind_ip, sorted
// distances from their own place to the code, and .orc_unwind, an entry of six packed bytes for each
// (arch/x86/include/asm/orc_types.h; how the kernel uses them: arch/x86/kernel/unwind_orc.c).

export type OrcRegister =
  'undefined' | 'prev sp' | 'dx' | 'di' | 'bp' | 'sp' | 'r10' | 'r13' | 'bp indirect' | 'sp indirect';

export interface OrcEntry {
  readonly spOffset: bigint;
  readonly bpOffset: bigint;
  readonly sp: OrcRegister;
  readonly bp: OrcRegister;
  /** What lies at the previous stack pointer: a return address below it, all registers (struct pt_regs), or IRET's five words. */
  readonly type: 'call' | 'regs' | 'partial regs' | 'end' | 'undefined';
  /** The frame was interrupted: its address is not that of a call. */
  readonly signal: boolean;
}

export interface OrcTable {
  at(pc: bigint): OrcEntry | undefined;
  readonly count: number;
}

const registers: readonly OrcRegister[] = [
  'undefined', 'prev sp', 'dx', 'di', 'bp', 'sp', 'r10', 'r13', 'bp indirect', 'sp indirect',
]; // prettier-ignore
const ENTRY = 6;
const oldTypes = ['call', 'regs', 'partial regs', 'undefined'] as const;
const newTypes = ['undefined', 'end', 'call', 'regs', 'partial regs'] as const;

/** The flags of the three layouts there have been: until 6.2, in 6.3, and from 6.4 on, which has an .orc_header. */
interface Layout {
  type(flags: number): OrcEntry['type'];
  signal(flags: number): boolean;
}
const old = (end: number, signal: number): Layout => ({
  type: (flags) => ((flags & end) !== 0 ? 'end' : (oldTypes[(flags >> 8) & 3] ?? 'undefined')),
  // Before there was a bit for it, all frames with registers were taken for interrupted ones.
  signal: (flags) => (signal === 0 ? ((flags >> 8) & 3) !== 0 : (flags & signal) !== 0),
});
const layouts = {
  first: old(1 << 10, 0),
  second: old(1 << 11, 1 << 10),
  third: {
    type: (flags: number) => newTypes[(flags >> 8) & 7] ?? 'undefined',
    signal: (flags: number) => (flags & (1 << 11)) !== 0,
  },
} satisfies Record<string, Layout>;

/**
 * The tables of a kernel image; undefined where there are none.
 * @throws ImageError for tables that lie
 */
export function orcTable(elf: ElfHeaders): OrcTable | undefined {
  const placeSection = findSection(elf, '.orc_unwind_ip');
  const entrySection = findSection(elf, '.orc_unwind');
  if (placeSection === undefined || entrySection === undefined) return undefined;
  const places = sectionData(elf, placeSection);
  const entries = sectionData(elf, entrySection);
  const count = places.size / 4;
  if (count !== entries.size / ENTRY)
    throw new ImageError(
      places.thing,
      'sh_size',
      `${places.size} bytes of places do not match ${entries.size} bytes of .orc_unwind`,
    );
  const addresses = BigUint64Array.from({ length: count }, (_, index) =>
    BigInt.asUintN(64, placeSection.addr + BigInt(index * 4 + places.i32(index * 4))),
  );
  const flags = (index: number): number => entries.u16(index * ENTRY + 4);
  const hasHeader = findSection(elf, '.orc_header') !== undefined;
  const isSecond = (): boolean =>
    Array.from({ length: count }, (_, index) => flags(index)).some((one) => (one & (1 << 11)) !== 0);
  const layout = hasHeader ? layouts.third : isSecond() ? layouts.second : layouts.first;
  const offset = (at: number): bigint => BigInt.asIntN(16, BigInt(entries.u16(at)));

  return {
    count,
    at: (pc) => {
      let low = 0;
      let high = count;
      while (low < high) {
        const middle = (low + high) >>> 1;
        if ((addresses[middle] ?? 0n) <= pc) low = middle + 1;
        else high = middle;
      }
      // The last entry only ends the one before it; what comes behind it is not this image's code.
      if (low === 0 || low === count) return undefined;
      const index = low - 1;
      const bits = flags(index);
      const sp = registers[bits & 0xf];
      const bp = registers[(bits >> 4) & 0xf];
      if (sp === undefined || bp === undefined) return undefined;
      return {
        spOffset: offset(index * ENTRY),
        bpOffset: offset(index * ENTRY + 2),
        sp,
        bp,
        type: layout.type(bits),
        signal: layout.signal(bits),
      };
    },
  };
}
