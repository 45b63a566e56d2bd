import type { Encoding, Form, ImmediateSpec } from './encoding';

/**
 * Decoder tables, built once from the Forms.
 *
 *   opcode entry  [map, opcode, prefix class, REX.B]  → group number (ModRM follows) or row number
 *   group         [ModRM byte]                        → row number
 *   row           [operand size, address size, repeat]→ Form number
 *
 * Row 0 and form −1 are undefined opcodes.
 */
export interface DecodeTables {
  /** By map << 8 | opcode: 1 when a ModRM byte follows. */
  readonly hasModrm: Uint8Array;
  /** By (map << 8 | opcode) << 3 | REX.B << 2 | prefix class (0 none, 1 66, 2 F2, 3 F3). */
  readonly entry: Uint16Array;
  readonly groups: Uint16Array;
  /** By row: SIZE_RULE. */
  readonly sizeRule: Uint8Array;
  /** By row × 18 + size × 6 + address size × 3 + repeat. */
  readonly rowForms: Int16Array;
  /** By Form number: FORM_BIT. */
  readonly formBits: Uint16Array;
  /** By Form number: the immediate, packed by `packImmediate`. */
  readonly immediates: Uint8Array;
}

export const SIZE_RULE = { NORMAL: 0, D64: 1, F64: 2, REX_ONLY: 3 } as const;

export const FORM_BIT = {
  /** r1/r2 are byte registers: 4–7 without REX are AH CH DH BH. */
  BYTE_R1: 1,
  BYTE_R2: 2,
  LOCK: 4,
  /** r1 comes from the opcode. */
  PLUS: 8,
  /** MMX registers: REX.R/REX.B ignored. */
  MM_R1: 16,
  MM_R2: 32,
  SREG: 64,
  CREG: 128,
  DREG: 256,
  STI: 512,
  ANYMOD: 1024,
  /** MOV to a segment register: CS is no destination. */
  SREG_WRITE: 2048,
} as const;

/** Immediate kinds: how many bytes and what becomes of them. */
export const IMM = {
  NONE: 0, U8: 1, S8_16: 2, S8_32: 3, S8_64: 4, U16: 5, U32: 6, S32_64: 7, U64: 8, MOFFS: 9, U16_U8: 10,
} as const; // prettier-ignore

function packImmediate(i: ImmediateSpec): number {
  if (i.moffs) return IMM.MOFFS;
  if (i.second > 0) return IMM.U16_U8;
  if (i.bytes === 1 && i.signed) return i.width === 16 ? IMM.S8_16 : i.width === 32 ? IMM.S8_32 : IMM.S8_64;
  if (i.bytes === 4 && i.signed && i.width === 64) return IMM.S32_64;
  // What is as wide as the operand needs no extension.
  return { 0: IMM.NONE, 1: IMM.U8, 2: IMM.U16, 4: IMM.U32, 8: IMM.U64 }[i.bytes];
}

const PREFIX_CLASS: readonly Encoding['prefix'][] = ['np', '66', 'f2', 'f3'];
const REPEATS: readonly (Form['rep'] & string)[] = ['none', 'rep', 'repne'];
const SIZES: readonly number[] = [16, 32, 64];

function formBits(f: Form): number {
  const B = FORM_BIT;
  let bits = 0;
  if (f.lock) bits |= B.LOCK;
  if (f.encoding.plus) bits |= B.PLUS;
  if (f.encoding.attributes.has('anymod')) bits |= B.ANYMOD;
  f.operands.forEach((s, i) => {
    const byteGpr = s.kind === 'gpr' && s.width === 8;
    if (s.from === 'r1') bits |= (byteGpr ? B.BYTE_R1 : 0) | (s.kind === 'mm' ? B.MM_R1 : 0);
    if (s.from === 'r2') bits |= (byteGpr ? B.BYTE_R2 : 0) | (s.kind === 'mm' ? B.MM_R2 : 0);
    if (s.kind === 'sreg') bits |= B.SREG | (i === 0 ? B.SREG_WRITE : 0);
    if (s.kind === 'creg') bits |= B.CREG;
    if (s.kind === 'dreg') bits |= B.DREG;
    if (s.kind === 'sti') bits |= B.STI;
  });
  return bits;
}

function sizeRule(e: Encoding): number {
  if (e.attributes.has('f64')) return SIZE_RULE.F64;
  if (e.attributes.has('d64')) return SIZE_RULE.D64;
  // With a mandatory prefix 66 is no size prefix: only REX.W speaks.
  return e.prefix === '' || e.prefix === 'np' ? SIZE_RULE.NORMAL : SIZE_RULE.REX_ONLY;
}

/** How closely an encoding matches: the closest one has the cell. */
const specificity = (e: Encoding): number =>
  (e.modrm ? (e.modrm.rm !== undefined ? 2 : e.modrm.digit !== undefined ? 1 : 0) : e.plus ? 0 : 1) +
  (e.prefix === '' ? 0 : 4);

interface Entry {
  readonly encoding: Encoding;
  readonly forms: Form[];
}

function matchesModrm(e: Encoding, modrm: number): boolean {
  const m = e.modrm;
  if (!m) return false;
  const reg = m.anyMod || modrm >= 0xc0;
  return (
    (m.digit === undefined || m.digit === ((modrm >> 3) & 7)) &&
    (m.rm === undefined || m.rm === (modrm & 7)) &&
    (m.allow === 'both' || (m.allow === 'reg') === reg)
  );
}

export function buildTables(forms: readonly Form[]): DecodeTables {
  const byOpcode = new Map<number, Entry[]>();
  let last: Entry | undefined;
  for (const f of forms) {
    if (last?.encoding === f.encoding) {
      last.forms.push(f);
      continue;
    }
    last = { encoding: f.encoding, forms: [f] };
    for (let n = 0; n < (f.encoding.plus ? 8 : 1); n++) {
      const key = (f.encoding.map << 8) | (f.encoding.opcode + n);
      const list = byOpcode.get(key) ?? [];
      list.push(last);
      byOpcode.set(key, list);
    }
  }

  const hasModrm = new Uint8Array(1024);
  const entry = new Uint16Array(1024 * 8);
  const rows: number[][] = [[]];
  const rules: number[] = [0];
  const rowNumbers = new Map<string, number>();
  const groups: Uint16Array[] = [new Uint16Array(256)];
  const groupNumbers = new Map<string, number>();

  const rowOf = (candidates: readonly Entry[], mem: boolean): number => {
    const best = Math.max(...candidates.map((c) => specificity(c.encoding)));
    const chosen = candidates.filter((c) => specificity(c.encoding) === best);
    const [head] = chosen;
    if (!head) return 0;
    const key = `${mem} ${chosen.map((c) => `${c.encoding.text} ${c.forms[0]?.number ?? ''}`).join('|')}`;
    const known = rowNumbers.get(key);
    if (known !== undefined) return known;
    const cells = new Array<number>(18).fill(-1);
    for (const c of chosen) {
      for (const f of c.forms) {
        if (f.mem !== mem && f.encoding.modrm) continue;
        for (const size of f.sizes)
          for (const aw of [64, 32])
            for (const rep of REPEATS) {
              if ((f.aw ?? aw) !== aw || (f.rep ?? rep) !== rep) continue;
              const at = SIZES.indexOf(size) * 6 + (aw === 64 ? 0 : 3) + REPEATS.indexOf(rep);
              const other = forms[cells[at] ?? -1];
              if (other)
                throw new Error(
                  `'${f.mnemonic}: ${f.encoding.text}' and '${other.mnemonic}: ${other.encoding.text}' overlap`,
                );
              cells[at] = f.number;
            }
      }
    }
    rules.push(sizeRule(head.encoding));
    rowNumbers.set(key, rows.length);
    return rows.push(cells) - 1;
  };

  const groupOf = (here: readonly Entry[]): number => {
    // What matches goes by mod being 3 and by reg, and by rm only where an encoding fixes it.
    const byRm = here.some((e) => e.encoding.modrm?.rm !== undefined);
    const group = new Uint16Array(256);
    let text = byRm ? 'rm' : '';
    for (let b = 0; b < 256; b++) {
      const like = b & (b < 0xc0 ? 0x38 : byRm ? 0xff : 0xf8);
      if (like !== b) {
        group[b] = group[like] ?? 0;
        continue;
      }
      const matching = here.filter((e) => matchesModrm(e.encoding, b));
      const row = rowOf(matching, matching.every((e) => !e.encoding.modrm?.anyMod) && b < 0xc0);
      group[b] = row;
      text += ` ${row}`;
    }
    const known = groupNumbers.get(text) ?? groups.push(group) - 1;
    groupNumbers.set(text, known);
    return known;
  };

  for (const [key, entries] of byOpcode) {
    const modrm = entries.some((e) => e.encoding.modrm);
    if (entries.some((e) => (e.encoding.modrm !== undefined) !== modrm))
      throw new Error(`opcode ${key.toString(16)}: some encodings have a ModRM byte and some have none`);
    hasModrm[key] = modrm ? 1 : 0;
    // Most opcodes mean the same whatever their prefix.
    const distinct = entries.some((e) => e.encoding.prefix !== '');
    let same: number | undefined;
    PREFIX_CLASS.forEach((prefix, cls) => {
      const here = entries.filter((e) => e.encoding.prefix === '' || e.encoding.prefix === prefix);
      const write = (rexB: number, n: number): void => {
        entry[(key << 3) | (rexB << 2) | cls] = n;
      };
      if (!modrm) {
        write(0, rowOf(here, here[0]?.forms[0]?.mem ?? false));
        const withB = here.filter((e) => !e.encoding.attributes.has('nob'));
        write(1, rowOf(withB, withB[0]?.forms[0]?.mem ?? false));
        return;
      }
      const group = same ?? groupOf(here);
      if (!distinct) same = group;
      write(0, group);
      write(1, group);
    });
  }

  const flat = new Uint16Array(groups.length * 256);
  groups.forEach((g, i) => flat.set(g, i * 256));
  const rowForms = new Int16Array(rows.length * 18).fill(-1);
  rows.forEach((r, i) => rowForms.set(r, i * 18));
  return {
    hasModrm,
    entry,
    groups: flat,
    sizeRule: Uint8Array.from(rules),
    rowForms,
    formBits: Uint16Array.from(forms, formBits),
    immediates: Uint8Array.from(forms, (f) => packImmediate(f.immediate)),
  };
}
