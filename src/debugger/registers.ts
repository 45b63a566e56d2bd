import type { Register, Target, VcpuRef } from '../machine/target';
import { bytesToNumber, numberToBytes } from '../base/bytes';
import { hex } from './locations';
import { aliases, parts } from '../machine/register-names';

export { flags, type Flag } from '../machine/register-names';

// Register values by name, including the parts of a register that have names of their own (SDM vol. 1 §3.4).

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
