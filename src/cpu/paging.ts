import type { OpsOf, Width } from './ops';
import { ACCESS } from './wasm/abi';

/**
 * The page walk, SDM Vol. 3 §4.5 (4-level paging), written once: the oracle runs it, the interpreter's module
 * contains it compiled, and translations without side effects (debugger) run it with stores left out.
 */
export interface PhysicalOps<V> {
  /** Machine memory; beyond its end loads yield ones and stores are dropped. */
  physLoad(w: Width, address: V): V;
  physStore(w: Width, address: V, v: V): void;
}
export type WalkOps<V, X> = OpsOf<V, X> & PhysicalOps<V>;

/** Page-table entry bits, SDM Vol. 3 table 4-20. */
export const PTE = {
  P: 1n << 0n, RW: 1n << 1n, US: 1n << 2n, PWT: 1n << 3n, PCD: 1n << 4n, A: 1n << 5n, D: 1n << 6n, PS: 1n << 7n, G: 1n << 8n,
  NX: 1n << 63n,
  /** Bits 51:12. */
  ADDRESS: 0x000f_ffff_ffff_f000n,
} as const; // prettier-ignore

/** #PF error code bits, SDM Vol. 3 §4.7. */
export const PF = { P: 1, W: 2, U: 4, RSVD: 8, ID: 16 } as const;

const CR0_WP = 1n << 16n;
const EFER_NXE = 1n << 11n;
/** MAXPHYADDR that CPUID announces (processor.ts): bits 51:40 of an entry are reserved. */
export const PHYSICAL_BITS = 40;
const RESERVED_ADDRESS = PTE.ADDRESS & ~((1n << BigInt(PHYSICAL_BITS)) - 1n);

/**
 * Result of the walk. Success: the machine address of the 4 KiB page that holds the linear address, with
 * WALK bits below; failure: bit 63 and the #PF error code in the low bits.
 */
export const WALK = {
  /** Stores are permitted and D is set. */
  WRITABLE: 1n,
  USER: 2n,
  EXECUTABLE: 4n,
  /** RW rights regardless of D. */
  MAY_WRITE: 8n,
  /** Levels below the leaf: 0 4K, 1 2M, 2 1G; shifted by 4. */
  LEVEL_SHIFT: 4n,
  FAULT: 1n << 63n,
} as const;

/**
 * Walks from `cr3` for `linear` (canonical). `access` is one of ACCESS; `user` 1 at CPL 3. A and D bits are
 * set as the processor does, unless `probe`.
 */
export function walk<V, X>(
  o: WalkOps<V, X>,
  { linear, access, user, cr3, probe }: { linear: V; access: V; user: V; cr3: V; probe: boolean },
): V {
  const k = (n: bigint | number): V => o.k(n);
  const bit = (v: V, mask: bigint): V => o.cmp('ne', o.and(v, k(mask)), k(0));
  const write = o.cmp('eq', access, k(ACCESS.WRITE));
  const fetch = o.cmp('eq', access, k(ACCESS.FETCH));
  const nxe = bit(o.get('efer'), EFER_NXE);
  const result = o.var(k(0));
  const table = o.var(o.and(cr3, k(PTE.ADDRESS)));
  /** AND of RW and US, and of not-NX, over the levels. */
  const rights = o.var(k(PTE.RW | PTE.US));
  const nx = o.var(k(0));
  const reserved = o.var(o.select(nxe, k(0), k(PTE.NX)));

  const fail = (bits: number): void => {
    const code = [
      k(bits),
      o.shl(write, k(1)),
      o.shl(user, k(2)),
      // I/D is reported only where execution can be barred (no SMEP here), SDM Vol. 3 §4.7.
      o.shl(o.and(fetch, nxe), k(4)),
    ].reduce((a, b) => o.or(a, b));
    result.set(o.or(code, k(WALK.FAULT)));
  };

  const leaf = (level: number, at: V, e: V): void => {
    const may = rights.get();
    const isUser = bit(may, PTE.US);
    const mayWrite = bit(may, PTE.RW);
    const wp = bit(o.get('cr0'), CR0_WP);
    const writeOk = o.or(mayWrite, o.eqz(o.or(user, wp)));
    const barred = [
      o.and(user, o.eqz(isUser)),
      o.and(write, o.eqz(writeOk)),
      o.and(fetch, o.and(nxe, nx.get())),
    ].reduce((a, b) => o.or(a, b));
    o.if(
      barred,
      () => fail(PF.P),
      () => {
        const marks = o.or(k(PTE.A), o.shl(write, k(6)));
        const marked = o.or(e, marks);
        if (!probe) o.if(o.cmp('ne', marked, e), () => o.physStore(64, at, marked));
        const within = ((1n << BigInt(12 + 9 * level)) - 1n) & PTE.ADDRESS;
        const page = o.or(o.and(e, k(PTE.ADDRESS & ~within)), o.and(linear, k(within)));
        const flags = [
          o.and(writeOk, bit(marked, PTE.D)),
          o.shl(isUser, k(1)),
          o.shl(o.eqz(o.and(nxe, nx.get())), k(2)),
          o.shl(writeOk, k(3)),
          k(BigInt(level) << WALK.LEVEL_SHIFT),
        ].reduce((a, b) => o.or(a, b), page);
        result.set(flags);
      },
    );
  };

  const descend = (level: number): void => {
    const index = o.and(o.shr(linear, k(12 + 9 * level)), k(511));
    const at = o.add(table.get(), o.shl(index, k(3)));
    const e = o.physLoad(64, at);
    o.if(
      o.eqz(o.and(e, k(PTE.P))),
      () => fail(0),
      () => {
        // PS is reserved in a PML4E; a large page's low address bits (but PAT, bit 12) are reserved.
        const always = RESERVED_ADDRESS | (level === 3 ? PTE.PS : 0n);
        const isLarge = level === 1 || level === 2 ? bit(e, PTE.PS) : undefined;
        const low = ((1n << BigInt(12 + 9 * level)) - 1n) & PTE.ADDRESS & ~(1n << 12n);
        const bad = o.and(e, o.or(reserved.get(), k(always)));
        const all = isLarge ? o.or(bad, o.select(isLarge, o.and(e, k(low)), k(0))) : bad;
        o.if(
          all,
          () => fail(PF.P | PF.RSVD),
          () => {
            rights.set(o.and(rights.get(), e));
            nx.set(o.or(nx.get(), o.shr(e, k(63))));
            const next = (): void => {
              if (!probe) o.if(o.eqz(o.and(e, k(PTE.A))), () => o.physStore(64, at, o.or(e, k(PTE.A))));
              table.set(o.and(e, k(PTE.ADDRESS)));
              descend(level - 1);
            };
            if (level === 0) leaf(0, at, e);
            else if (isLarge) o.if(isLarge, () => leaf(level, at, e), next);
            else next();
          },
        );
      },
    );
  };
  descend(3);
  return result.get();
}
