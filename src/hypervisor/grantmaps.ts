/**
 * Grants that a domain has mapped into its own page tables (grant_table_op map_grant_ref and its kin;
 * xen/common/grant_table.c, xen/arch/x86/pv/grant_table.c).
 *
 * An L1 entry made here is the only kind that maps another domain's frame: that is how it is known. The entry
 * itself holds the frame (and its type, when writable), as
 * every L1 entry does: if the guest overwrites it, or the table is one no more, what it holds is dropped with it.
 * The handle stays in use then, and the grant stays marked as in use, since nobody said that it was unmapped:
 * real Xen (not built for debugging) does the same.
 */
import { hex } from '../abi/decoded';
import { DOMID } from '../abi/domains';
import { GNTMAP, GNTST } from '../abi/grant';
import { PTE, makePte, pteFrame, pteText } from '../abi/mmu';
import type { DomainId } from '../base/branded';
import type { CallContext } from './context';
import type { Core } from './core';
import { FRAME_FLAG, FRAME_TYPE } from './frames';
import { acquireGrant, clearMarks, commitTransfer, completeTransfer, type Refused } from './grants';
import { addressOk, walkTables } from './guest-memory';
import { adjustEntry } from './pagetypes';
import { forgetPhysical, setMachineToPhysical } from './physmap';
import { whyNotStolen } from './reservation';
import type { Domain } from './types';

/** max_maptrack_frames (1024, the toolstack's default) pages of 256 entries. */
const MAX_HANDLES = 1024 * 256;

const refused = (status: number, reason: string): Refused => ({ ok: false, status, reason });
const general = (reason: string): Refused => refused(GNTST.GNTST_general_error, reason);

interface Slot {
  readonly table: number;
  readonly index: number;
}

/** The L1 entry that an address names: the machine address of the entry, or a virtual address it translates. */
function slotAt({ core, domain, vcpu }: CallContext, address: bigint, containsPte: boolean): Slot | Refused {
  let slot: Slot;
  if (containsPte) {
    if ((address & 7n) !== 0n) return general(`${hex(address)} is not the address of a page-table entry`);
    slot = { table: Number(address >> 12n), index: Number((address & 0xff8n) >> 3n) };
  } else {
    const leaf = addressOk(address) ? walkTables(core.memory, vcpu.state.kernelTable, address)[3] : undefined;
    if (leaf === undefined) return general(`${hex(address)} has no L1 entry`);
    slot = leaf;
  }
  const { frames } = core;
  const { table } = slot;
  if (table >= frames.count || frames.owner[table] !== domain.id) {
    return general(
      `the entry for ${hex(address)} is in ${frames.describe(table)}, not a frame of d${domain.id}`,
    );
  }
  return frames.type[table] === FRAME_TYPE.l1 && (frames.typeCount[table] ?? 0) > 0
    ? slot
    : general(`the entry for ${hex(address)} is in ${frames.describe(table)}, which is no L1 table`);
}

function grantEntry(mfn: number, flags: number): bigint {
  let entry = makePte(mfn, PTE.PRESENT | PTE.ACCESSED | PTE.DIRTY | PTE.NX);
  if ((flags & GNTMAP.GNTMAP_application_map) !== 0) entry |= PTE.USER;
  if ((flags & GNTMAP.GNTMAP_readonly) === 0) entry |= PTE.RW;
  // GNTMAP_guest_avail0 and up: bits 9–11 of the entry, which are the guest's (XENFEAT_gnttab_map_avail_bits).
  entry |= BigInt((flags >>> 16) & 7) << 9n;
  return adjustEntry(1, entry);
}

const hold = (core: Core, mfn: number, owner: DomainId, writable: boolean): string | undefined =>
  (writable ? core.types.getPageAndType(mfn, owner, FRAME_TYPE.writable) : core.types.getPage(mfn, owner))
    ?.reason;
const drop = (core: Core, mfn: number, writable: boolean): void => {
  if (writable) core.types.putPageAndType(mfn);
  else core.types.putPage(mfn);
};

const flushDomain = (domain: Domain): void => {
  for (const v of domain.vcpus) v.cpu.flushTlb();
};

export interface Mapped {
  readonly ok: true;
  readonly handle: number;
  readonly mfn: number;
}

/** map_grant_ref */
export function mapGrantRef(
  context: CallContext,
  a: { readonly host_addr: bigint; readonly flags: number; readonly ref: number; readonly dom: number },
): Mapped | Refused {
  const { core, domain } = context;
  const host = (a.flags & GNTMAP.GNTMAP_host_map) !== 0;
  const device = (a.flags & GNTMAP.GNTMAP_device_map) !== 0;
  const writable = (a.flags & GNTMAP.GNTMAP_readonly) === 0;
  if (!host && !device) {
    return refused(
      GNTST.GNTST_bad_gntref,
      `flags ${hex(a.flags)} ask for neither a host nor a device mapping`,
    );
  }
  const granter = core.domains.get(a.dom);
  if (granter === undefined) {
    return a.dom === DOMID.DOM0
      ? refused(GNTST.GNTST_bad_gntref, `d0 has granted nothing: reference ${a.ref}`)
      : refused(GNTST.GNTST_bad_domain, `there is no domain ${a.dom}`);
  }
  const { maptrack } = domain.state;
  const free = maptrack.indexOf(undefined);
  const handle = free < 0 ? maptrack.length : free;
  if (handle >= MAX_HANDLES) {
    return refused(GNTST.GNTST_no_device_space, `all ${MAX_HANDLES} handles are in use`);
  }
  const got = acquireGrant(core, granter, a.ref, domain.id, writable);
  if (!got.ok) return got;
  const { mfn } = got;
  const undo = (why: Refused): Refused => {
    drop(core, mfn, writable);
    clearMarks(core, granter, a.ref);
    return why;
  };
  if (host) {
    const slot = slotAt(context, a.host_addr, (a.flags & GNTMAP.GNTMAP_contains_pte) !== 0);
    if ('status' in slot) return undo(slot);
    // What was acquired is the entry's; a device mapping holds the frame itself.
    const second = device ? hold(core, mfn, granter.id, writable) : undefined;
    if (second !== undefined) return undo(general(second));
    const old = core.memory.read64(slot.table, slot.index);
    core.memory.write64(slot.table, slot.index, grantEntry(mfn, a.flags));
    core.types.putFromL1e(old, domain.id);
    flushDomain(domain);
  }
  maptrack[handle] = {
    domain: granter.id,
    ref: a.ref,
    mfn,
    writable,
    host,
    device,
    containsPte: (a.flags & GNTMAP.GNTMAP_contains_pte) !== 0,
  };
  return { ok: true, handle, mfn };
}

/** @returns why the entry is not the one that maps the frame as the handle says */
function mismatch(entry: bigint, mfn: number, writable: boolean): string | undefined {
  const same =
    (entry & PTE.PRESENT) !== 0n && pteFrame(entry) === mfn && ((entry & PTE.RW) !== 0n) === writable;
  return same
    ? undefined
    : `entry ${pteText(entry)} does not map the grant of mfn ${hex(mfn)} ${writable ? 'writable' : 'read-only'}`;
}

/** Puts `entry` where the grant's entry is. What that one held is the caller's now. */
function replaceEntry(
  { core }: CallContext,
  slot: Slot,
  mfn: number,
  writable: boolean,
  entry: bigint,
): Refused | undefined {
  const why = mismatch(core.memory.read64(slot.table, slot.index), mfn, writable);
  if (why !== undefined) return general(why);
  core.memory.write64(slot.table, slot.index, entry);
  return undefined;
}

/** Ends a host mapping; with `newAddress`, the entry found there moves into its place. */
function unmapHost(
  context: CallContext,
  address: bigint,
  newAddress: bigint,
  map: { readonly mfn: number; readonly writable: boolean; readonly containsPte: boolean },
): Refused | undefined {
  const { core, domain } = context;
  const { mfn, writable, containsPte } = map;
  if (containsPte && newAddress !== 0n) {
    return general('a mapping made by the address of its entry cannot be replaced');
  }
  const slot = slotAt(context, address, containsPte);
  if ('status' in slot) return slot;
  if (newAddress === 0n) return replaceEntry(context, slot, mfn, writable, 0n);
  const from = slotAt(context, newAddress, false);
  if ('status' in from) return from;
  const moved = core.memory.read64(from.table, from.index);
  core.memory.write64(from.table, from.index, 0n);
  const why = replaceEntry(context, slot, mfn, writable, moved);
  // Xen has taken the entry from its place by then, and does not put it back.
  if (why !== undefined) core.types.putFromL1e(moved, domain.id);
  return why;
}

/** unmap_grant_ref, unmap_and_replace (then without a device address) */
export function unmapGrantRef(
  context: CallContext,
  a: {
    readonly handle: number;
    readonly host_addr: bigint;
    readonly dev_bus_addr: bigint;
    readonly new_addr: bigint;
  },
): Refused | undefined {
  const { core, domain } = context;
  const { maptrack } = domain.state;
  const map = maptrack[a.handle];
  if (map === undefined) return refused(GNTST.GNTST_bad_handle, `d${domain.id} has no mapping ${a.handle}`);
  const { mfn, writable } = map;
  if (a.dev_bus_addr !== 0n && a.dev_bus_addr !== BigInt(mfn) << 12n) {
    return refused(
      GNTST.GNTST_bad_dev_addr,
      `bus address ${hex(a.dev_bus_addr)} is not that of mfn ${hex(mfn)}`,
    );
  }
  if (a.host_addr !== 0n && map.host) {
    const why = unmapHost(context, a.host_addr, a.new_addr, map);
    if (why !== undefined) return why;
    map.host = false;
    flushDomain(domain);
    drop(core, mfn, writable);
  }
  if (a.dev_bus_addr !== 0n && map.device) {
    map.device = false;
    drop(core, mfn, writable);
  }
  if (!map.host && !map.device) {
    maptrack[a.handle] = undefined;
    const granter = core.domains.get(map.domain);
    if (granter !== undefined) clearMarks(core, granter, map.ref);
  }
  return undefined;
}

/** The end of a domain ends its mappings (gnttab_release_mappings): its granters get their frames back. */
export function releaseMappings(core: Core, domain: Domain): void {
  const { maptrack } = domain.state;
  if (maptrack.length === 0) return;
  const { owner, type, typeCount, count } = core.frames;
  for (let mfn = 0; mfn < count; mfn++) {
    if (owner[mfn] !== domain.id || type[mfn] !== FRAME_TYPE.l1 || (typeCount[mfn] ?? 0) === 0) continue;
    for (let i = 0; i < 512; i++) {
      const entry = core.memory.read64(mfn, i);
      if ((entry & PTE.PRESENT) === 0n || owner[pteFrame(entry)] === domain.id) continue;
      core.memory.write64(mfn, i, 0n);
      core.types.putFromL1e(entry, domain.id);
    }
  }
  core.cpu.flushAllTlbs();
  for (const map of maptrack.splice(0)) {
    if (map === undefined) continue;
    if (map.device) drop(core, map.mfn, map.writable);
    const granter = core.domains.get(map.domain);
    if (granter !== undefined) clearMarks(core, granter, map.ref);
  }
}

/**
 * transfer: gives a frame that nobody uses to a domain that offered to take one. As in Xen, the frame is taken from
 * the giver first, and lost if the other side turns out not to want it.
 */
export function transferFrame(
  { core, domain }: CallContext,
  a: { readonly mfn: bigint; readonly domid: number; readonly ref: number },
): Refused | undefined {
  const { frames } = core;
  const mfn = Number(a.mfn);
  const why = whyNotStolen(core, domain, mfn);
  if (why !== undefined) return refused(GNTST.GNTST_bad_page, why);
  forgetPhysical(core, domain, mfn);
  // Nothing maps the frame, but a TLB may not know yet.
  core.cpu.flushAllTlbs();
  const lost = (status: number, reason: string): Refused => {
    frames.drop(mfn);
    return refused(status, `${reason}; the frame is lost`);
  };
  const taker = core.domains.get(a.domid);
  if (taker === undefined) return lost(GNTST.GNTST_bad_domain, `there is no domain ${a.domid}`);
  const { state } = taker;
  if (state.shutdown !== undefined || state.totalPages >= state.maxPages) {
    return lost(
      GNTST.GNTST_general_error,
      `d${taker.id} has ${state.totalPages} of at most ${state.maxPages} frames`,
    );
  }
  const offer = commitTransfer(core, taker, a.ref, domain.id);
  if ('why' in offer) return lost(GNTST.GNTST_general_error, offer.why);
  domain.state.totalPages--;
  state.totalPages++;
  frames.owner[mfn] = taker.id;
  // What its contents were checked for does not go with it.
  frames.type[mfn] = FRAME_TYPE.none;
  frames.flags[mfn] = FRAME_FLAG.ALLOCATED;
  setMachineToPhysical(core, taker, mfn, offer.pfn);
  completeTransfer(core, taker, a.ref, mfn);
  return undefined;
}
