/** The page tables a domain starts with. */
import { PTE, makePte } from '../../abi/mmu';
import type { Core } from '../core';
import { tableIndex } from '../guest-memory';
import type { Layout } from './layout';

/** As libxenguest makes them: the kernel's pages, not the user's (Xen adds what ring 3 needs). */
const LEAF = PTE.PRESENT | PTE.RW | PTE.ACCESSED;
const TABLE = LEAF | PTE.DIRTY | PTE.USER;
const PAGE = 4096n;

/** @param frame machine frame of a pseudo-physical one @returns the L4's machine frame */
export function buildTables(core: Core, layout: Layout, frame: (pfn: number) => number): number {
  const isTable = new Set<number>();
  const made = new Map<string, number>();
  let pool: number[] = [];
  const use = (pfn: number, pages: number): void => {
    pool = Array.from({ length: pages }, (_, i) => pfn + i);
    for (const p of pool) isTable.add(p);
  };
  const next = (): number => {
    const pfn = pool.shift();
    if (pfn === undefined) throw new Error('the initial page tables were counted wrongly');
    return frame(pfn);
  };

  use(layout.tables.pfn, layout.tables.pages);
  const l4 = next();
  /** The table of `level` for an address, made where missing, top down. */
  function table(level: 4 | 3 | 2 | 1, va: bigint): number {
    if (level === 4) return l4;
    const key = `${level}:${va >> BigInt(3 + 9 * (level + 1))}`;
    const known = made.get(key);
    if (known !== undefined) return known;
    const above = (level + 1) as 2 | 3 | 4;
    const parent = table(above, va);
    const mfn = next();
    core.memory.write64(parent, tableIndex(va, above), makePte(mfn, TABLE));
    made.set(key, mfn);
    return mfn;
  }
  function map(from: bigint, pfn: number, pages: number): void {
    for (let i = 0; i < pages; i++) {
      const va = from + BigInt(i) * PAGE;
      const flags = isTable.has(pfn + i) ? LEAF & ~PTE.RW : LEAF;
      core.memory.write64(table(1, va), tableIndex(va, 1), makePte(frame(pfn + i), flags));
    }
  }
  const span = Number((layout.virtEnd - layout.virtBase) / PAGE);
  const apart = layout.p2mTables > 0 || layout.p2mAddress < layout.virtBase;
  // Levels in order, so that the L4 is followed by its L3s, those by the L2s.
  for (const level of [3, 2, 1] as const) {
    const step = 1n << BigInt(3 + 9 * (level + 1));
    for (let va = layout.virtBase; va < layout.virtEnd; va = (va / step + 1n) * step) table(level, va);
  }
  // The P2M's own tables are pages of the region behind, and must be known before anything is mapped.
  if (apart) {
    use(layout.p2m.pfn - layout.p2mTables, layout.p2mTables);
    map(layout.p2mAddress, layout.p2m.pfn, layout.p2m.pages);
  }
  map(layout.virtBase, 0, Math.min(span, layout.pages));
  return l4;
}
