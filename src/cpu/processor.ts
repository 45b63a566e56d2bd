import { PHYSICAL_BITS } from './paging';
import type { Hooks } from './types';

/**
 * What the processor says of itself by CPUID: an x86-64 baseline machine (x86-64-v1), no more than the
 * declarations in instructions/ can do. Leaves and bits: AMD64 APM Vol. 3 appendix E, SDM Vol. 2A CPUID.
 *
 * The vendor is AMD's because that is whose behaviour is followed where the two differ (SYSCALL in long mode,
 * near branches, x87 pointers), and kernels choose their paths by it; family 15 is its first with this
 * instruction set.
 */
type Result = ReturnType<Hooks['cpuid']>;

const leaf = (eax: number, ebx = 0, ecx = 0, edx = 0): Result => ({
  eax: eax >>> 0,
  ebx: ebx >>> 0,
  ecx: ecx >>> 0,
  edx: edx >>> 0,
});
const bits = (...n: readonly number[]): number => n.reduce((mask, bit) => mask | (1 << bit), 0) >>> 0;
const word = (text: string, at: number): number =>
  [0, 1, 2, 3].reduce((w, i) => w | ((text.charCodeAt(at + i) || 0) << (8 * i)), 0) >>> 0;

/** FPU DE PSE TSC MSR PAE CX8 PGE CMOV PAT MMX FXSR SSE SSE2; those that leaf 8000_0001h repeats come first. */
const COMMON = [0, 2, 3, 4, 5, 6, 8, 13, 15, 16, 23, 24] as const;
const CLFLUSH_BIT = 19;
/** Bytes of a cache line that CLFLUSH works on, in units of 8. */
const CLFLUSH_UNITS = 8;
/** Family 15, model 5, stepping 8. */
const SIGNATURE = 0x0000_0f58;
const VENDOR = 'AuthenticAMD';
const BRAND = 'Hyperstep virtual x86-64 processor'.padEnd(48, '\0');
/** Width of machine addresses and of linear addresses in bits. */
const ADDRESS_SIZES = PHYSICAL_BITS | (48 << 8);

const vendorLeaf = (highest: number): Result =>
  leaf(highest, word(VENDOR, 0), word(VENDOR, 8), word(VENDOR, 4));
const brandLeaf = (part: number): Result =>
  leaf(word(BRAND, part), word(BRAND, part + 4), word(BRAND, part + 8), word(BRAND, part + 12));

const LEAVES: Readonly<Record<number, Result>> = {
  0: vendorLeaf(1),
  // ECX: CMPXCHG16B.
  1: leaf(SIGNATURE, CLFLUSH_UNITS << 8, bits(13), bits(...COMMON, CLFLUSH_BIT, 25, 26)),
  0x8000_0000: vendorLeaf(0x8000_0008),
  // ECX: LAHF/SAHF. EDX besides the common bits: SYSCALL, NX, 1-GiB pages, RDTSCP, long mode.
  0x8000_0001: leaf(SIGNATURE, 0, bits(0), bits(...COMMON, 11, 20, 26, 27, 29)),
  0x8000_0002: brandLeaf(0),
  0x8000_0003: brandLeaf(16),
  0x8000_0004: brandLeaf(32),
  0x8000_0008: leaf(ADDRESS_SIZES),
};

/** Leaves that are not there read as zero, as AMD's do. */
export const processorCpuid = (number: number, _subleaf: number): Result => LEAVES[number >>> 0] ?? leaf(0);
