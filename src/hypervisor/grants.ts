/** Grants of a domain, version 1: eight bytes each in frames lent to the guest (grant_table.h). */
import { hex } from '../abi/decoded';
import { DOMID } from '../abi/domains';
import { GNTST, GRANTS_PER_FRAME, GTF, grant_entry_v1 } from '../abi/grant';
import type { DomainId, Mfn } from '../base/branded';
import type { Core } from './core';
import { FRAME_TYPE } from './frames';
import { lendFrame } from './lent';
import type { Domain } from './types';

export interface Access {
  readonly mfn: number;
}
export type Acquired =
  ({ readonly ok: true } & Access) | { readonly ok: false; readonly status: number; readonly reason: string };

/** @returns why it cannot */
export function growGrantTable(core: Core, domain: Domain, frames: number): string | undefined {
  const { grantFrames, grantMaxFrames } = domain.state;
  if (frames > grantMaxFrames) return `${frames} grant frames: at most ${grantMaxFrames}`;
  while (grantFrames.length < frames) {
    const mfn = lendFrame(core, domain.id);
    if (mfn === undefined) return 'the machine has no frame left for a grant table';
    grantFrames.push(mfn);
  }
  return undefined;
}

interface Place {
  readonly frame: Mfn;
  readonly offset: number;
}

function place(domain: Domain, ref: number): Place | undefined {
  const frame = domain.state.grantFrames[Math.floor(ref / GRANTS_PER_FRAME)];
  return frame === undefined ? undefined : { frame, offset: (ref % GRANTS_PER_FRAME) * grant_entry_v1.size };
}

function flagsAt(core: Core, at: Place): number {
  return core.memory.view(at.frame).getUint16(at.offset, true);
}
function setFlags(core: Core, at: Place, flags: number): void {
  core.cpu.beforeStore(at.frame);
  core.memory.view(at.frame).setUint16(at.offset, flags, true);
}

export function writeGrant(
  core: Core,
  domain: Domain,
  ref: number,
  to: DomainId,
  mfn: number,
  flags: number,
): void {
  const at = place(domain, ref);
  if (at === undefined) throw new RangeError(`d${domain.id} has no grant ${ref}`);
  core.cpu.beforeStore(at.frame);
  grant_entry_v1.write(core.memory.view(at.frame), at.offset, { flags, domid: to, frame: mfn });
}

interface Use {
  readonly by: DomainId;
  readonly mfn: number;
  readonly writable: boolean;
}

/** The mappings of a grant, by back ends and by domains. */
function usesOf(core: Core, granter: Domain, ref: number): Use[] {
  const uses: Use[] = [];
  for (const m of core.backend.maps) {
    if (m.domain === granter.id && m.ref === ref)
      uses.push({ by: DOMID.DOM0, mfn: m.mfn, writable: m.writable });
  }
  for (const { id, state } of core.domains.values()) {
    for (const m of state.maptrack) {
      if (m?.domain === granter.id && m.ref === ref) uses.push({ by: id, mfn: m.mfn, writable: m.writable });
    }
  }
  return uses;
}

/**
 * Takes the granted frame into use by `by`: the entry shows it, and the frame is held (with its type, to write).
 * A grant in use goes on being what it was when it was first mapped, whatever its entry says now (Xen: active_entry).
 */
export function acquireGrant(
  core: Core,
  granter: Domain,
  ref: number,
  by: DomainId,
  write: boolean,
): Acquired {
  const refused = (status: number, reason: string): Acquired => ({
    ok: false,
    status,
    reason: `grant ${ref} of d${granter.id}: ${reason}`,
  });
  const at = place(granter, ref);
  if (at === undefined) {
    const frames = granter.state.grantFrames.length;
    return refused(
      GNTST.GNTST_bad_gntref,
      `its table has ${frames} frames, so ${frames * GRANTS_PER_FRAME} entries`,
    );
  }
  const uses = usesOf(core, granter, ref);
  const [active] = uses;
  if (active !== undefined && active.by !== by) {
    return refused(GNTST.GNTST_general_error, `it is in use by d${active.by}`);
  }
  const entry = grant_entry_v1.read(core.memory.view(at.frame), at.offset);
  if (active === undefined || (write && !uses.some((u) => u.writable))) {
    if ((entry.flags & GTF.type_mask) !== GTF.permit_access) {
      return refused(GNTST.GNTST_general_error, `flags ${hex(entry.flags)} do not permit access`);
    }
    if (entry.domid !== by) {
      return refused(GNTST.GNTST_general_error, `it is for d${entry.domid}, not d${by}`);
    }
    if (write && (entry.flags & GTF.readonly) !== 0)
      return refused(GNTST.GNTST_general_error, 'it is for reading only');
  }
  const mfn = active?.mfn ?? entry.frame;
  const problem = core.types.getPage(mfn, granter.id);
  if (problem !== undefined) return refused(GNTST.GNTST_bad_page, problem.reason);
  const typed = write ? core.types.getType(mfn, FRAME_TYPE.writable) : undefined;
  if (typed !== undefined) {
    core.types.putPage(mfn);
    return refused(GNTST.GNTST_general_error, typed.reason);
  }
  setFlags(core, at, entry.flags | GTF.reading | (write ? GTF.writing : 0));
  return { ok: true, mfn };
}

/** The marks in the entry go with the last use that made them. */
export function clearMarks(core: Core, granter: Domain, ref: number): void {
  const at = place(granter, ref);
  if (at === undefined) return;
  const uses = usesOf(core, granter, ref);
  let flags = flagsAt(core, at);
  if (!uses.some((u) => u.writable)) flags &= ~GTF.writing;
  if (uses.length === 0) flags &= ~GTF.reading;
  setFlags(core, at, flags);
}

/** Ends one use that is no longer among the mappings. */
export function releaseGrant(core: Core, granter: Domain, ref: number, mfn: number, write: boolean): void {
  if (write) core.types.putPageAndType(mfn);
  else core.types.putPage(mfn);
  clearMarks(core, granter, ref);
}

/**
 * A domain's offer to take a frame from `from` is taken up (gnttab_prepare_for_transfer).
 * @returns why there is no such offer
 */
export function commitTransfer(
  core: Core,
  taker: Domain,
  ref: number,
  from: DomainId,
  mfn: number,
): string | undefined {
  const at = place(taker, ref);
  if (at === undefined) return `d${taker.id} has no grant ${ref}`;
  const view = core.memory.view(at.frame);
  const { flags, domid } = grant_entry_v1.read(view, at.offset);
  if (flags !== GTF.accept_transfer || domid !== from) {
    return `grant ${ref} of d${taker.id} (flags ${hex(flags)}, for d${domid}) takes no frame from d${from}`;
  }
  core.cpu.beforeStore(at.frame);
  grant_entry_v1.write(view, at.offset, { flags: flags | GTF.transfer_committed, domid, frame: mfn });
  return undefined;
}

export function completeTransfer(core: Core, taker: Domain, ref: number): void {
  const at = place(taker, ref);
  if (at !== undefined) setFlags(core, at, flagsAt(core, at) | GTF.transfer_completed);
}

export function swapGrants(
  core: Core,
  domain: Domain,
  a: number,
  b: number,
): { readonly status: number; readonly reason: string } | undefined {
  const [one, two] = [place(domain, a), place(domain, b)];
  if (one === undefined || two === undefined) {
    return { status: GNTST.GNTST_bad_gntref, reason: `grants ${a} and ${b} are not both in the table` };
  }
  for (const [ref, at] of [
    [a, one],
    [b, two],
  ] as const) {
    // The guest may have wiped the marks off its entry.
    if (usesOf(core, domain, ref).length > 0 || (flagsAt(core, at) & (GTF.reading | GTF.writing)) !== 0) {
      return { status: GNTST.GNTST_eagain, reason: `grant ${ref} is in use` };
    }
  }
  const bytes = (at: Place): Uint8Array =>
    core.memory.bytes(at.frame).slice(at.offset, at.offset + grant_entry_v1.size);
  const [first, second] = [bytes(one), bytes(two)];
  core.memory.write(one.frame, one.offset, second);
  core.memory.write(two.frame, two.offset, first);
  return undefined;
}
