/**
 * Domain 0 as the guests see it: the other end of their event channels, grants and rings. Back ends in
 * src/devices are written against this and nothing else of the hypervisor.
 */
import type { Resumption } from './suspended';
import type { DomainId, EventPort, GrantRef, Mfn } from '../base/branded';

/** Domain 0's end of an event channel. */
export type BackendPort = EventPort;

/** A granted frame, mapped by a back end. Plain data, so that it can be part of a back end's saved state. */
export interface GrantMapping {
  readonly domain: DomainId;
  readonly ref: GrantRef;
  readonly mfn: Mfn;
  readonly writable: boolean;
}

export type GrantResult =
  | { readonly ok: true; readonly mapping: GrantMapping }
  /** `status` is a GNTST_* number (grant_table.h). */
  | { readonly ok: false; readonly status: number; readonly reason: string };

export interface BackendFrame {
  /** The page's bytes: read only through this, write with `write` so that code caches and snapshots stay right. */
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

/** The guest's side of what the builder connected for it. */
export interface DomainConnections {
  readonly domain: DomainId;
  readonly name: string;
  readonly consoleFrame: Mfn;
  readonly storeFrame: Mfn;
  /** Domain 0's ends. */
  readonly consolePort: BackendPort;
  readonly storePort: BackendPort;
  /** The guest's ends, as its start_info has them. */
  readonly guestConsolePort: EventPort;
  readonly guestStorePort: EventPort;
  readonly memoryKiB: number;
  readonly vcpus: number;
}

export interface XenstoreAccess {
  read(path: string): string | undefined;
  write(path: string, value: string): void;
  remove(path: string): void;
  list(path: string): readonly string[];
  /** Fires after the transaction or request that changed something at or below `path`. */
  watch(path: string, changed: (path: string) => void): { dispose(): void };
}

export interface BackendTimer {
  /** Calls back once, when virtual time has come to `at` ns; undefined: not at all. */
  set(at: bigint | undefined): void;
  dispose(): void;
}

/** Who looks over the back ends' shoulders: they tell of what they do, and nothing comes back. */
export interface BackendObserver {
  /** A request to xenstore; domain 0 are the toolstack and the back ends. `value`: what is written. */
  xenstore(domain: number, access: 'read' | 'write' | 'watch', path: string, value: string | undefined): void;
  /**
   * A request that is taken from a ring, or a packet that is put into one.
   * @param device `vbd/51712`, `vif/0`
   * @param request `read`, `write`, `flush`, `discard` of a disk; `tx`, `rx` of an interface
   */
  ring(
    domain: number,
    device: string,
    request: string,
    details: Readonly<Record<string, bigint | string>>,
  ): void;
}

export interface BackendContext {
  /** Set by who has the machine. */
  observer?: BackendObserver;

  /** Live domains, in order of creation. */
  connections(): readonly DomainConnections[];
  onDomain(listener: (connections: DomainConnections) => void): { dispose(): void };
  onShutdown(listener: (domain: DomainId) => void): { dispose(): void };

  /** A frame by number. The frame must be owned by a guest or granted: otherwise undefined. */
  frame(mfn: Mfn): BackendFrame | undefined;
  /** Announces and makes a store to a guest frame. Must stay inside the frame (else RangeError). */
  write(mfn: Mfn, offset: number, bytes: Uint8Array): void;
  writeU32(mfn: Mfn, offset: number, value: number): void;

  mapGrant(domain: DomainId, ref: GrantRef, writable: boolean): GrantResult;
  /**
   * Ends a mapping: clears GTF_reading/GTF_writing when it was the last, and drops the frame references. Names it
   * by its values, because after a restore the object is another one. A mapping that is none does nothing.
   */
  unmapGrant(mapping: GrantMapping): void;

  /** Connects to a port the guest left unbound for domain 0 (as a real back end does on seeing it in xenstore). */
  bindInterdomain(domain: DomainId, remotePort: EventPort): BackendPort | undefined;
  close(port: BackendPort): void;
  /** Sets the guest's end pending (EVTCHNOP_send from domain 0). */
  notify(port: BackendPort): void;
  /**
   * Called, never from inside a handler, after the guest notified this end. Listeners are wiring, not state: they
   * stay through a restore, and a back end disposes and registers them as its restored state says.
   */
  onEvent(port: BackendPort, listener: () => void): { dispose(): void };

  /**
   * A suspended domain goes on (suspended.ts). Throws words for people when it is not one.
   * @param release called when it begins anew, for back ends to give up what they have of it
   */
  resumeDomain(domain: DomainId, how: Resumption, release: () => void): void;

  /** Absolute virtual time in ns. */
  now(): bigint;
  /** A timer that is not set. As with events: which time it is set to is the back end's state to save and restore. */
  timer(due: () => void): BackendTimer;
  /** Set by the xenstore server when it exists. */
  xenstore: XenstoreAccess | undefined;
}
