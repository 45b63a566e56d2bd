/**
 * Xen's part of every guest address space: L4 slots 256–271 (xen/include/asm-x86/config.h). The guest sees
 *   256  the M2P, read-only (0xffff800000000000)
 *   258  the tables themselves, for Xen only (linear page table)
 *   260  the domain's own area: GDT and LDT of each vCPU (0xffff820000000000)
 * The rest of Xen's slots are empty here: nothing of this hypervisor lives in the guest's address space.
 */
import { DOMID } from '../abi/domains';
import { PTE, makePte } from '../abi/mmu';
import { FIRST_XEN_SLOT, LAST_XEN_SLOT } from '../abi/mmu';
import { PAGE_SIZE, type DomainId, type Mfn } from '../base/branded';
import { RESERVED_DESCRIPTORS } from './descriptors';
import type { FrameTable } from './frames';
import type { MachineMemory } from './memory';

export const M2P_SLOT = 256;
export const LINEAR_SLOT = 258;
export const PERDOMAIN_SLOT = 260;
export const PERDOMAIN_VIRT_START = 0xffff_8200_0000_0000n;
/** 32 pages a vCPU: 16 of GDT, 16 of LDT (GDT_LDT_VCPU_SHIFT 5). */
const PAGES_PER_VCPU = 32;
export const LDT_PAGE = 16;
export const gdtBase = (vcpu: number): bigint => PERDOMAIN_VIRT_START + (BigInt(vcpu) << 17n);
export const ldtBase = (vcpu: number): bigint => gdtBase(vcpu) + 0x10000n;

/** Supervisor mappings, as Xen's own; accessed and dirty already, so that using them stores nothing. */
const TABLE = PTE.PRESENT | PTE.RW | PTE.ACCESSED | PTE.DIRTY;
const XEN_RW = TABLE | PTE.NX;
const XEN_RO = PTE.PRESENT | PTE.ACCESSED | PTE.DIRTY | PTE.NX;
/** What the guest may read. */
const GUEST_RO = PTE.PRESENT | PTE.USER | PTE.ACCESSED | PTE.DIRTY;

export interface XenSlots {
  /** First frame of the M2P, and how many; they are in a row. */
  readonly m2pFrame: Mfn;
  readonly m2pFrames: number;
  /** A page of zeros, which the unused pages of descriptor tables are. */
  readonly zeroPage: number;
  m2p(mfn: number): bigint;
  setM2p(mfn: number, pfn: bigint): void;
  /** The same, of a number below 2^32. */
  setM2pNumber(mfn: number, pfn: number): void;
  /** Makes the tables of a domain's own area. */
  addDomain(domain: DomainId, vcpus: number): void;
  fill(l4: number, domain: DomainId): void;
  showM2p(l4: number, shown: boolean): void;
  /** Maps page 0–31 of a vCPU's descriptor area; undefined: what stands there when nothing is mapped. */
  mapDescriptorPage(domain: DomainId, vcpu: number, page: number, mfn: number | undefined): void;
  save(): Readonly<Record<number, { readonly l3: number; readonly l1s: readonly number[] }>>;
  restore(saved: ReturnType<XenSlots['save']>): void;
}

/** Frames that the hypervisor itself needs on a machine of `frames` frames. */
export const reservedFrames = (frames: number): number => {
  const m2p = Math.ceil((frames * 8) / PAGE_SIZE);
  const l1 = Math.ceil(m2p / 512);
  return m2p + l1 + Math.ceil(l1 / 512) + 1 + 2;
};

export function createXenSlots(memory: MachineMemory, frames: FrameTable): XenSlots {
  const m2pFrames = Math.ceil((memory.frameCount * 8) / PAGE_SIZE);
  const first = frames.reserve(reservedFrames(memory.frameCount));
  const m2pFrame = first;
  let next = first + m2pFrames;
  const take = (): number => next++;

  for (let i = 0; i < m2pFrames; i++) memory.writable(m2pFrame + i).fill(0xff);
  const l1s = Array.from({ length: Math.ceil(m2pFrames / 512) }, take);
  const l2s = Array.from({ length: Math.ceil(l1s.length / 512) }, take);
  const l3 = take();
  const reservedGdt = take();
  const zeroPage = take();
  for (const mfn of [...l1s, ...l2s, l3, reservedGdt, zeroPage]) memory.zero(mfn);
  for (let i = 0; i < m2pFrames; i++) {
    memory.write64(l1s[Math.floor(i / 512)] ?? 0, i % 512, makePte(m2pFrame + i, GUEST_RO));
  }
  l1s.forEach((mfn, i) => memory.write64(l2s[Math.floor(i / 512)] ?? 0, i % 512, makePte(mfn, GUEST_RO)));
  l2s.forEach((mfn, i) => memory.write64(l3, i, makePte(mfn, GUEST_RO)));
  for (const [offset, descriptor] of Object.entries(RESERVED_DESCRIPTORS)) {
    memory.write64(reservedGdt, Number(offset) / 8, descriptor);
  }

  interface Area {
    readonly l3: number;
    readonly l1s: readonly number[];
  }
  let areas: Record<number, Area> = {};

  const own = (): number => {
    const mfn = frames.allocate(DOMID.XEN);
    if (mfn === undefined) throw new Error('the machine has no frame left for the hypervisor');
    memory.zero(mfn);
    return mfn;
  };
  const area = (domain: DomainId): Area => {
    const found = areas[domain];
    if (found === undefined) throw new Error(`d${domain} has no per-domain area`);
    return found;
  };

  function mapDescriptorPage(domain: DomainId, vcpu: number, page: number, mfn: number | undefined): void {
    const at = vcpu * PAGES_PER_VCPU + page;
    const l1 = area(domain).l1s[Math.floor(at / 512)];
    if (l1 === undefined) throw new Error(`d${domain} has no descriptor area for vCPU ${vcpu}`);
    // An unused page of the GDT reads as null descriptors; one of the LDT faults, and is mapped then.
    const absent = page < LDT_PAGE ? makePte(zeroPage, XEN_RO) : 0n;
    memory.write64(l1, at % 512, mfn === undefined ? absent : makePte(mfn, XEN_RW));
  }

  return {
    m2pFrame,
    m2pFrames,
    zeroPage,
    m2p: (mfn) => memory.read64(m2pFrame + Math.floor(mfn / 512), mfn % 512),
    setM2p: (mfn, pfn) => memory.write64(m2pFrame + Math.floor(mfn / 512), mfn % 512, pfn),
    setM2pNumber: (mfn, pfn) => {
      memory.writeHalves(m2pFrame + Math.floor(mfn / 512), mfn % 512, pfn, 0);
    },
    addDomain: (domain, vcpus) => {
      const l1count = Math.ceil((vcpus * PAGES_PER_VCPU) / 512);
      const made: Area = { l3: own(), l1s: Array.from({ length: l1count }, own) };
      const l2 = own();
      memory.write64(made.l3, 0, makePte(l2, TABLE));
      made.l1s.forEach((mfn, i) => memory.write64(l2, i, makePte(mfn, TABLE)));
      areas[domain] = made;
      for (let v = 0; v < vcpus; v++) {
        for (let page = 0; page < PAGES_PER_VCPU; page++) {
          const own14 = page === LDT_PAGE - 2;
          mapDescriptorPage(domain, v, page, own14 ? reservedGdt : undefined);
        }
      }
    },
    fill: (l4, domain) => {
      for (let slot = FIRST_XEN_SLOT; slot <= LAST_XEN_SLOT; slot++) memory.write64(l4, slot, 0n);
      memory.write64(l4, M2P_SLOT, makePte(l3, GUEST_RO));
      memory.write64(l4, LINEAR_SLOT, makePte(l4, XEN_RW));
      memory.write64(l4, PERDOMAIN_SLOT, makePte(area(domain).l3, TABLE));
    },
    showM2p: (l4, shown) => memory.write64(l4, M2P_SLOT, shown ? makePte(l3, GUEST_RO) : 0n),
    mapDescriptorPage,
    save: () => structuredCopy(areas),
    restore: (saved) => {
      areas = structuredCopy(saved);
    },
  };
}

const structuredCopy = (
  areas: Readonly<Record<number, { readonly l3: number; readonly l1s: readonly number[] }>>,
): Record<number, { readonly l3: number; readonly l1s: readonly number[] }> =>
  Object.fromEntries(Object.entries(areas).map(([id, a]) => [id, { l3: a.l3, l1s: [...a.l1s] }]));
