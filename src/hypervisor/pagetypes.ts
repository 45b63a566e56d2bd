/**
 * The page-type system: a frame is a page table, a descriptor table or writable, never two of them at once.
 *
 * A frame takes a type when its first use in that type appears, after everything in it was checked
 * (promotion), and loses it when the last use goes (demotion, which drops what its entries hold). Every entry of
 * a table holds a reference to the frame it names: L2–L4 entries also the type of the next table, L1 entries
 * with RW the type `writable`. Behaviour follows Xen 4.17, xen/arch/x86/mm.c.
 */
import { hex } from '../abi/decoded';
import { DOMID } from '../abi/domains';
import { FIRST_XEN_SLOT, LAST_XEN_SLOT, PTE, pteFlags, pteText } from '../abi/mmu';
import type { DomainId } from '../base/branded';
import { COST } from './budget';
import { checkDescriptor } from './descriptors';
import { FRAME_FLAG, FRAME_TYPE, FRAME_TYPE_NAMES, FREE, type FrameTable, type FrameType } from './frames';
import { Refusal } from './hypercall';
import type { MachineMemory } from './memory';

/** Undefined: it worked. Otherwise why not; nothing was changed. */
export type Problem = Refusal | undefined;

export type Level = 1 | 2 | 3 | 4;

export interface PageTypes {
  /** Takes a reference to a frame of `domain`. */
  getPage(mfn: number, domain: DomainId): Problem;
  putPage(mfn: number): void;
  getType(mfn: number, type: FrameType): Problem;
  putType(mfn: number): void;
  getPageAndType(mfn: number, domain: DomainId, type: FrameType): Problem;
  putPageAndType(mfn: number): void;
  /** Writes one entry of a table that holds its type; checks the new one first, then drops the old one's uses. */
  modEntry(
    level: Level,
    table: number,
    index: number,
    value: bigint,
    domain: DomainId,
    preserveAd: boolean,
  ): Problem;
  /** The same, the value by its halves. */
  modHalves(
    level: Level,
    table: number,
    index: number,
    low: number,
    high: number,
    domain: DomainId,
    preserveAd: boolean,
  ): Problem;
  /** The checks and references of an L1 entry; for grants and the builder. */
  getFromL1e(entry: bigint, domain: DomainId): Problem;
  putFromL1e(entry: bigint, domain: DomainId): void;
}

/** What the page types need of the rest. */
export interface PageTypeHooks {
  /** Fills the slots that belong to Xen in an L4 that is becoming one. */
  fillXenSlots(l4: number, domain: DomainId): void;
  /** Translations of a frame may linger in a TLB although its use changed. */
  flush(): void;
  /** Counts work (budget.ts). */
  spend(units: number): void;
  /** The last read-only mapping through which a descriptor page may be wanted back went away. */
  descriptorPageUnmapped(mfn: number, domain: DomainId): void;
}

/**
 * Flags an entry may have (Xen: base_disallow_mask). Bits 52–62 are the guest's to use; no PAT, PCD or PWT for a
 * domain without devices. L1 entries may be global.
 */
const ALLOWED =
  PTE.PRESENT | PTE.RW | PTE.USER | PTE.ACCESSED | PTE.DIRTY | (7n << 9n) | (0x7ffn << 52n) | PTE.NX;
export const DISALLOWED_L1 = BigInt.asUintN(64, ~(ALLOWED | PTE.GLOBAL)) & ~0x000f_ffff_ffff_f000n;
const DISALLOWED = BigInt.asUintN(64, ~ALLOWED) & ~0x000f_ffff_ffff_f000n;

/** An entry is handled by its halves, signed or not; as one number it is made only for words about it. */
const whole = (low: number, high: number): bigint => (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
const lowOf = (entry: bigint): number => Number(entry & 0xffff_ffffn);
const highOf = (entry: bigint): number => Number(entry >> 32n);
const frameOf = (low: number, high: number): number => (high & 0xf_ffff) * 2 ** 20 + (low >>> 12);
const [PRESENT, RW, USER, AD, GLOBAL] = [
  lowOf(PTE.PRESENT), lowOf(PTE.RW), lowOf(PTE.USER), lowOf(PTE.ACCESSED | PTE.DIRTY), lowOf(PTE.GLOBAL),
]; // prettier-ignore
const GUEST_KERNEL_HIGH = highOf(PTE.GUEST_KERNEL);
const NOT_IN_L1 = { low: lowOf(DISALLOWED_L1), high: highOf(DISALLOWED_L1) } as const;
const NOT_IN_TABLE = { low: lowOf(DISALLOWED), high: highOf(DISALLOWED) } as const;

/** What may change in an entry without a new look at its frame (FASTPATH_FLAG_WHITELIST). */
export const HARMLESS =
  PTE.USER | PTE.ACCESSED | PTE.DIRTY | PTE.GLOBAL | (7n << 9n) | (0x7ffn << 52n) | PTE.NX;
const OF_WEIGHT = { low: ~lowOf(HARMLESS), high: ~highOf(HARMLESS) } as const;

const levelType = (level: Level): FrameType => level;

/**
 * What Xen adds to an entry of a 64-bit guest: everything is a user page, since the guest's kernel runs in ring
 * 3, too; the kernel's are marked, and the others made global (adjust_guest_l1e, adjust_guest_l2e …).
 */
export const adjustEntry = (level: Level, entry: bigint): bigint => {
  const [low, high] = [lowOf(entry), highOf(entry)];
  return whole(adjustLow(level, low, high), adjustHigh(level, low, high));
};

/** The same for each half, given both. */
const adjustLow = (level: Level, low: number, high: number): number =>
  (low & PRESENT) === 0
    ? low
    : level > 1 || (low & USER) === 0
      ? low | USER
      : (high & GUEST_KERNEL_HIGH) === 0
        ? low | GLOBAL
        : low;
const adjustHigh = (level: Level, low: number, high: number): number =>
  level === 1 && (low & (PRESENT | USER)) === PRESENT ? high | GUEST_KERNEL_HIGH : high;

/** Whether the guest may set this slot of an L4. */
export const isGuestSlot = (index: number): boolean => index < FIRST_XEN_SLOT || index > LAST_XEN_SLOT;

export function createPageTypes(memory: MachineMemory, frames: FrameTable, hooks: PageTypeHooks): PageTypes {
  const { owner, type, typeCount, refs, flags, linear } = frames;
  const typeOf = (mfn: number): FrameType => (type[mfn] ?? 0) as FrameType;
  const countOf = (mfn: number): number => typeCount[mfn] ?? 0;
  const has = (mfn: number, flag: number): boolean => ((flags[mfn] ?? 0) & flag) !== 0;
  const exists = (mfn: number): boolean => mfn < frames.count;

  function getPage(mfn: number, domain: DomainId): Problem {
    if (!exists(mfn)) return new Refusal('EINVAL', `mfn ${hex(mfn)} is beyond the machine's last frame`);
    if (owner[mfn] !== domain || (refs[mfn] ?? 0) === 0) {
      return new Refusal('EINVAL', `${frames.describe(mfn)} does not belong to d${domain}`);
    }
    refs[mfn] = (refs[mfn] ?? 0) + 1;
    return undefined;
  }

  const putPage = (mfn: number): void => frames.drop(mfn);

  function getType(mfn: number, wanted: FrameType): Problem {
    if (countOf(mfn) === 0) {
      const changes = typeOf(mfn) !== wanted;
      if (changes) {
        // A TLB may still hold a writable translation from when the frame was an ordinary page.
        if (typeOf(mfn) === FRAME_TYPE.writable && wanted !== FRAME_TYPE.writable) hooks.flush();
        type[mfn] = wanted;
        flags[mfn] = (flags[mfn] ?? 0) & ~FRAME_FLAG.VALIDATED;
      }
      if (!has(mfn, FRAME_FLAG.VALIDATED)) {
        // Counted before the entries are looked at, so that a table naming itself is seen as one of its type.
        typeCount[mfn] = 1;
        const problem = promote(mfn, wanted);
        if (problem !== undefined) {
          typeCount[mfn] = 0;
          type[mfn] = FRAME_TYPE.none;
          return problem;
        }
        flags[mfn] = (flags[mfn] ?? 0) | FRAME_FLAG.VALIDATED;
        return undefined;
      }
    } else if (typeOf(mfn) !== wanted) {
      return new Refusal(
        'EINVAL',
        `${frames.describe(mfn)} is in use as ${FRAME_TYPE_NAMES[typeOf(mfn)]}, so it cannot become ${FRAME_TYPE_NAMES[wanted]}`,
      );
    } else if (!has(mfn, FRAME_FLAG.VALIDATED)) {
      return new Refusal(
        'EINVAL',
        `${frames.describe(mfn)} is still being checked: the tables form a circle`,
      );
    }
    typeCount[mfn] = countOf(mfn) + 1;
    return undefined;
  }

  function putType(mfn: number): void {
    const left = countOf(mfn) - 1;
    if (left < 0) throw new Error(`${frames.describe(mfn)} has no type count to drop`);
    if (left === 0 && isTable(typeOf(mfn)) && has(mfn, FRAME_FLAG.VALIDATED)) {
      demote(mfn, typeOf(mfn) as Level);
      flags[mfn] = (flags[mfn] ?? 0) & ~FRAME_FLAG.VALIDATED;
    }
    typeCount[mfn] = left;
  }

  function getPageAndType(mfn: number, domain: DomainId, wanted: FrameType): Problem {
    const problem = getPage(mfn, domain);
    if (problem !== undefined) return problem;
    const typed = getType(mfn, wanted);
    if (typed !== undefined) putPage(mfn);
    return typed;
  }

  function putPageAndType(mfn: number): void {
    putType(mfn);
    putPage(mfn);
  }

  function getFromL1e(low: number, high: number, domain: DomainId): Problem {
    if ((low & PRESENT) === 0) return undefined;
    if (((low & NOT_IN_L1.low) | (high & NOT_IN_L1.high)) !== 0) {
      const entry = whole(low, high);
      const bad = entry & DISALLOWED_L1;
      return new Refusal(
        'EINVAL',
        `L1 entry ${pteText(entry)} has flags that are not the guest's to set: ${hex(bad)} (${pteFlags(bad).join(' ')})`,
      );
    }
    const mfn = frameOf(low, high);
    if (!exists(mfn)) {
      return new Refusal(
        'EPERM',
        `L1 entry ${pteText(whole(low, high))} maps mfn ${hex(mfn)}, which is not memory: d${domain} may not map I/O space`,
      );
    }
    if (getPage(mfn, domain) !== undefined) {
      return new Refusal(
        'EBUSY',
        `L1 entry ${pteText(whole(low, high))} maps ${frames.describe(mfn)}, which does not belong to d${domain}`,
      );
    }
    if ((low & RW) !== 0 && getType(mfn, FRAME_TYPE.writable) !== undefined) {
      putPage(mfn);
      return new Refusal(
        'EBUSY',
        `L1 entry ${pteText(whole(low, high))} maps ${frames.describe(mfn)} writable, but it is in use as ${FRAME_TYPE_NAMES[typeOf(mfn)]}`,
      );
    }
    return undefined;
  }

  function putFromL1e(low: number, high: number, domain: DomainId): void {
    if ((low & PRESENT) === 0) return;
    const mfn = frameOf(low, high);
    if ((low & RW) !== 0) {
      putPageAndType(mfn);
      return;
    }
    if (typeOf(mfn) === FRAME_TYPE.segdesc && countOf(mfn) > 0) hooks.descriptorPageUnmapped(mfn, domain);
    putPage(mfn);
  }

  /** L2–L4: the entry must name a table of the level below. `table` is the frame the entry stands in. */
  function getFromTableEntry(
    level: Level,
    table: number,
    low: number,
    high: number,
    domain: DomainId,
  ): Problem {
    if ((low & PRESENT) === 0) return undefined;
    if (((low & NOT_IN_TABLE.low) | (high & NOT_IN_TABLE.high)) !== 0) {
      const entry = whole(low, high);
      const bad = entry & DISALLOWED;
      return new Refusal(
        'EINVAL',
        `L${level} entry ${pteText(entry)} has flags that are not the guest's to set: ${hex(bad)} (${pteFlags(bad).join(' ')})`,
      );
    }
    const mfn = frameOf(low, high);
    // A table may name itself, to read: it holds nothing.
    if (mfn === table) {
      return (low & RW) === 0
        ? undefined
        : new Refusal('EINVAL', `L${level} entry ${pteText(whole(low, high))} maps its own table writable`);
    }
    const problem = getPageAndType(mfn, domain, levelType((level - 1) as Level));
    if (problem === undefined || getLinear(level, table, low, mfn, domain)) return undefined;
    return new Refusal(
      problem.errno,
      `L${level} entry ${pteText(whole(low, high))} in table mfn ${hex(table)}: ${problem.reason}`,
    );
  }

  /**
   * A linear page table: an entry, to read, that names another table of its own level. That one must be in use as
   * such already, and tables are chained no further: `linear` counts a table's entries of this kind up, and its
   * uses by others down, and has one sign only (get_l4_linear_pagetable and its kin).
   */
  function getLinear(level: Level, table: number, low: number, mfn: number, domain: DomainId): boolean {
    const linearly =
      (low & RW) === 0 &&
      exists(mfn) &&
      typeOf(mfn) === levelType(level) &&
      countOf(mfn) > 0 &&
      has(mfn, FRAME_FLAG.VALIDATED) &&
      (linear[table] ?? 0) >= 0 &&
      (linear[mfn] ?? 0) <= 0;
    if (!linearly || getPage(mfn, domain) !== undefined) return false;
    typeCount[mfn] = countOf(mfn) + 1;
    linear[table] = (linear[table] ?? 0) + 1;
    linear[mfn] = (linear[mfn] ?? 0) - 1;
    return true;
  }

  function putFromTableEntry(table: number, low: number, high: number): void {
    if ((low & PRESENT) === 0) return;
    const mfn = frameOf(low, high);
    if (mfn === table) return;
    if (typeOf(mfn) === typeOf(table)) {
      linear[table] = (linear[table] ?? 0) - 1;
      linear[mfn] = (linear[mfn] ?? 0) + 1;
    }
    putPageAndType(mfn);
  }

  const getEntry = (level: Level, table: number, low: number, high: number, domain: DomainId): Problem =>
    level === 1 ? getFromL1e(low, high, domain) : getFromTableEntry(level, table, low, high, domain);
  const putEntry = (level: Level, table: number, low: number, high: number, domain: DomainId): void => {
    if (level === 1) putFromL1e(low, high, domain);
    else putFromTableEntry(table, low, high);
  };
  /** The entry as it stands. */
  const putEntryAt = (level: Level, table: number, index: number, domain: DomainId): void =>
    putEntry(level, table, memory.half(table, 2 * index), memory.half(table, 2 * index + 1), domain);

  /** The slots of a table that the guest's entries are in. */
  const guestSlot = (level: Level, index: number): boolean => level !== 4 || isGuestSlot(index);

  function promoteTable(mfn: number, level: Level): Problem {
    const domain = (owner[mfn] ?? FREE) as DomainId;
    if (domain === FREE || domain === DOMID.XEN) {
      return new Refusal('EINVAL', `${frames.describe(mfn)} cannot become a page table`);
    }
    hooks.spend(COST.table);
    for (let i = memory.present(mfn, 0); i < 512; i = memory.present(mfn, i + 1)) {
      if (!guestSlot(level, i)) continue;
      const low = memory.half(mfn, 2 * i);
      const high = memory.half(mfn, 2 * i + 1);
      const problem = getEntry(level, mfn, low, high, domain);
      if (problem !== undefined) {
        for (let k = 0; k < i; k++) {
          if (guestSlot(level, k)) putEntryAt(level, mfn, k, domain);
        }
        return new Refusal(
          problem.errno,
          `mfn ${hex(mfn)} cannot become an L${level} table, entry ${i}: ${problem.reason}`,
        );
      }
      const [toLow, toHigh] = [adjustLow(level, low, high), adjustHigh(level, low, high)];
      if (toLow >>> 0 !== low || toHigh >>> 0 !== high) memory.writeHalves(mfn, i, toLow, toHigh);
    }
    if (level === 4) hooks.fillXenSlots(mfn, domain);
    return undefined;
  }

  function demote(mfn: number, level: Level): void {
    const domain = (owner[mfn] ?? FREE) as DomainId;
    // Its translations may be cached as long as it was reachable through a base table.
    hooks.flush();
    hooks.spend(COST.table);
    for (let i = memory.present(mfn, 0); i < 512; i = memory.present(mfn, i + 1)) {
      if (guestSlot(level, i)) putEntryAt(level, mfn, i, domain);
    }
  }

  function promote(mfn: number, wanted: FrameType): Problem {
    if (isTable(wanted)) return promoteTable(mfn, wanted as Level);
    return wanted === FRAME_TYPE.segdesc ? promoteDescriptors(mfn) : undefined;
  }

  function promoteDescriptors(mfn: number): Problem {
    for (let i = 0; i < 512; i++) {
      const raw = memory.read64(mfn, i);
      const checked = checkDescriptor(raw);
      if (!checked.ok) {
        return new Refusal(
          'EINVAL',
          `mfn ${hex(mfn)} cannot become a descriptor table, entry ${i}: ${checked.reason}`,
        );
      }
      if (checked.descriptor !== raw) memory.write64(mfn, i, checked.descriptor);
    }
    return undefined;
  }

  function modEntry(
    level: Level,
    table: number,
    index: number,
    low: number,
    high: number,
    domain: DomainId,
    preserveAd: boolean,
  ): Problem {
    if (!guestSlot(level, index)) {
      return new Refusal(
        'EINVAL',
        `L4 slot ${index} of mfn ${hex(table)} is one of Xen's (${FIRST_XEN_SLOT}–${LAST_XEN_SLOT})`,
      );
    }
    const oldLow = memory.half(table, 2 * index);
    const oldHigh = memory.half(table, 2 * index + 1);
    // The same mapping, and what it holds stays held: also the way in which a guest changes a mapped grant.
    const bad = level === 1 ? NOT_IN_L1 : NOT_IN_TABLE;
    const same =
      (low & PRESENT) !== 0 &&
      (((oldLow ^ low) & OF_WEIGHT.low) | ((oldHigh ^ high) & OF_WEIGHT.high)) === 0 &&
      ((low & bad.low) | (high & bad.high)) === 0;
    const problem = same ? undefined : getEntry(level, table, low, high, domain);
    if (problem !== undefined) return problem;
    let entry = adjustLow(level, low, high);
    if (preserveAd) entry |= oldLow & AD;
    memory.writeHalves(table, index, entry, adjustHigh(level, low, high));
    if (!same) putEntry(level, table, oldLow, oldHigh, domain);
    return undefined;
  }

  return {
    getPage,
    putPage,
    getType,
    putType,
    getPageAndType,
    putPageAndType,
    modEntry: (level, table, index, value, domain, preserveAd) =>
      modEntry(level, table, index, lowOf(value), highOf(value), domain, preserveAd),
    modHalves: modEntry,
    getFromL1e: (entry, domain) => getFromL1e(lowOf(entry), highOf(entry), domain),
    putFromL1e: (entry, domain) => putFromL1e(lowOf(entry), highOf(entry), domain),
  };
}

export const isTable = (type: FrameType): boolean => type >= FRAME_TYPE.l1 && type <= FRAME_TYPE.l4;
