/** Base tables of a vCPU: MMUEXT_NEW_BASEPTR and NEW_USER_BASEPTR (new_guest_cr3, do_mmuext_op). */
import { VMASST_TYPE } from '../abi/mmu';
import type { Mfn } from '../base/branded';
import type { Core } from './core';
import { assists } from './domain';
import { FRAME_TYPE } from './frames';
import { dropLdtPages } from './ldt';
import type { Problem } from './pagetypes';
import type { GuestVcpu } from './types';
import { loadBase } from './vcpu';

export function newKernelBase(core: Core, v: GuestVcpu, mfn: number): Problem {
  const { state, domain } = v;
  const old = state.kernelTable;
  if (old !== mfn) {
    const problem = core.types.getPageAndType(mfn, domain.id, FRAME_TYPE.l4);
    if (problem !== undefined) return problem;
    dropLdtPages(core, v);
    if (!assists(domain, VMASST_TYPE.VMASST_TYPE_m2p_strict)) core.slots.showM2p(mfn, true);
    state.kernelTable = mfn as Mfn;
    if (state.kernelMode) loadBase(v);
    core.types.putPageAndType(old);
  }
  // Loading CR3 flushes, also when it loads the same.
  v.cpu.flushTlb();
  return undefined;
}

/** @param mfn 0: none */
export function newUserBase(core: Core, v: GuestVcpu, mfn: number): Problem {
  const { state, domain } = v;
  const old = state.userTable;
  if ((old ?? 0) === mfn) return undefined;
  if (mfn !== 0) {
    const problem = core.types.getPageAndType(mfn, domain.id, FRAME_TYPE.l4);
    if (problem !== undefined) return problem;
    if (assists(domain, VMASST_TYPE.VMASST_TYPE_m2p_strict)) core.slots.showM2p(mfn, false);
  }
  state.userTable = mfn === 0 ? undefined : (mfn as Mfn);
  v.cpu.flushTlb(1);
  if (old !== undefined) core.types.putPageAndType(old);
  return undefined;
}
