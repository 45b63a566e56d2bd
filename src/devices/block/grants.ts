/**
 * The guest's pages that requests name. With `feature-persistent` they stay mapped from one request to the next
 * (blkif.h, "feature-persistent"), the least recently used given up first.
 */
import { grantRef, type DomainId } from '../../base/branded';
import type { BackendContext, GrantMapping } from '../../hypervisor/backend';

/** As many as Linux's back end keeps by default. */
const MOST_PERSISTENT = 1056;

export interface GrantPool {
  /** @returns the mapping, or why there is none */
  acquire(ref: number, writable: boolean): GrantMapping | string;
  /** Ends the mappings of a request that is done with, but for persistent ones. */
  settle(): void;
  release(): void;
  persistent(): readonly GrantMapping[];
}

export function grantPool(
  context: BackendContext,
  domain: DomainId,
  persist: boolean,
  kept: readonly GrantMapping[] = [],
): GrantPool {
  // A Map's order is that of insertion: what was used last stands last.
  const persistent = new Map<number, GrantMapping>(kept.map((m) => [m.ref, m]));
  let passing: GrantMapping[] = [];

  return {
    acquire(ref, writable) {
      const known = persistent.get(ref);
      if (known !== undefined) {
        persistent.delete(ref);
        persistent.set(ref, known);
        return known;
      }
      if (persist) {
        // Next time it may be for the other direction.
        const both = context.mapGrant(domain, grantRef(ref), true);
        if (both.ok) {
          persistent.set(ref, both.mapping);
          return both.mapping;
        }
      }
      const granted = context.mapGrant(domain, grantRef(ref), writable);
      if (!granted.ok) return granted.reason;
      passing.push(granted.mapping);
      return granted.mapping;
    },
    settle() {
      for (const mapping of passing) context.unmapGrant(mapping);
      passing = [];
      for (const [ref, mapping] of persistent) {
        if (persistent.size <= MOST_PERSISTENT) break;
        persistent.delete(ref);
        context.unmapGrant(mapping);
      }
    },
    release() {
      for (const mapping of persistent.values()) context.unmapGrant(mapping);
      persistent.clear();
    },
    persistent: () => [...persistent.values()],
  };
}
