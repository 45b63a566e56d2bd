/**
 * Event channels, two-level ABI (event_channel.h): a pending bit per port and a selector bit per word of them in
 * shared memory, an upcall flag per vCPU. Behaviour follows Xen 4.17, common/event_channel.c and event_2l.c.
 */
import { EVTCHN_2L_NR_CHANNELS, shared_info } from '../abi/info';
import { VCPU_VIRQS } from '../abi/events';
import type { DomainId, EventPort, VcpuId } from '../base/branded';
import { notifyBackend } from './backend-ports';
import type { Core } from './core';
import { fail } from './hypercall';
import type { Channel, Port } from './state';
import type { Domain, GuestVcpu } from './types';
import { setPendingSelector, setUpcallPending, upcallPending, wake } from './vcpu';

const DOM0 = 0;

const newPort = (channel: Channel): Port => ({ channel, vcpu: 0 as VcpuId, priority: 7 });

/** Port 0 is never handed out. */
export const newPorts = (): Port[] => [newPort({ kind: 'reserved' })];

/** A port that is in use, or EINVAL. */
export function portOf(domain: Domain, number: number): Port {
  const port = domain.state.ports[number];
  if (port === undefined) return fail('EINVAL', `port ${number} of d${domain.id} does not exist`);
  return port;
}

export function allocatePort(domain: Domain, channel: Channel): EventPort {
  const { ports } = domain.state;
  for (let n = 0; n < EVTCHN_2L_NR_CHANNELS; n++) {
    const port = ports[n];
    if (port === undefined) ports[n] = newPort(channel);
    else if (port.channel.kind === 'free') ports[n] = newPort(channel);
    else continue;
    return n as EventPort;
  }
  return fail('ENOSPC', `all ${EVTCHN_2L_NR_CHANNELS} event channels of d${domain.id} are in use`);
}

export function vcpuOf(domain: Domain, number: number): GuestVcpu {
  const v = domain.vcpus[number];
  return v ?? fail('ENOENT', `d${domain.id} has no vCPU ${number}: it has ${domain.vcpus.length}`);
}

type Bits = 'evtchn_pending' | 'evtchn_mask';

function bit(core: Core, domain: Domain, field: Bits, port: number): boolean {
  const view = core.memory.view(domain.state.sharedInfo);
  return (view.getUint8(shared_info.offset[field] + (port >> 3)) & (1 << (port & 7))) !== 0;
}

function setBit(core: Core, domain: Domain, field: Bits, port: number, on: boolean): void {
  core.cpu.beforeStore(domain.state.sharedInfo);
  const view = core.memory.view(domain.state.sharedInfo);
  const at = shared_info.offset[field] + (port >> 3);
  const mask = 1 << (port & 7);
  const old = view.getUint8(at);
  view.setUint8(at, on ? old | mask : old & ~mask);
}

export const isPending = (core: Core, domain: Domain, port: number): boolean =>
  bit(core, domain, 'evtchn_pending', port);
export const isMasked = (core: Core, domain: Domain, port: number): boolean =>
  bit(core, domain, 'evtchn_mask', port);

function markUpcall(core: Core, v: GuestVcpu): void {
  if (upcallPending(core, v)) return;
  setUpcallPending(core, v);
  wake(core, v);
}

/** Sets a port pending and, unless it is masked, raises the upcall of the vCPU it is bound to. */
export function setPending(core: Core, domain: Domain, number: number): void {
  const port = domain.state.ports[number];
  const v = domain.vcpus[port?.vcpu ?? 0];
  if (port === undefined || v === undefined) return;
  if (isPending(core, domain, number)) return;
  setBit(core, domain, 'evtchn_pending', number, true);
  if (!isMasked(core, domain, number) && setPendingSelector(core, v, number >> 6)) markUpcall(core, v);
  for (const poller of domain.vcpus) {
    const { pollPorts } = poller.state;
    // sched_op.poll names one port, or (none or several) waits for any.
    if (pollPorts !== undefined && (pollPorts.length !== 1 || pollPorts[0] === number)) wake(core, poller);
  }
}

export function unmask(core: Core, domain: Domain, number: number): void {
  const port = portOf(domain, number);
  if (!isMasked(core, domain, number)) return;
  setBit(core, domain, 'evtchn_mask', number, false);
  const v = domain.vcpus[port.vcpu];
  if (v !== undefined && isPending(core, domain, number) && setPendingSelector(core, v, number >> 6)) {
    markUpcall(core, v);
  }
}

/** Raises a virtual interrupt; nothing when the guest has not bound it. */
export function raiseVirq(core: Core, v: GuestVcpu, virq: number): void {
  const port = VCPU_VIRQS.includes(virq) ? v.state.virqPorts[virq] : v.domain.state.globalVirqs[virq];
  if (port !== undefined) setPending(core, v.domain, port);
}

/** Tells the other end of a channel (EVTCHNOP_send). */
export function send(core: Core, domain: Domain, number: number): void {
  const { channel } = portOf(domain, number);
  const deliver: { [K in Channel['kind']]?: (c: Extract<Channel, { kind: K }>) => void } = {
    interdomain: (c) => notifyEnd(core, c.remote, c.remotePort),
    ipi: () => setPending(core, domain, number),
    // Nobody is there yet: the notification is lost, and that is no error.
    unbound: () => undefined,
  };
  const act = deliver[channel.kind] as ((c: Channel) => void) | undefined;
  if (act === undefined)
    fail('EINVAL', `port ${number} is ${describeChannel(channel)}: nothing can be sent on it`);
  act(channel);
}

function notifyEnd(core: Core, domain: DomainId, port: EventPort): void {
  if (domain === DOM0) {
    notifyBackend(core.backend, port);
    return;
  }
  const remote = core.domains.get(domain);
  if (remote !== undefined) setPending(core, remote, port);
}

export function close(core: Core, domain: Domain, number: number): void {
  const port = portOf(domain, number);
  const { channel } = port;
  if (channel.kind === 'free' || channel.kind === 'reserved') {
    fail('EINVAL', `port ${number} is ${channel.kind}: it cannot be closed`);
  }
  if (channel.kind === 'virq') {
    const v = domain.vcpus[port.vcpu];
    if (!VCPU_VIRQS.includes(channel.virq)) {
      domain.state.globalVirqs = without(domain.state.globalVirqs, channel.virq);
    } else if (v !== undefined) v.state.virqPorts = without(v.state.virqPorts, channel.virq);
  }
  if (channel.kind === 'interdomain') unbindRemote(core, domain.id, channel.remote, channel.remotePort);
  setBit(core, domain, 'evtchn_pending', number, false);
  domain.state.ports[number] = newPort({ kind: 'free' });
}

const without = (ports: Readonly<Record<number, number>>, virq: number): Record<number, number> =>
  Object.fromEntries(Object.entries(ports).filter(([n]) => Number(n) !== virq));

/** The far end of a closed channel waits to be connected again. */
function unbindRemote(core: Core, by: DomainId, remote: DomainId, remotePort: EventPort): void {
  if (remote === DOM0) {
    core.backend.ends[remotePort] = undefined;
    return;
  }
  const port = core.domains.get(remote)?.state.ports[remotePort];
  if (port !== undefined) port.channel = { kind: 'unbound', remote: by };
}

export const describeChannel = (channel: Channel): string => {
  const texts: { [K in Channel['kind']]: (c: Extract<Channel, { kind: K }>) => string } = {
    free: () => 'free',
    reserved: () => 'reserved',
    unbound: (c) => `unbound, for d${c.remote}`,
    interdomain: (c) => `connected to d${c.remote} port ${c.remotePort}`,
    virq: (c) => `bound to VIRQ ${c.virq}`,
    ipi: () => 'bound to an IPI',
  };
  return (texts[channel.kind] as (c: Channel) => string)(channel);
};
