/** Segment descriptors (SDM vol. 3 §3.4.5) and what Xen lets a guest put into its tables. */
import { hex } from '../abi/decoded';

const S = 1n << 44n;
const DPL = 3n << 45n;
const PRESENT = 1n << 47n;
const TYPE = 0xfn << 40n;

export type CheckedDescriptor =
  { readonly ok: true; readonly descriptor: bigint } | { readonly ok: false; readonly reason: string };

/**
 * As Xen's check_descriptor for a 64-bit guest: code and data segments pass, with their privilege level raised
 * to 3, since that is where the guest runs; system segments do not, except those that always fault.
 */
export function checkDescriptor(raw: bigint): CheckedDescriptor {
  if ((raw & PRESENT) === 0n) return { ok: true, descriptor: raw };
  const descriptor = raw | DPL;
  if ((raw & S) !== 0n) return { ok: true, descriptor };
  // Type 0 is reserved in a present system descriptor: harmless, and the upper half of 16-byte ones looks so.
  if ((raw & TYPE) === 0n) return { ok: true, descriptor };
  return {
    ok: false,
    reason: `descriptor ${hex(raw)} is a system segment of type ${hex((raw & TYPE) >> 40n)}; only code and data segments are the guest's to make`,
  };
}

/** The guest's frames of its GDT come first; Xen's own descriptors follow at this page (arch-x86/xen.h). */
export const FIRST_RESERVED_GDT_PAGE = 14;
export const FIRST_RESERVED_GDT_ENTRY = FIRST_RESERVED_GDT_PAGE * 512;
/** One page of Xen's own: the limit of GDTR. */
export const GDT_LIMIT = (FIRST_RESERVED_GDT_PAGE + 1) * 4096 - 1;

/**
 * Xen's own descriptors by byte offset in its page: the flat segments of arch-x86/xen-x86_64.h (FLAT_RING3_CS32
 * 0xe023, SS 0xe02b, CS64 0xe033) and the hypervisor's own below them. Accessed bits are set, so that loading
 * them stores nothing.
 */
export const RESERVED_DESCRIPTORS: Readonly<Record<number, bigint>> = {
  0x08: 0x00af9b000000ffffn,
  0x10: 0x00cf93000000ffffn,
  0x20: 0x00cffb000000ffffn,
  0x28: 0x00cff3000000ffffn,
  0x30: 0x00affb000000ffffn,
  0x38: 0x00cf9b000000ffffn,
};

/** Base address of a code or data segment descriptor. */
export const descriptorBase = (d: bigint): bigint => ((d >> 16n) & 0xffffffn) | (((d >> 56n) & 0xffn) << 24n);
