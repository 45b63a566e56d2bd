/** physdev_op (physdev.h). */
import { array, domid, hex32, i32, mfnType, struct, u16, u32, u64, u8, ulong, vaddr } from './layout';
import type { Fields, Struct } from './layout';

export const PHYSDEVOP = {
  PHYSDEVOP_IRQ_UNMASK_NOTIFY: 4, PHYSDEVOP_irq_status_query: 5, PHYSDEVOP_set_iopl: 6,
  PHYSDEVOP_set_iobitmap: 7, PHYSDEVOP_apic_read: 8, PHYSDEVOP_apic_write: 9, PHYSDEVOP_alloc_irq_vector: 10,
  PHYSDEVOP_free_irq_vector: 11, PHYSDEVOP_eoi: 12, PHYSDEVOP_map_pirq: 13, PHYSDEVOP_unmap_pirq: 14,
  PHYSDEVOP_manage_pci_add: 15, PHYSDEVOP_manage_pci_remove: 16, PHYSDEVOP_pirq_eoi_gmfn_v1: 17,
  PHYSDEVOP_restore_msi: 19, PHYSDEVOP_manage_pci_add_ext: 20, PHYSDEVOP_setup_gsi: 21,
  PHYSDEVOP_get_free_pirq: 23, PHYSDEVOP_pci_mmcfg_reserved: 24, PHYSDEVOP_pci_device_add: 25,
  PHYSDEVOP_pci_device_remove: 26, PHYSDEVOP_restore_msi_ext: 27, PHYSDEVOP_pirq_eoi_gmfn_v2: 28,
  PHYSDEVOP_dbgp_op: 29, PHYSDEVOP_prepare_msix: 30, PHYSDEVOP_release_msix: 31,
} as const; // prettier-ignore
export const physdev_eoi = struct('physdev_eoi', { irq: u32 });
export const physdev_pirq_eoi_gmfn = struct('physdev_pirq_eoi_gmfn', { gmfn: mfnType });
export const physdev_irq_status_query = struct('physdev_irq_status_query', { irq: u32, flags: hex32 });
export const physdev_set_iopl = struct('physdev_set_iopl', { iopl: u32 });
export const physdev_set_iobitmap = struct('physdev_set_iobitmap', { bitmap: vaddr, nr_ports: u32 });
export const physdev_apic = struct('physdev_apic', { apic_physbase: ulong, reg: u32, value: hex32 });
export const physdev_irq = struct('physdev_irq', { irq: u32, vector: u32 });
export const physdev_map_pirq = struct('physdev_map_pirq', {
  domid,
  type: i32,
  index: i32,
  pirq: i32,
  bus: i32,
  devfn: i32,
  entry_nr: i32,
  table_base: u64,
});
export const physdev_unmap_pirq = struct('physdev_unmap_pirq', { domid, pirq: i32 });
export const physdev_manage_pci = struct('physdev_manage_pci', { bus: u8, devfn: u8 });
export const physdev_manage_pci_ext = struct('physdev_manage_pci_ext', {
  bus: u8,
  devfn: u8,
  is_extfn: u32,
  is_virtfn: u32,
  physfn: array(u8, 2),
});
export const physdev_setup_gsi = struct('physdev_setup_gsi', { gsi: i32, triggering: u8, polarity: u8 });
export const physdev_get_free_pirq = struct('physdev_get_free_pirq', { type: i32, pirq: u32 });
export const physdev_pci_mmcfg_reserved = struct('physdev_pci_mmcfg_reserved', {
  address: u64,
  segment: u16,
  start_bus: u8,
  end_bus: u8,
  flags: hex32,
});
export const physdev_pci_device = struct('physdev_pci_device', { seg: u16, bus: u8, devfn: u8 });
export const physdev_pci_device_add = struct('physdev_pci_device_add', {
  seg: u16,
  bus: u8,
  devfn: u8,
  flags: hex32,
  physfn: array(u8, 2),
});
/** struct physdev_op (before 3.2): the command stands before the structure, which begins at its alignment, 8. */
const compat = <F extends Fields>(
  name: string,
  fields: F,
): Struct<{ cmd: typeof u32; pad: typeof u32 } & F> =>
  struct(`physdev_op.u.${name}`, { cmd: u32, pad: u32, ...fields });
export const physdev_op_set_iopl = compat('set_iopl', { iopl: u32 });
export const physdev_op_set_iobitmap = compat('set_iobitmap', { bitmap: vaddr, nr_ports: u32 });
export const physdev_op_irq_status_query = compat('irq_status_query', { irq: u32, flags: hex32 });
export const physdev_op_apic = compat('apic_op', { apic_physbase: ulong, reg: u32, value: hex32 });
export const physdev_op_irq = compat('irq_op', { irq: u32, vector: u32 });
export const physdev_dbgp_op = struct('physdev_dbgp_op', { op: u8, bus: u8, pci: physdev_pci_device });

export const XENIRQSTAT_needs_eoi = 1;
