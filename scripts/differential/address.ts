import { DATA, DATA_PAGES, PAGE, type Test, WINDOW, WRITABLE_PAGES } from './protocol';
import type { Random } from './random';

/** Linear addresses for memory operands, and how ModRM, SIB and registers express them. */

/** Not so near a canonical one that the base of GS leads there: AMD checks the sum before and after the base is added. */
const NONCANONICAL: readonly bigint[] = [
  0x0000_8000_0000_0000n,
  0xffff_7fff_ffff_0000n,
  0x1234_5678_9abc_def0n,
];

/** An address for an access of `bytes`; `aligned`: it faults unless on a 16-byte boundary. One larger than the window begins in it. */
export function chooseAddress(r: Random, t: Test, bytes: number, aligned: boolean): bigint {
  const size = Math.max(1, bytes);
  const kind = r.below(100);
  const snap = (a: number): number => (aligned && !r.chance(0.08) ? a & -16 : a);
  const window = DATA + t.dataOffset;
  if (kind < 74) {
    const room = size > WINDOW ? WINDOW - 64 : WINDOW - size + 1;
    const at = r.below(room);
    return BigInt(snap(window + (r.chance(0.4) ? at & -8 : at)));
  }
  const boundary = (page: number): number => DATA + page * PAGE - (aligned ? 16 : r.below(size + 1));
  if (kind < 82 && size <= WINDOW) return BigInt(boundary(1));
  if (kind < 86) return BigInt(boundary(WRITABLE_PAGES));
  if (kind < 89) return BigInt(snap(DATA + WRITABLE_PAGES * PAGE + r.below(PAGE - size)));
  if (kind < 92) return BigInt(boundary(DATA_PAGES));
  if (kind < 94) return BigInt(DATA - (aligned ? 16 : r.below(size + 1)));
  if (kind < 96) return BigInt(snap(DATA + (DATA_PAGES + 2) * PAGE + r.below(PAGE)));
  // NULL and its neighbours are never mapped.
  if (kind < 97) return BigInt(snap(r.below(PAGE)));
  if (size > WINDOW) return 0x1234_5678_9abc_def0n;
  return r.pick(NONCANONICAL) + BigInt(aligned ? 0 : r.below(16));
}

export interface Addressing {
  /** ModRM.mod and rm, SIB and displacement bytes. */
  readonly mod: number;
  readonly rm: number;
  readonly sib: number | undefined;
  readonly disp: readonly number[];
  readonly rexX: number;
  readonly rexB: number;
  /** A rip-relative displacement is known only when the length is. */
  readonly ripTarget: bigint | undefined;
}

const bytesOf = (v: number, n: number): number[] =>
  Array.from({ length: n }, (_, i) => (v >> (8 * i)) & 0xff);
export const bytes32 = (v: number): number[] => bytesOf(v, 4);

const fits8 = (v: number): boolean => v >= -128 && v <= 127;

/** A random form of addressing `target`, the registers it uses being set accordingly. `avoid`: registers that must keep their value. */
export function expressAddress(
  r: Random,
  t: Test,
  target: bigint,
  address32: boolean,
  avoid: ReadonlySet<number>,
): Addressing {
  const low = Number(target & 0xffffffffn);
  const near = target < 0x7000_0000n;
  const free = (): number => {
    for (;;) {
      const n = r.below(16);
      if (!avoid.has(n)) return n;
    }
  };
  const set = (n: number, v: bigint): void => {
    const wide = BigInt.asUintN(64, v);
    t.regs.setGpr(n, address32 ? (wide & 0xffffffffn) | (r.chance(0.5) ? 0x1234_5678n << 32n : 0n) : wide);
  };
  const kind = r.below(10);
  if (near && kind === 0) {
    return { mod: 0, rm: 5, sib: undefined, disp: [], rexX: 0, rexB: 0, ripTarget: target };
  }
  if (near && kind === 1) {
    // SIB with neither base nor index.
    return {
      mod: 0,
      rm: 4,
      sib: (r.below(4) << 6) | 0x25,
      disp: bytes32(low),
      rexX: 0,
      rexB: r.below(2),
      ripTarget: undefined,
    };
  }
  const disp = r.chance(0.3) ? 0 : r.chance(0.5) ? r.below(256) - 128 : r.below(0x2000_0000) - 0x1000_0000;
  if (kind <= 5) {
    const base = free();
    set(base, target - BigInt(disp));
    return withBase(base, undefined, 0, disp, r);
  }
  let index = free();
  while (index === 4) index = free();
  const scale = r.below(4);
  if (kind === 6 && near) {
    // Index without base.
    const v = BigInt(r.below(1 << 16));
    set(index, v);
    const d = low - (Number(v) << scale);
    return {
      mod: 0,
      rm: 4,
      sib: (scale << 6) | ((index & 7) << 3) | 5,
      disp: bytes32(d),
      rexX: index >> 3,
      rexB: r.below(2),
      ripTarget: undefined,
    };
  }
  const base = free();
  if (base === index) {
    const times = BigInt(1 + (1 << scale));
    const v = (target - BigInt(disp)) / times;
    const rest = Number(target - v * times);
    set(base, v);
    return withBase(base, index, scale, rest, r);
  }
  const v = r.chance(0.5) ? BigInt(r.below(1 << 16)) : -BigInt(r.below(1 << 16));
  set(index, v);
  // In 32-bit addressing the upper half of the index is noise, which the sum must not see.
  const value = address32 ? t.regs.gpr(index) & 0xffffffffn : t.regs.gpr(index);
  set(base, target - BigInt(disp) - (value << BigInt(scale)));
  return withBase(base, index, scale, disp, r);
}

function withBase(
  base: number,
  index: number | undefined,
  scale: number,
  disp: number,
  r: Random,
): Addressing {
  const mod = disp === 0 && (base & 7) !== 5 && r.chance(0.8) ? 0 : fits8(disp) && r.chance(0.8) ? 1 : 2;
  const bytes = mod === 0 ? [] : bytesOf(disp, mod === 1 ? 1 : 4);
  const rexB = base >> 3;
  if (index === undefined && (base & 7) !== 4) {
    return { mod, rm: base & 7, sib: undefined, disp: bytes, rexX: 0, rexB, ripTarget: undefined };
  }
  const sib = (scale << 6) | (((index ?? 4) & 7) << 3) | (base & 7);
  return { mod, rm: 4, sib, disp: bytes, rexX: (index ?? 0) >> 3, rexB, ripTarget: undefined };
}
