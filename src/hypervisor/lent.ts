/** Frames of the hypervisor's own that a guest may map writable (share_xen_page_with_guest): shared_info, grants. */
import { DOMID } from '../abi/domains';
import type { DomainId, Mfn } from '../base/branded';
import type { Core } from './core';
import { FRAME_FLAG, FRAME_TYPE } from './frames';

/** The lender's own reference keeps the frame writable for ever: it can never become a table. */
export function lendFrame(core: Core, to: DomainId): Mfn | undefined {
  const mfn = core.frames.allocate(to);
  if (mfn === undefined) return undefined;
  core.memory.zero(mfn);
  const { type, typeCount, flags } = core.frames;
  type[mfn] = FRAME_TYPE.writable;
  typeCount[mfn] = 1;
  flags[mfn] = FRAME_FLAG.ALLOCATED | FRAME_FLAG.LENT | FRAME_FLAG.VALIDATED;
  return mfn;
}

/** Takes back a frame that was lent; one that somebody has mapped by a grant stays lent for ever. */
export function reclaimFrame(core: Core, mfn: Mfn): void {
  const { owner, refs, type, typeCount, flags } = core.frames;
  if (refs[mfn] !== 1) return;
  // It was never counted among the domain's own.
  owner[mfn] = DOMID.XEN;
  typeCount[mfn] = 0;
  type[mfn] = FRAME_TYPE.none;
  flags[mfn] = 0;
  core.frames.drop(mfn);
}
