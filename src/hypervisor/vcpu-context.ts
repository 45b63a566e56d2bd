/** Setting a vCPU's whole state at once (arch_set_info_guest): VCPUOP_initialise and the domain builder. */
import { hex } from '../abi/decoded';
import type { ValueOf } from '../abi/layout';
import { pteFrame } from '../abi/mmu';
import { VGCF } from '../abi/vcpu';
import type { vcpu_guest_context } from '../abi/vcpu';
import { guestVa, isCanonical, type Mfn } from '../base/branded';
import type { Core } from './core';
import { EFLAGS } from './bounce';
import { setDebugRegister } from './debugregs';
import { FRAME_TYPE } from './frames';
import { fail } from './hypercall';
import { loadGdt, loadLdt, setGdt } from './ldt';
import type { GuestVcpu } from './types';
import { loadBase } from './vcpu';

/** What a PV guest's processor always has on: protection, paging, PAE, SSE … (SDM vol. 3 §2.5). */
const CR0 = 0x8005_0033n;
const CR4 = 0x0000_0620n;
/** SCE LME LMA NX (SDM vol. 3 §2.2.1). */
const EFER = 0xd01n;
/** Power-up values of the x87 and SSE control registers (SDM vol. 1 §8.1.5, §10.2.3). */
const FCW = 0x37f;
const MXCSR = 0x1f80;

/** The processor state that a guest cannot choose. */
export function resetProcessor(v: GuestVcpu): void {
  const { cpu, state } = v;
  cpu.set('cr0', CR0);
  cpu.set('cr4', CR4);
  cpu.set('efer', EFER);
  cpu.set('xcr0', 1n);
  cpu.setInt('cpl', 3);
  cpu.setInt('fcw', FCW);
  cpu.setInt('mxcsr', MXCSR);
  cpu.setInt('ftw', 0);
  cpu.set('dr6', 0xffff_0ff0n);
  cpu.set('dr7', 0x400n);
  state.cr4 = CR4;
}

type Context = ValueOf<typeof vcpu_guest_context>;

const addresses: readonly (keyof Context & ('event_callback_eip' | 'failsafe_callback_eip' | 'syscall_callback_eip' | 'kernel_sp' | 'fs_base' | 'gs_base_kernel' | 'gs_base_user'))[] = [
  'event_callback_eip', 'failsafe_callback_eip', 'syscall_callback_eip', 'kernel_sp', 'fs_base', 'gs_base_kernel',
  'gs_base_user',
]; // prettier-ignore

export function initialiseVcpu(core: Core, v: GuestVcpu, c: Context): void {
  const { cpu, state, domain } = v;
  for (const field of addresses) {
    if (!isCanonical(guestVa(c[field]))) fail('EINVAL', `${field} ${hex(c[field])} is not canonical`);
  }
  if (!isCanonical(guestVa(c.user_regs.rip))) fail('EINVAL', `rip ${hex(c.user_regs.rip)} is not canonical`);
  for (const entry of c.trap_ctxt) {
    if (!isCanonical(guestVa(entry.address))) {
      fail('EINVAL', `handler of vector ${entry.vector}, ${hex(entry.address)}, is not canonical`);
    }
  }
  const kernel = pteFrame(c.ctrlreg[3] ?? 0n);
  const user = pteFrame(c.ctrlreg[1] ?? 0n);
  const problem = core.types.getPageAndType(kernel, domain.id, FRAME_TYPE.l4);
  if (problem !== undefined) fail('EINVAL', `kernel base table: ${problem.reason}`);
  if (user !== 0) {
    const second = core.types.getPageAndType(user, domain.id, FRAME_TYPE.l4);
    if (second !== undefined) {
      core.types.putPageAndType(kernel);
      fail('EINVAL', `user base table: ${second.reason}`);
    }
  }
  const gdt = c.gdt_frames.slice(0, Math.ceil(Number(c.gdt_ents) / 512)).map(Number);
  try {
    setGdt(core, v, gdt, Number(c.gdt_ents));
  } catch (error) {
    core.types.putPageAndType(kernel);
    if (user !== 0) core.types.putPageAndType(user);
    throw error;
  }
  state.kernelTable = kernel as Mfn;
  state.userTable = user === 0 ? undefined : (user as Mfn);
  state.kernelMode = (Number(c.flags) & VGCF.VGCF_in_kernel) !== 0;

  resetProcessor(v);
  setRegisters(v, c);
  // Entries stand at the place of their vector in this list, whatever their `vector` says.
  c.trap_ctxt.forEach((entry, n) => {
    const slot = state.traps[n];
    if (slot !== undefined)
      Object.assign(slot, { cs: entry.cs | 3, flags: entry.flags, address: entry.address });
  });
  const flag = (bit: number): boolean => (Number(c.flags) & bit) !== 0;
  state.event = { address: c.event_callback_eip, maskEvents: true };
  state.failsafe = { address: c.failsafe_callback_eip, maskEvents: flag(VGCF.VGCF_failsafe_disables_events) };
  state.syscall = { address: c.syscall_callback_eip, maskEvents: flag(VGCF.VGCF_syscall_disables_events) };
  state.kernelSs = c.kernel_ss | 3n;
  state.kernelSp = c.kernel_sp;
  state.ldtBase = c.ldt_base;
  state.ldtEntries = Number(c.ldt_ents & 0x1fffn);
  loadLdt(v);
  for (const n of [0, 1, 2, 3, 6, 7]) setDebugRegister(v, n, c.debugreg[n] ?? 0n);
  domain.state.vmAssist |= v.id === 0 ? c.vm_assist : 0n;
  state.initialised = true;
  if (flag(VGCF.VGCF_online)) state.online = true;
  loadGdt(v);
  loadBase(v);
  cpu.flushTlb();
}

function setRegisters(v: GuestVcpu, c: Context): void {
  const { cpu, state } = v;
  const r = c.user_regs;
  for (const name of [
    'r15', 'r14', 'r13', 'r12', 'rbp', 'rbx', 'r11', 'r10', 'r9', 'r8', 'rax', 'rcx', 'rdx', 'rsi', 'rdi', 'rip', 'rsp',
  ] as const) cpu.set(name, r[name]); // prettier-ignore
  cpu.rflags = (r.rflags & ~(EFLAGS.IOPL | EFLAGS.NT | EFLAGS.VM) & 0x3f_ffffn) | EFLAGS.IF | 2n;
  state.iopl = Number((r.rflags & EFLAGS.IOPL) >> 12n);
  cpu.set('cs', BigInt(r.cs | 3));
  cpu.set('ss', BigInt(r.ss.selector | 3));
  for (const name of ['es', 'ds', 'fs', 'gs'] as const) cpu.set(name, BigInt(r[name].selector));
  cpu.set('fs_base', c.fs_base);
  cpu.set('gs_base', state.kernelMode ? c.gs_base_kernel : c.gs_base_user);
  state.shadowGs = state.kernelMode ? c.gs_base_user : c.gs_base_kernel;
}
