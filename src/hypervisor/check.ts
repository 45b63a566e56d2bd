/**
 * The invariants of the frame table, checked against a scan of everything that refers to frames. What must hold:
 * a frame's counts are exactly the uses that can be found, no frame is both writable and a table of any kind,
 * and no table maps a frame of another
 * owner, except for a grant that the domain has a handle for.
 */
import { hex } from '../abi/decoded';
import { DOMID } from '../abi/domains';
import { PTE, pteFrame } from '../abi/mmu';
import type { Core } from './core';
import { FRAME_FLAG, FRAME_TYPE, FRAME_TYPE_NAMES, FREE } from './frames';
import { isGuestSlot, isTable } from './pagetypes';
import type { FrameType } from './frames';

const mapKey = (domain: number, mfn: number, writable: boolean): string =>
  `d${domain}: mfn ${hex(mfn)} ${writable ? 'writable' : 'read-only'}`;

/** @returns what is wrong, in words; empty when all is well */
export function checkFrames(core: Pick<Core, 'frames' | 'memory' | 'domains' | 'backend'>): string[] {
  const { frames, memory } = core;
  const wrong: string[] = [];
  const refs = new Uint32Array(frames.count);
  const types = new Uint32Array(frames.count);
  const linear = new Int32Array(frames.count);
  /** Entries that map grants, by domain, frame and rights. */
  const granted = new Map<string, number>();
  const say = (mfn: number, text: string): void => {
    if (wrong.length < 100) wrong.push(`${frames.describe(mfn)}: ${text}`);
  };
  const use = (mfn: number, type: FrameType | undefined, by: string, owner: number): void => {
    if (mfn >= frames.count) {
      if (wrong.length < 100) wrong.push(`${by} names mfn ${hex(mfn)}, beyond the last frame`);
      return;
    }
    refs[mfn] = (refs[mfn] ?? 0) + 1;
    if (frames.owner[mfn] !== owner) say(mfn, `${by} of d${owner} maps it`);
    if (type === undefined) return;
    types[mfn] = (types[mfn] ?? 0) + 1;
    if (frames.type[mfn] !== type) say(mfn, `${by} uses it as ${FRAME_TYPE_NAMES[type]}`);
  };

  for (let mfn = 0; mfn < frames.count; mfn++) {
    const flags = frames.flags[mfn] ?? 0;
    const owner = frames.owner[mfn] ?? FREE;
    if (owner === FREE || owner === DOMID.XEN) {
      if ((frames.typeCount[mfn] ?? 0) !== 0) say(mfn, 'it has a type count, but no guest has it');
      continue;
    }
    if ((flags & FRAME_FLAG.ALLOCATED) !== 0) refs[mfn] = (refs[mfn] ?? 0) + 1;
    if ((flags & FRAME_FLAG.LENT) !== 0) types[mfn] = (types[mfn] ?? 0) + 1;
    if ((flags & FRAME_FLAG.PINNED) !== 0) {
      refs[mfn] = (refs[mfn] ?? 0) + 1;
      types[mfn] = (types[mfn] ?? 0) + 1;
    }
    const type = (frames.type[mfn] ?? 0) as FrameType;
    if (!isTable(type) || (frames.typeCount[mfn] ?? 0) === 0) continue;
    if ((flags & FRAME_FLAG.VALIDATED) === 0) say(mfn, 'it is a table in use, but was not checked');
    for (let i = 0; i < 512; i++) {
      if (type === FRAME_TYPE.l4 && !isGuestSlot(i)) continue;
      const entry = memory.read64(mfn, i);
      if ((entry & PTE.PRESENT) === 0n) continue;
      const target = pteFrame(entry);
      if (type !== FRAME_TYPE.l1 && target === mfn) {
        if ((entry & PTE.RW) !== 0n) say(mfn, `entry ${i} maps the table itself writable`);
        continue;
      }
      if (type !== FRAME_TYPE.l1 && frames.type[target] === type) {
        if ((entry & PTE.RW) !== 0n) say(mfn, `entry ${i} maps a table of its own level writable`);
        linear[mfn] = (linear[mfn] ?? 0) + 1;
        linear[target] = (linear[target] ?? 0) - 1;
        use(target, type, `entry ${i} of ${frames.describe(mfn)}`, owner);
        continue;
      }
      const as =
        type === FRAME_TYPE.l1
          ? (entry & PTE.RW) !== 0n
            ? FRAME_TYPE.writable
            : undefined
          : ((type - 1) as FrameType);
      const by = `entry ${i} of ${frames.describe(mfn)}`;
      // Another's frame: only a grant lets an entry map it.
      if (type === FRAME_TYPE.l1 && target < frames.count && frames.owner[target] !== owner) {
        const writable = as !== undefined;
        const key = mapKey(owner, target, writable);
        granted.set(key, (granted.get(key) ?? 0) + 1);
        const granter = core.domains
          .get(owner)
          ?.state.maptrack.find(
            (m) =>
              m?.host === true &&
              m.mfn === target &&
              m.writable === writable &&
              m.domain === frames.owner[target],
          )?.domain;
        if (granter === undefined) say(target, `${by} maps it as a grant, but no handle of d${owner} does`);
        use(target, as, by, granter ?? owner);
        continue;
      }
      use(target, as, by, owner);
    }
  }
  for (const domain of core.domains.values()) {
    const handles = new Map<string, number>();
    domain.state.maptrack.forEach((m, handle) => {
      if (m === undefined) return;
      const as = m.writable ? FRAME_TYPE.writable : undefined;
      if (m.device) use(m.mfn, as, `handle ${handle} of d${domain.id}`, m.domain);
      const key = mapKey(domain.id, m.mfn, m.writable);
      if (m.host) handles.set(key, (handles.get(key) ?? 0) + 1);
    });
    // The guest may have lost entries; more of them than handles it cannot have.
    for (const [key, entries] of granted) {
      if (key.startsWith(`d${domain.id}:`) && entries > (handles.get(key) ?? 0)) {
        wrong.push(`${key}: ${entries} entries map it as a grant, ${handles.get(key) ?? 0} handles`);
      }
    }
    for (const v of domain.vcpus) {
      const { kernelTable, userTable, gdtFrames, ldtPages, infoRegistered, infoFrame, initialised, fifo } =
        v.state;
      if (initialised) use(kernelTable, FRAME_TYPE.l4, `vCPU ${v.id}'s kernel base`, domain.id);
      if (userTable !== undefined) use(userTable, FRAME_TYPE.l4, `vCPU ${v.id}'s user base`, domain.id);
      for (const mfn of gdtFrames) use(mfn, FRAME_TYPE.segdesc, `vCPU ${v.id}'s GDT`, domain.id);
      for (const { mfn } of ldtPages) use(mfn, FRAME_TYPE.segdesc, `vCPU ${v.id}'s LDT`, domain.id);
      if (fifo !== undefined) use(fifo.frame, FRAME_TYPE.writable, `vCPU ${v.id}'s event queues`, domain.id);
      if (infoRegistered) use(infoFrame, FRAME_TYPE.writable, `vCPU ${v.id}'s vcpu_info`, domain.id);
    }
    for (const mfn of domain.state.fifoArray ?? []) use(mfn, FRAME_TYPE.writable, 'event array', domain.id);
    const { eoiFrame } = domain.state;
    if (eoiFrame !== undefined) use(eoiFrame, FRAME_TYPE.writable, 'EOI map', domain.id);
    if (domain.state.totalPages > domain.state.maxPages) {
      wrong.push(`d${domain.id} has ${domain.state.totalPages} frames of at most ${domain.state.maxPages}`);
    }
  }
  for (const map of core.backend.maps) {
    use(map.mfn, map.writable ? FRAME_TYPE.writable : undefined, `grant ${map.ref} mapped by d0`, map.domain);
  }

  const owned = new Map<number, number>();
  for (let mfn = 0; mfn < frames.count; mfn++) {
    const owner = frames.owner[mfn] ?? FREE;
    if (owner === FREE || owner === DOMID.XEN) continue;
    if (((frames.flags[mfn] ?? 0) & FRAME_FLAG.LENT) === 0) owned.set(owner, (owned.get(owner) ?? 0) + 1);
    if (refs[mfn] !== frames.refs[mfn]) say(mfn, `${refs[mfn] ?? 0} references can be found`);
    if (linear[mfn] !== frames.linear[mfn]) say(mfn, `${linear[mfn] ?? 0} linear entries can be found`);
    if (types[mfn] !== frames.typeCount[mfn]) say(mfn, `${types[mfn] ?? 0} uses in its type can be found`);
  }
  for (const domain of core.domains.values()) {
    const found = owned.get(domain.id) ?? 0;
    if (found !== domain.state.totalPages)
      wrong.push(`d${domain.id} owns ${found} frames, its total says ${domain.state.totalPages}`);
  }
  return wrong;
}
