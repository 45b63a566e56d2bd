/** How a domain gets and gives back frames. */
import type { Core } from './core';
import { FRAME_FLAG } from './frames';
import { fail } from './hypercall';
import { forgetPhysical } from './physmap';
import type { Domain } from './types';

/** @returns the first frame of 2^order in a row, or why there are none */
export function allocateExtent(core: Core, domain: Domain, order: number): number | string {
  const { state } = domain;
  const pages = 2 ** order;
  if (state.totalPages + pages > state.maxPages) {
    return `d${domain.id} has ${state.totalPages} of at most ${state.maxPages} frames: ${pages} more are too many`;
  }
  const mfn = order === 0 ? core.frames.allocate(domain.id) : core.frames.allocateRun(domain.id, order);
  if (mfn === undefined) return `the machine has no ${pages} free frames in a row`;
  state.totalPages += pages;
  return mfn;
}

/**
 * guest_remove_page: the owner's reference goes, if it is still there; what else refers to the frame keeps it until
 * that goes, too, and so does its place in the M2P. The hypervisor's own frames stay what they are.
 */
export function releaseFrame(core: Core, domain: Domain, mfn: number): string | undefined {
  const problem = core.types.getPage(mfn, domain.id);
  if (problem !== undefined) return problem.reason;
  const { flags } = core.frames;
  const f = flags[mfn] ?? 0;
  if ((f & FRAME_FLAG.LENT) === 0 && (f & FRAME_FLAG.ALLOCATED) !== 0) {
    flags[mfn] = f & ~FRAME_FLAG.ALLOCATED;
    core.types.putPage(mfn);
  }
  core.types.putPage(mfn);
  return undefined;
}

/** @returns why a frame cannot be taken from its owner (steal_page): something refers to it, or it is not theirs */
export function whyNotStolen(core: Core, domain: Domain, mfn: number): string | undefined {
  const { owner, refs, flags } = core.frames;
  if (mfn >= core.frames.count || owner[mfn] !== domain.id) {
    return `${core.frames.describe(mfn)} does not belong to d${domain.id}`;
  }
  const f = flags[mfn] ?? 0;
  return refs[mfn] !== 1 || (f & FRAME_FLAG.ALLOCATED) === 0 || (f & FRAME_FLAG.LENT) !== 0
    ? `${core.frames.describe(mfn)} is still mapped or used: only frames nobody uses can be exchanged`
    : undefined;
}

/**
 * Takes frames that nothing refers to but their owner, and replaces them by `extents` runs of 2^order fresh ones
 * (steal_page). All or nothing.
 */
export function stealFrames(
  core: Core,
  domain: Domain,
  frames: readonly number[],
  extents: number,
  order: number,
  done: (bases: readonly number[]) => void,
): void {
  const { flags } = core.frames;
  for (const mfn of frames) {
    const why = whyNotStolen(core, domain, mfn);
    if (why !== undefined) fail('EINVAL', why);
  }
  if (new Set(frames).size !== frames.length) fail('EINVAL', 'a frame is named twice');
  const bases: number[] = [];
  for (let i = 0; i < extents; i++) {
    const mfn = order === 0 ? core.frames.allocate(domain.id) : core.frames.allocateRun(domain.id, order);
    if (mfn === undefined) {
      for (const base of bases) for (let j = 0; j < 2 ** order; j++) core.frames.drop(base + j);
      domain.state.totalPages += bases.length * 2 ** order;
      fail('ENOMEM', `the machine has no ${2 ** order} free frames in a row`);
    }
    bases.push(mfn);
  }
  // Dropping counts the frames out again; the fresh ones were never counted in.
  domain.state.totalPages += frames.length;
  for (const mfn of frames) {
    forgetPhysical(core, domain, mfn);
    flags[mfn] = (flags[mfn] ?? 0) & ~FRAME_FLAG.ALLOCATED;
    core.frames.drop(mfn);
  }
  done(bases);
}
