/** The end of a domain, and things that concern all of it. */
import type { Core } from './core';
import { closeAll } from './events';
import { FRAME_FLAG } from './frames';
import { releaseMappings } from './grantmaps';
import { reclaimFrame } from './lent';
import type { ShutdownReason } from './state';
import type { Domain, GuestVcpu } from './types';
import { setRunState } from './vcpu';

/** sched_op.shutdown and crashes: no vCPU of the domain runs again. */
export function shutdown(core: Core, domain: Domain, reason: ShutdownReason, text: string): void {
  if (domain.state.shutdown !== undefined) return;
  domain.state.shutdown = reason;
  if (reason === 'crash') domain.state.crashText = text;
  for (const v of domain.vcpus) {
    // A suspended domain may go on: what waits then still waits.
    if (reason !== 'suspend') setRunState(core, v, 'offline');
    else if (v.state.run === 'running') setRunState(core, v, 'runnable');
  }
  if (reason !== 'suspend') {
    // This may be the end of a domain because of a defect in its very tables.
    try {
      releaseMappings(core, domain);
    } catch (error) {
      core.log.error(`d${domain.id}: its grant mappings cannot be dropped: ${String(error)}`);
    }
  }
  core.log.info(`d${domain.id} (${domain.name}): ${reason}${text === '' ? '' : `: ${text}`}`);
  core.observer.shutdown?.(domain, reason, text);
}

/**
 * The end of the memory of a domain that was shut down (domain_kill, domain_relinquish_resources): its channels are closed, and every frame
 * of its goes back to the machine. One that others have mapped goes when they unmap it. The domain stays in the list,
 * as one that is dying does: whoever names it finds it without ports, grants and frames.
 */
export function destroy(core: Core, domain: Domain): void {
  // A domain that suspended itself has kept its mappings until now.
  releaseMappings(core, domain);
  const { frames, types } = core;
  closeAll(core, domain);
  // What domain 0's back ends have of it they let go.
  const { maps } = core.backend;
  for (const map of maps.filter((m) => m.domain === domain.id)) {
    maps.splice(maps.indexOf(map), 1);
    if (map.writable) types.putPageAndType(map.mfn);
    else types.putPage(map.mfn);
  }
  for (const v of domain.vcpus) dropVcpuFrames(core, v);
  const { state } = domain;
  if (state.eoiFrame !== undefined) types.putPageAndType(state.eoiFrame);
  state.eoiFrame = undefined;
  const lent = [state.sharedInfo, ...state.grantFrames.splice(0), ...state.statusFrames.splice(0)];
  const owned = (mfn: number, flag: number): boolean =>
    frames.owner[mfn] === domain.id && ((frames.flags[mfn] ?? 0) & flag) !== 0;
  for (let mfn = 0; mfn < frames.count; mfn++) {
    if (!owned(mfn, FRAME_FLAG.PINNED)) continue;
    frames.flags[mfn] = (frames.flags[mfn] ?? 0) & ~FRAME_FLAG.PINNED;
    types.putPageAndType(mfn);
  }
  // Tables are gone by now, and with them every mapping but those of other domains.
  for (let mfn = 0; mfn < frames.count; mfn++) {
    if (!owned(mfn, FRAME_FLAG.ALLOCATED) || owned(mfn, FRAME_FLAG.LENT)) continue;
    frames.flags[mfn] = (frames.flags[mfn] ?? 0) & ~FRAME_FLAG.ALLOCATED;
    frames.drop(mfn);
  }
  for (const mfn of lent) reclaimFrame(core, mfn);
  core.cpu.flushAllTlbs();
}

/** What a vCPU refers to: its base tables, descriptor tables, queues and vcpu_info. */
function dropVcpuFrames({ types }: Core, v: GuestVcpu): void {
  const { state } = v;
  const held = [...state.gdtFrames, ...state.ldtPages.map(({ mfn }) => mfn)];
  if (state.userTable !== undefined) held.push(state.userTable);
  if (state.initialised) held.push(state.kernelTable);
  if (state.infoRegistered) held.push(state.infoFrame);
  state.gdtFrames = [];
  state.ldtPages = [];
  state.userTable = undefined;
  state.initialised = false;
  state.infoRegistered = false;
  for (const mfn of held) types.putPageAndType(mfn);
}

/** Where domains were ended: made for its stack, which is formatted when somebody asks. */
const crashes = new WeakMap<Domain, Error>();
export const crashOf = (domain: Domain): Error | undefined => crashes.get(domain);

export function crash(core: Core, domain: Domain, text: string): void {
  if (domain.state.shutdown === undefined) crashes.set(domain, new Error(text));
  shutdown(core, domain, 'crash', text);
}

export const assists = (domain: Domain, type: number): boolean =>
  ((domain.state.vmAssist >> BigInt(type)) & 1n) !== 0n;
