import { buildTables, FORM_BIT, IMM, SIZE_RULE } from './decode-tables';
import type { Form } from './encoding';
import { FORMS } from './instructions/index';

/**
 * The decoder: bytes → Form number and operand fields, by the tables built from the Forms. 64-bit mode only.
 * Legacy prefixes in any order, REX directly before the opcode (SDM Vol. 2 §2.1, §2.2.1); F2/F3 choose over 66
 * where a prefix is part of the opcode; VEX, EVEX, XOP and 3DNow! are undefined on this machine.
 * Nothing is allocated; the result object is reused by the caller.
 */
export interface Decoded {
  /** Number of the Form. */
  form: number;
  /** Bytes, 1–15. */
  length: number;
  /** Register of ModRM.reg or of the opcode; 0–15, or 16 | 4…7 for AH CH DH BH. */
  r1: number;
  /** Register of ModRM.rm (mod = 3). */
  r2: number;
  /** Segment, control, debug register or ST(i) number. */
  number: number;
  /** GPR number, NO_REGISTER, or RIP_BASE (then disp is from the next instruction). */
  base: number;
  /** GPR number or NO_REGISTER. */
  index: number;
  /** log2 of the scale. */
  shift: number;
  /** Displacement, sign-extended from 32 bits. */
  disp: number;
  /** 0 none, 1 fs, 2 gs. */
  segment: number;
  /** 1 under a 67 prefix. */
  address32: number;
  /** 1: a non-canonical address raises #SS(0): rsp/rbp base, no fs/gs (SDM Vol. 1 §3.3.7.1). */
  stack: number;
  /** Immediate as Operand.get() shall see it; relative: the displacement, sign-extended to 64 bits; moffs: the
   *  offset, which belongs into the memory operand. Two signed 32-bit halves. ENTER's second one is the high half. */
  immLo: number;
  immHi: number;
}

export const NO_REGISTER = 16;
export const RIP_BASE = 17;
export const HIGH_BYTE = 16;

/** Results of `decode` that are not a length. */
export const DECODE = {
  /** #UD. */
  UNDEFINED: 0,
  /** The instruction goes on past `end`. */
  MORE: -1,
  /** Longer than 15 bytes: #GP(0) (SDM Vol. 2 §2.3.11). */
  TOO_LONG: -2,
} as const;

export const MAX_LENGTH = 15;

export const newDecoded = (): Decoded => ({
  form: 0, length: 0, r1: 0, r2: 0, number: 0, base: NO_REGISTER, index: NO_REGISTER, shift: 0, disp: 0,
  segment: 0, address32: 0, stack: 0, immLo: 0, immHi: 0,
}); // prettier-ignore

const tables = buildTables(FORMS);
const { hasModrm, entry, groups, sizeRule, rowForms, formBits, immediates } = tables;

const PREFIX = { NONE: 0, REX: 1, OPERAND: 2, ADDRESS: 3, LOCK: 4, REPNE: 5, REP: 6, FS: 7, GS: 8, IGNORED: 9 } as const; // prettier-ignore
const prefixKind = new Uint8Array(256);
for (let b = 0x40; b < 0x50; b++) prefixKind[b] = PREFIX.REX;
for (const b of [0x26, 0x2e, 0x36, 0x3e]) prefixKind[b] = PREFIX.IGNORED;
prefixKind[0x66] = PREFIX.OPERAND;
prefixKind[0x67] = PREFIX.ADDRESS;
prefixKind[0xf0] = PREFIX.LOCK;
prefixKind[0xf2] = PREFIX.REPNE;
prefixKind[0xf3] = PREFIX.REP;
prefixKind[0x64] = PREFIX.FS;
prefixKind[0x65] = PREFIX.GS;

const u8 = (b: Uint8Array, p: number): number => b[p] ?? 0;
const s8 = (b: Uint8Array, p: number): number => (u8(b, p) << 24) >> 24;
const u16 = (b: Uint8Array, p: number): number => u8(b, p) | (u8(b, p + 1) << 8);
const s32 = (b: Uint8Array, p: number): number => u16(b, p) | (u16(b, p + 2) << 16);

/** Not enough bytes, or too many. */
const overrun = (p: number, at: number): number => (p - at > MAX_LENGTH ? DECODE.TOO_LONG : DECODE.MORE);

/**
 * Decodes the instruction at `bytes[at]`, looking at no byte from `end` on. Returns its length, or one of DECODE.
 */
export function decode(bytes: Uint8Array, at: number, end: number, out: Decoded): number {
  const limit = Math.min(end, at + MAX_LENGTH);
  let p = at;
  let rex = 0;
  let operand16 = 0;
  let address32 = 0;
  let lock = 0;
  // 0 none, 1 F3, 2 F2: the last one counts.
  let repeat = 0;
  let segment = 0;
  let op: number;
  for (;;) {
    if (p >= limit) return overrun(p + 1, at);
    op = u8(bytes, p++);
    const kind = prefixKind[op];
    if (kind === PREFIX.NONE) break;
    if (kind === PREFIX.REX) {
      rex = op;
      continue;
    }
    // A legacy prefix after REX undoes it.
    rex = 0;
    switch (kind) {
      case PREFIX.OPERAND:
        operand16 = 1;
        break;
      case PREFIX.ADDRESS:
        address32 = 1;
        break;
      case PREFIX.LOCK:
        lock = 1;
        break;
      case PREFIX.REPNE:
        repeat = 2;
        break;
      case PREFIX.REP:
        repeat = 1;
        break;
      case PREFIX.FS:
        segment = 1;
        break;
      case PREFIX.GS:
        segment = 2;
        break;
    }
  }

  let key = op;
  if (op === 0x0f) {
    op = u8(bytes, p++);
    key = 0x100 | op;
    if (op === 0x38 || op === 0x3a) {
      key = op === 0x38 ? 0x200 : 0x300;
      op = u8(bytes, p++);
      key |= op;
    }
  }
  if (p > limit) return overrun(p, at);
  const rexB = (rex & 1) << 3;
  const prefixClass = repeat === 1 ? 3 : repeat === 2 ? 2 : operand16;
  let row = entry[(key << 3) | ((rex & 1) << 2) | prefixClass] ?? 0;
  let modrm = 0;
  const withModrm = hasModrm[key] === 1;
  if (withModrm) {
    modrm = u8(bytes, p++);
    if (p > limit) return overrun(p, at);
    row = groups[(row << 8) | modrm] ?? 0;
  }
  if (row === 0) return DECODE.UNDEFINED;

  const rule = sizeRule[row];
  const wide = rex & 8;
  const size =
    rule === SIZE_RULE.NORMAL
      ? wide
        ? 2
        : 1 - operand16
      : rule === SIZE_RULE.D64
        ? operand16 && !wide
          ? 0
          : 2
        : rule === SIZE_RULE.F64 || wide
          ? 2
          : 1;
  const form = rowForms[row * 18 + size * 6 + address32 * 3 + repeat] ?? -1;
  if (form < 0) return DECODE.UNDEFINED;
  const bits = formBits[form] ?? 0;
  if (lock && !(bits & FORM_BIT.LOCK)) return DECODE.UNDEFINED;

  out.form = form;
  out.segment = segment;
  out.address32 = address32;
  out.base = NO_REGISTER;
  out.index = NO_REGISTER;
  out.shift = 0;
  out.disp = 0;
  out.stack = 0;
  out.r2 = 0;
  if (withModrm) {
    const reg = (modrm >> 3) & 7;
    let r1 = reg | ((rex & 4) << 1);
    const rm = modrm & 7;
    const mod = modrm >> 6;
    if (mod === 3 || bits & FORM_BIT.ANYMOD) {
      let r2 = rm | rexB;
      if (bits & FORM_BIT.BYTE_R2 && rex === 0 && r2 >= 4) r2 |= HIGH_BYTE;
      else if (bits & FORM_BIT.MM_R2) r2 = rm;
      out.r2 = r2;
      out.number = rm;
    } else {
      let base = rm | rexB;
      if (rm === 4) {
        const sib = u8(bytes, p++);
        const index = ((sib >> 3) & 7) | ((rex & 2) << 2);
        if (index !== 4) {
          out.index = index;
          out.shift = sib >> 6;
        }
        base = (sib & 7) | rexB;
        if ((sib & 7) === 5 && mod === 0) {
          base = NO_REGISTER;
          out.disp = s32(bytes, p);
          p += 4;
        }
      } else if (rm === 5 && mod === 0) {
        base = RIP_BASE;
        out.disp = s32(bytes, p);
        p += 4;
      }
      if (mod === 1) out.disp = s8(bytes, p++);
      else if (mod === 2) {
        out.disp = s32(bytes, p);
        p += 4;
      }
      out.base = base;
      if ((base === 4 || base === 5) && segment === 0) out.stack = 1;
    }
    if (bits & (FORM_BIT.BYTE_R1 | FORM_BIT.MM_R1 | FORM_BIT.SREG | FORM_BIT.CREG | FORM_BIT.DREG)) {
      if (bits & FORM_BIT.BYTE_R1) {
        if (rex === 0 && r1 >= 4) r1 |= HIGH_BYTE;
      } else if (bits & FORM_BIT.MM_R1) r1 = reg;
      else if (bits & FORM_BIT.SREG) {
        // REX.R is ignored; 6 and 7 are no segment registers, and CS is not loaded by MOV.
        if (reg > 5 || (reg === 1 && bits & FORM_BIT.SREG_WRITE)) return DECODE.UNDEFINED;
        out.number = reg;
      } else {
        // CR0 CR2 CR3 CR4 CR8; DR0–DR7.
        if (bits & FORM_BIT.CREG ? !((0x11d >> r1) & 1) : r1 > 7) return DECODE.UNDEFINED;
        out.number = r1;
      }
    }
    out.r1 = r1;
  } else {
    let r1 = (op & 7) | rexB;
    if (bits & FORM_BIT.BYTE_R1 && rex === 0 && r1 >= 4) r1 |= HIGH_BYTE;
    out.r1 = r1;
  }

  let lo = 0;
  let hi = 0;
  switch (immediates[form]) {
    case IMM.U8:
      lo = u8(bytes, p++);
      break;
    case IMM.S8_64:
      lo = s8(bytes, p++);
      hi = lo >> 31;
      break;
    case IMM.S8_32:
      lo = s8(bytes, p++);
      break;
    case IMM.S8_16:
      lo = s8(bytes, p++) & 0xffff;
      break;
    case IMM.S32_64:
      lo = s32(bytes, p);
      hi = lo >> 31;
      p += 4;
      break;
    case IMM.U32:
      lo = s32(bytes, p);
      p += 4;
      break;
    case IMM.U16:
      lo = u16(bytes, p);
      p += 2;
      break;
    case IMM.U64:
      lo = s32(bytes, p);
      hi = s32(bytes, p + 4);
      p += 8;
      break;
    case IMM.MOFFS:
      lo = s32(bytes, p);
      hi = address32 ? 0 : s32(bytes, p + 4);
      p += address32 ? 4 : 8;
      break;
    case IMM.U16_U8:
      lo = u16(bytes, p);
      hi = u8(bytes, p + 2);
      p += 3;
      break;
  }
  out.immLo = lo;
  out.immHi = hi;
  if (p > limit) return overrun(p, at);
  return (out.length = p - at);
}

/** The Form a decoded instruction has. */
export function formOf(d: Decoded): Form {
  const f = FORMS[d.form];
  if (!f) throw new RangeError(`no form ${d.form}`);
  return f;
}

const scratch = newDecoded();
/** Length only, or one of DECODE. */
export const instructionLength = (bytes: Uint8Array, at: number, end: number): number =>
  decode(bytes, at, end, scratch);
