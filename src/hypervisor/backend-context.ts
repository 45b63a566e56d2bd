/** Domain 0's side: what back ends get to work with. */
import type { DomainId, EventPort, GrantRef, Mfn } from '../base/branded';
import { DOMID } from '../abi/domains';
import type { BackendContext, DomainConnections, GrantMapping, GrantResult, XenstoreAccess } from './backend';
import { connectBackend } from './backend-ports';
import type { Core } from './core';
import { setPending } from './events';
import { FREE } from './frames';
import { resumeDomain } from './suspended';
import { acquireGrant, releaseGrant } from './grants';
import type { Domain } from './types';

export interface BackendSide {
  readonly context: BackendContext;
  /** Calls the listeners of the ports that were notified, until there are none. @returns whether there were any */
  drain(): boolean;
  /** When the first timer of a back end is due. */
  nextDeadline(): bigint | undefined;
  expireTimers(): void;
  domainMade(domain: Domain): void;
  domainGone(domain: Domain): void;
}

interface Timer {
  at: bigint | undefined;
  readonly due: () => void;
}

/** Back ends that answer each other for ever would hang the machine. */
const MAX_ROUNDS = 10_000;

export function createBackendSide(core: Core): BackendSide {
  const listeners = new Map<number, Set<() => void>>();
  const made = new Set<(connections: DomainConnections) => void>();
  const gone = new Set<(domain: DomainId) => void>();
  let xenstore: XenstoreAccess | undefined;

  function connectionsOf(domain: Domain): DomainConnections {
    const end = (guestPort: EventPort): EventPort => {
      const channel = domain.state.ports[guestPort]?.channel;
      return channel?.kind === 'interdomain' ? channel.remotePort : (0 as EventPort);
    };
    const { consoleFrame, storeFrame, consolePort, storePort } = domain.state;
    return {
      domain: domain.id,
      name: domain.name,
      consoleFrame,
      storeFrame,
      consolePort: end(consolePort),
      storePort: end(storePort),
      guestConsolePort: consolePort,
      guestStorePort: storePort,
      memoryKiB: domain.state.mapPages * 4,
      vcpus: domain.vcpus.length,
    };
  }

  function guestFrame(mfn: number): boolean {
    const owner = core.frames.owner[mfn];
    return owner !== undefined && owner !== FREE && owner !== DOMID.XEN;
  }

  function mapGrant(domain: DomainId, ref: GrantRef, writable: boolean): GrantResult {
    const granter = core.domains.get(domain);
    if (granter === undefined) return { ok: false, status: -2, reason: `there is no domain ${domain}` };
    const got = acquireGrant(core, granter, ref, DOMID.DOM0, writable);
    if (!got.ok) return got;
    core.backend.maps.push({ domain, ref, mfn: got.mfn, writable });
    return { ok: true, mapping: { domain, ref, mfn: got.mfn as Mfn, writable } };
  }

  function unmapGrant({ domain, ref, mfn, writable }: GrantMapping): void {
    const { maps } = core.backend;
    const at = maps.findIndex(
      (m) => m.domain === domain && m.ref === ref && m.mfn === mfn && m.writable === writable,
    );
    if (at < 0) return;
    maps.splice(at, 1);
    const granter = core.domains.get(domain);
    if (granter !== undefined) releaseGrant(core, granter, ref, mfn, writable);
  }

  /** A defect of a back end is its own affair: neither the guest nor the adapter ends by it. */
  function call(what: string, listener: () => void): void {
    try {
      listener();
    } catch (error) {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      core.log.error(`defect of a back end, at ${what}: ${text}`);
    }
  }

  const timers = new Set<Timer>();
  /** Asked for several times an exit. */
  let first: bigint | undefined;
  const findFirst = (): void => {
    first = undefined;
    for (const { at } of timers) if (at !== undefined && (first === undefined || at < first)) first = at;
  };

  const subscribe = <T>(set: Set<T>, listener: T): { dispose(): void } => {
    set.add(listener);
    return { dispose: () => set.delete(listener) };
  };

  const context: BackendContext = {
    connections: () => [...core.domains.values()].map(connectionsOf),
    onDomain: (listener) => subscribe(made, listener),
    onShutdown: (listener) => subscribe(gone, listener),
    frame: (mfn) =>
      guestFrame(mfn) ? { bytes: core.memory.bytes(mfn), view: core.memory.view(mfn) } : undefined,
    write: (mfn, offset, bytes) => {
      if (!guestFrame(mfn)) throw new RangeError(`${core.frames.describe(mfn)} is no guest's`);
      core.memory.write(mfn, offset, bytes);
    },
    writeU32: (mfn, offset, value) => {
      const bytes = new Uint8Array(4);
      new DataView(bytes.buffer).setUint32(0, value, true);
      context.write(mfn, offset, bytes);
    },
    mapGrant,
    unmapGrant,
    bindInterdomain: (domain, remotePort) => {
      const port = core.domains.get(domain)?.state.ports[remotePort];
      if (port?.channel.kind !== 'unbound' || port.channel.remote !== DOMID.DOM0) return undefined;
      const own = connectBackend(core.backend, { remote: domain, remotePort });
      port.channel = { kind: 'interdomain', remote: DOMID.DOM0, remotePort: own };
      return own;
    },
    close: (own) => {
      const end = core.backend.ends[own];
      if (end === undefined) return;
      core.backend.ends[own] = undefined;
      const port = core.domains.get(end.remote)?.state.ports[end.remotePort];
      if (port !== undefined) port.channel = { kind: 'unbound', remote: DOMID.DOM0 };
    },
    notify: (own) => {
      const end = core.backend.ends[own];
      const domain = end === undefined ? undefined : core.domains.get(end.remote);
      if (end !== undefined && domain !== undefined && domain.state.shutdown === undefined) {
        setPending(core, domain, end.remotePort);
      }
    },
    onEvent: (port, listener) => {
      const set = listeners.get(port) ?? new Set();
      listeners.set(port, set);
      return subscribe(set, listener);
    },
    resumeDomain: (id, how, release) => {
      const domain = core.domains.get(id);
      if (domain === undefined) throw new Error(`there is no domain ${id}`);
      resumeDomain(core, domain, how, release);
    },
    now: () => core.now(),
    timer: (due) => {
      const timer: Timer = { at: undefined, due };
      timers.add(timer);
      return {
        set: (at) => {
          timer.at = at;
          findFirst();
        },
        dispose: () => {
          timers.delete(timer);
          findFirst();
        },
      };
    },
    get xenstore() {
      return xenstore;
    },
    set xenstore(access) {
      xenstore = access;
    },
  };

  return {
    context,
    drain: () => {
      if (core.backend.pending.length === 0) return false;
      for (let round = 0; core.backend.pending.length > 0; round++) {
        if (round === MAX_ROUNDS) {
          core.log.error('back ends keep notifying each other: the rest waits for the next exit');
          return true;
        }
        const port = core.backend.pending.shift();
        if (port !== undefined) {
          for (const listener of [...(listeners.get(port) ?? [])]) call(`an event on port ${port}`, listener);
        }
      }
      return true;
    },
    nextDeadline: () => first,
    expireTimers: () => {
      const now = core.now();
      for (const timer of [...timers]) {
        if (timer.at === undefined || timer.at > now) continue;
        timer.at = undefined;
        call('a timer', timer.due);
      }
      findFirst();
    },
    domainMade: (domain) => {
      for (const listener of [...made]) listener(connectionsOf(domain));
    },
    domainGone: (domain) => {
      for (const listener of [...gone]) {
        call(`the end of d${domain.id}`, () => {
          listener(domain.id);
        });
      }
    },
  };
}
