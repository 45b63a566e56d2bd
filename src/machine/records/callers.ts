import { hypercallPage } from '../../hypervisor/builder/hypercallpage';
import type { Call } from '../../hypervisor/state';
import type { GuestVcpu, Hypervisor } from '../../hypervisor/types';
import { readMemory } from '../inspect';

/**
 * Who called the hypercall page: a record's own address is in the page's stub, which all calls of a number go through,
 * so the return address is read from the guest's stack. A debugger's read: the guest's caches stay as they are.
 */

/** Bytes of a stub up to its end; after pushing rcx and r11 (hypercallpage.ts), the return address is the third word. */
const STUB = 10;
const RETURN_ADDRESS = 16n;
const SLOT = 32;
/** Addresses that are remembered to be stubs, or not to be; a guest that makes up more starts it afresh. */
const REMEMBERED = 4096;

export function createCallers(hypervisor: () => Hypervisor): (vcpu: GuestVcpu, call: Call) => bigint {
  const stubs = hypercallPage();
  let known = new Map<string, boolean>();

  const read = (vcpu: GuestVcpu, address: bigint, length: number): Uint8Array =>
    readMemory(hypervisor(), vcpu, vcpu.domain, 'virtual', address, length);
  const isStub = (vcpu: GuestVcpu, { rip, nr }: Call): boolean => {
    const key = `${vcpu.domain.id} ${rip}`;
    const before = known.get(key);
    if (before !== undefined) return before;
    const expected = stubs.subarray(nr * SLOT, nr * SLOT + STUB);
    const found = read(vcpu, rip - BigInt(STUB), STUB);
    const is =
      expected.length === STUB && found.length === STUB && found.every((byte, i) => byte === expected[i]);
    if (known.size === REMEMBERED) known = new Map();
    known.set(key, is);
    return is;
  };

  return (vcpu, call) => {
    // An entry of a multicall was called by whom the multicall was, whose number it does not have.
    if (call.depth > 0 ? known.get(`${vcpu.domain.id} ${call.rip}`) !== true : !isStub(vcpu, call)) return 0n;
    const bytes = read(vcpu, vcpu.cpu.get('rsp') + RETURN_ADDRESS, 8);
    return bytes.length < 8 ? 0n : new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  };
}
