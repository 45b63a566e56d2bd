import { CODE, DATA, FX, PAGE, Test, WINDOW } from './protocol';
import type { Random } from './random';
import { type Flavour, extended, integer, quad } from './values';

/** Exception masks, mostly all set; flags, mostly clear. */
const masks = (r: Random): number => (r.chance(0.7) ? 0x3f : r.below(64));

function randomMxcsr(r: Random): number {
  const flags = r.chance(0.7) ? 0 : r.below(64);
  const daz = r.chance(0.15) ? 0x40 : 0;
  const ftz = r.chance(0.15) ? 0x8000 : 0;
  return flags | daz | (masks(r) << 7) | (r.below(4) << 13) | ftz;
}

const FSW_PENDING = 0x8080;

function randomX87(r: Random, t: Test): void {
  const m = masks(r);
  t.regs.setFx16(FX.fcw, 0x40 | m | (r.pick([0, 2, 3, 3, 3, 1]) << 8) | (r.below(4) << 10));
  const flags = r.chance(0.6) ? 0 : r.below(64);
  // Pending exceptions now and then only, or most x87 instructions would do nothing but #MF.
  const kept = r.chance(0.1) ? flags : flags & m;
  const codes = r.below(16);
  const fsw =
    kept | ((codes & 7) << 8) | ((codes >> 3) << 14) | (r.below(8) << 11) | (r.chance(0.1) ? 0x41 & m : 0);
  t.regs.setFx16(FX.fsw, fsw | ((fsw & 0x3f & ~m) !== 0 ? FSW_PENDING : 0));
  t.regs.setFx16(FX.ftw, r.chance(0.5) ? 0xff : r.chance(0.2) ? 0 : r.below(256));
  t.regs.setFx64(FX.fip, BigInt(CODE + 0x100 + r.below(256)));
  t.regs.setFx64(FX.fdp, BigInt(DATA + r.below(256)));
  t.regs.setFx16(FX.fop, 0);
  for (let i = 0; i < 8; i++) setExtended(t, i, extended(r));
}

export function setExtended(t: Test, i: number, v: bigint): void {
  const bytes = t.regs.st(i);
  for (let n = 0; n < 10; n++) bytes[n] = Number((v >> BigInt(8 * n)) & 0xffn);
}

export function setXmm(t: Test, n: number, lo: bigint, hi: bigint): void {
  t.regs.setFx64(FX.xmm + n * 16, lo);
  t.regs.setFx64(FX.xmm + n * 16 + 8, hi);
}

/** Offset of the window in DATA: over the boundary of the writable pages, before the read-only one, or neither. */
const WINDOWS: readonly number[] = [PAGE - 128, PAGE - 128, 2 * PAGE - WINDOW, 0x400];

/** A whole machine state without an instruction, its data of one flavour. */
export function randomState(r: Random, flavour: Flavour): Test {
  const t = new Test();
  t.dataOffset = r.pick(WINDOWS);
  const view = new DataView(t.data.buffer, t.data.byteOffset, WINDOW);
  for (let i = 0; i < WINDOW; i += 8) view.setBigUint64(i, quad(r, flavour), true);
  for (let n = 0; n < 16; n++) t.regs.setGpr(n, integer(r));
  t.regs.rflags = BigInt(0x202 | (r.u32() & 0x8d5) | (r.chance(0.2) ? 0x400 : 0));
  for (let n = 0; n < 16; n++) {
    const f = r.chance(0.85) ? flavour : 'integer';
    setXmm(t, n, quad(r, f), quad(r, f));
  }
  t.regs.mxcsr = randomMxcsr(r);
  t.regs.setFx32(FX.mxcsr + 4, 0xffff);
  randomX87(r, t);
  return t;
}
