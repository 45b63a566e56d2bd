/**
 * A domain that suspended itself (SCHEDOP_shutdown with SHUTDOWN_suspend) goes on. Cancelled, everything is as it
 * was (libxc's xc_domain_resume in its fast form, which only changes what the hypercall returns). Anew, the domain
 * finds what one finds that was restored from `xl save`'s file (xc_sr_restore_x86_pv.c): its memory, its vCPUs'
 * contexts and its page tables, but no event channels, no grants, no timers and no registered areas, and the rings
 * of console and xenstore connected afresh, as its start_info then says.
 */
import { XEN_LEGACY_MAX_VCPUS, shared_info, start_info, vcpu_info } from '../abi/info';
import { hex } from '../abi/decoded';
import type { Core } from './core';
import { connectRings } from './builder/rings';
import { closeAll, newPorts } from './events';
import { changeGrantVersion } from './grantentries';
import type { Domain, GuestVcpu } from './types';
import { setRunState, writeTimeInfo } from './vcpu';

export type Resumption = 'cancelled' | 'anew';

/**
 * Throws words for people when the domain is not one that can.
 * @param release back ends give up what they have of it, before all is made anew
 */
export function resumeDomain(core: Core, domain: Domain, how: Resumption, release: () => void): void {
  const { state } = domain;
  const [first] = domain.vcpus;
  if (state.shutdown !== 'suspend' || first === undefined) throw new Error(`d${domain.id} is not suspended`);
  if (how === 'anew') beginAnew(core, domain, first, release);
  // What HYPERVISOR_suspend returns: whether it was cancelled.
  first.cpu.set('rax', how === 'cancelled' ? 1n : 0n);
  state.shutdown = undefined;
  core.log.info(
    `d${domain.id} (${domain.name}): goes on, ${how === 'cancelled' ? 'its suspension cancelled' : 'as if restored'}`,
  );
}

function beginAnew(core: Core, domain: Domain, first: GuestVcpu, release: () => void): void {
  const { state } = domain;
  // The guest gives the frame of its start_info as the hypercall's third argument (xen/sched.h, SCHEDOP_shutdown).
  const startInfo = Number(first.cpu.get('rdx'));
  if (core.frames.owner[startInfo] !== domain.id)
    throw new Error(
      `d${domain.id} suspended with ${hex(startInfo)} as its start_info, which is no frame of its own`,
    );

  release();
  closeAll(core, domain);
  state.ports = newPorts();
  const info = core.memory.writable(state.sharedInfo);
  const { evtchn_pending, evtchn_mask } = shared_info.offset;
  info.fill(0, evtchn_pending, evtchn_pending + EVENT_BITS / 8);
  info.fill(0xff, evtchn_mask, evtchn_mask + EVENT_BITS / 8);
  for (const v of domain.vcpus) forget(core, domain, v);

  const problem = changeGrantVersion(core, domain, 1);
  if (problem !== undefined)
    core.log.warn(`d${domain.id}: its grant table stays of version 2: ${problem[1]}`);
  for (const mfn of [...state.grantFrames, ...state.statusFrames]) core.memory.zero(mfn);
  state.watchdogs = [];
  for (const mfn of [state.consoleFrame, state.storeFrame]) core.memory.writable(mfn).fill(0);
  connectRings(core, domain, state.consoleFrame, state.storeFrame);

  core.cpu.beforeStore(startInfo);
  const view = core.memory.view(startInfo);
  const { store_mfn, store_evtchn, shared_info: shared, console } = start_info.offset;
  view.setBigUint64(shared, BigInt(state.sharedInfo) << 12n, true);
  view.setBigUint64(store_mfn, BigInt(state.storeFrame), true);
  view.setUint32(store_evtchn, state.storePort, true);
  view.setBigUint64(console, BigInt(state.consoleFrame), true);
  view.setUint32(console + 8, state.consolePort, true);
}

/** Ports of the two-level ABI (EVTCHN_2L_NR_CHANNELS). */
const EVENT_BITS = 4096;

/** What a vCPU had registered and armed; its context stays. */
function forget(core: Core, domain: Domain, v: GuestVcpu): void {
  const { state } = v;
  if (state.infoRegistered) {
    core.types.putPageAndType(state.infoFrame);
    state.infoRegistered = false;
  }
  // Those that have no room in shared_info stay where the builder put them, too.
  state.infoFrame = domain.state.sharedInfo;
  state.infoOffset = shared_info.offset.vcpu_info + Math.min(v.id, XEN_LEGACY_MAX_VCPUS - 1) * vcpu_info.size;
  const info = core.memory.writable(state.infoFrame);
  const { evtchn_upcall_pending, evtchn_upcall_mask, evtchn_pending_sel } = vcpu_info.offset;
  info[state.infoOffset + evtchn_upcall_pending] = 0;
  info[state.infoOffset + evtchn_upcall_mask] = 1;
  info.fill(0, state.infoOffset + evtchn_pending_sel, state.infoOffset + evtchn_pending_sel + 8);
  writeTimeInfo(core, v);
  state.timeArea = 0n;
  state.runstateArea = 0n;
  state.singleshot = undefined;
  state.period = 0n;
  state.pollPorts = undefined;
  state.pollTimeout = undefined;
  state.virqPorts = {};
  if (state.online) setRunState(core, v, 'runnable');
}
