/** vcpu_op (vcpu.h) and a vCPU's context (arch-x86/xen.h vcpu_guest_context, arch-x86/xen-x86_64.h cpu_user_regs). */
import {
  array,
  bytes,
  enumOf,
  flagsOf,
  i32,
  mfnType,
  struct,
  u16,
  u32,
  u64,
  u8,
  ulong,
  vaddr,
} from './layout';
import { trap_info } from './traps';

export const VCPUOP = {
  VCPUOP_initialise: 0, VCPUOP_up: 1, VCPUOP_down: 2, VCPUOP_is_up: 3, VCPUOP_get_runstate_info: 4,
  VCPUOP_register_runstate_memory_area: 5, VCPUOP_set_periodic_timer: 6, VCPUOP_stop_periodic_timer: 7,
  VCPUOP_set_singleshot_timer: 8, VCPUOP_stop_singleshot_timer: 9, VCPUOP_register_vcpu_info: 10,
  VCPUOP_send_nmi: 11, VCPUOP_get_physid: 12, VCPUOP_register_vcpu_time_memory_area: 13,
} as const; // prettier-ignore

export const RUNSTATE = {
  RUNSTATE_running: 0,
  RUNSTATE_runnable: 1,
  RUNSTATE_blocked: 2,
  RUNSTATE_offline: 3,
} as const;
export const vcpu_runstate_info = struct('vcpu_runstate_info', {
  state: enumOf(i32, RUNSTATE),
  state_entry_time: u64,
  time: array(u64, 4),
});
export const vcpu_register_runstate_memory_area = struct('vcpu_register_runstate_memory_area', {
  addr: vaddr,
});
export const vcpu_set_periodic_timer = struct('vcpu_set_periodic_timer', { period_ns: u64 });
export const VCPU_SSHOTTMR_future = 1;
export const vcpu_set_singleshot_timer = struct('vcpu_set_singleshot_timer', {
  timeout_abs_ns: u64,
  flags: flagsOf(u32, { VCPU_SSHOTTMR_future }),
});
export const vcpu_register_vcpu_info = struct('vcpu_register_vcpu_info', {
  mfn: mfnType,
  offset: u32,
  rsvd: u32,
});
export const vcpu_get_physid = struct('vcpu_get_physid', { phys_id: u64 });
export const vcpu_register_time_memory_area = struct('vcpu_register_time_memory_area', { addr: vaddr });

const padded = struct('selector', { selector: u16, _pad: bytes(6) });
export const cpu_user_regs = struct('cpu_user_regs', {
  r15: ulong, r14: ulong, r13: ulong, r12: ulong, rbp: ulong, rbx: ulong, r11: ulong, r10: ulong, r9: ulong,
  r8: ulong, rax: ulong, rcx: ulong, rdx: ulong, rsi: ulong, rdi: ulong, error_code: u32, entry_vector: u32,
  rip: vaddr, cs: u16, _pad0: u16, saved_upcall_mask: u8, _pad1: bytes(3), rflags: ulong, rsp: vaddr,
  ss: padded, es: padded, ds: padded, fs: padded, gs: padded,
}); // prettier-ignore

export const VGCF = {
  VGCF_i387_valid: 1,
  VGCF_in_kernel: 4,
  VGCF_failsafe_disables_events: 8,
  VGCF_syscall_disables_events: 16,
  VGCF_online: 32,
} as const;
export const vcpu_guest_context = struct('vcpu_guest_context', {
  fpu_ctxt: bytes(512),
  flags: ulong,
  user_regs: cpu_user_regs,
  trap_ctxt: array(trap_info, 256),
  ldt_base: vaddr,
  ldt_ents: ulong,
  gdt_frames: array(mfnType, 16),
  gdt_ents: ulong,
  kernel_ss: ulong,
  kernel_sp: vaddr,
  ctrlreg: array(ulong, 8),
  debugreg: array(ulong, 8),
  event_callback_eip: vaddr,
  failsafe_callback_eip: vaddr,
  syscall_callback_eip: vaddr,
  vm_assist: ulong,
  fs_base: vaddr,
  gs_base_kernel: vaddr,
  gs_base_user: vaddr,
});
/** Set in state_entry_time while an update is in progress (with VMASST_TYPE_runstate_update_flag). */
export const XEN_RUNSTATE_UPDATE = 1n << 63n;
