import { CALLING_SEQUENCE, hypercallPage } from '../../hypervisor/builder/hypercallpage';
import type { Call } from '../../hypervisor/state';
import type { GuestVcpu, Hypervisor } from '../../hypervisor/types';
import { readMemory } from '../inspect';

/**
 * Who called the stub that makes the hypercall: a record's own address is in the stub, which all calls go through, so
 * the return address is read from the guest's stack. Stubs are those of the hypercall page, and the one that Linux has
 * of its own since XSA-466 (arch/x86/xen/xen-asm.S, xen_hypercall_pv), which is the same without the number. A
 * debugger's read: the guest's caches stay as they are.
 */

/** Bytes of the page's stubs up to their end; after pushing rcx and r11, the return address is the third word. */
const STUB = 10;
const RETURN_ADDRESS = 16n;
const SLOT = 32;
/** Addresses that are remembered to be stubs, or not to be; a guest that makes up more starts it afresh. */
const REMEMBERED = 4096;

const has = (bytes: Uint8Array, at: number, expected: ArrayLike<number>): boolean =>
  bytes.length >= at + expected.length && Array.from(expected).every((byte, i) => byte === bytes[at + i]);

export function createCallers(hypervisor: () => Hypervisor): (vcpu: GuestVcpu, call: Call) => bigint {
  const stubs = hypercallPage();
  let known = new Map<string, boolean>();

  const read = (vcpu: GuestVcpu, address: bigint, length: number): Uint8Array =>
    readMemory(hypervisor(), vcpu, vcpu.domain, 'virtual', address, length);
  const isStub = (vcpu: GuestVcpu, { rip, nr }: Call): boolean => {
    const key = `${vcpu.domain.id} ${rip}`;
    const before = known.get(key);
    if (before !== undefined) return before;
    const found = read(vcpu, rip - BigInt(STUB), STUB + CALLING_SEQUENCE.after.length);
    const inPage = stubs.subarray(nr * SLOT, nr * SLOT + STUB);
    const is =
      has(found, STUB, CALLING_SEQUENCE.after) &&
      ((inPage.length === STUB && has(found, 0, inPage)) ||
        has(found, STUB - CALLING_SEQUENCE.bare.length, CALLING_SEQUENCE.bare));
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
