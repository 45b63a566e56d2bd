/**
 * The entries of grant tables in both versions (grant_table.h), in frames lent to the guest. Version 1 keeps the
 * marks of use in an entry's flags; version 2 has them in frames of their own, which the guest cannot confuse.
 */
import {
  GNTTAB_NR_RESERVED_ENTRIES,
  GRANT_STATUS_SIZE,
  GTF,
  grant_entry_v1,
  grant_entry_v2,
  grant_entry_v2_transitive,
} from '../abi/grant';
import { PAGE_SIZE, type DomainId, type Mfn } from '../base/branded';
import type { Core } from './core';
import { lendFrame, reclaimFrame } from './lent';
import type { Domain } from './types';

interface Place {
  readonly frame: Mfn;
  readonly offset: number;
}

export interface GrantEntry {
  readonly flags: number;
  readonly domid: number;
  /** Beyond 32 bits in version 2 only. */
  readonly frame: bigint;
  /** GTF.sub_page, version 2: the part of the frame that is granted, in bytes. */
  readonly offset: number;
  readonly length: number;
  /** GTF.transitive, version 2: a grant of that domain's to this one. */
  readonly throughDomain: number;
  readonly throughRef: number;
}

const SIZE = { 1: grant_entry_v1.size, 2: grant_entry_v2.size } as const;
const STATUS_PER_FRAME = PAGE_SIZE / GRANT_STATUS_SIZE;

export const grantsPerFrame = (version: 1 | 2): number => PAGE_SIZE / SIZE[version];

export const grantCount = ({ state }: Domain): number =>
  state.grantFrames.length * grantsPerFrame(state.grantVersion);

function placeOf({ state }: Domain, ref: number): Place | undefined {
  const per = grantsPerFrame(state.grantVersion);
  const frame = state.grantFrames[Math.floor(ref / per)];
  return frame === undefined ? undefined : { frame, offset: (ref % per) * SIZE[state.grantVersion] };
}

/** Where the marks of use are: the entry's flags, or its place in the status frames. */
function marksOf(domain: Domain, ref: number): Place | undefined {
  if (domain.state.grantVersion === 1) return placeOf(domain, ref);
  const frame = domain.state.statusFrames[Math.floor(ref / STATUS_PER_FRAME)];
  return frame === undefined ? undefined : { frame, offset: (ref % STATUS_PER_FRAME) * GRANT_STATUS_SIZE };
}

export function readGrant(core: Core, domain: Domain, ref: number): GrantEntry | undefined {
  const at = placeOf(domain, ref);
  if (at === undefined) return undefined;
  const view = core.memory.view(at.frame);
  if (domain.state.grantVersion === 1) {
    const { flags, domid, frame } = grant_entry_v1.read(view, at.offset);
    return {
      flags,
      domid,
      frame: BigInt(frame),
      offset: 0,
      length: PAGE_SIZE,
      throughDomain: 0,
      throughRef: 0,
    };
  }
  const e = grant_entry_v2.read(view, at.offset);
  const through = grant_entry_v2_transitive.read(view, at.offset);
  const part = (e.flags & GTF.sub_page) !== 0;
  return {
    flags: e.flags,
    domid: e.domid,
    frame: e.frame,
    offset: part ? e.page_off : 0,
    length: part ? e.length : PAGE_SIZE,
    throughDomain: through.trans_domid,
    throughRef: through.gref,
  };
}

function write16(core: Core, at: Place, value: number): void {
  core.cpu.beforeStore(at.frame, at.offset, 2);
  core.memory.view(at.frame).setUint16(at.offset, value, true);
}
const read16 = (core: Core, at: Place): number => core.memory.view(at.frame).getUint16(at.offset, true);

export function readMarks(core: Core, domain: Domain, ref: number): number {
  const at = marksOf(domain, ref);
  return at === undefined ? 0 : read16(core, at) & (GTF.reading | GTF.writing);
}
export function setMarks(core: Core, domain: Domain, ref: number, marks: number): void {
  const at = marksOf(domain, ref);
  if (at !== undefined) write16(core, at, read16(core, at) | marks);
}
export function clearMarksOf(core: Core, domain: Domain, ref: number, marks: number): void {
  const at = marksOf(domain, ref);
  if (at !== undefined) write16(core, at, read16(core, at) & ~marks);
}

export function writeGrant(
  core: Core,
  domain: Domain,
  ref: number,
  to: DomainId,
  mfn: number,
  flags: number,
): void {
  const at = placeOf(domain, ref);
  if (at === undefined) throw new RangeError(`d${domain.id} has no grant ${ref}`);
  const { size } = domain.state.grantVersion === 1 ? grant_entry_v1 : grant_entry_v2;
  core.cpu.beforeStore(at.frame, at.offset, size);
  const view = core.memory.view(at.frame);
  if (domain.state.grantVersion === 1) {
    grant_entry_v1.write(view, at.offset, { flags, domid: to, frame: mfn });
  } else {
    const entry = { flags, domid: to, page_off: 0, length: 0, frame: BigInt(mfn) };
    grant_entry_v2.write(view, at.offset, entry);
  }
}

/** Sets flags of an entry, and its frame when one is given. */
export function updateGrant(core: Core, domain: Domain, ref: number, flags: number, mfn?: number): void {
  const entry = readGrant(core, domain, ref);
  const at = placeOf(domain, ref);
  if (entry === undefined || at === undefined) return;
  if (mfn !== undefined) writeGrant(core, domain, ref, entry.domid as DomainId, mfn, entry.flags | flags);
  else write16(core, at, entry.flags | flags);
}

/** Two entries change places, with their marks. */
export function exchangeGrants(core: Core, domain: Domain, a: number, b: number): void {
  const one = placeOf(domain, a);
  const two = placeOf(domain, b);
  if (one === undefined || two === undefined) return;
  const size = SIZE[domain.state.grantVersion];
  const bytes = (at: Place): Uint8Array => core.memory.bytes(at.frame).slice(at.offset, at.offset + size);
  const [first, second] = [bytes(one), bytes(two)];
  core.memory.write(one.frame, one.offset, second);
  core.memory.write(two.frame, two.offset, first);
  const [m, n] = [marksOf(domain, a), marksOf(domain, b)];
  if (domain.state.grantVersion === 1 || m === undefined || n === undefined) return;
  const marks = read16(core, m);
  write16(core, m, read16(core, n));
  write16(core, n, marks);
}

const statusFramesFor = (frames: number): number =>
  Math.ceil((frames * grantsPerFrame(2)) / STATUS_PER_FRAME);

/** Status frames enough for `frames` of the table. @returns why there are not */
function growStatusFrames(core: Core, domain: Domain, frames: number): string | undefined {
  const { statusFrames } = domain.state;
  while (statusFrames.length < statusFramesFor(frames)) {
    const mfn = lendFrame(core, domain.id);
    if (mfn === undefined) return 'the machine has no frame left for grant status';
    statusFrames.push(mfn);
  }
  return undefined;
}

/** @returns why it cannot */
export function growGrantTable(core: Core, domain: Domain, frames: number): string | undefined {
  const { grantFrames, grantMaxFrames, grantVersion } = domain.state;
  if (frames > grantMaxFrames) return `${frames} grant frames: at most ${grantMaxFrames}`;
  if (grantVersion === 2) {
    const why = growStatusFrames(core, domain, Math.max(frames, grantFrames.length));
    if (why !== undefined) return why;
  }
  while (grantFrames.length < frames) {
    const mfn = lendFrame(core, domain.id);
    if (mfn === undefined) return 'the machine has no frame left for a grant table';
    grantFrames.push(mfn);
  }
  return undefined;
}

/** A status: the errno of set_version, and why. */
export type VersionProblem = readonly ['EBUSY' | 'ERANGE' | 'ENOMEM', string];

/** The first entries are the toolstack's, for the console and xenstore; they go over to the other version. */
interface Reserved {
  readonly flags: number;
  readonly domid: number;
  readonly frame: bigint;
  readonly marks: number;
}

function reservedEntries(core: Core, domain: Domain): readonly Reserved[] {
  return Array.from({ length: GNTTAB_NR_RESERVED_ENTRIES }, (_, ref) => {
    const entry = readGrant(core, domain, ref);
    if (entry === undefined) return { flags: 0, domid: 0, frame: 0n, marks: 0 };
    const { flags, domid, frame } = entry;
    if (domain.state.grantVersion === 1) {
      const marks = flags & (GTF.reading | GTF.writing);
      return { flags: flags & ~(GTF.reading | GTF.writing), domid, frame, marks };
    }
    return (flags & GTF.type_mask) === GTF.permit_access
      ? { flags, domid, frame, marks: readMarks(core, domain, ref) }
      : { flags: 0, domid: 0, frame: 0n, marks: 0 };
  });
}

/**
 * Changes the version of a domain's table; nothing but the reserved entries remains (gnttab_set_version). That no
 * other entry is in use was checked.
 */
export function changeGrantVersion(core: Core, domain: Domain, version: 1 | 2): VersionProblem | undefined {
  const { state } = domain;
  if (version === 2) {
    const why = growStatusFrames(core, domain, state.grantFrames.length);
    if (why !== undefined) return ['ENOMEM', why];
  } else {
    for (let ref = 0; ref < GNTTAB_NR_RESERVED_ENTRIES; ref++) {
      const entry = readGrant(core, domain, ref);
      const type = (entry?.flags ?? 0) & GTF.type_mask;
      const wide = type === GTF.permit_access && (entry?.frame ?? 0n) >> 32n !== 0n;
      if (wide || type === GTF.transitive)
        return ['ERANGE', `grant ${ref} of d${domain.id} cannot be said in version 1`];
    }
  }
  const reserved = reservedEntries(core, domain);
  if (version === 1) {
    const busy = state.statusFrames.find((mfn) => (core.frames.refs[mfn] ?? 0) > 1);
    if (busy !== undefined) return ['EBUSY', `status frame ${core.frames.describe(busy)} is still mapped`];
    for (const mfn of state.statusFrames.splice(0)) reclaimFrame(core, mfn);
  }
  for (const mfn of state.grantFrames) core.memory.zero(mfn);
  for (const mfn of state.statusFrames) core.memory.zero(mfn);
  state.grantVersion = version;
  reserved.forEach(({ flags, domid, frame, marks }, ref) => {
    if (flags === 0) return;
    writeGrant(core, domain, ref, domid as DomainId, Number(frame), flags);
    setMarks(core, domain, ref, marks);
  });
  return undefined;
}
