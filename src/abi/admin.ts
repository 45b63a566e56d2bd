/** Sub-operations of the calls that are for dom0, its tools, or other kinds of guest. */
import { domid, hex64, struct, u16, u32, u64 } from './layout';

/** platform.h */
export const XENPF = {
  XENPF_settime32: 17, XENPF_settime64: 62, XENPF_add_memtype: 31, XENPF_del_memtype: 32,
  XENPF_read_memtype: 33, XENPF_microcode_update: 35, XENPF_platform_quirk: 39, XENPF_efi_runtime_call: 49,
  XENPF_firmware_info: 50, XENPF_enter_acpi_sleep: 51, XENPF_change_freq: 52, XENPF_getidletime: 53,
  XENPF_set_processor_pminfo: 54, XENPF_get_cpuinfo: 55, XENPF_get_cpu_version: 48, XENPF_cpu_online: 56,
  XENPF_cpu_offline: 57, XENPF_cpu_hotadd: 58, XENPF_mem_hotadd: 59, XENPF_core_parking: 60,
  XENPF_resource_op: 61, XENPF_get_symbol: 63,
} as const; // prettier-ignore

/** sysctl.h */
export const SYSCTL = {
  XEN_SYSCTL_readconsole: 1, XEN_SYSCTL_tbuf_op: 2, XEN_SYSCTL_physinfo: 3, XEN_SYSCTL_sched_id: 4,
  XEN_SYSCTL_perfc_op: 5, XEN_SYSCTL_getdomaininfolist: 6, XEN_SYSCTL_debug_keys: 7,
  XEN_SYSCTL_getcpuinfo: 8, XEN_SYSCTL_availheap: 9, XEN_SYSCTL_get_pmstat: 10, XEN_SYSCTL_cpu_hotplug: 11,
  XEN_SYSCTL_pm_op: 12, XEN_SYSCTL_page_offline_op: 14, XEN_SYSCTL_lockprof_op: 15,
  XEN_SYSCTL_cputopoinfo: 16, XEN_SYSCTL_numainfo: 17, XEN_SYSCTL_cpupool_op: 18,
  XEN_SYSCTL_scheduler_op: 19, XEN_SYSCTL_coverage_op: 20, XEN_SYSCTL_psr_cmt_op: 21,
  XEN_SYSCTL_pcitopoinfo: 22, XEN_SYSCTL_psr_alloc: 23, XEN_SYSCTL_get_cpu_levelling_caps: 25,
  XEN_SYSCTL_get_cpu_featureset: 26, XEN_SYSCTL_livepatch_op: 27, XEN_SYSCTL_get_cpu_policy: 29,
} as const; // prettier-ignore

/** domctl.h */
export const DOMCTL = {
  XEN_DOMCTL_createdomain: 1, XEN_DOMCTL_destroydomain: 2, XEN_DOMCTL_pausedomain: 3,
  XEN_DOMCTL_unpausedomain: 4, XEN_DOMCTL_getdomaininfo: 5, XEN_DOMCTL_setvcpuaffinity: 9,
  XEN_DOMCTL_shadow_op: 10, XEN_DOMCTL_max_mem: 11, XEN_DOMCTL_setvcpucontext: 12,
  XEN_DOMCTL_getvcpucontext: 13, XEN_DOMCTL_getvcpuinfo: 14, XEN_DOMCTL_max_vcpus: 15,
  XEN_DOMCTL_scheduler_op: 16, XEN_DOMCTL_setdomainhandle: 17, XEN_DOMCTL_setdebugging: 18,
  XEN_DOMCTL_irq_permission: 19, XEN_DOMCTL_iomem_permission: 20, XEN_DOMCTL_ioport_permission: 21,
  XEN_DOMCTL_hypercall_init: 22, XEN_DOMCTL_soft_reset_cont: 23, XEN_DOMCTL_settimeoffset: 24,
  XEN_DOMCTL_getvcpuaffinity: 25, XEN_DOMCTL_real_mode_area: 26, XEN_DOMCTL_resumedomain: 27,
  XEN_DOMCTL_sendtrigger: 28, XEN_DOMCTL_subscribe: 29, XEN_DOMCTL_gethvmcontext: 33,
  XEN_DOMCTL_sethvmcontext: 34, XEN_DOMCTL_set_address_size: 35, XEN_DOMCTL_get_address_size: 36,
  XEN_DOMCTL_assign_device: 37, XEN_DOMCTL_bind_pt_irq: 38, XEN_DOMCTL_memory_mapping: 39,
  XEN_DOMCTL_ioport_mapping: 40, XEN_DOMCTL_set_ext_vcpucontext: 42, XEN_DOMCTL_get_ext_vcpucontext: 43,
  XEN_DOMCTL_set_opt_feature: 44, XEN_DOMCTL_test_assign_device: 45, XEN_DOMCTL_set_target: 46,
  XEN_DOMCTL_deassign_device: 47, XEN_DOMCTL_unbind_pt_irq: 48, XEN_DOMCTL_get_device_group: 50,
  XEN_DOMCTL_debug_op: 54, XEN_DOMCTL_gethvmcontext_partial: 55, XEN_DOMCTL_vm_event_op: 56,
  XEN_DOMCTL_mem_sharing_op: 57, XEN_DOMCTL_gettscinfo: 59, XEN_DOMCTL_settscinfo: 60,
  XEN_DOMCTL_getpageframeinfo3: 61, XEN_DOMCTL_setvcpuextstate: 62, XEN_DOMCTL_getvcpuextstate: 63,
  XEN_DOMCTL_set_access_required: 64, XEN_DOMCTL_audit_p2m: 65, XEN_DOMCTL_set_virq_handler: 66,
  XEN_DOMCTL_set_broken_page_p2m: 67, XEN_DOMCTL_setnodeaffinity: 68, XEN_DOMCTL_getnodeaffinity: 69,
  XEN_DOMCTL_cacheflush: 71, XEN_DOMCTL_get_vcpu_msrs: 72, XEN_DOMCTL_set_vcpu_msrs: 73,
  XEN_DOMCTL_setvnumainfo: 74, XEN_DOMCTL_psr_cmt_op: 75, XEN_DOMCTL_monitor_op: 77,
  XEN_DOMCTL_psr_alloc: 78, XEN_DOMCTL_soft_reset: 79, XEN_DOMCTL_vuart_op: 81,
  XEN_DOMCTL_get_cpu_policy: 82, XEN_DOMCTL_set_cpu_policy: 83, XEN_DOMCTL_vmtrace_op: 84,
  XEN_DOMCTL_get_paging_mempool_size: 85, XEN_DOMCTL_set_paging_mempool_size: 86,
  XEN_DOMCTL_gdbsx_guestmemio: 1000, XEN_DOMCTL_gdbsx_pausevcpu: 1001, XEN_DOMCTL_gdbsx_unpausevcpu: 1002,
  XEN_DOMCTL_gdbsx_domstatus: 1003,
} as const; // prettier-ignore

/** kexec.h */
export const KEXEC = {
  KEXEC_CMD_kexec: 0, KEXEC_CMD_kexec_load_v1: 1, KEXEC_CMD_kexec_unload_v1: 2,
  KEXEC_CMD_kexec_get_range: 3, KEXEC_CMD_kexec_load: 4, KEXEC_CMD_kexec_unload: 5,
  KEXEC_CMD_kexec_status: 6,
} as const; // prettier-ignore

/** xenoprof.h */
export const XENOPROF = {
  XENOPROF_init: 0, XENOPROF_reset_active_list: 1, XENOPROF_reset_passive_list: 2, XENOPROF_set_active: 3,
  XENOPROF_set_passive: 4, XENOPROF_reserve_counters: 5, XENOPROF_counter: 6, XENOPROF_setup_events: 7,
  XENOPROF_enable_virq: 8, XENOPROF_start: 9, XENOPROF_stop: 10, XENOPROF_disable_virq: 11,
  XENOPROF_release_counters: 12, XENOPROF_shutdown: 13, XENOPROF_get_buffer: 14,
  XENOPROF_set_backtrace: 15, XENOPROF_get_ibs_caps: 16, XENOPROF_ibs_counter: 17,
} as const; // prettier-ignore

/** hvm/hvm_op.h */
export const HVMOP = {
  HVMOP_set_param: 0, HVMOP_get_param: 1, HVMOP_set_pci_intx_level: 2, HVMOP_set_isa_irq_level: 3,
  HVMOP_set_pci_link_route: 4, HVMOP_flush_tlbs: 5, HVMOP_pagetable_dying: 9, HVMOP_get_time: 10,
  HVMOP_xentrace: 11, HVMOP_set_mem_access: 12, HVMOP_get_mem_access: 13, HVMOP_get_mem_type: 15,
  HVMOP_set_evtchn_upcall_vector: 23, HVMOP_guest_request_vm_event: 24, HVMOP_altp2m: 25,
} as const; // prettier-ignore

/** hypfs.h */
export const HYPFS = {
  XEN_HYPFS_OP_get_version: 0, XEN_HYPFS_OP_read: 1, XEN_HYPFS_OP_write_contents: 2,
} as const; // prettier-ignore

/** argo.h */
export const ARGO = {
  XEN_ARGO_OP_register_ring: 1, XEN_ARGO_OP_unregister_ring: 2, XEN_ARGO_OP_sendv: 3,
  XEN_ARGO_OP_notify: 4,
} as const; // prettier-ignore

/** arch-x86/xen-mca.h */
export const MCA = {
  XEN_MC_fetch: 1, XEN_MC_notifydomain: 2, XEN_MC_physcpuinfo: 3, XEN_MC_msrinject: 4, XEN_MC_mceinject: 5,
} as const; // prettier-ignore

/** What a PV domain can ask of hvm_op goes as far as these. */
export const hvm_param = struct('xen_hvm_param', { domid, pad: u16, index: u32, value: hex64 });
export const hvm_pagetable_dying = struct('xen_hvm_pagetable_dying', { domid, gpa: hex64 });
export const hvm_get_time = struct('xen_hvm_get_time', { now: u64 });
/** Its first fields; the record's bytes follow. */
export const hvm_xentrace = struct('xen_hvm_xentrace.head', { event: u16, extra_bytes: u16 });
export const hvm_get_mem_type = struct('xen_hvm_get_mem_type', { domid, mem_type: u16, pfn: hex64 });
