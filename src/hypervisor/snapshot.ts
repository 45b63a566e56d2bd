/** Saving and restoring everything the hypervisor knows; guest frames are the machine's to save. */
import type { DomainId, VcpuId } from '../base/branded';
import type { BackendState } from './backend-ports';
import type { Core } from './core';
import { type FrameSnapshot } from './frames';
import { createGuestMemory } from './guest-memory';
import type { Domain, GuestVcpu, HypervisorSnapshot } from './types';
import type { XenSlots } from './xenslots';

/** A deep copy of plain data: records, arrays, typed arrays and primitives are all there is in the state. */
export function copyData<T>(value: T): T {
  return copyUnknown(value) as T;
}

function copyUnknown(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(copyUnknown);
  if (value instanceof Uint8Array || value instanceof Int32Array) return value.slice();
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, copyUnknown(v)]));
  }
  return value;
}

export interface MachineSide {
  readonly frames: FrameSnapshot;
  readonly slots: ReturnType<XenSlots['save']>;
}

export function saveState(core: Core): HypervisorSnapshot {
  return {
    frames: { frames: core.frames.save(), slots: core.slots.save() },
    backend: copyData(core.backend),
    domains: [...core.domains.values()].map((d) => ({
      id: d.id,
      name: d.name,
      state: copyData(d.state),
      vcpus: d.vcpus.map((v) => copyData(v.state)),
    })),
  };
}

/** Throws words for people when the snapshot is none of a machine like this one. */
export function adoptDomains(core: Core, snapshot: HypervisorSnapshot): void {
  const { frames } = snapshot.frames as MachineSide;
  for (const [name, { length }] of Object.entries(frames)) {
    if (name !== 'free' && length !== core.frames.count)
      throw new Error(`${name} is of ${length} frames, the machine has ${core.frames.count}`);
  }
  const processors = [...core.cpu.vcpus];
  for (const { id, name, state, vcpus: saved } of snapshot.domains) {
    const vcpus: GuestVcpu[] = [];
    const domain: Domain = { id: id as DomainId, name, vcpus, state: copyData(state) };
    for (const one of saved) {
      const cpu = processors.shift();
      if (cpu === undefined) throw new Error(`domain ${id} has more vCPUs than there are processors`);
      const guest = createGuestMemory(cpu, core.memory);
      vcpus.push({ domain, id: vcpus.length as VcpuId, cpu, guest, state: copyData(one) });
    }
    core.domains.set(id, domain);
  }
  restoreState(core, snapshot);
}

/** Puts the saved values into the objects that everybody holds. */
export function restoreState(core: Core, snapshot: HypervisorSnapshot): void {
  const side = snapshot.frames as MachineSide;
  core.frames.restore(side.frames);
  core.slots.restore(side.slots);
  Object.assign(core.backend, copyData(snapshot.backend as BackendState));
  for (const saved of snapshot.domains) {
    const domain = core.domains.get(saved.id);
    if (domain === undefined) throw new Error(`the snapshot has a domain ${saved.id}, this machine has none`);
    Object.assign(domain.state, copyData(saved.state));
    saved.vcpus.forEach((state, i) => {
      const v = domain.vcpus[i];
      if (v === undefined) return;
      Object.assign(v.state, copyData(state));
      v.cpu.selectTlb(v.state.kernelMode ? 0 : 1);
    });
  }
  core.cpu.flushAllTlbs();
}
