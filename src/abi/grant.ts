/** Grant tables (grant_table.h). */
import {
  arrayOf,
  domid,
  enumOf,
  flagsOf,
  gref,
  hex32,
  hex64,
  i16,
  maddr,
  mfnType,
  struct,
  u16,
  u32,
  u64,
  union,
} from './layout';

export const GNTTABOP = {
  GNTTABOP_map_grant_ref: 0, GNTTABOP_unmap_grant_ref: 1, GNTTABOP_setup_table: 2, GNTTABOP_dump_table: 3,
  GNTTABOP_transfer: 4, GNTTABOP_copy: 5, GNTTABOP_query_size: 6, GNTTABOP_unmap_and_replace: 7,
  GNTTABOP_set_version: 8, GNTTABOP_get_status_frames: 9, GNTTABOP_get_version: 10,
  GNTTABOP_swap_grant_ref: 11, GNTTABOP_cache_flush: 12,
} as const; // prettier-ignore
export const GTF = {
  permit_access: 1, accept_transfer: 2, transitive: 3, type_mask: 3, readonly: 4, reading: 8, writing: 16,
  transfer_committed: 4, transfer_completed: 8,
  PWT: 32, PCD: 64, PAT: 128, sub_page: 256,
} as const; // prettier-ignore
export const GNTST = {
  GNTST_okay: 0, GNTST_general_error: -1, GNTST_bad_domain: -2, GNTST_bad_gntref: -3, GNTST_bad_handle: -4,
  GNTST_bad_virt_addr: -5, GNTST_bad_dev_addr: -6, GNTST_no_device_space: -7, GNTST_permission_denied: -8,
  GNTST_bad_page: -9, GNTST_bad_copy_arg: -10, GNTST_address_too_big: -11, GNTST_eagain: -12,
  GNTST_no_space: -13,
} as const; // prettier-ignore
export const GNTTAB_RESERVED_CONSOLE = 0;
export const GNTTAB_RESERVED_XENSTORE = 1;
export const GNTTAB_NR_RESERVED_ENTRIES = 8;
/** Bytes of the entry in status frames, version 2 (grant_status_t). */
export const GRANT_STATUS_SIZE = 2;

const status = enumOf(i16, GNTST, 'grant_status');
export const GNTMAP = {
  GNTMAP_device_map: 1,
  GNTMAP_host_map: 2,
  GNTMAP_readonly: 4,
  GNTMAP_application_map: 8,
  GNTMAP_contains_pte: 16,
} as const;
const mapFlags = flagsOf(u32, GNTMAP);
export const GNTCOPY_source_gref = 1;
export const GNTCOPY_dest_gref = 2;

export const grant_entry_v1 = struct('grant_entry_v1', { flags: u16, domid, frame: hex32 });
/** `grant_entry_v2.sub_page`; a full page has its frame in the same place. */
export const grant_entry_v2 = struct('grant_entry_v2', {
  flags: u16,
  domid,
  page_off: u16,
  length: u16,
  frame: hex64,
});
/** `grant_entry_v2.transitive` */
export const grant_entry_v2_transitive = struct('grant_entry_v2_transitive', {
  flags: u16,
  domid,
  trans_domid: domid,
  pad0: u16,
  gref,
  pad1: u32,
});
export const gnttab_map_grant_ref = struct('gnttab_map_grant_ref', {
  host_addr: hex64,
  flags: mapFlags,
  ref: gref,
  dom: domid,
  status,
  handle: u32,
  dev_bus_addr: maddr,
});
export const gnttab_unmap_grant_ref = struct('gnttab_unmap_grant_ref', {
  host_addr: hex64,
  dev_bus_addr: maddr,
  handle: u32,
  status,
});
export const gnttab_setup_table = struct('gnttab_setup_table', {
  dom: domid,
  nr_frames: u32,
  status,
  frame_list: arrayOf(mfnType, 'nr_frames'),
});
export const gnttab_dump_table = struct('gnttab_dump_table', { dom: domid, status });
export const gnttab_transfer = struct('gnttab_transfer', { mfn: mfnType, domid, ref: gref, status });
const copyPointer = struct('gnttab_copy_ptr', {
  u: union('gnttab_copy_ptr.u', { gmfn: mfnType, ref: gref }),
  domid,
  offset: u16,
});
export const gnttab_copy = struct('gnttab_copy', {
  source: copyPointer,
  dest: copyPointer,
  len: u16,
  flags: flagsOf(u16, { GNTCOPY_source_gref, GNTCOPY_dest_gref }),
  status,
});
export const gnttab_query_size = struct('gnttab_query_size', {
  dom: domid,
  nr_frames: u32,
  max_nr_frames: u32,
  status,
});
export const gnttab_unmap_and_replace = struct('gnttab_unmap_and_replace', {
  host_addr: hex64,
  new_addr: hex64,
  handle: u32,
  status,
});
export const gnttab_set_version = struct('gnttab_set_version', { version: u32 });
export const gnttab_get_status_frames = struct('gnttab_get_status_frames', {
  nr_frames: u32,
  dom: domid,
  status,
  frame_list: arrayOf(u64, 'nr_frames'),
});
export const gnttab_get_version = struct('gnttab_get_version', { dom: domid, pad: u16, version: u32 });
export const gnttab_swap_grant_ref = struct('gnttab_swap_grant_ref', { ref_a: gref, ref_b: gref, status });
export const GNTTAB_CACHE_CLEAN = 1;
export const GNTTAB_CACHE_INVAL = 2;
export const gnttab_cache_flush = struct('gnttab_cache_flush', {
  a: union('gnttab_cache_flush.a', { dev_bus_addr: maddr, ref: gref }),
  offset: u16,
  length: u16,
  op: hex32,
});
