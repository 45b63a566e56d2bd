import type { Register, Target, VcpuRef } from '../machine/target';
import { hex } from './locations';

// Register values by name, including the parts of a register that have names of their own (SDM vol. 1 §3.4).

export const bytesToNumber = (bytes: Uint8Array): bigint => {
  let value = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i] ?? 0);
  return value;
};

/** Little-endian, truncated to `length` bytes. */
export function numberToBytes(value: bigint, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let rest = BigInt.asUintN(length * 8, value);
  for (let i = 0; i < length; i++, rest >>= 8n) bytes[i] = Number(rest & 0xffn);
  return bytes;
}

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

interface Part {
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
const parts = partNames();
const aliases: Readonly<Record<string, string>> = { pc: 'rip', sp: 'rsp', fp: 'rbp' };

/** A register or a part of one; `found` says which. */
interface Resolved {
  readonly register: Register;
  readonly shift: number;
  readonly bits: number;
}

export interface RegisterFile {
  readonly all: readonly Register[];
  /** Case does not matter, nor does a `$` or `%` before the name. */
  get(name: string): bigint | undefined;
  /** As `get`, but an error that names the register when it is missing. */
  need(name: string): bigint;
  find(name: string): Resolved | undefined;
}

export function registerFile(all: readonly Register[]): RegisterFile {
  const byName = new Map(all.map((register) => [register.name.toLowerCase(), register]));
  const find = (asked: string): Resolved | undefined => {
    const lower = asked.replace(/^[$%]/, '').toLowerCase();
    const whole = byName.get(lower) ?? byName.get(aliases[lower] ?? '');
    if (whole !== undefined) return { register: whole, shift: 0, bits: whole.bits };
    const part = parts.get(lower);
    const register = part === undefined ? undefined : byName.get(part.of);
    return part === undefined || register === undefined
      ? undefined
      : { register, shift: part.shift, bits: part.bits };
  };
  const get = (name: string): bigint | undefined => {
    const found = find(name);
    if (found === undefined) return undefined;
    return BigInt.asUintN(found.bits, bytesToNumber(found.register.bytes) >> BigInt(found.shift));
  };
  return {
    all,
    get,
    find,
    need: (name) => {
      const value = get(name);
      if (value === undefined) throw new Error(`the target has no register '${name}'`);
      return value;
    },
  };
}

export const readRegisters = async (target: Target, vcpu: VcpuRef): Promise<RegisterFile> =>
  registerFile(await target.registers(vcpu));

/** Writing a part keeps the rest (unlike the processor's 32-bit writes: it is a person who sets eax here). */
export async function setRegister(target: Target, vcpu: VcpuRef, name: string, value: bigint): Promise<void> {
  const found = (await readRegisters(target, vcpu)).find(name);
  if (found === undefined) throw new Error(`there is no register '${name}'`);
  const { register, shift, bits } = found;
  if (!register.writable) throw new Error(`${register.name} cannot be written`);
  if (value < -(1n << BigInt(bits - 1)) || value >= 1n << BigInt(bits)) {
    throw new Error(`${hex(value)} does not fit the ${bits} bits of ${name}`);
  }
  const mask = ((1n << BigInt(bits)) - 1n) << BigInt(shift);
  const old = bytesToNumber(register.bytes);
  const merged = (old & ~mask) | (BigInt.asUintN(bits, value) << BigInt(shift));
  await target.setRegister(vcpu, register.name, numberToBytes(merged, register.bytes.length));
}
