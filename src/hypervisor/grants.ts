/**
 * Grants taken into use and given back, in both versions (xen/common/grant_table.c). How they look in memory is in
 * grantentries.ts.
 */
import { hex } from '../abi/decoded';
import { DOMID } from '../abi/domains';
import { GNTST, GTF } from '../abi/grant';
import type { DomainId } from '../base/branded';
import type { Core } from './core';
import { FRAME_TYPE } from './frames';
import {
  clearMarksOf,
  exchangeGrants,
  grantCount,
  readGrant,
  setMarks,
  updateGrant,
  type GrantEntry,
} from './grantentries';
import type { Domain } from './types';

/** A status of the element, and why it is not GNTST_okay. */
export interface Refused {
  readonly ok: false;
  readonly status: number;
  readonly reason: string;
}
/** The frame of a grant that was taken into use. */
export interface Acquired {
  readonly ok: true;
  readonly mfn: number;
}
/** What a copy may touch of it, and the end of that. */
export interface CopyAccess extends Acquired {
  /** Bytes into the frame. */
  readonly offset: number;
  readonly length: number;
  done(): void;
}

interface Use {
  readonly by: DomainId;
  readonly mfn: number;
  readonly writable: boolean;
}

/** The mappings of a grant, by back ends and by domains. */
export function usesOf(core: Core, granter: Domain, ref: number): readonly Use[] {
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

/** Which kinds of entry do: a mapping wants a whole page, a copy takes a part of one, or another's grant. */
interface Purpose {
  readonly by: DomainId;
  readonly write: boolean;
  readonly copy: boolean;
}

/** A grant that passed the checks, and the marks that say so. */
interface Taken {
  readonly ok: true;
  readonly entry: GrantEntry;
  readonly uses: readonly Use[];
}

const refusalFor =
  (granter: Domain, ref: number) =>
  (status: number, reason: string): Refused => ({
    ok: false,
    status,
    reason: `grant ${ref} of d${granter.id}: ${reason}`,
  });

/**
 * The checks of an entry, and its marks. A grant in use goes on being what it was when it was first mapped,
 * whatever its entry says now (Xen: active_entry).
 */
function take(core: Core, granter: Domain, ref: number, { by, write, copy }: Purpose): Taken | Refused {
  const refused = refusalFor(granter, ref);
  const entry = readGrant(core, granter, ref);
  if (entry === undefined)
    return refused(GNTST.GNTST_bad_gntref, `its table has ${grantCount(granter)} entries`);
  const uses = usesOf(core, granter, ref);
  const [active] = uses;
  if (active !== undefined && active.by !== by)
    return refused(GNTST.GNTST_general_error, `it is in use by d${active.by}`);
  if (active !== undefined && !(write && !uses.some((u) => u.writable))) return { ok: true, entry, uses };
  const kind = entry.flags & (copy ? GTF.type_mask : GTF.type_mask | GTF.sub_page);
  const transitive = copy && granter.state.grantVersion === 2 && kind === GTF.transitive;
  if (active === undefined) {
    if (kind !== GTF.permit_access && !transitive)
      return refused(
        GNTST.GNTST_general_error,
        `flags ${hex(entry.flags)} do not permit ${copy ? 'a copy' : 'a mapping'}`,
      );
    if (entry.domid !== by)
      return refused(GNTST.GNTST_general_error, `it is for d${entry.domid}, not d${by}`);
  }
  if (write && (entry.flags & GTF.readonly) !== 0)
    return refused(GNTST.GNTST_general_error, 'it is for reading only');
  setMarks(core, granter, ref, GTF.reading | (write ? GTF.writing : 0));
  return { ok: true, entry, uses };
}

/** Holds the granted frame, with its type when it is to be written. */
function holdFrame(
  core: Core,
  granter: Domain,
  ref: number,
  frame: bigint | number,
  write: boolean,
): Acquired | Refused {
  const refused = refusalFor(granter, ref);
  const mfn = Number(frame);
  const problem = core.types.getPage(mfn, granter.id);
  const typed = problem ?? (write ? core.types.getType(mfn, FRAME_TYPE.writable) : undefined);
  if (typed === undefined) return { ok: true, mfn };
  if (problem === undefined) core.types.putPage(mfn);
  clearMarks(core, granter, ref);
  return refused(problem === undefined ? GNTST.GNTST_general_error : GNTST.GNTST_bad_page, typed.reason);
}

/** Takes the granted frame into use by `by`, whole: the entry shows it, and the frame is held. */
export function acquireGrant(
  core: Core,
  granter: Domain,
  ref: number,
  by: DomainId,
  write: boolean,
): Acquired | Refused {
  const taken = take(core, granter, ref, { by, write, copy: false });
  return taken.ok ? holdFrame(core, granter, ref, taken.uses[0]?.mfn ?? taken.entry.frame, write) : taken;
}

/** Takes a grant into use for one copy: a page, a part of one, or what another domain granted to the granter. */
export function acquireForCopy(
  core: Core,
  granter: Domain,
  ref: number,
  by: DomainId,
  write: boolean,
  mayPass = true,
): CopyAccess | Refused {
  const taken = take(core, granter, ref, { by, write, copy: true });
  if (!taken.ok) return taken;
  const { entry, uses } = taken;
  if (granter.state.grantVersion === 2 && (entry.flags & GTF.type_mask) === GTF.transitive) {
    const through = acquireThrough(core, granter, ref, entry, write, mayPass);
    if (!through.ok) {
      clearMarks(core, granter, ref);
      return through;
    }
    return {
      ...through,
      done: () => {
        through.done();
        clearMarks(core, granter, ref);
      },
    };
  }
  const held = holdFrame(core, granter, ref, uses[0]?.mfn ?? entry.frame, write);
  if (!held.ok) return held;
  return {
    ...held,
    // What is mapped is a whole page.
    offset: uses.length > 0 ? 0 : entry.offset,
    length: uses.length > 0 ? 4096 : entry.length,
    done: () => releaseGrant(core, granter, ref, held.mfn, write),
  };
}

/** Entries of a dom0's table, version 1, before it asks for more: those that are there, though none grants anything. */
const DOM0_GRANTS = 512;

/** The grant behind a transitive one: it must be for the granter, and is not transitive itself. */
function acquireThrough(
  core: Core,
  granter: Domain,
  ref: number,
  { throughDomain, throughRef }: GrantEntry,
  write: boolean,
  mayPass: boolean,
): CopyAccess | Refused {
  const refused = refusalFor(granter, ref);
  const { GNTST_general_error, GNTST_bad_gntref } = GNTST;
  if (!mayPass) return refused(GNTST_general_error, 'a transitive grant of a transitive grant');
  if (throughDomain === granter.id) return refused(GNTST_general_error, 'it passes on a grant of its own');
  const other = core.domains.get(throughDomain);
  if (other !== undefined) return acquireForCopy(core, other, throughRef, granter.id, write, false);
  return throughDomain === DOMID.DOM0
    ? refused(
        throughRef < DOM0_GRANTS ? GNTST_general_error : GNTST_bad_gntref,
        `d0 granted nothing: ${throughRef}`,
      )
    : refused(GNTST_general_error, `it passes on a grant of d${throughDomain}, which does not exist`);
}

/** The marks in the entry go with the last use that made them. */
export function clearMarks(core: Core, granter: Domain, ref: number): void {
  const uses = usesOf(core, granter, ref);
  const written = uses.some((u) => u.writable) ? 0 : GTF.writing;
  const marks = written | (uses.length === 0 ? GTF.reading : 0);
  if (marks !== 0) clearMarksOf(core, granter, ref, marks);
}

/** Ends one use that is no longer among the mappings. */
export function releaseGrant(core: Core, granter: Domain, ref: number, mfn: number, write: boolean): void {
  if (write) core.types.putPageAndType(mfn);
  else core.types.putPage(mfn);
  clearMarks(core, granter, ref);
}

/**
 * A domain's offer to take a frame from `from` is taken up (gnttab_prepare_for_transfer).
 * @returns the pseudo-physical frame it is to become, or why there is no such offer
 */
export function commitTransfer(
  core: Core,
  taker: Domain,
  ref: number,
  from: DomainId,
): { readonly pfn: bigint } | { readonly why: string } {
  const entry = readGrant(core, taker, ref);
  if (entry === undefined) return { why: `d${taker.id} has no grant ${ref}` };
  const { flags, domid, frame } = entry;
  if (flags !== GTF.accept_transfer || domid !== from) {
    return {
      why: `grant ${ref} of d${taker.id} (flags ${hex(flags)}, for d${domid}) takes no frame from d${from}`,
    };
  }
  updateGrant(core, taker, ref, GTF.transfer_committed);
  return { pfn: frame };
}

export const completeTransfer = (core: Core, taker: Domain, ref: number, mfn: number): void =>
  updateGrant(core, taker, ref, GTF.transfer_completed, mfn);

export function swapGrants(core: Core, domain: Domain, a: number, b: number): Refused | undefined {
  for (const ref of [a, b]) {
    if (ref >= grantCount(domain))
      return { ok: false, status: GNTST.GNTST_bad_gntref, reason: `grant ${ref} is not in the table` };
  }
  if (a === b) return undefined;
  for (const ref of [a, b]) {
    if (usesOf(core, domain, ref).length > 0)
      return { ok: false, status: GNTST.GNTST_eagain, reason: `grant ${ref} is in use` };
  }
  exchangeGrants(core, domain, a, b);
  return undefined;
}
