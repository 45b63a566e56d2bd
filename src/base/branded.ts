// A bare number is never an address. The brand exists only in the type: at run time an Mfn is a number.
import { highHalf } from './words';

declare const brand: unique symbol;

/** `T` that only the constructor of the same name hands out. */
export type Brand<T, Name extends string> = T & { readonly [brand]: Name };

/** Machine frame number: an index of a 4 KiB frame of the machine. */
export type Mfn = Brand<number, 'Mfn'>;
/** Pseudo-physical frame number: what the guest takes for a physical frame. */
export type Pfn = Brand<number, 'Pfn'>;
/** Machine address in bytes. */
export type MachineAddress = Brand<number, 'MachineAddress'>;
/** Pseudo-physical address in bytes. */
export type PseudoPhysical = Brand<number, 'PseudoPhysical'>;
/** Guest-virtual (linear) address, 64 bits, unsigned; see {@link isCanonical}. */
export type GuestVa = Brand<bigint, 'GuestVa'>;
/** domid_t, including the reserved DOMID_SELF and its kin (xen.h). */
export type DomainId = Brand<number, 'DomainId'>;
/** Index of a virtual CPU within its domain. */
export type VcpuId = Brand<number, 'VcpuId'>;
/** evtchn_port_t (event_channel.h). */
export type EventPort = Brand<number, 'EventPort'>;
/** grant_ref_t (grant_table.h). */
export type GrantRef = Brand<number, 'GrantRef'>;

export const PAGE_SIZE = 4096;

/** SDM vol. 3 §4.1.4: MAXPHYADDR is at most 52, hence at most 40 bits of frame number. */
const FRAME_LIMIT = 2 ** 40;

const integerBelow =
  <T extends number>(what: string, limit: number) =>
  (value: number): T => {
    if (!Number.isInteger(value) || value < 0 || value >= limit) {
      throw new RangeError(`${what} ${value} is not an integer in [0, 0x${limit.toString(16)})`);
    }
    return value as T;
  };

/** Each throws a RangeError, naming itself and the value, for anything outside its range. */
export const mfn = integerBelow<Mfn>('mfn', FRAME_LIMIT);
export const pfn = integerBelow<Pfn>('pfn', FRAME_LIMIT);
export const machineAddress = integerBelow<MachineAddress>('machine address', FRAME_LIMIT * PAGE_SIZE);
export const pseudoPhysical = integerBelow<PseudoPhysical>(
  'pseudo-physical address',
  FRAME_LIMIT * PAGE_SIZE,
);
export const domainId = integerBelow<DomainId>('domid', 2 ** 16);
export const vcpuId = integerBelow<VcpuId>('vcpu', 2 ** 15);
export const eventPort = integerBelow<EventPort>('event channel port', 2 ** 32);
export const grantRef = integerBelow<GrantRef>('grant reference', 2 ** 32);

/** Takes any bigint modulo 2^64, so that sums of addresses wrap as the hardware's do. */
export const guestVa = (value: bigint): GuestVa => BigInt.asUintN(64, value) as GuestVa;

/** SDM vol. 1 §3.3.7.1: with 4-level paging, bits 63:47 of a usable address are equal. */
export function isCanonical(va: GuestVa): boolean {
  const top = highHalf(va) >>> 15;
  return top === 0 || top === 0x1_ffff;
}

export const frameToMachine = (frame: Mfn): MachineAddress => (frame * PAGE_SIZE) as MachineAddress;
export const machineToFrame = (address: MachineAddress): Mfn => Math.floor(address / PAGE_SIZE) as Mfn;
