/**
 * Entering a handler of the guest's kernel: the frame that Xen pushes (create_bounce_frame, xen/arch/x86/x86_64/
 * entry.S). From the top of the new stack: rcx, r11, [ds es fs gs], [error code], rip, cs with the saved upcall
 * mask in bits 32–39, rflags, rsp, ss.
 */
import { hex } from '../abi/decoded';
import { HYPERVISOR_VIRT_END, HYPERVISOR_VIRT_START, VMASST_TYPE } from '../abi/mmu';
import { guestVa, isCanonical } from '../base/branded';
import type { Core } from './core';
import { assists, crash } from './domain';
import { explainFault } from './guest-memory';
import type { GuestVcpu } from './types';
import { FLAT_KERNEL_CS, FLAT_KERNEL_SS, setUpcallMask, toggleMode, upcallMasked } from './vcpu';

/** SDM vol. 1 §3.4.3. */
export const EFLAGS = {
  TF: 1n << 8n,
  IF: 1n << 9n,
  DF: 1n << 10n,
  IOPL: 3n << 12n,
  NT: 1n << 14n,
  RF: 1n << 16n,
  VM: 1n << 17n,
} as const;

export interface Bounce {
  /** What is being delivered, for the message when it cannot be. */
  readonly what: string;
  readonly address: bigint;
  readonly maskEvents: boolean;
  readonly error?: number | undefined;
  readonly failsafe?: boolean;
}

/** @returns false when the guest cannot take it: its domain has crashed then */
export function bounce(core: Core, v: GuestVcpu, to: Bounce): boolean {
  const { cpu, state, domain } = v;
  const rip = cpu.get('rip');
  if (to.address === 0n) {
    crash(core, domain, `vCPU ${v.id} at rip ${hex(rip)}: ${to.what}, and the guest has no handler for it`);
    return false;
  }
  const fromKernel = state.kernelMode;
  const rflags = cpu.rflags;
  const cs = cpu.get('cs');
  const ss = cpu.get('ss');
  const rsp = cpu.get('rsp');
  if (!fromKernel) toggleMode(v);

  // The stack is aligned first, so a frame never straddles oddly whatever the guest's rsp was.
  const top = (fromKernel ? rsp : state.kernelSp) & ~0xfn;
  const masked = upcallMasked(core, v);
  const iopl = assists(domain, VMASST_TYPE.VMASST_TYPE_architectural_iopl) ? BigInt(state.iopl) << 12n : 0n;
  const words = [
    cpu.get('rcx'),
    cpu.get('r11'),
    ...(to.failsafe === true ? [cpu.get('ds'), cpu.get('es'), cpu.get('fs'), cpu.get('gs')] : []),
    ...(to.error === undefined ? [] : [BigInt(to.error >>> 0)]),
    rip,
    // The guest's kernel sees itself at privilege level 0.
    (fromKernel ? cs & ~3n : cs) | (masked ? 1n << 32n : 0n),
    (rflags & ~(EFLAGS.IF | EFLAGS.IOPL)) | (masked ? 0n : EFLAGS.IF) | iopl,
    rsp,
    fromKernel ? ss & ~3n : ss,
  ];
  const frame = new Uint8Array(words.length * 8);
  const view = new DataView(frame.buffer);
  words.forEach((word, i) => view.setBigUint64(i * 8, word, true));
  const sp = BigInt.asUintN(64, top - BigInt(frame.length));

  const stack = `its kernel stack at ${hex(top)}`;
  if (sp < HYPERVISOR_VIRT_END && top > HYPERVISOR_VIRT_START) {
    crash(
      core,
      domain,
      `vCPU ${v.id} at rip ${hex(rip)}: ${to.what} cannot be delivered: ${stack} lies in Xen's part of the address space`,
    );
    return false;
  }
  if (!isCanonical(guestVa(to.address))) {
    crash(
      core,
      domain,
      `vCPU ${v.id} at rip ${hex(rip)}: the handler of ${to.what}, ${hex(to.address)}, is not canonical`,
    );
    return false;
  }
  const done = cpu.writeLinear(sp, frame, 3);
  if (done < frame.length) {
    const why = explainFault(core.memory, cpu.get('cr3'), sp + BigInt(done), true);
    crash(
      core,
      domain,
      `vCPU ${v.id} at rip ${hex(rip)}: ${to.what} cannot be delivered, ${stack} faults: ${why}`,
    );
    return false;
  }
  if (to.maskEvents) setUpcallMask(core, v, true);
  cpu.set('rsp', sp);
  cpu.set('rip', to.address);
  cpu.set('cs', FLAT_KERNEL_CS);
  cpu.set('ss', FLAT_KERNEL_SS);
  cpu.rflags = rflags & ~(EFLAGS.VM | EFLAGS.RF | EFLAGS.NT | EFLAGS.TF);
  return true;
}
