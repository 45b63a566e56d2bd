import { NO_REGISTER, RIP_BASE, decode, newDecoded } from '../../src/cpu/decode';
import type { Form } from '../../src/cpu/encoding';
import { GPR, RFLAGS } from '../../src/cpu/state';
import { CODE, DATA, FX, GS_BASE, type Regs, type Result, type Test, WINDOW } from './protocol';

/** One thing that differs. */
export interface Difference {
  readonly what: string;
  readonly expected: string;
  readonly actual: string;
}

/** A processor may round these within 1.5 × 2^-12 of the truth (SDM Vol. 2B RCPPS), so two may differ by twice that. */
const ESTIMATES = /^r(cp|sqrt)(ps|ss)$/;
const ESTIMATE_BOUND = 3 * 2 ** -12;

/** Transcendental functions are good to one unit in the last place (SDM Vol. 1 §8.3.10); then C1, and what is exact, may differ too. */
const TRANSCENDENTAL = /^f(sin|cos|sincos|ptan|patan|2xm1|yl2x|yl2xp1)$/;
const UNCERTAIN_FSW = 0x0200 | 0x0030;
const encoding80 = (b: Uint8Array): bigint => BigInt(`0x${Buffer.from(b).reverse().toString('hex')}`);
function withinOneUnit(a: Uint8Array, b: Uint8Array): boolean {
  // Across a power of two the encodings differ by more than one.
  const value = (e: bigint): bigint => ((e >> 64n) << 63n) | (e & ((1n << 63n) - 1n));
  const d = value(encoding80(a)) - value(encoding80(b));
  return d >= -1n && d <= 1n;
}

/** RF and TF are the harness's own: frames of faults carry RF, and TF drives the steps. */
const HARNESS_FLAGS = RFLAGS.RF | RFLAGS.TF;
const FLAG_BITS = {
  cf: RFLAGS.CF,
  pf: RFLAGS.PF,
  af: RFLAGS.AF,
  zf: RFLAGS.ZF,
  sf: RFLAGS.SF,
  of: RFLAGS.OF,
} as const;

const FSW_ES = 0x80;

const hex = (v: bigint | number, digits = 0): string => `0x${v.toString(16).padStart(digits, '0')}`;
const bytesHex = (b: Uint8Array): string => `0x${Buffer.from(b).reverse().toString('hex')}`;
const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

function near(a: Uint8Array, b: Uint8Array): boolean {
  const x = new DataView(a.buffer, a.byteOffset, 16);
  const y = new DataView(b.buffer, b.byteOffset, 16);
  return [0, 4, 8, 12].every((i) => {
    if (x.getUint32(i, true) === y.getUint32(i, true)) return true;
    const v = x.getFloat32(i, true);
    return Math.abs(v - y.getFloat32(i, true)) <= Math.abs(v) * ESTIMATE_BOUND;
  });
}

/** The kernel hides whether an address beyond user space is mapped: it always reports a protection violation. */
const USER_END = 0x7fff_ffff_f000n;
const isKernel = (address: bigint): boolean => address >= USER_END;

/** Decoded.segment. */
const GS = 2;
/** Where the memory operand lies. */
function operandAddress(t: Test): bigint {
  const d = newDecoded();
  decode(t.code, 0, t.code.length, d);
  const register = (n: number): bigint => (n >= NO_REGISTER ? 0n : t.regs.gpr(n));
  const base = d.base === RIP_BASE ? BigInt(CODE + t.codeOffset + d.length) : register(d.base);
  const at = base + (register(d.index) << BigInt(d.shift)) + BigInt(d.disp);
  const offset = BigInt.asUintN(d.address32 ? 32 : 64, at);
  return d.segment === GS ? offset + BigInt(GS_BASE) : offset;
}

/** Memory the processors need not agree on: PUSHF stores the TF that steps the test, FXSAVE a mask with model-specific bits. */
function neutral(form: Form, t: Test, r: Result): Uint8Array {
  const copy = r.data.slice();
  const clear = (at: number, mask: number): void => {
    const i = at - DATA - t.dataOffset;
    if (i >= 0 && i < WINDOW) copy[i] = (copy[i] ?? 0) & ~mask;
  };
  if (form.mnemonic.startsWith('pushf')) clear(Number(r.regs.gpr(4)) + 1, 1);
  if (form.mnemonic.startsWith('fxsave')) {
    const mask = Number(operandAddress(t)) + FX.mxcsrMask;
    for (let i = 0; i < 4; i++) clear(mask + i, 0xff);
  }
  return copy;
}

/** Everything in which `actual` is not what the processor made of `test`. */
export function differences(form: Form, test: Test, expected: Result, actual: Result): Difference[] {
  const out: Difference[] = [];
  const check = (what: string, e: bigint | number, a: bigint | number): void => {
    if (e !== a) out.push({ what, expected: hex(e), actual: hex(a) });
  };
  const outcome = (r: Result): string => {
    if (!r.faulted) return 'completes';
    const page = r.vector === 14;
    const error = page && isKernel(r.cr2) ? r.error | 1 : r.error;
    return `exception ${r.vector} error ${hex(error)}${page ? ` address ${hex(r.cr2)}` : ''}`;
  };
  // Which of CMPS' operands is looked up first is the processor's choice (AMD's differs between REPE CMPSB and the rest).
  const either = form.mnemonic.startsWith('cmps') && expected.faulted && actual.faulted;
  if (outcome(expected) !== outcome(actual) && !either) {
    out.push({ what: 'outcome', expected: outcome(expected), actual: outcome(actual) });
  }
  const e = expected.regs;
  const a = actual.regs;
  GPR.forEach((name, n) => {
    check(name, e.gpr(n), a.gpr(n));
  });
  check('rip', e.rip, a.rip);
  let ignored: bigint = HARNESS_FLAGS;
  if (!expected.faulted) for (const f of form.instruction.undefinedFlags ?? []) ignored |= FLAG_BITS[f];
  check('rflags', e.rflags & ~ignored, a.rflags & ~ignored);
  check('mxcsr', e.mxcsr, a.mxcsr);
  for (let n = 0; n < 16; n++) {
    const [x, y] = [e.xmm(n), a.xmm(n)];
    if (same(x, y) || (ESTIMATES.test(form.mnemonic) && near(x, y))) continue;
    out.push({ what: `xmm${n}`, expected: bytesHex(x), actual: bytesHex(y) });
  }
  const transcendental = TRANSCENDENTAL.test(form.mnemonic);
  for (const f of ['fcw', 'ftw'] as const) check(f, e.fx16(FX[f]), a.fx16(FX[f]));
  const fsw = (r: Regs): number => r.fx16(FX.fsw) & (transcendental ? ~UNCERTAIN_FSW : ~0);
  check('fsw', fsw(e), fsw(a));
  // AMD processors save the error pointers only while an exception is pending (APM 2 §11.4.4).
  if (form.instruction.unit === 'fpu' && (e.fx16(FX.fsw) & FSW_ES) !== 0) {
    check('fip', e.fx64(FX.fip), a.fx64(FX.fip));
    if (form.mem) check('fdp', e.fx64(FX.fdp), a.fx64(FX.fdp));
  }
  for (let i = 0; i < 8; i++) {
    if (transcendental && i < 2 && withinOneUnit(e.st(i), a.st(i))) continue;
    if (!same(e.st(i), a.st(i)))
      out.push({ what: `st(${i})`, expected: bytesHex(e.st(i)), actual: bytesHex(a.st(i)) });
  }
  const [x, y] = [expected, actual].map((r) => neutral(form, test, r));
  if (x && y && !same(x, y)) {
    const at = x.findIndex((v, i) => v !== y[i]);
    const to = Math.max(...Array.from(x.keys()).filter((i) => x[i] !== y[i])) + 1;
    const where = `memory at ${hex(DATA + test.dataOffset + at)}`;
    const show = (b: Uint8Array): string => Buffer.from(b.subarray(at, to)).toString('hex');
    out.push({ what: where, expected: show(x), actual: show(y) });
  }
  check('hash of the rest of memory', expected.elsewhere, actual.elsewhere);
  return out;
}
