/**
 * Event channels: what ports are connected to, and how a notification travels. How it shows to the guest is one of
 * two ABIs, twolevel.ts or fifo.ts. Behaviour follows Xen 4.17, common/event_channel.c.
 */
import { VCPU_VIRQS } from '../abi/events';
import type { DomainId, EventPort, VcpuId } from '../base/branded';
import { notifyBackend } from './backend-ports';
import type { Core } from './core';
import { abiOf, dropFifo } from './fifo';
import { fail } from './hypercall';
import type { Channel, Port } from './state';
import type { Domain, GuestVcpu } from './types';
import { wake } from './vcpu';

const DOM0 = 0;
/** EVTCHN_FIFO_PRIORITY_DEFAULT */
const DEFAULT_PRIORITY = 7;

const newPort = (channel: Channel): Port => ({
  channel,
  vcpu: 0 as VcpuId,
  priority: DEFAULT_PRIORITY,
  lastVcpu: 0 as VcpuId,
  lastPriority: DEFAULT_PRIORITY,
});

/** Port 0 is never handed out. */
export const newPorts = (): Port[] => [newPort({ kind: 'reserved' })];

/** Ports of a domain at most, whatever its ABI could number (xl's max_event_channels). */
const MAX_PORTS = 1024;
/** Ports exist by the bucket, as soon as one of it was in use. */
const BUCKET = 64;

/** Whether a port exists, though perhaps not in use. */
export const isPort = ({ state }: Domain, number: number): boolean =>
  number < Math.max(1, Math.ceil(state.ports.length / BUCKET)) * BUCKET;

/** A port that was in use at least once, or EINVAL. */
export function portOf(domain: Domain, number: number): Port {
  const port = domain.state.ports[number];
  if (port === undefined) return fail('EINVAL', `port ${number} of d${domain.id} does not exist`);
  return port;
}

export function allocatePort(core: Core, domain: Domain, channel: Channel): EventPort {
  const { ports } = domain.state;
  const { channels: possible, isBusy } = abiOf(domain);
  const channels = Math.min(possible, MAX_PORTS);
  for (let n = 0; n < channels; n++) {
    const port = ports[n];
    if (port !== undefined && (port.channel.kind !== 'free' || isBusy(core, domain, n))) continue;
    // It keeps in mind which FIFO queue it was linked to last, since it may still be that queue's tail.
    const { lastVcpu, lastPriority } = port ?? newPort(channel);
    ports[n] = { ...newPort(channel), lastVcpu, lastPriority };
    return n as EventPort;
  }
  return fail('ENOSPC', `all ${channels} event channels of d${domain.id} are in use`);
}

export function vcpuOf(domain: Domain, number: number): GuestVcpu {
  const v = domain.vcpus[number];
  return v ?? fail('ENOENT', `d${domain.id} has no vCPU ${number}: it has ${domain.vcpus.length}`);
}

export const isPending = (core: Core, domain: Domain, port: number): boolean =>
  abiOf(domain).isPending(core, domain, port);
export const isMasked = (core: Core, domain: Domain, port: number): boolean =>
  abiOf(domain).isMasked(core, domain, port);

/** Sets a port pending and, unless it is masked, raises the upcall of the vCPU it is bound to. */
export function setPending(core: Core, domain: Domain, number: number): void {
  if (domain.state.ports[number] === undefined) return;
  if (!abiOf(domain).setPending(core, domain, number)) return;
  core.observer.pending?.(domain, number);
  for (const poller of domain.vcpus) {
    const { pollPorts } = poller.state;
    // sched_op.poll names one port, or (none or several) waits for any.
    if (pollPorts !== undefined && (pollPorts.length !== 1 || pollPorts[0] === number)) wake(core, poller);
  }
}

export function unmask(core: Core, domain: Domain, number: number): void {
  if (!isPort(domain, number)) fail('EINVAL', `port ${number} of d${domain.id} does not exist`);
  abiOf(domain).unmask(core, domain, number);
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
  abiOf(domain).clearPending(core, domain, number);
  // What the FIFO still has queued keeps its place in mind, should the number come back.
  domain.state.ports[number] = {
    ...newPort({ kind: 'free' }),
    lastVcpu: port.lastVcpu,
    lastPriority: port.lastPriority,
  };
}

/** All channels of a domain, and its pages of the FIFO ABI (EVTCHNOP_reset). */
export function closeAll(core: Core, domain: Domain): void {
  domain.state.ports.forEach((port, n) => {
    if (port.channel.kind !== 'free' && port.channel.kind !== 'reserved') close(core, domain, n);
  });
  dropFifo(core, domain);
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
