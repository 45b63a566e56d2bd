/** Traps and callbacks (arch-x86/xen.h, arch-x86/xen-x86_64.h, callback.h, nmi.h). */
import { enumOf, flagsOf, struct, u16, u8, ulong, vaddr } from './layout';

export const trap_info = struct('trap_info', {
  vector: u8,
  flags: flagsOf(u8, { DPL1: 1, DPL2: 2, TI_IF: 4 }),
  cs: u16,
  address: vaddr,
});

export const iret_context = struct('iret_context', {
  rax: ulong,
  r11: ulong,
  rcx: ulong,
  flags: ulong,
  rip: vaddr,
  cs: ulong,
  rflags: ulong,
  rsp: vaddr,
  ss: ulong,
});
/** The guest came by SYSCALL: rcx and r11 return as SYSRET leaves them. */
export const VGCF_in_syscall = 1n << 8n;

export const CALLBACKOP = { CALLBACKOP_register: 0, CALLBACKOP_unregister: 1 } as const;
export const CALLBACKTYPE = {
  CALLBACKTYPE_event: 0,
  CALLBACKTYPE_failsafe: 1,
  CALLBACKTYPE_syscall: 2,
  CALLBACKTYPE_sysenter_deprecated: 3,
  CALLBACKTYPE_nmi: 4,
  CALLBACKTYPE_sysenter: 5,
  CALLBACKTYPE_syscall32: 7,
} as const;
export const CALLBACKF_mask_events = 1;
const callbackType = enumOf(u16, CALLBACKTYPE, 'callback type');
export const callback_register = struct('callback_register', {
  type: callbackType,
  flags: flagsOf(u16, { CALLBACKF_mask_events: 1 }),
  address: vaddr,
});
export const callback_unregister = struct('callback_unregister', { type: callbackType, _unused: u16 });

export const XENNMI = { XENNMI_register_callback: 0, XENNMI_unregister_callback: 1 } as const;
export const xennmi_callback = struct('xennmi_callback', { handler_address: vaddr, pad: ulong });

export const SEGBASE = {
  SEGBASE_FS: 0,
  SEGBASE_GS_USER: 1,
  SEGBASE_GS_KERNEL: 2,
  SEGBASE_GS_USER_SEL: 3,
} as const;
