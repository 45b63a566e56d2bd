/** The machine-to-physical table, and its inverse per domain. */
import { INVALID_M2P_ENTRY } from '../abi/mmu';
import type { Core } from './core';
import type { Domain } from './types';

/** Sets the M2P entry of a frame of `domain`'s. The guest may write what it likes there: the table is its own view. */
export function setMachineToPhysical(core: Core, domain: Domain, mfn: number, pfn: bigint): void {
  forgetPhysical(core, domain, mfn);
  core.slots.setM2p(mfn, pfn);
  const { p2m } = domain.state;
  if (pfn < BigInt(p2m.length)) p2m[Number(pfn)] = mfn;
}

export function forgetPhysical(core: Core, domain: Domain | undefined, mfn: number): void {
  const old = core.slots.m2p(mfn);
  core.slots.setM2p(mfn, INVALID_M2P_ENTRY);
  const p2m = domain?.state.p2m;
  if (p2m !== undefined && old < BigInt(p2m.length) && p2m[Number(old)] === mfn) p2m[Number(old)] = -1;
}
