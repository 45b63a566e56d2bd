/** CPUID of a PV guest: the processor's own answer with Xen's leaves, less what cannot work here (arch-x86/cpuid.h). */
import type { Core } from './core';
import type { CpuidResult } from './types';
import { TIME_INFO, TSC_FREQUENCY } from './vcpu';

export const XEN_CPUID_FIRST_LEAF = 0x4000_0000;
/** 4.17 */
export const XEN_VERSION = (4 << 16) | 17;

const HYPERVISOR_BIT = 0x8000_0000;
/** Leaf 1 EDX: features that need ring 0 or are not virtualized for PV: VME, PSE, MTRR, PGE, PSE-36. */
const PV_HIDDEN_EDX = (1 << 1) | (1 << 3) | (1 << 12) | (1 << 13) | (1 << 17);

/**
 * EDX of leaves 1 and 8000_0001h. Xen shows PV guests the processor's APIC bit (cpufeatureset.h: `!A`), though there
 * is nothing behind it: without the bit Linux gives up the APIC driver that Xen guests have, and then distrusts the
 * number of every further processor.
 */
const APIC = 1 << 9;

const leaf = (eax: number, ebx = 0, ecx = 0, edx = 0): CpuidResult => ({ eax, ebx, ecx, edx });
const mul = TIME_INFO.tsc_to_system_mul;
const kHz = Number(TSC_FREQUENCY / 1000n);

const XEN_LEAVES: Readonly<Record<number, (subleaf: number) => CpuidResult>> = {
  // 'XenVMMXenVMM'
  0: () => leaf(XEN_CPUID_FIRST_LEAF + 5, 0x566e6558, 0x65584d4d, 0x4d4d566e),
  1: () => leaf(XEN_VERSION),
  // One hypercall page; no MSR to install it from inside a PV guest matters, but Xen announces it.
  2: () => leaf(1, 0x4000_0000, 0, 1),
  // tsc_mode native (2): RDTSC is not emulated; offset 0, the scale, and kHz.
  3: (subleaf) =>
    subleaf === 0 ? leaf(0, 2, kHz, 0) : subleaf === 1 ? leaf(0, 0, mul, TIME_INFO.tsc_shift) : leaf(kHz),
  4: () => leaf(0),
  // Machine addresses are at most 40 bits wide.
  5: (subleaf) => (subleaf === 0 ? leaf(0, 40) : leaf(0)),
};

/** The processor's answer, cleaned for PV. */
const ADJUST: Readonly<Record<number, (r: CpuidResult) => CpuidResult>> = {
  1: (r) => ({
    eax: r.eax,
    // The initial APIC id is 0 on every vCPU of a PV guest.
    ebx: r.ebx & 0x00ff_ffff,
    ecx: r.ecx | HYPERVISOR_BIT,
    edx: (r.edx & ~PV_HIDDEN_EDX) | APIC,
  }),
  0x8000_0001: (r) => ({ ...r, edx: r.edx | APIC }),
};

export function guestCpuid(core: Core, number: number, subleaf: number): CpuidResult {
  const own = number - XEN_CPUID_FIRST_LEAF;
  if (own >= 0 && own < 0x100) return XEN_LEAVES[own]?.(subleaf) ?? leaf(0);
  const native = core.options.cpuid(number, subleaf);
  return ADJUST[number]?.(native) ?? native;
}
