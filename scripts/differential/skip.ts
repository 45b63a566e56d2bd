import type { Form } from '../../src/cpu/encoding';

/** What one process on the host cannot tell about an instruction, by mnemonic. */
interface Skip {
  readonly mnemonics: readonly string[];
  /** Only encodings whose text matches. */
  readonly encoding?: RegExp;
  readonly reason: string;
}

const SKIPPED: readonly Skip[] = [
  { mnemonics: ['syscall', 'int', 'int3', 'int1'], reason: "enters the host's kernel" },
  { mnemonics: ['iret', 'iretd', 'iretq', 'retf', 'jmpf', 'callf', 'lss', 'lfs', 'lgs'], reason: "loads selectors, which mean the host's descriptors" },
  { mnemonics: ['jmp', 'call'], encoding: /^ff \/[35]/, reason: 'far: as above' },
  { mnemonics: ['mov'], encoding: /^8e/, reason: 'loads a selector; MOV SS also holds off the trap' },
  { mnemonics: ['pop'], encoding: /^0f/, reason: 'loads a selector' },
  { mnemonics: ['lar', 'lsl', 'verr', 'verw'], reason: "reads the host's descriptors" },
  { mnemonics: ['sgdt', 'sidt', 'sldt', 'str', 'smsw'], reason: 'barred by UMIP and emulated by the host kernel' },
  { mnemonics: ['cpuid', 'rdtsc', 'rdtscp', 'rdpmc', 'xgetbv'], reason: 'answers differ by machine and moment' },
]; // prettier-ignore

/** Why a form is not compared with the host; undefined: it is. */
export function skipReason(f: Form): string | undefined {
  return SKIPPED.find((s) => s.mnemonics.includes(f.mnemonic) && (s.encoding?.test(f.encoding.text) ?? true))
    ?.reason;
}
