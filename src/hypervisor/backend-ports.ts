/** Domain 0's ports: the ends of event channels that back ends hold. */
import type { DomainId, EventPort } from '../base/branded';

export interface BackendEnd {
  readonly remote: DomainId;
  readonly remotePort: EventPort;
}

/** State that is saved: `ends` by port number (0 is never used), and the ports notified but not yet served. */
export interface BackendState {
  ends: (BackendEnd | undefined)[];
  pending: number[];
  /** Grants that back ends have mapped: domain, reference, machine frame, rights. */
  maps: GrantMap[];
}

export interface GrantMap {
  readonly domain: DomainId;
  readonly ref: number;
  readonly mfn: number;
  readonly writable: boolean;
}

export const newBackendState = (): BackendState => ({ ends: [undefined], pending: [], maps: [] });

/** @returns domain 0's new port */
export function connectBackend(state: BackendState, end: BackendEnd): EventPort {
  for (let p = 1; p < state.ends.length; p++) {
    if (state.ends[p] === undefined) {
      state.ends[p] = end;
      return p as EventPort;
    }
  }
  state.ends.push(end);
  return (state.ends.length - 1) as EventPort;
}

export function notifyBackend(state: BackendState, port: EventPort): void {
  if (!state.pending.includes(port)) state.pending.push(port);
}
