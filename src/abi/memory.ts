/** memory_op (memory.h). */
import {
  arrayOf,
  domid,
  enumOf,
  hex32,
  mfnType,
  pfnType,
  pointer,
  struct,
  u16,
  u32,
  u64,
  ulong,
  vaddr,
  u8,
} from './layout';
import { physdev_pci_device } from './physdev';

export const XENMEM = {
  XENMEM_increase_reservation: 0, XENMEM_decrease_reservation: 1, XENMEM_maximum_ram_page: 2,
  XENMEM_current_reservation: 3, XENMEM_maximum_reservation: 4, XENMEM_machphys_mfn_list: 5,
  XENMEM_populate_physmap: 6, XENMEM_add_to_physmap: 7, XENMEM_memory_map: 9, XENMEM_machine_memory_map: 10,
  XENMEM_exchange: 11, XENMEM_machphys_mapping: 12, XENMEM_set_memory_map: 13, XENMEM_maximum_gpfn: 14,
  XENMEM_remove_from_physmap: 15, XENMEM_set_pod_target: 16, XENMEM_get_pod_target: 17,
  XENMEM_get_sharing_freed_pages: 18, XENMEM_get_sharing_shared_pages: 19, XENMEM_paging_op: 20,
  XENMEM_access_op: 21, XENMEM_sharing_op: 22, XENMEM_add_to_physmap_batch: 23, XENMEM_claim_pages: 24,
  XENMEM_machphys_compat_mfn_list: 25, XENMEM_get_vnumainfo: 26, XENMEM_reserved_device_memory_map: 27,
  XENMEM_acquire_resource: 28,
} as const; // prettier-ignore
/** The command's upper bits carry the first extent to work on. */
export const MEMOP_EXTENT_SHIFT = 6;
export const MEMOP_CMD_MASK = (1 << MEMOP_EXTENT_SHIFT) - 1;

export const xen_memory_reservation = struct('xen_memory_reservation', {
  extent_start: arrayOf(pfnType, 'nr_extents'),
  nr_extents: ulong,
  extent_order: u32,
  mem_flags: hex32,
  domid,
});
export const xen_memory_exchange = struct('xen_memory_exchange', {
  in: xen_memory_reservation,
  out: xen_memory_reservation,
  nr_exchanged: ulong,
});
export const xen_memory_domain = struct('xen_memory_domain', { domid });
export const xen_machphys_mfn_list = struct('xen_machphys_mfn_list', {
  max_extents: u32,
  extent_start: vaddr,
  nr_extents: u32,
});
export const xen_machphys_mapping = struct('xen_machphys_mapping', {
  v_start: vaddr,
  v_end: vaddr,
  max_mfn: mfnType,
});
export const XENMAPSPACE = {
  XENMAPSPACE_shared_info: 0, XENMAPSPACE_grant_table: 1, XENMAPSPACE_gmfn: 2, XENMAPSPACE_gmfn_range: 3,
  XENMAPSPACE_gmfn_foreign: 4, XENMAPSPACE_dev_mmio: 5,
} as const; // prettier-ignore
export const xen_add_to_physmap = struct('xen_add_to_physmap', {
  domid,
  size: u16,
  space: enumOf(u32, XENMAPSPACE),
  idx: ulong,
  gpfn: pfnType,
});
export const xen_add_to_physmap_batch = struct('xen_add_to_physmap_batch', {
  domid,
  space: enumOf(u16, XENMAPSPACE),
  size: u16,
  foreign_domid: domid,
  idxs: vaddr,
  gpfns: vaddr,
  errs: vaddr,
});
export const xen_remove_from_physmap = struct('xen_remove_from_physmap', { domid, gpfn: pfnType });
export const xen_memory_map = struct('xen_memory_map', { nr_entries: u32, buffer: vaddr });
export const xen_foreign_memory_map = struct('xen_foreign_memory_map', { domid, map: xen_memory_map });
export const xen_pod_target = struct('xen_pod_target', {
  target_pages: u64,
  tot_pages: u64,
  pod_cache_pages: u64,
  pod_entries: u64,
  domid,
});
/** Its first fields. */
export const xen_mem_access_op = struct('xen_mem_access_op.head', { op: u8, access: u8, domid });
export const xen_mem_acquire_resource = struct('xen_mem_acquire_resource', {
  domid,
  type: u16,
  id: u32,
  nr_frames: u32,
  pad: u32,
  frame: u64,
  frame_list: vaddr,
});
export const xen_vnuma_topology_info = struct('xen_vnuma_topology_info', {
  domid,
  pad: u16,
  nr_vnodes: u32,
  nr_vcpus: u32,
  nr_vmemranges: u32,
  vdistance: pointer(u32),
  vcpu_to_vnode: pointer(u32),
  vmemrange: vaddr,
});

export const XENMEM_RDM_ALL = 1;
export const xen_reserved_device_memory_map = struct('xen_reserved_device_memory_map', {
  flags: hex32,
  nr_entries: u32,
  buffer: vaddr,
  dev: physdev_pci_device,
});

/** One entry as the BIOS call INT 15h, EAX=E820h returns it: 20 bytes, unaligned (memory.h; ACPI 6.4 §15.1). */
export const E820_ENTRY_SIZE = 20;
export const E820_RAM = 1;
/** Entries that Xen keeps of a map (xen/include/asm-x86/e820.h E820MAX). */
export const E820_MAX = 1024;
export function e820Entry(start: bigint, size: bigint, type: number): Uint8Array {
  const entry = new Uint8Array(E820_ENTRY_SIZE);
  const view = new DataView(entry.buffer);
  view.setBigUint64(0, start, true);
  view.setBigUint64(8, size, true);
  view.setUint32(16, type, true);
  return entry;
}
