import { Decoder, DecoderOptions, Formatter, FormatterSyntax } from 'iced-x86';
import type { Form } from '../../src/cpu/encoding';
import { GPR } from '../../src/cpu/state';
import type { Difference } from './compare';
import { CODE, DATA, FX, type Test } from './protocol';

/** A test as a person wants to read it. */

export function disassemble(t: Test): string {
  const decoder = new Decoder(64, t.code, DecoderOptions.None);
  decoder.ip = BigInt(CODE + t.codeOffset);
  const formatter = new Formatter(FormatterSyntax.Intel);
  const instruction = decoder.decode();
  const text = formatter.format(instruction);
  instruction.free();
  formatter.free();
  decoder.free();
  return text;
}

const hex = (v: bigint | number): string => `0x${v.toString(16)}`;
const vector = (b: Uint8Array): string => `0x${Buffer.from(b).reverse().toString('hex')}`;

/** Registers named in the text (by any of their widths), and what the instruction implies. */
function involved(t: Test, f: Form, text: string, found: readonly Difference[]): string[] {
  const lines: string[] = [];
  const words = new Set(text.split(/[^a-z0-9()]+/));
  const aliases = (name: string, n: number): string[] =>
    n >= 8 ? [name, `${name}d`, `${name}w`, `${name}b`, `${name}l`] : [name, `e${name.slice(1)}`, name.slice(1), `${name.slice(1)}l`, `${name[1] ?? ''}l`, `${name[1] ?? ''}h`]; // prettier-ignore
  const implied = /^(mul|imul|i?div|cmpxchg|cw|cd|cq)/.test(f.mnemonic) ? ['rax', 'rdx'] : [];
  GPR.forEach((name, n) => {
    const wanted =
      aliases(name, n).some((w) => words.has(w)) ||
      implied.includes(name) ||
      found.some((d) => d.what === name);
    if (wanted || (f.instruction.unit === undefined && f.operands.length === 0))
      lines.push(`${name}=${hex(t.regs.gpr(n))}`);
  });
  lines.push(`rflags=${hex(t.regs.rflags)}`);
  const { unit } = f.instruction;
  if (unit !== undefined) lines.push(`mxcsr=${hex(t.regs.mxcsr)}`);
  for (let n = 0; n < 16; n++) {
    if (words.has(`xmm${n}`) || found.some((d) => d.what === `xmm${n}`))
      lines.push(`xmm${n}=${vector(t.regs.xmm(n))}`);
  }
  if (unit === 'fpu' || unit === 'mmx' || text.includes('mm')) {
    lines.push(
      `fcw=${hex(t.regs.fx16(FX.fcw))} fsw=${hex(t.regs.fx16(FX.fsw))} ftw=${hex(t.regs.fx16(FX.ftw))}`,
    );
    if (unit !== 'sse') for (let i = 0; i < 8; i++) lines.push(`st${i}=${vector(t.regs.st(i))}`);
  }
  if (f.mem || f.operands.length === 0 || f.mnemonic.startsWith('maskmov')) {
    lines.push(`window=${hex(DATA + t.dataOffset)}: ${Buffer.from(t.data).toString('hex')}`);
  }
  return lines;
}

/** `involved` state, then what was expected and what came. */
export function report(t: Test, f: Form, found: readonly Difference[]): string {
  const text = disassemble(t);
  return [
    `${Buffer.from(t.code).toString('hex')}  ${text}`,
    `    form ${f.number} '${f.encoding.text}' ${f.mem ? 'memory' : 'register'} at ${hex(CODE + t.codeOffset)}`,
    ...involved(t, f, text, found).map((l) => `    ${l}`),
    ...found.map((d) => `  ! ${d.what}: expected ${d.expected}, is ${d.actual}`),
  ].join('\n');
}
