/** GDT and LDT of a vCPU in the domain's own area, and the faults that map LDT pages on demand (pv/descriptor-tables.c). */
import { hex } from '../abi/decoded';
import { PTE, pteFrame } from '../abi/mmu';
import type { DomainId, Mfn } from '../base/branded';
import type { Core } from './core';
import { FIRST_RESERVED_GDT_ENTRY, FIRST_RESERVED_GDT_PAGE, GDT_LIMIT } from './descriptors';
import { FRAME_TYPE } from './frames';
import { walkTables } from './guest-memory';
import { fail } from './hypercall';
import type { Fault } from './state';
import type { Domain, GuestVcpu, Outcome } from './types';
import { inject, VECTOR } from './traps';
import { LDT_PAGE, PERDOMAIN_VIRT_START, gdtBase, ldtBase } from './xenslots';

const ENTRIES_PER_PAGE = 512;
/** Selector of the LDT in Xen's own part of the GDT; only that it is not null matters here. */
const LDT_SELECTOR = 0xe048n;

export function loadGdt(v: GuestVcpu): void {
  v.cpu.set('gdt_base', gdtBase(v.id));
  v.cpu.setInt('gdt_limit', GDT_LIMIT);
}

export function setGdt(core: Core, v: GuestVcpu, gdt: readonly number[], entries: number): void {
  const { state, domain } = v;
  if (entries > FIRST_RESERVED_GDT_ENTRY) {
    fail('EINVAL', `${entries} descriptors: the last ${FIRST_RESERVED_GDT_ENTRY} and beyond are Xen's`);
  }
  const taken: number[] = [];
  for (const mfn of gdt) {
    const problem = core.types.getPageAndType(mfn, domain.id, FRAME_TYPE.segdesc);
    if (problem !== undefined) {
      for (const done of taken) core.types.putPageAndType(done);
      fail('EINVAL', `GDT page ${taken.length}, mfn ${hex(mfn)}: ${problem.reason}`);
    }
    taken.push(mfn);
  }
  dropGdt(core, v);
  taken.forEach((mfn, page) => core.slots.mapDescriptorPage(domain.id, v.id, page, mfn));
  state.gdtFrames = taken as Mfn[];
  state.gdtEntries = entries;
  core.cpu.flushAllTlbs();
  loadGdt(v);
}

export function dropGdt(core: Core, v: GuestVcpu): void {
  v.state.gdtFrames.forEach((mfn, page) => {
    core.slots.mapDescriptorPage(v.domain.id, v.id, page, undefined);
    core.types.putPageAndType(mfn);
  });
  v.state.gdtFrames = [];
  v.state.gdtEntries = 0;
  for (let page = 0; page < FIRST_RESERVED_GDT_PAGE; page++) {
    core.slots.mapDescriptorPage(v.domain.id, v.id, page, undefined);
  }
}

export function setLdt(core: Core, v: GuestVcpu, base: bigint, entries: number): void {
  dropLdtPages(core, v);
  v.state.ldtBase = base;
  v.state.ldtEntries = entries;
  loadLdt(v);
}

export function loadLdt(v: GuestVcpu): void {
  const used = v.state.ldtEntries > 0;
  v.cpu.set('ldt', used ? LDT_SELECTOR : 0n);
  v.cpu.set('ldt_base', used ? ldtBase(v.id) : 0n);
  v.cpu.setInt('ldt_limit', used ? v.state.ldtEntries * 8 - 1 : 0);
}

/** Unmaps what was mapped of the LDT; it comes back by faults. @returns whether there was anything */
export function dropLdtPages(core: Core, v: GuestVcpu): boolean {
  const held = v.state.ldtPages;
  for (const { page, mfn } of held) {
    core.slots.mapDescriptorPage(v.domain.id, v.id, LDT_PAGE + page, undefined);
    core.types.putPageAndType(mfn);
  }
  v.state.ldtPages = [];
  if (held.length > 0) core.cpu.flushAllTlbs();
  return held.length > 0;
}

export function dropLdtPagesOf(core: Core, domain: DomainId): void {
  const d: Domain | undefined = core.domains.get(domain);
  for (const v of d?.vcpus ?? []) dropLdtPages(core, v);
}

/** Maps the page of the LDT that the processor just missed; a reason when it cannot. */
function mapLdtPage(core: Core, v: GuestVcpu, offset: number): boolean {
  const { state, domain } = v;
  if (Math.floor(offset / 8) >= state.ldtEntries) return false;
  const page = Math.floor(offset / (ENTRIES_PER_PAGE * 8));
  const steps = walkTables(core.memory, state.kernelTable, state.ldtBase + BigInt(page * 4096));
  const last = steps[3];
  if (last === undefined || (last.entry & PTE.PRESENT) === 0n) return false;
  const mfn = pteFrame(last.entry);
  const problem = core.types.getPageAndType(mfn, domain.id, FRAME_TYPE.segdesc);
  if (problem !== undefined) {
    core.log.debug(`LDT page ${page} of vCPU ${v.id}: ${problem.reason}`);
    return false;
  }
  core.slots.mapDescriptorPage(domain.id, v.id, LDT_PAGE + page, mfn);
  state.ldtPages.push({ page, mfn: mfn as Mfn });
  return true;
}

/** A page fault of the processor's own, reading a descriptor. */
export function fixDescriptorFault(core: Core, v: GuestVcpu, fault: Fault): Outcome | undefined {
  const { address } = fault;
  // Only the processor's own reads reach this area; the guest's are barred by their level.
  if (address === undefined || ((fault.error ?? 0) & 4) !== 0) return undefined;
  const area = gdtBase(v.id);
  if (address < PERDOMAIN_VIRT_START || address < area || address >= area + 0x20000n) return undefined;
  const offset = Number(address - area);
  if (offset >= 0x10000) {
    const at = offset - 0x10000;
    if (mapLdtPage(core, v, at)) {
      v.cpu.flushPage(address);
      return 'run';
    }
    return inject(core, v, { ...fault, address: BigInt.asUintN(64, v.state.ldtBase + BigInt(at)) });
  }
  return inject(core, v, { vector: VECTOR.GP, error: offset & 0xfff8, address: undefined, software: false });
}
