import { bytesToNumber, numberToBytes } from '../base/bytes';
import { GPR, SREG, type FieldName } from '../cpu/state';
import type { Vcpu } from '../cpu/types';
import { aliases, parts } from './register-names';
import type { Register } from './target';

/** Registers as the debugger sees them: one table, names as the manuals print them. */

interface RegisterSpec {
  readonly name: string;
  readonly group: Register['group'];
  readonly bits: number;
  readonly field: FieldName;
  readonly writable: boolean;
}

const row = (
  group: Register['group'],
  bits: number,
  writable: boolean,
  ...fields: readonly FieldName[]
): RegisterSpec[] => fields.map((field) => ({ name: field, group, bits, field, writable }));

const numbered = (prefix: 'xmm' | 'fpr', n: number): FieldName[] =>
  Array.from({ length: n }, (_, i) => `${prefix}${i.toString()}` as FieldName);

const TABLE: readonly RegisterSpec[] = [
  ...row('general', 64, true, ...GPR, 'rip', 'rflags'),
  // Base tables and control registers are the hypervisor's to change: a guest asks for it.
  ...row('control', 64, false, 'cr0', 'cr2', 'cr3', 'cr4', 'efer', 'xcr0'),
  ...row('control', 32, false, 'cpl'),
  ...row('segment', 16, false, ...SREG),
  ...row('segment', 64, true, 'fs_base', 'gs_base'),
  ...row('segment', 64, false, 'gdt_base', 'ldt_base'),
  ...row('sse', 128, true, ...numbered('xmm', 16)),
  ...row('sse', 32, true, 'mxcsr'),
  ...row('x87', 80, true, ...numbered('fpr', 8)).map((r, i) => ({ ...r, name: `st${i.toString()}` })),
  ...row('x87', 16, true, 'fcw', 'fsw', 'ftw'),
  ...row('debug', 64, false, 'dr0', 'dr1', 'dr2', 'dr3', 'dr6', 'dr7'),
];
const BY_NAME = new Map(TABLE.map((r) => [r.name, r]));

/** Physical x87 register of ST(i): TOP is bits 11–13 of the status word (SDM Vol. 1 §8.1.2). */
function physical(vcpu: Vcpu, spec: RegisterSpec): FieldName {
  if (!spec.name.startsWith('st')) return spec.field;
  const top = (vcpu.getInt('fsw') >> 11) & 7;
  return `fpr${((top + Number(spec.name.slice(2))) & 7).toString()}` as FieldName;
}

function read(vcpu: Vcpu, spec: RegisterSpec): Uint8Array {
  if (spec.name === 'rflags') return numberToBytes(vcpu.rflags, 8);
  if (spec.bits > 64) return vcpu.bytes(physical(vcpu, spec)).slice(0, spec.bits / 8);
  return numberToBytes(vcpu.get(spec.field), spec.bits / 8);
}

/** Bits of registers by their names in the manuals, from bit 0; an empty name has no meaning or none here. */
const BITS: Readonly<Record<string, readonly string[]>> = {
  // SDM Vol. 1 §3.4.3; IOPL is two bits and stands by itself.
  rflags: ['CF', '', 'PF', '', 'AF', '', 'ZF', 'SF', 'TF', 'IF', 'DF', 'OF', '', '', 'NT', '', 'RF', 'VM', 'AC', 'VIF', 'VIP', 'ID'],
  // SDM Vol. 3A §2.5
  cr0: ['PE', 'MP', 'EM', 'TS', 'ET', 'NE', ...Array<string>(10).fill(''), 'WP', '', 'AM', ...Array<string>(10).fill(''), 'NW', 'CD', 'PG'],
  cr4: ['VME', 'PVI', 'TSD', 'DE', 'PSE', 'PAE', 'MCE', 'PGE', 'PCE', 'OSFXSR', 'OSXMMEXCPT', 'UMIP', 'LA57', 'VMXE', 'SMXE', '', 'FSGSBASE', 'PCIDE', 'OSXSAVE', '', 'SMEP', 'SMAP', 'PKE'],
  // SDM Vol. 3A §2.2.1
  efer: ['SCE', ...Array<string>(7).fill(''), 'LME', '', 'LMA', 'NXE'],
  // SDM Vol. 1 §13.3
  xcr0: ['x87', 'SSE', 'AVX'],
  // SDM Vol. 1 §10.2.3: flags and masks; rounding is two bits.
  mxcsr: ['IE', 'DE', 'ZE', 'OE', 'UE', 'PE', 'DAZ', 'IM', 'DM', 'ZM', 'OM', 'UM', 'PM', '', '', 'FTZ'],
}; // prettier-ignore

const bitNames = (names: readonly string[], value: bigint): string[] =>
  names.filter((name, bit) => name !== '' && ((value >> BigInt(bit)) & 1n) !== 0n);

/** What a register's bits mean, where they mean something one by one. */
function noteOf(name: string, value: bigint): string | undefined {
  if (name === 'cr3') return `L4 in mfn 0x${((value >> 12n) & 0xff_ffff_ffffn).toString(16)}`;
  const names = BITS[name];
  if (names === undefined) return undefined;
  const iopl = name === 'rflags' ? Number((value >> 12n) & 3n) : 0;
  return [...bitNames(names, value), ...(iopl > 0 ? [`IOPL=${iopl.toString()}`] : [])].join(' ');
}

const noted = (name: string, bytes: Uint8Array): { readonly note?: string } => {
  const note = noteOf(name, bytesToNumber(bytes));
  return note === undefined ? {} : { note };
};

export const readRegisters = (vcpu: Vcpu): Register[] =>
  TABLE.map((spec) => {
    const { name, group, bits, writable } = spec;
    const bytes = read(vcpu, spec);
    return { name, group, bits, writable, bytes, ...noted(name, bytes) };
  });

/** A register or a part of one, by name (`rax`, `eax`, `zf`); a `$` or `%` before it does not matter, nor case. */
export function registerValue(vcpu: Vcpu, asked: string): bigint | undefined {
  const name = asked.replace(/^[$%]/, '').toLowerCase();
  const part = parts.get(name);
  const spec = BY_NAME.get(part?.of ?? aliases[name] ?? name);
  if (spec === undefined) return undefined;
  const whole =
    spec.bits === 64 && spec.name !== 'rflags' ? vcpu.get(spec.field) : bytesToNumber(read(vcpu, spec));
  return part === undefined ? whole : BigInt.asUintN(part.bits, whole >> BigInt(part.shift));
}

/** Bits of a register or a part of one. */
export function registerBits(asked: string): number | undefined {
  const name = asked.replace(/^[$%]/, '').toLowerCase();
  const part = parts.get(name);
  return part?.bits ?? BY_NAME.get(aliases[name] ?? name)?.bits;
}

/** Flags a person may change; the others belong to the hypervisor (IOPL, IF, VM …), bit 1 is always one. */
const WRITABLE_FLAGS = 0x0025_0dd5n;

/** @throws RangeError for an unknown or read-only register or a wrong width */
export function writeRegister(vcpu: Vcpu, name: string, bytes: Uint8Array): void {
  const spec = BY_NAME.get(name);
  if (spec === undefined) throw new RangeError(`there is no register '${name}'`);
  if (!spec.writable)
    throw new RangeError(`${name} belongs to the hypervisor: it cannot be set from outside`);
  if (bytes.length !== spec.bits / 8)
    throw new RangeError(`${name} has ${spec.bits.toString()} bits, not ${(bytes.length * 8).toString()}`);
  let value = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i] ?? 0);
  if (name === 'rflags') vcpu.rflags = (vcpu.rflags & ~WRITABLE_FLAGS) | (value & WRITABLE_FLAGS);
  else if (spec.bits > 64) vcpu.bytes(physical(vcpu, spec)).set(bytes);
  else vcpu.set(spec.field, value);
}
