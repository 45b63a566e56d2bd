/** Debug registers of a guest (SDM vol. 3 §17.2; Xen: set_debugreg). */
import { hex } from '../abi/decoded';
import { addressOk } from './guest-memory';
import { Refusal } from './hypercall';
import type { GuestVcpu } from './types';

const DR = ['dr0', 'dr1', 'dr2', 'dr3'] as const;
const CR4_DE = 1n << 3n;
/** Bits that are always set or always clear in DR6 and DR7. */
const adjustDr6 = (value: bigint): bigint => (value & 0x1_e00fn) | 0xffff_0ff0n;
const adjustDr7 = (value: bigint): bigint => (value & 0xffff_2bffn) | 0x400n;
const GENERAL_DETECT = 1n << 13n;
const ACTIVE = 0xffn;
/** R/W field value that means an I/O breakpoint. */
const ON_IO = 2n;

/** DR4 and DR5 are other names of DR6 and DR7 unless CR4.DE is set. */
const actual = (v: GuestVcpu, register: number): number =>
  (register === 4 || register === 5) && (v.state.cr4 & CR4_DE) === 0n ? register + 2 : register;

/** @returns why it was refused */
export function setDebugRegister(v: GuestVcpu, number: number, value: bigint): Refusal | undefined {
  const { cpu } = v;
  const register = actual(v, number);
  const address = DR[register];
  if (address !== undefined) {
    if (!addressOk(value)) {
      return new Refusal(
        'EPERM',
        `a breakpoint at ${hex(value)} would be in Xen's part of the address space`,
      );
    }
    cpu.set(address, value);
    return undefined;
  }
  if (register !== 6 && register !== 7) return new Refusal('ENODEV', `there is no debug register ${number}`);
  if (value >> 32n !== 0n) {
    return new Refusal('EINVAL', `DR${register} value ${hex(value)} has bits above 31, which are reserved`);
  }
  if (register === 6) {
    cpu.set('dr6', adjustDr6(value));
    return undefined;
  }
  if ((value & GENERAL_DETECT) !== 0n) {
    return new Refusal('EPERM', `DR7 value ${hex(value)} sets GD, which is not the guest's`);
  }
  for (let field = 16n; field < 32n; field += 4n) {
    const io = ((value >> field) & 3n) === ON_IO;
    if (io && (value & ACTIVE) !== 0n && (v.state.cr4 & CR4_DE) === 0n) {
      return new Refusal('EPERM', `DR7 value ${hex(value)} asks for an I/O breakpoint with CR4.DE clear`);
    }
  }
  cpu.set('dr7', adjustDr7(value));
  return undefined;
}

/** Undefined: there is no such register. */
export function getDebugRegister(v: GuestVcpu, number: number): bigint | undefined {
  const register = actual(v, number);
  const address = DR[register];
  if (address !== undefined) return v.cpu.get(address);
  if (register === 6) return adjustDr6(v.cpu.get('dr6'));
  return register === 7 ? adjustDr7(v.cpu.get('dr7')) : undefined;
}
