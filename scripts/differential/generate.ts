import { decode, newDecoded } from '../../src/cpu/decode';
import type { Form } from '../../src/cpu/encoding';
import { type Addressing, bytes32, chooseAddress, expressAddress } from './address';
import { ALIGNED, SIZES, applyHints, flavourOf, isBitTest } from './hints';
import { CODE, PAGE, type Test } from './protocol';
import type { Random } from './random';
import { randomState } from './state';
import { type Flavour, integer } from './values';

/** Where the state comes from that an instruction is put into. */
export type StateSource = (r: Random, flavour: Flavour) => Test;

const RSP = 4;
const POINTERS: readonly number[] = [3, 4, 5, 6, 7];
/** Instructions that go through those registers without a ModRM byte that says so. */
const IMPLIED = /^(push|pop|call|ret|enter|leave|xlat|movs|cmps|stos|lods|scas|ins|outs|maskmov)/;
const MANDATORY: Readonly<Record<string, readonly number[]>> = {
  '': [],
  np: [],
  66: [0x66],
  f2: [0xf2],
  f3: [0xf3],
};
const ESCAPE: readonly (readonly number[])[] = [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]];

interface Registers {
  /** ModRM.reg or opcode register, with the REX bit above. */
  readonly reg: number;
  readonly rm: number;
  /** An AH…BH register or one that needs REX to be named is among them. */
  readonly rex: 'forbidden' | 'needed' | 'free';
}

function chooseRegisters(f: Form, r: Random): Registers {
  const bytes = f.operands.filter(
    (s) => s.kind === 'gpr' && s.width === 8 && (s.from === 'r1' || s.from === 'r2'),
  );
  // 0: no REX (AH…BH), 1: REX.
  const high = bytes.length > 0 && r.chance(0.4);
  const number = (from: 'r1' | 'r2'): number => {
    const s = f.operands.find((o) => o.from === from);
    if (s === undefined) {
      if (from === 'r1') {
        const special = f.operands.find((o) => o.kind === 'sreg' || o.kind === 'creg' || o.kind === 'dreg');
        if (special?.kind === 'sreg') return r.below(6);
        if (special?.kind === 'creg') return r.pick([0, 2, 3, 4, 8]);
        if (special?.kind === 'dreg') return r.below(8);
        return r.below(8);
      }
      return r.below(8);
    }
    if (s.kind === 'mm' || (s.kind === 'gpr' && high)) return r.below(8);
    return r.below(16);
  };
  const reg = number('r1');
  const rm = number('r2');
  const named = (from: 'r1' | 'r2', n: number): boolean =>
    bytes.some((s) => s.from === from) && n >= 4 && n < 8;
  const ambiguous = named('r1', reg) || named('r2', rm);
  return { reg, rm, rex: high && ambiguous ? 'forbidden' : ambiguous ? 'needed' : 'free' };
}

function immediateBytes(f: Form, r: Random, address32: boolean): number[] {
  const { bytes, moffs, second, relative } = f.immediate;
  const n = moffs && address32 ? 4 : bytes;
  let v = relative ? BigInt(r.below(1 << 12) - (1 << 11)) : integer(r);
  const out: number[] = [];
  for (let i = 0; i < n; i++, v >>= 8n) out.push(Number(v & 0xffn));
  if (second) out.push(r.chance(0.7) ? r.below(4) : r.below(256));
  return out;
}

/** One instruction of the form in a state that suits it; undefined when the encoder could not (too long, say). */
export function generate(f: Form, r: Random, states: StateSource = randomState): Test | undefined {
  const t = states(r, flavourOf(f, r)).clone();
  applyHints(f, t, r);
  const e = f.encoding;
  const address32 = f.aw === 32 || (f.aw === undefined && r.chance(0.06));
  const rsp = t.regs.gpr(RSP);
  for (const n of POINTERS) {
    if (!IMPLIED.test(f.mnemonic)) break;
    if (!r.chance(0.8) || (n === RSP && /^p(op|ush)f/.test(f.mnemonic))) continue;
    const at = chooseAddress(r, t, 8, false);
    t.regs.setGpr(n, f.aw === 32 && r.chance(0.5) ? (at & 0xffffffffn) | 0x7700000000n : at);
  }
  if (/^p(op|ush)f/.test(f.mnemonic)) t.regs.setGpr(RSP, rsp);

  const regs = chooseRegisters(f, r);
  const size = r.pick(f.sizes);
  const natural = e.attributes.has('d64') || e.attributes.has('f64') ? 64 : 32;
  const legacy = e.prefix === '';
  // Without a mandatory prefix 66 makes the size 16; otherwise REX.W alone speaks.
  // On a near branch with 66 the vendors differ (AMD cuts rip to 16 bits), so there is none.
  const operand16 = legacy && size === 16 && !f.branch ? [0x66] : [];
  const rexW = size === 64 && natural === 32 ? 1 : 0;

  const repeat = f.rep === 'rep' ? [0xf3] : f.rep === 'repne' ? [0xf2] : [];
  const noise = r.chance(0.04) ? [r.pick([0x26, 0x2e, 0x36, 0x3e])] : r.chance(0.05) ? [0x65] : [];
  const lock = (f.lock && r.chance(0.3)) || r.chance(0.005) ? [0xf0] : [];
  const prefixes = [
    ...lock,
    ...(address32 ? [0x67] : []),
    ...noise,
    ...operand16,
    ...repeat,
    ...(MANDATORY[e.prefix] ?? []),
  ];
  for (let i = prefixes.length - 1; i > 0; i--) {
    const j = r.below(i + 1);
    [prefixes[i], prefixes[j]] = [prefixes[j] ?? 0, prefixes[i] ?? 0];
  }

  let modrm: number | undefined;
  let addressing: Addressing | undefined;
  let immediate = immediateBytes(f, r, address32);
  if (e.modrm) {
    const reg = e.modrm.digit ?? regs.reg & 7;
    if (f.mem) {
      const operand = f.operands.find((s) => s.from === 'mem');
      const bytes = SIZES[f.mnemonic] ?? (operand?.width ?? 0) / 8;
      const target = chooseAddress(r, t, bytes, (operand?.aligned ?? false) || ALIGNED.has(f.mnemonic));
      const avoid = new Set(/^p(op|ush)f?/.test(f.mnemonic) ? [RSP] : []);
      if (isBitTest(f) && f.operands[1]?.kind === 'gpr') {
        t.regs.setGpr(regs.reg, BigInt.asUintN(64, BigInt(r.below(2048) - 1024)));
        avoid.add(regs.reg);
      }
      if (/^(cmpxchg|i?div)/.test(f.mnemonic)) avoid.add(0).add(2);
      addressing = expressAddress(r, t, target, address32, avoid);
      modrm = (addressing.mod << 6) | (reg << 3) | addressing.rm;
    } else {
      const mod = e.modrm.anyMod ? r.below(4) : 3;
      modrm = (mod << 6) | (reg << 3) | (e.modrm.rm ?? regs.rm & 7);
    }
  } else if (f.immediate.moffs) {
    const target = chooseAddress(r, t, (f.operands.find((s) => s.kind === 'mem')?.width ?? 8) / 8, false);
    immediate = immediate.map((_, i) => Number((target >> BigInt(8 * i)) & 0xffn));
  }
  if (f.mnemonic === 'jmp' || f.mnemonic === 'call') {
    if (!f.mem && e.modrm && r.chance(0.7)) t.regs.setGpr(regs.rm, BigInt(CODE + r.below(PAGE)));
  }

  const rexR = e.modrm
    ? f.operands.some((s) => s.kind === 'mm' && s.from === 'r1')
      ? r.below(2)
      : regs.reg >> 3
    : 0;
  const rexB = addressing ? addressing.rexB : e.modrm || e.plus ? (e.plus ? regs.reg : regs.rm) >> 3 : 0;
  const rexBits =
    (rexW << 3) | ((e.modrm?.digit === undefined ? rexR : 0) << 2) | ((addressing?.rexX ?? 0) << 1) | rexB;
  const freeRex = !e.attributes.has('nob') && r.chance(0.1);
  const rex =
    rexBits !== 0 || regs.rex === 'needed' || (regs.rex === 'free' && freeRex) ? [0x40 | rexBits] : [];
  if (rex.length > 0 && regs.rex === 'forbidden') return undefined;

  const opcode = e.opcode + (e.plus ? regs.reg & 7 : 0);
  const code = [...prefixes, ...rex, ...(ESCAPE[e.map] ?? []), opcode];
  if (modrm !== undefined) code.push(modrm);
  if (addressing?.sib !== undefined) code.push(addressing.sib);
  const dispAt = code.length;
  code.push(...(addressing?.ripTarget === undefined ? (addressing?.disp ?? []) : [0, 0, 0, 0]), ...immediate);
  if (code.length > 15) return undefined;
  // A branch to itself looks to the oracle like a repeated instruction.
  if (f.immediate.relative && BigInt.asIntN(8, BigInt(immediate[0] ?? 0)) === BigInt(-code.length))
    return undefined;
  const offset = r.chance(0.03) ? PAGE - code.length : 64 + r.below(3900);
  if (addressing?.ripTarget !== undefined) {
    const disp = Number(addressing.ripTarget) - (CODE + offset + code.length);
    code.splice(dispAt, 4, ...bytes32(disp));
  }
  t.setCode(offset, code);
  if (!accepted(f, code, lock.length > 0)) return undefined;
  // The last bytes of an instruction now and then lie beyond the code page, where nothing is.
  if (code.length > 1 && r.chance(0.003)) {
    const kept = 1 + r.below(code.length - 1);
    t.setCode(PAGE - kept, code.slice(0, kept));
  }
  return t;
}

const scratch = newDecoded();
/** The decoder must find this very form; a LOCK out of place must be undefined. */
function accepted(f: Form, code: readonly number[], locked: boolean): boolean {
  const n = decode(Uint8Array.from(code), 0, code.length, scratch);
  if (locked && !f.lock) return n === 0;
  return n === code.length && scratch.form === f.number;
}
