/** Names of the parts of registers (SDM Vol. 1 §3.4), for the debugger and for conditions. */

export interface Flag {
  readonly name: string;
  readonly shift: number;
  readonly bits: number;
  readonly meaning: string;
}
const flag = (name: string, shift: number, meaning: string, bits = 1): Flag => ({
  name,
  shift,
  bits,
  meaning,
});

/** RFLAGS, SDM vol. 1 §3.4.3. */
export const flags: readonly Flag[] = [
  flag('CF', 0, 'carry'),
  flag('PF', 2, 'parity'),
  flag('AF', 4, 'auxiliary carry'),
  flag('ZF', 6, 'zero'),
  flag('SF', 7, 'sign'),
  flag('TF', 8, 'trap'),
  flag('IF', 9, 'interrupt enable'),
  flag('DF', 10, 'direction'),
  flag('OF', 11, 'overflow'),
  flag('IOPL', 12, 'I/O privilege level', 2),
  flag('NT', 14, 'nested task'),
  flag('RF', 16, 'resume'),
  flag('AC', 18, 'alignment check'),
  flag('ID', 21, 'identification'),
];

/** A piece of a register that has a name of its own. */
export interface Part {
  readonly of: string;
  readonly shift: number;
  readonly bits: number;
}

function partNames(): ReadonlyMap<string, Part> {
  const parts = new Map<string, Part>();
  const low = (of: string, e: string, x: string, l: string): void => {
    for (const [name, bits] of [[e, 32], [x, 16], [l, 8]] as const) parts.set(name, { of, shift: 0, bits }); // prettier-ignore
  };
  for (const x of ['a', 'b', 'c', 'd']) {
    low(`r${x}x`, `e${x}x`, `${x}x`, `${x}l`);
    parts.set(`${x}h`, { of: `r${x}x`, shift: 8, bits: 8 });
  }
  for (const x of ['si', 'di', 'bp', 'sp']) low(`r${x}`, `e${x}`, x, `${x}l`);
  for (let n = 8; n < 16; n++) low(`r${n}`, `r${n}d`, `r${n}w`, `r${n}b`);
  for (const { name, shift, bits } of flags) parts.set(name.toLowerCase(), { of: 'rflags', shift, bits });
  parts.set('eflags', { of: 'rflags', shift: 0, bits: 32 });
  parts.set('eip', { of: 'rip', shift: 0, bits: 32 });
  return parts;
}
export const parts = partNames();
/** What other debuggers call some of them. */
export const aliases: Readonly<Record<string, string>> = { pc: 'rip', sp: 'rsp', fp: 'rbp' };

const whole = new Set([
  'rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi', 'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15',
  'rip', 'rflags', 'cr0', 'cr2', 'cr3', 'cr4', 'efer', 'xcr0', 'cpl', 'cs', 'ss', 'ds', 'es', 'fs', 'gs',
  'fs_base', 'gs_base', 'gdt_base', 'ldt_base', 'mxcsr', 'fcw', 'fsw', 'ftw', 'dr0', 'dr1', 'dr2', 'dr3', 'dr6', 'dr7',
]); // prettier-ignore

/** Whether it is the name of a register or of a part of one, with or without `$`; vector registers aside. */
export function partNamed(asked: string): boolean {
  const name = asked.replace(/^[$%]/, '').toLowerCase();
  return parts.has(name) || name in aliases || whole.has(name);
}

/** AMD64 psABI, figure 3.36: DWARF's numbers of the general registers. */
export const dwarfRegisters: readonly string[] = [
  'rax', 'rdx', 'rcx', 'rbx', 'rsi', 'rdi', 'rbp', 'rsp',
  'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15', 'rip',
]; // prettier-ignore
const FIRST_XMM = 17;
/** Name by DWARF's number; undefined for those that no expression here reads. */
export const registerName = (number: number): string | undefined =>
  dwarfRegisters[number] ??
  (number >= FIRST_XMM && number < FIRST_XMM + 16 ? `xmm${(number - FIRST_XMM).toString()}` : undefined);
