/** shared_info and what lies in it (xen.h, arch-x86/xen.h, arch-x86/xen-x86_64.h), and start_info. */
import {
  array,
  bytes,
  chars,
  flagsOf,
  i8,
  maddr,
  mfnType,
  pfnType,
  port,
  struct,
  u32,
  u64,
  u8,
  ulong,
  union,
  vaddr,
} from './layout';

export const arch_vcpu_info = struct('arch_vcpu_info', { cr2: vaddr, pad: ulong });
export const vcpu_time_info = struct('vcpu_time_info', {
  version: u32,
  pad0: u32,
  tsc_timestamp: u64,
  system_time: u64,
  tsc_to_system_mul: u32,
  tsc_shift: i8,
  flags: flagsOf(u8, { XEN_PVCLOCK_TSC_STABLE_BIT: 1, XEN_PVCLOCK_GUEST_STOPPED: 2 }),
  pad1: bytes(2),
});
export const vcpu_info = struct('vcpu_info', {
  evtchn_upcall_pending: u8,
  evtchn_upcall_mask: u8,
  evtchn_pending_sel: ulong,
  arch: arch_vcpu_info,
  time: vcpu_time_info,
});
export const arch_shared_info = struct('arch_shared_info', {
  max_pfn: ulong,
  pfn_to_mfn_frame_list_list: mfnType,
  nmi_reason: ulong,
  p2m_cr3: ulong,
  p2m_vaddr: vaddr,
  p2m_generation: ulong,
});
export const XEN_LEGACY_MAX_VCPUS = 32;
export const EVTCHN_2L_NR_CHANNELS = 4096;
export const shared_info = struct('shared_info', {
  vcpu_info: array(vcpu_info, XEN_LEGACY_MAX_VCPUS),
  evtchn_pending: array(ulong, 64),
  evtchn_mask: array(ulong, 64),
  wc_version: u32,
  wc_sec: u32,
  wc_nsec: u32,
  wc_sec_hi: u32,
  arch: arch_shared_info,
});

export const SIF = {
  SIF_PRIVILEGED: 1,
  SIF_INITDOMAIN: 2,
  SIF_MULTIBOOT_MOD: 4,
  SIF_MOD_START_PFN: 8,
  SIF_VIRT_P2M_4TOOLS: 16,
} as const;
export const MAX_GUEST_CMDLINE = 1024;
const domU = struct('start_info.console.domU', { mfn: mfnType, evtchn: port });
const dom0 = struct('start_info.console.dom0', { info_off: u32, info_size: u32 });
export const start_info = struct('start_info', {
  magic: chars(32),
  nr_pages: ulong,
  shared_info: maddr,
  flags: flagsOf(u32, SIF),
  store_mfn: mfnType,
  store_evtchn: port,
  console: union('start_info.console', { dom0, domU }, () => 'domU'),
  pt_base: vaddr,
  nr_pt_frames: ulong,
  mfn_list: vaddr,
  mod_start: ulong,
  mod_len: ulong,
  cmd_line: chars(MAX_GUEST_CMDLINE),
  first_p2m_pfn: pfnType,
  nr_p2m_frames: ulong,
});
