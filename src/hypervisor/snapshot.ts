/** Saving and restoring everything the hypervisor knows; guest frames are the machine's to save. */
import type { BackendState } from './backend-ports';
import type { Core } from './core';
import type { FrameSnapshot } from './frames';
import type { HypervisorSnapshot } from './types';
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
      state: copyData(d.state),
      vcpus: d.vcpus.map((v) => copyData(v.state)),
    })),
  };
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
