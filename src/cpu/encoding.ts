import type { Context, Instruction } from './instruction';
import type { Operand, Width } from './ops';

/**
 * The encoding grammar of instruction.ts, parsed, and the `Form`s that follow from it. A Form is what one
 * interpreter handler serves: one encoding at one operand width, with ModRM.rm a register or memory, and,
 * where the semantics look at them (attributes 'rep', 'aw'), one repeat kind and one address width.
 */

/** Where the decoder finds the operand, and so what the binder reads it from. */
export type OperandFrom = 'r1' | 'r2' | 'mem' | 'imm' | 'imm2' | 'number' | 'implied';

export interface OperandSpec {
  /** The word of the grammar, e.g. 'rmv'. */
  readonly text: string;
  readonly kind: Operand['kind'];
  /** Bits; 0 for an address-only memory operand. */
  readonly width: number;
  readonly from: OperandFrom;
  /** Of an implied register: its GPR number; of `one`: 1. */
  readonly implied?: number;
  /** 128-bit memory that must be 16-byte aligned. */
  readonly aligned: boolean;
}

/** How an immediate lies in the instruction: bytes, and what Operand.get() makes of it. */
export interface ImmediateSpec {
  readonly bytes: 0 | 1 | 2 | 4 | 8;
  readonly signed: boolean;
  /** Cut to this width after extension (Operand.get). */
  readonly width: Width;
  /** A displacement from the next instruction. */
  readonly relative: boolean;
  /** moffs: an offset, not a value; 4 bytes under a 67 prefix. It lands in the memory operand's displacement. */
  readonly moffs: boolean;
  /** ENTER: bytes of a second immediate, which lands in bits 32–39. */
  readonly second: 0 | 1;
}

export type RepKind = Context['rep'];
export type Prefix = '' | 'np' | '66' | 'f2' | 'f3';
export type OpcodeMap = 0 | 1 | 2 | 3;

/** Bits of ModRM an encoding fixes: undefined parts are free. */
export interface ModrmSpec {
  readonly digit: number | undefined;
  /** ModRM.rm fixed by a second opcode byte ('d9 e8', '0f 01 d0'). */
  readonly rm: number | undefined;
  readonly allow: 'mem' | 'reg' | 'both';
  /** ModRM.mod is ignored, the operand is a register (MOV to/from control registers). */
  readonly anyMod: boolean;
}

export interface Encoding {
  readonly text: string;
  readonly prefix: Prefix;
  /** 0: one byte, 1: 0F, 2: 0F 38, 3: 0F 3A. */
  readonly map: OpcodeMap;
  readonly opcode: number;
  /** '50+': the low three bits of the opcode are a register. */
  readonly plus: boolean;
  readonly modrm: ModrmSpec | undefined;
  readonly operands: readonly string[];
  readonly attributes: ReadonlySet<Attribute>;
}

export interface Form {
  /** Index in `Forms.all`, in order of declaration: the interpreter's handler number. */
  readonly number: number;
  readonly instruction: Instruction;
  readonly mnemonic: string;
  readonly encoding: Encoding;
  readonly operands: readonly OperandSpec[];
  readonly immediate: ImmediateSpec;
  /** Context.w. */
  readonly w: Width;
  /** The effective operand sizes (66/REX.W) at which the decoder picks this form. */
  readonly sizes: readonly (16 | 32 | 64)[];
  /** There is a memory operand: ModRM.rm, or moffs. */
  readonly mem: boolean;
  /** undefined: the form serves both address widths (the effective address is masked by the operand source). */
  readonly aw: 32 | 64 | undefined;
  /** undefined: not a 'rep' form, F2/F3 ignored. */
  readonly rep: RepKind | undefined;
  /** A LOCK prefix is allowed. */
  readonly lock: boolean;
  /** Ends a block. */
  readonly ends: boolean;
  /** Sets `next`. */
  readonly branch: boolean;
}

const ATTRIBUTES = [
  'd64', 'f64', 'lock', 'rep', 'unaligned', 'ends', 'branch', 'i64',
  // Beyond instruction.ts' list, for encodings without an operand that says it:
  /** One form per address width: the semantics look at c.aw. a32/a64: only at this address width. */
  'aw', 'a32', 'a64',
  /** One form per operand width (c.w), though no operand is a v/y one. */
  'v', 'y',
  /** Only at this operand width (which is then c.w); w8: c.w is 8, any operand size; w0: REX.W = 0, c.w is 32. */
  'w8', 'w16', 'w32', 'w64', 'w0',
  /** mod = 3 only / memory only, with no operand that says it. */
  'reg', 'mem',
  'anymod',
  /** Only without REX.B (NOP and PAUSE share 90 with XCHG r8,rAX). */
  'nob',
] as const; // prettier-ignore
export type Attribute = (typeof ATTRIBUTES)[number];

type WordWidth = Width | 'v' | 'y' | 0 | 80 | 128;
interface Word {
  readonly kind: Operand['kind'] | 'gpr|mem' | 'xmm|mem' | 'mm|mem';
  readonly from: OperandFrom;
  readonly width: WordWidth;
  readonly implied?: number;
}

const word = (kind: Word['kind'], from: OperandFrom, width: WordWidth, implied?: number): Word =>
  implied === undefined ? { kind, from, width } : { kind, from, width, implied };

const sized = (
  prefix: string,
  kind: Word['kind'],
  from: OperandFrom,
  ...widths: (Width | 'v' | 'y' | 80 | 128)[]
): [string, Word][] => widths.map((w) => [`${prefix}${w}`, word(kind, from, w)]);

/** Every operand word of the grammar. */
const WORDS: ReadonlyMap<string, Word> = new Map<string, Word>([
  ...sized('r', 'gpr', 'r1', 8, 16, 32, 64, 'v', 'y'),
  ...sized('rm', 'gpr|mem', 'r2', 8, 16, 32, 64, 'v', 'y'),
  ...sized('rr', 'gpr', 'r2', 8, 16, 32, 64, 'v', 'y'),
  ...sized('m', 'mem', 'mem', 8, 16, 32, 64, 80, 128, 'v', 'y'),
  ['m', word('mem', 'mem', 0)],
  ...sized('o', 'gpr', 'r1', 8, 16, 32, 64, 'v', 'y'),
  ...sized('moffs', 'mem', 'mem', 8, 'v'),
  ['al', word('gpr', 'implied', 8, 0)],
  ['ax', word('gpr', 'implied', 16, 0)],
  ['ax_v', word('gpr', 'implied', 'v', 0)],
  ['cl', word('gpr', 'implied', 8, 1)],
  ['dx', word('gpr', 'implied', 16, 2)],
  ['one', word('imm', 'implied', 8, 1)],
  ['imm8', word('imm', 'imm', 8)],
  ['imm8s', word('imm', 'imm', 'v')],
  ['imm16', word('imm', 'imm', 16)],
  ['immz', word('imm', 'imm', 'v')],
  ['immv', word('imm', 'imm', 'v')],
  ['rel8', word('rel', 'imm', 64)],
  ['relz', word('rel', 'imm', 64)],
  ['sreg', word('sreg', 'number', 16)],
  ['creg', word('creg', 'number', 64)],
  ['dreg', word('dreg', 'number', 64)],
  ['sti', word('sti', 'number', 80)],
  ['x', word('xmm', 'r1', 128)],
  ...sized('x', 'xmm', 'r1', 32, 64),
  ['xx', word('xmm', 'r2', 128)],
  ...sized('xm', 'xmm|mem', 'r2', 8, 16, 32, 64, 128),
  ['mm', word('mm', 'r1', 64)],
  ['mmr', word('mm', 'r2', 64)],
  ...sized('mm', 'mm|mem', 'r2', 32, 64),
]);

const bad = (text: string, what: string): never => {
  throw new Error(`encoding '${text}': ${what}`);
};

const isPrefix = (s: string): s is Prefix => s === 'np' || s === '66' || s === 'f2' || s === 'f3';
const isAttribute = (s: string): s is Attribute => (ATTRIBUTES as readonly string[]).includes(s);
const isHexByte = (s: string): boolean => /^[0-9a-f]{2}\+?$/.test(s);

export function parseEncoding(text: string): Encoding {
  const [head = '', tail = ''] = text.toLowerCase().split(';');
  const attributes = new Set<Attribute>();
  for (const a of tail.trim().split(/\s+/).filter(Boolean)) {
    if (!isAttribute(a)) return bad(text, `unknown attribute '${a}'`);
    attributes.add(a);
  }

  const words = head.trim().split(/\s+/);
  let at = 0;
  let prefix: Prefix = '';
  const first = words[0] ?? '';
  if (isPrefix(first)) {
    prefix = first;
    at++;
  }
  const bytes: number[] = [];
  const plusAt: number[] = [];
  for (; at < words.length && isHexByte(words[at] ?? ''); at++) {
    const w = words[at] ?? '';
    bytes.push(parseInt(w, 16));
    if (w.endsWith('+')) plusAt.push(bytes.length);
  }
  const count = bytes.length;
  let map: OpcodeMap = 0;
  if (bytes[0] === 0x0f) {
    bytes.shift();
    const escape: number | undefined = bytes[0];
    map = escape === 0x38 ? 2 : escape === 0x3a ? 3 : 1;
    if (map > 1) bytes.shift();
  }
  const opcode = bytes.shift() ?? bad(text, 'no opcode');
  // On the opcode itself, or on a fixed ModRM byte ('d8 c0+').
  const plus = plusAt.includes(count - bytes.length);
  const fixed = bytes.shift();
  if (bytes.length > 0) return bad(text, 'too many opcode bytes');

  let slash: string | undefined;
  if (words[at]?.startsWith('/')) slash = words[at++]?.slice(1);
  const operands = (words[at++] ?? '').split(',').filter(Boolean);
  if (at < words.length) return bad(text, `stray '${words.slice(at).join(' ')}'`);
  for (const o of operands) if (!WORDS.has(o)) return bad(text, `unknown operand '${o}'`);

  return {
    text,
    prefix,
    map,
    opcode,
    plus,
    modrm: parseModrm(text, slash, fixed, operands, attributes),
    operands,
    attributes,
  };
}

function parseModrm(
  text: string,
  slash: string | undefined,
  fixed: number | undefined,
  operands: readonly string[],
  attributes: ReadonlySet<Attribute>,
): ModrmSpec | undefined {
  const anyMod = attributes.has('anymod');
  if (fixed !== undefined) {
    if (fixed < 0xc0) return bad(text, 'a fixed ModRM byte must have mod = 3');
    // 'd8 c0+' reads the same as 'd8 /0 sti'.
    const free = operands.includes('sti');
    return { digit: (fixed >> 3) & 7, rm: free ? undefined : fixed & 7, allow: 'reg', anyMod };
  }
  if (slash === undefined) return undefined;
  const words = operands.map((o) => WORDS.get(o));
  const wantsMem = attributes.has('mem') || words.some((w) => w?.kind === 'mem');
  const wantsReg =
    anyMod ||
    attributes.has('reg') ||
    words.some((w) => w?.kind === 'sti' || (w?.from === 'r2' && !w.kind.endsWith('|mem')));
  if (wantsMem && wantsReg) return bad(text, 'ModRM.rm both register and memory');
  const digit = slash === 'r' ? undefined : Number(slash);
  if (digit !== undefined && !(digit >= 0 && digit <= 7)) return bad(text, `bad '/${slash}'`);
  return { digit, rm: undefined, allow: wantsMem ? 'mem' : wantsReg ? 'reg' : 'both', anyMod };
}

type Size = 16 | 32 | 64;

/** Effective operand sizes at which the encoding gives distinct forms; see `operandSize` in decode.ts. */
function sizesOf(e: Encoding): { distinct: boolean; sizes: readonly Size[] } {
  const a = e.attributes;
  if (a.has('w0')) return { distinct: true, sizes: [32] };
  for (const w of [16, 32, 64] as const) if (a.has(`w${w}`)) return { distinct: true, sizes: [w] };
  const widths = e.operands.map((o) => WORDS.get(o)?.width);
  const v = a.has('v') || widths.includes('v');
  const y = a.has('y') || widths.includes('y');
  if (a.has('f64')) return { distinct: false, sizes: [16, 32, 64] };
  if (v && y) return bad(e.text, 'v and y operands');
  if (v) return { distinct: true, sizes: a.has('d64') ? [16, 64] : [16, 32, 64] };
  if (y) return { distinct: true, sizes: [32, 64] };
  return { distinct: false, sizes: [16, 32, 64] };
}

/** A 66 prefix leaves a form that goes by REX.W alone at 32 bits. */
const servedSizes = (e: Encoding, size: Size): readonly Size[] =>
  size === 32 && (e.attributes.has('y') || e.attributes.has('w0') || e.operands.some((o) => o.endsWith('y')))
    ? [16, 32]
    : [size];

/** 'y' operands are 32 bits unless REX.W; a 66 prefix does not touch them. */
const resolveWidth = (w: WordWidth, size: Size, f64: boolean): number =>
  w === 'v' || w === 'y' ? (f64 ? 64 : size) : w;

function immediateOf(e: Encoding, size: Size): ImmediateSpec {
  const none: ImmediateSpec = {
    bytes: 0,
    signed: false,
    width: 64,
    relative: false,
    moffs: false,
    second: 0,
  };
  const v: Width = e.attributes.has('f64') ? 64 : size;
  const specs: ImmediateSpec[] = [];
  for (const o of e.operands) {
    if (o === 'imm8') specs.push({ ...none, bytes: 1, width: 8 });
    else if (o === 'imm8s') specs.push({ ...none, bytes: 1, signed: true, width: v });
    else if (o === 'imm16') specs.push({ ...none, bytes: 2, width: 16 });
    else if (o === 'immz') specs.push({ ...none, bytes: v === 16 ? 2 : 4, signed: true, width: v });
    else if (o === 'immv') specs.push({ ...none, bytes: v === 16 ? 2 : v === 32 ? 4 : 8, width: v });
    else if (o === 'rel8') specs.push({ ...none, bytes: 1, signed: true, relative: true });
    else if (o === 'relz') specs.push({ ...none, bytes: 4, signed: true, relative: true });
    else if (o.startsWith('moffs')) specs.push({ ...none, bytes: 8, moffs: true });
  }
  const [one = none, two, three] = specs;
  if (!two) return one;
  if (three || two.bytes !== 1 || one.bytes !== 2) return bad(e.text, 'unsupported pair of immediates');
  return { ...one, second: 1 };
}

function operandsOf(e: Encoding, size: Size, mem: boolean): OperandSpec[] {
  const f64 = e.attributes.has('f64');
  let immediates = 0;
  return e.operands.map((text): OperandSpec => {
    const w = WORDS.get(text) ?? bad(text, 'unknown operand');
    const [register, memory] = w.kind.split('|') as [Operand['kind'], 'mem' | undefined];
    const inMemory = w.kind === 'mem' || (memory !== undefined && mem);
    const width = resolveWidth(w.width, size, f64);
    const from = inMemory && w.from === 'r2' ? 'mem' : w.from === 'imm' && immediates++ > 0 ? 'imm2' : w.from;
    return {
      text,
      kind: inMemory ? 'mem' : register,
      // A vector register is whole; the narrow words say how much of it memory would hold, and what get() reads.
      width,
      from,
      aligned: inMemory && text === 'xm128' && !e.attributes.has('unaligned'),
      ...(w.implied === undefined ? {} : { implied: w.implied }),
    };
  });
}

const WIDTHS: readonly number[] = [8, 16, 32, 64];

function contextWidth(e: Encoding, distinct: boolean, size: Size, operands: readonly OperandSpec[]): Width {
  if (e.attributes.has('w8')) return 8;
  if (distinct) return size;
  if (e.attributes.has('f64')) return 64;
  const first = operands.find((o) => o.kind !== 'imm' && WIDTHS.includes(o.width));
  return (first?.width as Width | undefined) ?? 64;
}

const addressWidths = (a: ReadonlySet<Attribute>): readonly (32 | 64 | undefined)[] =>
  a.has('a32') ? [32] : a.has('a64') ? [64] : a.has('aw') ? [64, 32] : [undefined];

/** The Forms of one instruction, in order; `number` counts on from `from`. */
export function formsOf(instruction: Instruction, from: number): Form[] {
  const forms: Form[] = [];
  for (const text of instruction.encodings) {
    const e = parseEncoding(text);
    const a = e.attributes;
    // Not part of 64-bit mode: it decodes to #UD like a hole in the opcode map.
    if (a.has('i64')) continue;
    const { distinct, sizes } = sizesOf(e);
    const allow = e.operands.some((o) => o.startsWith('moffs')) ? 'mem' : e.modrm?.allow;
    const mems = allow === 'both' ? [false, true] : [allow === 'mem'];
    for (const size of distinct ? sizes : ([32] as const)) {
      for (const mem of mems) {
        const operands = operandsOf(e, size, mem);
        for (const aw of addressWidths(a)) {
          for (const rep of a.has('rep') ? (['none', 'rep', 'repne'] as const) : [undefined]) {
            forms.push({
              number: from + forms.length,
              instruction,
              mnemonic: instruction.mnemonic,
              encoding: e,
              operands,
              immediate: immediateOf(e, size),
              w: contextWidth(e, distinct, size, operands),
              sizes: distinct ? servedSizes(e, size) : sizes,
              mem,
              aw,
              rep,
              lock: a.has('lock') && mem,
              ends: a.has('ends') || a.has('branch'),
              branch: a.has('branch'),
            });
          }
        }
      }
    }
  }
  return forms;
}

export function makeForms(instructions: readonly Instruction[]): Form[] {
  const forms: Form[] = [];
  for (const i of instructions) forms.push(...formsOf(i, forms.length));
  return forms;
}
