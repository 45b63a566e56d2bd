/** Event channels (event_channel.h) and virtual interrupts (xen.h). */
import { array, bytes, domid, enumOf, hex32, mfnType, port, struct, u32, u8, union } from './layout';

export const VIRQ = {
  VIRQ_TIMER: 0, VIRQ_DEBUG: 1, VIRQ_CONSOLE: 2, VIRQ_DOM_EXC: 3, VIRQ_TBUF: 4, VIRQ_DEBUGGER: 6,
  VIRQ_XENOPROF: 7, VIRQ_CON_RING: 8, VIRQ_PCPU_STATE: 9, VIRQ_MEM_EVENT: 10, VIRQ_ARGO: 11, VIRQ_ENOMEM: 12,
  VIRQ_XENPMU: 13, VIRQ_ARCH_0: 16, VIRQ_ARCH_1: 17, VIRQ_ARCH_2: 18, VIRQ_ARCH_3: 19, VIRQ_ARCH_4: 20,
  VIRQ_ARCH_5: 21, VIRQ_ARCH_6: 22, VIRQ_ARCH_7: 23,
} as const; // prettier-ignore
export const NR_VIRQS = 24;
/** Per-vCPU ones, marked "V." in xen.h; the others are one per domain. */
export const VCPU_VIRQS: readonly number[] = [
  VIRQ.VIRQ_TIMER,
  VIRQ.VIRQ_DEBUG,
  VIRQ.VIRQ_XENOPROF,
  VIRQ.VIRQ_XENPMU,
];

export const EVTCHNOP = {
  EVTCHNOP_bind_interdomain: 0, EVTCHNOP_bind_virq: 1, EVTCHNOP_bind_pirq: 2, EVTCHNOP_close: 3,
  EVTCHNOP_send: 4, EVTCHNOP_status: 5, EVTCHNOP_alloc_unbound: 6, EVTCHNOP_bind_ipi: 7,
  EVTCHNOP_bind_vcpu: 8, EVTCHNOP_unmask: 9, EVTCHNOP_reset: 10, EVTCHNOP_init_control: 11,
  EVTCHNOP_expand_array: 12, EVTCHNOP_set_priority: 13,
} as const; // prettier-ignore

export const EVTCHNSTAT = {
  EVTCHNSTAT_closed: 0, EVTCHNSTAT_unbound: 1, EVTCHNSTAT_interdomain: 2, EVTCHNSTAT_pirq: 3,
  EVTCHNSTAT_virq: 4, EVTCHNSTAT_ipi: 5,
} as const; // prettier-ignore

const virq = enumOf(u32, VIRQ, 'virq');

export const evtchn_alloc_unbound = struct('evtchn_alloc_unbound', { dom: domid, remote_dom: domid, port });
export const evtchn_bind_interdomain = struct('evtchn_bind_interdomain', {
  remote_dom: domid,
  remote_port: port,
  local_port: port,
});
export const evtchn_bind_virq = struct('evtchn_bind_virq', { virq, vcpu: u32, port });
export const evtchn_bind_pirq = struct('evtchn_bind_pirq', { pirq: u32, flags: hex32, port });
export const evtchn_bind_ipi = struct('evtchn_bind_ipi', { vcpu: u32, port });
export const evtchn_close = struct('evtchn_close', { port });
export const evtchn_send = struct('evtchn_send', { port });
const unbound = struct('evtchn_status.unbound', { dom: domid });
const interdomain = struct('evtchn_status.interdomain', { dom: domid, port });
export const evtchn_status = struct('evtchn_status', {
  dom: domid,
  port,
  status: enumOf(u32, EVTCHNSTAT),
  vcpu: u32,
  u: union('evtchn_status.u', { unbound, interdomain, pirq: u32, virq }, (s) => {
    const member = { 1: 'unbound', 2: 'interdomain', 3: 'pirq', 4: 'virq' } as const;
    return typeof s['status'] === 'number' ? member[s['status'] as keyof typeof member] : undefined;
  }),
});
export const evtchn_bind_vcpu = struct('evtchn_bind_vcpu', { port, vcpu: u32 });
export const evtchn_unmask = struct('evtchn_unmask', { port });
export const evtchn_reset = struct('evtchn_reset', { dom: domid });
export const evtchn_init_control = struct('evtchn_init_control', {
  control_gfn: mfnType,
  offset: u32,
  vcpu: u32,
  link_bits: u8,
  _pad: bytes(7),
});
export const evtchn_expand_array = struct('evtchn_expand_array', { array_gfn: mfnType });
export const evtchn_set_priority = struct('evtchn_set_priority', { port, priority: u32 });
export const evtchn_fifo_control_block = struct('evtchn_fifo_control_block', {
  ready: u32,
  _rsvd: u32,
  head: array(u32, 16),
});
