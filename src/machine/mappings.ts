import { DOMID } from '../abi/domains';
import { isGuestSlot } from '../hypervisor/pagetypes';
import { FRAME_TYPE } from '../hypervisor/frames';
import type { GuestVcpu, Hypervisor } from '../hypervisor/types';
import { frameInfo, ownerName, pfnIndex } from './inspect';
import { FLAG, pteFlags } from './pte';
import type { FrameUse, FrameUses, MappedRange } from './target';

/** Page tables as a whole, from outside: who maps a frame, and what an address space holds. */

const ENTRIES = 512;
/** Of a frame that is mapped everywhere, the first so many say it. */
const MAX_USES = 200;
/** An entry of a table that many tables share is found at as many addresses. */
const MAX_ADDRESSES = 8;
/** An address space of more pieces than this is cut off. */
const MAX_RANGES = 50_000;

const shiftOf = (level: number): bigint => BigInt(12 + 9 * (level - 1));
const canonical = (va: bigint): bigint => BigInt.asUintN(64, BigInt.asIntN(48, va));
const frameOf = (low: number, high: number): number => (high & 0xfffff) * 0x10_0000 + (low >>> 12);
/** Bits that the processor sets by itself: not what a guest asked for. */
const ACCESSED_DIRTY = FLAG.A | FLAG.D;

interface Place {
  readonly table: number;
  readonly level: number;
  readonly index: number;
}

/** Every present entry of a table that names one of `targets`, in the order of the tables. */
function entriesNaming({ frames, memory }: Hypervisor, targets: ReadonlySet<number>): Map<number, Place[]> {
  const found = new Map<number, Place[]>();
  for (let table = 0; table < frames.count; table++) {
    const level = frames.type[table] ?? 0;
    if (level < FRAME_TYPE.l1 || level > FRAME_TYPE.l4 || frames.typeCount[table] === 0) continue;
    for (let index = 0; index < ENTRIES; index++) {
      const low = memory.half(table, 2 * index);
      if ((low & 1) === 0) continue;
      const mfn = frameOf(low, memory.half(table, 2 * index + 1));
      if (!targets.has(mfn)) continue;
      const list = found.get(mfn);
      if (list === undefined) found.set(mfn, [{ table, level, index }]);
      else list.push({ table, level, index });
    }
  }
  return found;
}

/** The virtual addresses at which the entries of a table begin, by table; through tables of the levels above. */
function basesOf(
  hypervisor: Hypervisor,
  tables: ReadonlySet<number>,
): ReadonlyMap<number, readonly bigint[]> {
  const bases = new Map<number, readonly bigint[]>();
  const above = new Map<number, readonly Place[]>();
  let wanted: ReadonlySet<number> = tables;
  // Four levels: an L1's entries are named by L2s, those by L3s, those by L4s.
  for (let step = 0; step < 3 && wanted.size > 0; step++) {
    const found = entriesNaming(hypervisor, wanted);
    const next = new Set<number>();
    for (const table of wanted) {
      const level = hypervisor.frames.type[table] ?? 0;
      const places = (found.get(table) ?? []).filter((place) => place.level === level + 1);
      above.set(table, places);
      for (const place of places) if (!above.has(place.table)) next.add(place.table);
    }
    wanted = next;
  }
  const baseOf = (table: number): readonly bigint[] => {
    const known = bases.get(table);
    if (known !== undefined) return known;
    const level = hypervisor.frames.type[table] ?? 0;
    const found =
      level === FRAME_TYPE.l4
        ? [0n]
        : (above.get(table) ?? []).flatMap((place) =>
            baseOf(place.table).map((base) => base | (BigInt(place.index) << shiftOf(place.level))),
          );
    const distinct = [...new Set(found)].slice(0, MAX_ADDRESSES);
    bases.set(table, distinct);
    return distinct;
  };
  return new Map([...tables].map((table) => [table, baseOf(table)]));
}

/** Everything that holds a machine frame: entries of page tables, base registers, grants. */
export function frameUses(hypervisor: Hypervisor, mfn: number): FrameUses {
  const frame = frameInfo(hypervisor, mfn);
  const { frames, memory } = hypervisor;
  const places = entriesNaming(hypervisor, new Set([mfn])).get(mfn) ?? [];
  const shown = places.slice(0, MAX_USES);
  const bases = basesOf(hypervisor, new Set(shown.map(({ table }) => table)));
  const entries = shown.map(({ table, level, index }): FrameUse => {
    const entry = memory.read64(table, index);
    return {
      level,
      table,
      index,
      entry,
      flags: pteFlags(entry, level),
      owner: ownerName(frames.owner[table] ?? DOMID.INVALID),
      virtual: (bases.get(table) ?? []).map((base) => canonical(base | (BigInt(index) << shiftOf(level)))),
    };
  });
  const domains = [...hypervisor.domains.values()];
  return {
    frame,
    entries,
    more: places.length - shown.length,
    roots: domains.flatMap(({ vcpus }) =>
      vcpus.flatMap(({ id, domain, state }) => [
        ...(state.kernelTable === mfn ? [{ domain: domain.id, vcpu: id, as: 'kernel table' as const }] : []),
        ...(state.userTable === mfn ? [{ domain: domain.id, vcpu: id, as: 'user table' as const }] : []),
      ]),
    ),
    grants: domains.flatMap((domain) =>
      hypervisor
        .grants(domain)
        .grants.filter((grant) => grant.mfn === mfn)
        .map(({ ref, to, writable, mappedBy }) => ({ domain: domain.id, ref, to, writable, mappedBy })),
    ),
  };
}

interface Open {
  readonly first: Omit<MappedRange, 'pages'>;
  pages: number;
}

/**
 * What a guest has in a vCPU's address space (Xen's own slots are the same in all), from the lowest address up: runs of pages with the same permissions whose
 * pseudo-physical (else machine) frames follow one another. Without the accessed and dirty bits, so that two stops
 * differ in what was mapped, not in what was touched.
 * @param at only the run that holds this address, however many there are before it
 */
export function mappedRanges(hypervisor: Hypervisor, vcpu: GuestVcpu, at?: bigint): MappedRange[] {
  const { frames, memory } = hypervisor;
  const pfnOf = pfnIndex(hypervisor);
  const ranges: Open[] = [];

  const add = (virtual: bigint, entry: bigint, level: number): void => {
    const mfn = Number((entry & 0x000f_ffff_ffff_f000n) >> 12n);
    const pages = 512 ** (level - 1);
    const flags = pteFlags(entry & ~ACCESSED_DIRTY, level);
    const owner = ownerName(frames.owner[mfn] ?? DOMID.INVALID);
    const pfn = pfnOf(mfn);
    const last = ranges.at(-1);
    if (
      last?.first.owner === owner &&
      last.first.virtual + BigInt(last.pages) * 0x1000n === virtual &&
      last.first.flags.join() === flags.join() &&
      (last.first.pfn === undefined
        ? pfn === undefined && mfn === last.first.mfn + last.pages
        : pfn === last.first.pfn + last.pages)
    )
      last.pages += pages;
    else {
      if (at !== undefined && last !== undefined && endOf(last) <= at) ranges.pop();
      ranges.push({ first: { virtual, flags, mfn, pfn, owner }, pages });
    }
  };
  /** With one address in mind, a run that begins behind it is the last that matters. */
  const isThrough = (): boolean =>
    ranges.length >= MAX_RANGES || (at !== undefined && (ranges.at(-1)?.first.virtual ?? 0n) > at);
  const walk = (table: number, level: number, base: bigint): void => {
    if (table >= frames.count) return;
    for (let index = 0; index < ENTRIES && !isThrough(); index++) {
      if ((memory.half(table, 2 * index) & 1) === 0 || (level === 4 && !isGuestSlot(index))) continue;
      const entry = memory.read64(table, index);
      const virtual = base | (BigInt(index) << shiftOf(level));
      const large = level > 1 && level < 4 && (entry & FLAG.PS) !== 0n;
      if (level === 1 || large) add(canonical(virtual), entry, level);
      else
        walk(frameOf(memory.half(table, 2 * index), memory.half(table, 2 * index + 1)), level - 1, virtual);
    }
  };
  walk(Number((vcpu.cpu.get('cr3') & 0x000f_ffff_ffff_f000n) >> 12n), 4, 0n);
  return ranges
    .filter((one) => at === undefined || (one.first.virtual <= at && at < endOf(one)))
    .map(({ first, pages }) => ({ ...first, pages }));
}

const endOf = ({ first, pages }: Open): bigint => first.virtual + BigInt(pages) * 0x1000n;
