import type { Form } from '../../src/cpu/encoding';
import { CODE, DATA, PAGE, type Test } from './protocol';
import type { Random } from './random';
import type { Flavour } from './values';

/** What a form wants of its random operands so that its tests reach more than its first check. */

const RAX = 0;
const RCX = 1;
const RDX = 2;
const RSP = 4;

/** Bytes behind an address-only memory operand. */
export const SIZES: Readonly<Record<string, number>> = {
  fxsave: 512, fxsave64: 512, fxrstor: 512, fxrstor64: 512,
  fnstenv: 28, fldenv: 28, fnsave: 108, frstor: 108, cmpxchg16b: 16,
}; // prettier-ignore
/** Memory operands that fault unless aligned to 16 bytes, though the grammar does not say so. */
export const ALIGNED: ReadonlySet<string> = new Set(['fxsave', 'fxsave64', 'fxrstor', 'fxrstor64', 'cmpxchg16b', 'movntps', 'movntpd', 'movntdq']); // prettier-ignore

export const isBitTest = (f: Form): boolean => /^bt[crs]?$/.test(f.mnemonic);

export function flavourOf(f: Form, r: Random): Flavour {
  if (f.instruction.unit === undefined) return 'integer';
  if (f.instruction.unit === 'fpu') return r.pick(['integer', 'single', 'double']);
  if (/(p|s)s(2|$)/.test(f.mnemonic)) return 'single';
  if (/(p|s)d(2|$)/.test(f.mnemonic) && !/^p(add|sub|mul|and|or|xor|s[lr])/.test(f.mnemonic)) return 'double';
  return r.chance(0.9) ? 'integer' : r.pick(['single', 'double']);
}

type Hint = (f: Form, t: Test, r: Random) => void;

/** Dividends that are within reach of the divisor, more often than not. */
const division: Hint = (f, t, r) => {
  if (r.chance(0.15)) return;
  const rax = t.regs.gpr(RAX);
  const w = BigInt(f.w);
  const negative = (rax >> (w - 1n)) & 1n;
  if (f.w === 8) {
    t.regs.setGpr(RAX, f.mnemonic === 'idiv' ? BigInt.asUintN(16, BigInt.asIntN(8, rax)) : rax & 0x7ffn);
    return;
  }
  const high = r.chance(0.3)
    ? BigInt(r.below(1 << 16))
    : f.mnemonic === 'idiv' && negative
      ? BigInt.asUintN(64, -1n)
      : 0n;
  t.regs.setGpr(RDX, high);
};

const count: Hint = (f, t, r) => {
  if (f.rep === undefined || f.rep === 'none') return;
  const n = BigInt(r.below(12));
  t.regs.setGpr(RCX, f.aw === 32 && r.chance(0.5) ? n | 0x7_0000_0000n : n);
};

/** CMPXCHG finds its operand equal half of the time. */
const BYTES: Readonly<Record<number, number>> = { 8: 1, 16: 2, 32: 4, 64: 8 };
const exchange: Hint = (f, t, r) => {
  if (r.chance(0.5)) return;
  const at = t.data;
  const [dst] = f.operands;
  if (!dst) return;
  // Constant data make the operand known wherever in the window it is.
  const byte = r.pick([0, 0xff, 0x5a, 0x80]);
  at.fill(byte);
  let v = 0n;
  for (let i = 0; i < (BYTES[dst.width] ?? 8); i++) v = (v << 8n) | BigInt(byte);
  t.regs.setGpr(RAX, v);
  t.regs.setGpr(RDX, v);
};

/** No AC (it would make this process's own accesses fault), no TF, and neither NT nor ID, which sigreturn does not reset. */
const flagsOnStack: Hint = (_f, t) => {
  const at = 64;
  t.data[at + 1] = (t.data[at + 1] ?? 0) & ~0x41;
  t.data[at + 2] = (t.data[at + 2] ?? 0) & ~0x24;
  t.regs.setGpr(RSP, BigInt(DATA + t.dataOffset + at));
};

/** Near targets in the code page, more often than not. */
const target: Hint = (f, t, r) => {
  if (f.operands.some((s) => s.kind === 'rel') || r.chance(0.3)) return;
  const to = (): bigint => BigInt(CODE + r.below(PAGE));
  const view = new DataView(t.data.buffer, t.data.byteOffset, t.data.length);
  for (let i = 0; i < t.data.length; i += 8) view.setBigUint64(i, to(), true);
};

/** MXCSR images with no reserved bits set, more often than not. */
const mxcsrImage: Hint = (_f, t, r) => {
  if (r.chance(0.2)) return;
  const view = new DataView(t.data.buffer, t.data.byteOffset, t.data.length);
  for (let i = 0; i < t.data.length; i += 4) view.setUint32(i, r.chance(0.1) ? r.below(1 << 17) & ~0x10000 : r.below(1 << 16), true); // prettier-ignore
};

/** An FXRSTOR image on a 16-byte boundary has its MXCSR where this clears all reserved bits, or but one that only some processors have. */
const stateImage: Hint = (_f, t, r) => {
  const keep = r.chance(0.2) ? 0xfd : 0;
  for (let i = 10; i < t.data.length; i += 16) {
    t.data[i] = (t.data[i] ?? 0) & keep;
    t.data[i + 1] = (t.data[i + 1] ?? 0) & keep;
  }
};

const HINTS: readonly (readonly [RegExp, Hint])[] = [
  [/^i?div$/, division],
  [/./, count],
  [/^cmpxchg/, exchange],
  [/^(popf[dq]?|pushf[dq]?)$/, flagsOnStack],
  [/^(ret|jmp|call)$/, target],
  [/^ldmxcsr$/, mxcsrImage],
  [/^fxrstor/, stateImage],
];

/** Applied after the registers and the data have been chosen and before addresses are. */
export function applyHints(f: Form, t: Test, r: Random): void {
  for (const [pattern, hint] of HINTS) if (pattern.test(f.mnemonic)) hint(f, t, r);
}
