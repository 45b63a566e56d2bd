/** Every hypercall of Xen 4.17 for x86-64 PV guests, by number. */
import type { Declaration } from '../hypercall';
import {
  argo_op,
  dm_op,
  domctl,
  hvm_op,
  hypfs_op,
  kexec_op,
  mca,
  paging_domctl_cont,
  platform_op,
  reservedCalls,
  sysctl,
  tmem_op,
  xenoprof_op,
  xsm_op,
} from './admin';
import { set_gdt, update_descriptor } from './descriptors';
import { event_channel_op, event_channel_op_compat } from './events';
import { grant_table_op } from './grants';
import { memory_op } from './memory';
import { console_io, multicall, vm_assist, xen_version, xenpmu_op } from './misc';
import { physdev_op, physdev_op_compat } from './physdev';
import { mmu_update, mmuext_op, update_va_mapping, update_va_mapping_otherdomain } from './mmu';
import { sched_op, sched_op_compat, set_timer_op } from './sched';
import {
  callback_op,
  fpu_taskswitch,
  get_debugreg,
  iret,
  nmi_op,
  set_callbacks,
  set_debugreg,
  set_segment_base,
  set_trap_table,
  stack_switch,
} from './traps';
import { vcpu_op } from './vcpu';

export const HYPERCALLS: readonly Declaration[] = [
  set_trap_table,
  mmu_update,
  set_gdt,
  stack_switch,
  set_callbacks,
  fpu_taskswitch,
  sched_op_compat,
  platform_op,
  set_debugreg,
  get_debugreg,
  update_descriptor,
  memory_op,
  multicall,
  update_va_mapping,
  set_timer_op,
  event_channel_op_compat,
  xen_version,
  console_io,
  physdev_op_compat,
  grant_table_op,
  vm_assist,
  update_va_mapping_otherdomain,
  iret,
  vcpu_op,
  set_segment_base,
  mmuext_op,
  xsm_op,
  nmi_op,
  sched_op,
  callback_op,
  xenoprof_op,
  event_channel_op,
  physdev_op,
  hvm_op,
  sysctl,
  domctl,
  kexec_op,
  tmem_op,
  argo_op,
  xenpmu_op,
  dm_op,
  hypfs_op,
  mca,
  paging_domctl_cont,
  ...reservedCalls,
];

const byNumber: (Declaration | undefined)[] = Array.from(
  { length: 1 + Math.max(...HYPERCALLS.map((d) => d.nr)) },
  () => undefined,
);
for (const d of HYPERCALLS) byNumber[d.nr] = d;

export const declarationOf = (nr: number): Declaration | undefined =>
  nr < byNumber.length ? byNumber[nr] : undefined;
