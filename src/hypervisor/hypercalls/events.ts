/** event_channel_op (xen/common/event_channel.c). */
import { DOMID } from '../../abi/domains';
import {
  EVTCHNOP,
  EVTCHNSTAT,
  NR_VIRQS,
  VCPU_VIRQS,
  evtchn_alloc_unbound,
  evtchn_bind_interdomain,
  evtchn_bind_ipi,
  evtchn_bind_pirq,
  evtchn_bind_vcpu,
  evtchn_bind_virq,
  evtchn_close,
  evtchn_expand_array,
  evtchn_init_control,
  evtchn_reset,
  evtchn_send,
  evtchn_set_priority,
  evtchn_status,
  evtchn_unmask,
} from '../../abi/events';
import { enumOf, pointer, u32 } from '../../abi/layout';
import type { DomainId, EventPort } from '../../base/branded';
import type { CallContext } from '../context';
import {
  allocatePort,
  close,
  closeAll,
  describeChannel,
  isPort,
  portOf,
  send,
  setPending,
  unmask,
  vcpuOf,
} from '../events';
import { FIFO_LINK_BITS, FIFO_PRIORITY_MIN, expandArray, initControl } from '../fifo';
import { family, fail, opsOf } from '../hypercall';
import type { Channel } from '../state';
import type { Domain } from '../types';

const args = { cmd: enumOf(u32, EVTCHNOP, 'event_channel_op'), arg: pointer() };
const op = opsOf('event_channel_op', args);

/** A domain may act on itself only. */
function self({ core, domain }: CallContext, id: number): Domain {
  if (id === DOMID.SELF || id === domain.id) return domain;
  if (id !== DOMID.DOM0 && !core.domains.has(id)) return fail('ESRCH', `there is no domain ${id}`);
  return fail('EPERM', `d${domain.id} may not act on the event channels of d${id}`);
}

/** EVTCHNOP_reset_cont, which only Xen's own build of event_channel.h has. */
const EVTCHNOP_reset_cont = 14;
/** Physical interrupts that a domain without devices has numbers for: those of the machine, and 32. */
const PIRQS = 56;

const resolve = ({ domain }: CallContext, id: number): DomainId =>
  id === DOMID.SELF ? domain.id : (id as DomainId);

/** EVTCHNOP_status's number and union member for each kind of channel. */
function status(channel: Channel): { readonly code: number; readonly words: readonly [number, number] } {
  const of: { [K in Channel['kind']]: (c: Extract<Channel, { kind: K }>) => [number, number, number] } = {
    free: () => [EVTCHNSTAT.EVTCHNSTAT_closed, 0, 0],
    reserved: () => [EVTCHNSTAT.EVTCHNSTAT_closed, 0, 0],
    unbound: (c) => [EVTCHNSTAT.EVTCHNSTAT_unbound, c.remote, 0],
    interdomain: (c) => [EVTCHNSTAT.EVTCHNSTAT_interdomain, c.remote, c.remotePort],
    virq: (c) => [EVTCHNSTAT.EVTCHNSTAT_virq, c.virq, 0],
    ipi: () => [EVTCHNSTAT.EVTCHNSTAT_ipi, 0, 0],
  };
  const [code, a, b] = (of[channel.kind] as (c: Channel) => [number, number, number])(channel);
  return { code, words: [a, b] };
}

const ops = [
  op({
    name: 'bind_interdomain',
    cmd: EVTCHNOP.EVTCHNOP_bind_interdomain,
    struct: evtchn_bind_interdomain,
    out: ['local_port'],
    run(context, a) {
      const { core, domain } = context;
      const remote = resolve(context, a.remote_dom);
      if (remote === DOMID.DOM0) {
        return fail(
          'EINVAL',
          `port ${a.remote_port} of d0 is not unbound: its back ends connect to the guest, not the other way`,
        );
      }
      const other = core.domains.get(remote);
      if (other === undefined) return fail('ESRCH', `there is no domain ${remote}`);
      const far = portOf(other, a.remote_port);
      if (far.channel.kind !== 'unbound' || far.channel.remote !== domain.id) {
        return fail(
          'EINVAL',
          `port ${a.remote_port} of d${remote} is ${describeChannel(far.channel)}, not unbound for d${domain.id}`,
        );
      }
      const local = allocatePort(core, domain, {
        kind: 'interdomain',
        remote,
        remotePort: a.remote_port as EventPort,
      });
      far.channel = { kind: 'interdomain', remote: domain.id, remotePort: local };
      // A notification may have been lost while nobody was connected.
      setPending(core, domain, local);
      a.local_port = local;
      return 0;
    },
  }),
  op({
    name: 'bind_virq',
    cmd: EVTCHNOP.EVTCHNOP_bind_virq,
    struct: evtchn_bind_virq,
    out: ['port'],
    run({ core, domain }, a) {
      const { virq, vcpu } = a;
      if (virq >= NR_VIRQS) return fail('EINVAL', `VIRQ ${virq} does not exist: there are ${NR_VIRQS}`);
      const perVcpu = VCPU_VIRQS.includes(virq);
      if (!perVcpu && vcpu !== 0) {
        return fail('EINVAL', `VIRQ ${virq} is one of the whole domain, to be bound on vCPU 0, not ${vcpu}`);
      }
      const v = vcpuOf(domain, vcpu);
      const bound = perVcpu ? v.state.virqPorts : domain.state.globalVirqs;
      const existing = bound[virq];
      if (existing !== undefined) return fail('EEXIST', `VIRQ ${virq} is bound to port ${existing} already`);
      const port = allocatePort(core, domain, { kind: 'virq', virq });
      portOf(domain, port).vcpu = v.id;
      bound[virq] = port;
      a.port = port;
      return 0;
    },
  }),
  op({
    name: 'bind_pirq',
    cmd: EVTCHNOP.EVTCHNOP_bind_pirq,
    struct: evtchn_bind_pirq,
    refuse: (_context, { pirq }) =>
      pirq >= PIRQS
        ? ['EINVAL', `physical interrupt ${pirq}: there are ${PIRQS}`]
        : ['EPERM', 'an unprivileged domain has no physical interrupts'],
  }),
  op({
    name: 'close',
    cmd: EVTCHNOP.EVTCHNOP_close,
    struct: evtchn_close,
    run({ core, domain }, { port }) {
      close(core, domain, port);
      return 0;
    },
  }),
  op({
    name: 'send',
    cmd: EVTCHNOP.EVTCHNOP_send,
    struct: evtchn_send,
    run({ core, domain }, { port }) {
      send(core, domain, port);
      return 0;
    },
  }),
  op({
    name: 'status',
    cmd: EVTCHNOP.EVTCHNOP_status,
    struct: evtchn_status,
    out: ['status', 'vcpu'],
    run(context, a, { arg }) {
      const domain = self(context, a.dom);
      const port = domain.state.ports[a.port];
      if (port === undefined && !isPort(domain, a.port))
        return fail('EINVAL', `port ${a.port} does not exist`);
      const { code, words } = status(port?.channel ?? { kind: 'free' });
      a.status = code;
      a.vcpu = port?.vcpu ?? 0;
      const at = arg + BigInt(evtchn_status.offset.u);
      context.guest.write(u32, at, words[0], 'status');
      if (code === EVTCHNSTAT.EVTCHNSTAT_interdomain) context.guest.write(u32, at + 4n, words[1], 'status');
      return 0;
    },
  }),
  op({
    name: 'alloc_unbound',
    cmd: EVTCHNOP.EVTCHNOP_alloc_unbound,
    struct: evtchn_alloc_unbound,
    out: ['port'],
    run(context, a) {
      const domain = self(context, a.dom);
      a.port = allocatePort(context.core, domain, {
        kind: 'unbound',
        remote: resolve(context, a.remote_dom),
      });
      return 0;
    },
  }),
  op({
    name: 'bind_ipi',
    cmd: EVTCHNOP.EVTCHNOP_bind_ipi,
    struct: evtchn_bind_ipi,
    out: ['port'],
    run({ core, domain }, a) {
      const v = vcpuOf(domain, a.vcpu);
      const port = allocatePort(core, domain, { kind: 'ipi' });
      portOf(domain, port).vcpu = v.id;
      a.port = port;
      return 0;
    },
  }),
  op({
    name: 'bind_vcpu',
    cmd: EVTCHNOP.EVTCHNOP_bind_vcpu,
    struct: evtchn_bind_vcpu,
    run({ domain }, { port: number, vcpu }) {
      const v = vcpuOf(domain, vcpu);
      const port = portOf(domain, number);
      const { channel } = port;
      const movable =
        channel.kind === 'unbound' ||
        channel.kind === 'interdomain' ||
        (channel.kind === 'virq' && !VCPU_VIRQS.includes(channel.virq));
      if (!movable) return fail('EINVAL', `port ${number} is ${describeChannel(channel)}: its vCPU is fixed`);
      port.vcpu = v.id;
      return 0;
    },
  }),
  op({
    name: 'unmask',
    cmd: EVTCHNOP.EVTCHNOP_unmask,
    struct: evtchn_unmask,
    run({ core, domain }, { port }) {
      unmask(core, domain, port);
      return 0;
    },
  }),
  ...(
    [
      ['reset', EVTCHNOP.EVTCHNOP_reset],
      ['reset_cont', EVTCHNOP_reset_cont],
    ] as const
  ).map(([name, cmd]) =>
    op({
      name,
      cmd,
      struct: evtchn_reset,
      ...(name === 'reset' ? {} : { doc: 'how Xen goes on with a long reset; a guest may use it for one' }),
      run(context, { dom }) {
        closeAll(context.core, self(context, dom));
        return 0;
      },
    }),
  ),
  op({
    name: 'init_control',
    cmd: EVTCHNOP.EVTCHNOP_init_control,
    struct: evtchn_init_control,
    out: ['link_bits'],
    run({ core, domain }, a) {
      initControl(core, domain, vcpuOf(domain, a.vcpu), Number(a.control_gfn), a.offset);
      a.link_bits = FIFO_LINK_BITS;
      return 0;
    },
  }),
  op({
    name: 'expand_array',
    cmd: EVTCHNOP.EVTCHNOP_expand_array,
    struct: evtchn_expand_array,
    run({ core, domain }, { array_gfn }) {
      expandArray(core, domain, Number(array_gfn));
      return 0;
    },
  }),
  op({
    name: 'set_priority',
    cmd: EVTCHNOP.EVTCHNOP_set_priority,
    struct: evtchn_set_priority,
    run({ domain }, { port, priority }) {
      if (!isPort(domain, port)) return fail('EINVAL', `port ${port} does not exist`);
      if (domain.state.fifoArray === undefined)
        return fail('ENOSYS', 'the two-level event ABI has no priorities');
      if (priority > FIFO_PRIORITY_MIN)
        return fail('EINVAL', `priority ${priority}: the lowest is ${FIFO_PRIORITY_MIN}`);
      const found = domain.state.ports[port];
      if (found === undefined || found.channel.kind === 'free' || found.channel.kind === 'reserved')
        return fail('EACCES', `port ${port} is not in use`);
      // It takes effect when the port is linked the next time.
      found.priority = priority;
      return 0;
    },
  }),
];

export const event_channel_op = family({
  name: 'event_channel_op',
  nr: 32,
  doc: 'event_channel.h',
  args,
  cmd: ({ cmd }) => cmd,
  pointer: ({ arg }) => arg,
  ops,
});

const compatArgs = { op: pointer() };
const compatOp = opsOf('event_channel_op_compat', compatArgs);

/** Before interface version 0x00030202: the number stands at the front of the structure (struct evtchn_op). */
export const event_channel_op_compat = family({
  name: 'event_channel_op_compat',
  nr: 16,
  doc: 'event_channel.h struct evtchn_op (before 3.2)',
  args: compatArgs,
  cmd: ({ op: at }, memory) => {
    const bytes = memory(at, 4);
    return bytes === undefined ? undefined : new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  },
  pointer: ({ op: at }) => at,
  // Those numbered up to 9 exist there; the structure follows the number, aligned to 4.
  ops: ops
    .filter((o) => o.cmd <= EVTCHNOP.EVTCHNOP_unmask)
    .map((o) => ({
      ...compatOp({ name: o.name, cmd: o.cmd }),
      status: o.status,
      struct: o.struct,
      run: (context: CallContext, { op: at }: { readonly op: bigint }) =>
        o.run(context, { cmd: o.cmd, arg: at + 4n }, at + 4n),
    })),
});
