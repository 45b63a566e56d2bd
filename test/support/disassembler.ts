import { createRequire } from 'node:module';
import type * as Iced from 'iced-x86';
import { decode, formOf, newDecoded } from '../../src/cpu/decode';

/** The published disassembler that decode is compared with, told to know no more than this machine does. */
export const iced = createRequire(__filename)('iced-x86') as typeof Iced;

/** CPUID features of our x86-64-v1 machine, in the disassembler's names. All others are #UD here. */
const FEATURES: ReadonlySet<number> = new Set(
  (
    [
      'INTEL8086', 'INTEL8086_ONLY', 'INTEL186', 'INTEL286', 'INTEL286_ONLY', 'INTEL386', 'INTEL386_ONLY', 'INTEL386_A0_ONLY',
      'INTEL486', 'INTEL486_A_ONLY', 'UMOV', 'X64', 'FPU', 'FPU287', 'FPU287XL_ONLY', 'FPU387', 'FPU387SL_ONLY', 'CMOV', 'CPUID', 'CX8',
      'CMPXCHG16B', 'FXSR', 'MMX', 'SSE', 'SSE2', 'CLFSH', 'MSR', 'TSC', 'RDPMC', 'SYSCALL', 'PAUSE', 'MULTIBYTENOP', 'PREFETCHW',
    ] as const
  ).flatMap((name) => {
    const n = (iced.CpuidFeature as unknown as Readonly<Record<string, number | undefined>>)[name];
    return n === undefined ? [] : [n];
  }),
); // prettier-ignore

export interface Published {
  /** 0: undefined. */
  readonly length: number;
  readonly mnemonic: string;
  readonly text: string;
}

const formatter = new iced.Formatter(iced.FormatterSyntax.Intel);

/** Everything in the hint space, whatever newer features have made of it, is a NOP (or a prefetch) here. */
const isHint = (bytes: Uint8Array, at: number): boolean => {
  let p = at;
  while ([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf2, 0xf3].includes(bytes[p] ?? 0)) p++;
  if (((bytes[p] ?? 0) & 0xf0) === 0x40) p++;
  const second = bytes[p + 1] ?? 0;
  return bytes[p] === 0x0f && second >= 0x18 && second <= 0x1f;
};

export function disassemble(bytes: Uint8Array, at: number, end: number, ip = 0n): Published {
  const decoder = new iced.Decoder(64, bytes.subarray(at, end), OPTIONS);
  decoder.ip = ip;
  const instruction = decoder.decode();
  try {
    const known = isHint(bytes, at) || [...instruction.cpuidFeatures()].every((f) => FEATURES.has(f));
    if (instruction.isInvalid || !known) return { length: 0, mnemonic: '(bad)', text: '(bad)' };
    const name = iced.Mnemonic[instruction.mnemonic];
    return { length: instruction.length, mnemonic: normalize(name), text: formatter.format(instruction) };
  } finally {
    instruction.free();
    decoder.free();
  }
}

/**
 * ENDBR, RDSSP, BNDx and friends decode as the NOPs they are on this machine; TZCNT, LZCNT and WBNOINVD as what
 * processors without them make of the F3 prefix: BSF, BSR, WBINVD.
 */
const OPTIONS =
  iced.DecoderOptions.ForceReservedNop |
  iced.DecoderOptions.NoMPFX_0FBC |
  iced.DecoderOptions.NoMPFX_0FBD |
  iced.DecoderOptions.NoWbnoinvd;

/** Where names differ and the instruction does not. */
const SAME: Readonly<Record<string, string>> = {
  // Both names of one opcode (SDM Vol. 2 SAL/SHL).
  sal: 'shl',
  // Hint space 0F 18–1F.
  reservednop: 'nop',
  // The disassembler calls all of 0F 0D and 0F 18 so when told to force reserved NOPs.
  prefetchnta: 'nop',
  prefetcht0: 'nop',
  prefetcht1: 'nop',
  prefetcht2: 'nop',
  prefetchw: 'nop',
};
export function normalize(mnemonic: string): string {
  const name = mnemonic.toLowerCase();
  return SAME[name] ?? name;
}

export interface Difference {
  readonly at: number;
  readonly bytes: string;
  readonly ours: string;
  readonly theirs: string;
}

const hex = (b: Uint8Array): string => Array.from(b, (x) => x.toString(16).padStart(2, '0')).join(' ');

/** Differences that are meant, by what both sides say. */
const MEANT: readonly { readonly ours: string; readonly theirs: string; readonly why: string }[] = [
  { ours: 'xchg', theirs: 'pause', why: 'F3 with REX.B and 90 exchanges r8 with rAX: measured' },
  {
    ours: '(bad)',
    theirs: 'nop',
    why: '0F 0D with a register is undefined on AMD, where Intel has a NOP: measured',
  },
  { ours: '(bad)', theirs: 'fstpnce', why: 'D9 D8–DF, an undocumented alias' },
];

const result = newDecoded();
/** Decodes the bytes by both; undefined when they agree, or differ as is meant. */
export function compareDecoding(bytes: Uint8Array, at: number, end: number): Difference | undefined {
  const length = Math.max(decode(bytes, at, end, result), 0);
  const ours = length > 0 ? normalize(formOf(result).mnemonic) : '(bad)';
  const theirs = disassemble(bytes, at, end);
  if (length === theirs.length && (length === 0 || ours === theirs.mnemonic)) return undefined;
  if (MEANT.some((m) => m.ours === ours && m.theirs === theirs.mnemonic)) return undefined;
  return {
    at,
    bytes: hex(bytes.subarray(at, Math.min(end, at + 15))),
    ours: `${ours} (${length} bytes)`,
    theirs: `${theirs.text} (${theirs.length} bytes)`,
  };
}

/**
 * Every instruction of a piece of code, in order. What this machine does not have (AVX in crypto code) must be
 * undefined to both; the sweep then goes on behind it. Returns the instructions seen and the differences.
 */
export function sweep(
  code: Uint8Array,
  limit = Infinity,
): { readonly instructions: number; readonly differences: readonly Difference[] } {
  const differences: Difference[] = [];
  let instructions = 0;
  for (let at = 0; at < code.length && instructions < limit; instructions++) {
    const end = Math.min(code.length, at + 15);
    const d = compareDecoding(code, at, end);
    if (d) differences.push(d);
    const length = decode(code, at, end, result);
    at += length > 0 ? length : fullLength(code, at, end);
  }
  return { instructions, differences };
}

/** Length with every extension known; 1 for what is data. */
function fullLength(code: Uint8Array, at: number, end: number): number {
  const decoder = new iced.Decoder(64, code.subarray(at, end), iced.DecoderOptions.None);
  const instruction = decoder.decode();
  const length = instruction.isInvalid ? 1 : instruction.length;
  instruction.free();
  decoder.free();
  return length;
}
