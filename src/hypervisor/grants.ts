/** Grants of a domain, version 1: eight bytes each in frames lent to the guest (grant_table.h). */
import { hex } from '../abi/decoded';
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

/** Takes the granted frame into use by `by`: the entry shows it, and the frame is held (with its type, to write). */
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
  const entry = grant_entry_v1.read(core.memory.view(at.frame), at.offset);
  if ((entry.flags & GTF.type_mask) !== GTF.permit_access) {
    return refused(GNTST.GNTST_general_error, `flags ${hex(entry.flags)} do not permit access`);
  }
  if (entry.domid !== by) return refused(GNTST.GNTST_general_error, `it is for d${entry.domid}, not d${by}`);
  if (write && (entry.flags & GTF.readonly) !== 0)
    return refused(GNTST.GNTST_general_error, 'it is for reading only');
  const mfn = entry.frame;
  const problem = write
    ? core.types.getPageAndType(mfn, granter.id, FRAME_TYPE.writable)
    : core.types.getPage(mfn, granter.id);
  if (problem !== undefined) return refused(GNTST.GNTST_bad_page, problem.reason);
  setFlags(core, at, entry.flags | GTF.reading | (write ? GTF.writing : 0));
  return { ok: true, mfn };
}

/** Ends one use. The marks in the entry go with the last use that made them. */
export function releaseGrant(core: Core, granter: Domain, ref: number, mfn: number, write: boolean): void {
  if (write) core.types.putPageAndType(mfn);
  else core.types.putPage(mfn);
  const others = core.backend.maps.filter((m) => m.domain === granter.id && m.ref === ref);
  const at = place(granter, ref);
  if (at === undefined) return;
  let flags = flagsAt(core, at);
  if (!others.some((m) => m.writable)) flags &= ~GTF.writing;
  if (others.length === 0) flags &= ~GTF.reading;
  setFlags(core, at, flags);
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
    if ((flagsAt(core, at) & (GTF.reading | GTF.writing)) !== 0) {
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
