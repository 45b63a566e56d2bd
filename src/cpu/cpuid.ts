import { INSTRUCTIONS } from './instructions/index';
import { PHYSICAL_BITS } from './paging';

/**
 * What this processor says of itself (SDM Vol. 2A CPUID): an x86-64-v1 machine plus CMPXCHG16B. A feature that
 * stands for instructions is announced only when those are declared, so that nothing is promised in vain.
 */
export interface CpuidLeaf {
  readonly eax: number;
  readonly ebx: number;
  readonly ecx: number;
  readonly edx: number;
}

interface Feature {
  readonly leaf: number;
  readonly register: 'ecx' | 'edx';
  readonly bit: number;
  /** Mnemonics that must be declared. */
  readonly needs?: readonly string[];
}

const feature = (leaf: number, register: 'ecx' | 'edx', bit: number, ...needs: string[]): Feature => ({ leaf, register, bit, needs }); // prettier-ignore
const EXTENDED = 0x8000_0001;

const FEATURES: readonly Feature[] = [
  feature(1, 'edx', 0, 'fadd'), // FPU
  feature(1, 'edx', 2), // DE
  feature(1, 'edx', 3), // PSE
  feature(1, 'edx', 4, 'rdtsc'), // TSC
  feature(1, 'edx', 5), // MSR: RDMSR and WRMSR are the hypervisor's
  feature(1, 'edx', 6), // PAE
  feature(1, 'edx', 8, 'cmpxchg8b'), // CX8
  feature(1, 'edx', 13), // PGE
  feature(1, 'edx', 15, 'cmove'), // CMOV
  feature(1, 'edx', 16), // PAT
  feature(1, 'edx', 19, 'clflush'), // CLFSH
  feature(1, 'edx', 23, 'paddb', 'emms'), // MMX
  feature(1, 'edx', 24, 'fxsave', 'fxrstor'), // FXSR
  feature(1, 'edx', 25, 'addps'), // SSE
  feature(1, 'edx', 26, 'addpd'), // SSE2
  feature(1, 'ecx', 13, 'cmpxchg16b'), // CMPXCHG16B
  feature(EXTENDED, 'ecx', 0, 'lahf', 'sahf'), // LAHF/SAHF in 64-bit mode
  feature(EXTENDED, 'ecx', 8, 'prefetchw'), // PREFETCHW
  feature(EXTENDED, 'edx', 11, 'syscall'), // SYSCALL/SYSRET
  feature(EXTENDED, 'edx', 20), // NX
  feature(EXTENDED, 'edx', 26), // 1-GByte pages
  feature(EXTENDED, 'edx', 27, 'rdtscp'), // RDTSCP
  feature(EXTENDED, 'edx', 29), // long mode
];

const declared = new Set(INSTRUCTIONS.map((i) => i.mnemonic));

const features = (leaf: number, register: 'ecx' | 'edx'): number =>
  FEATURES.filter((f) => f.leaf === leaf && f.register === register)
    .filter((f) => (f.needs ?? []).every((m) => declared.has(m)))
    .reduce((bits, f) => bits | (1 << f.bit), 0) >>> 0;

/** Little-endian words of a text. */
const words = (text: string): number[] =>
  Array.from({ length: text.length / 4 }, (_, i) =>
    [0, 1, 2, 3].reduce((w, b) => (w | (text.charCodeAt(4 * i + b) << (8 * b))) >>> 0, 0),
  );

const [VENDOR_B = 0, VENDOR_D = 0, VENDOR_C = 0] = words('GenuineIntel');
const BRAND = words('Hyperstep x86-64-v1 interpreted CPU'.padEnd(48, '\0'));
/** Family 6, model 15, stepping 11: the last generation without SSE4, which is nearest to what works here. */
const SIGNATURE = 0x0000_06fb;
const CLFLUSH_LINE = 64;
const LINEAR_BITS = 48;

const brand = (n: number): CpuidLeaf => {
  const [eax = 0, ebx = 0, ecx = 0, edx = 0] = BRAND.slice(4 * n, 4 * n + 4);
  return { eax, ebx, ecx, edx };
};
const NOTHING: CpuidLeaf = { eax: 0, ebx: 0, ecx: 0, edx: 0 };
const BASIC_LEAVES = 7;
const EXTENDED_LEAVES = 0x8000_0008;

const LEAVES: ReadonlyMap<number, CpuidLeaf> = new Map([
  [0, { eax: BASIC_LEAVES, ebx: VENDOR_B, ecx: VENDOR_C, edx: VENDOR_D }],
  [1, { eax: SIGNATURE, ebx: (CLFLUSH_LINE / 8) << 8, ecx: features(1, 'ecx'), edx: features(1, 'edx') }],
  [0x8000_0000, { ...NOTHING, eax: EXTENDED_LEAVES }],
  [EXTENDED, { ...NOTHING, ecx: features(EXTENDED, 'ecx'), edx: features(EXTENDED, 'edx') }],
  [0x8000_0002, brand(0)],
  [0x8000_0003, brand(1)],
  [0x8000_0004, brand(2)],
  // Invariant TSC: it counts retired instructions at a fixed rate.
  [0x8000_0007, { ...NOTHING, edx: 1 << 8 }],
  [0x8000_0008, { ...NOTHING, eax: PHYSICAL_BITS | (LINEAR_BITS << 8) }],
]);

/** Registers as unsigned numbers; leaves that do not exist are zero. */
export const nativeCpuid = (leaf: number, _subleaf: number): CpuidLeaf => LEAVES.get(leaf >>> 0) ?? NOTHING;
