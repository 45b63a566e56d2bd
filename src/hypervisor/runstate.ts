/** Time spent running, runnable, blocked and offline (vcpu.h vcpu_runstate_info). */
import { XEN_RUNSTATE_UPDATE, vcpu_runstate_info } from '../abi/vcpu';
import type { ValueOf } from '../abi/layout';
import { VMASST_TYPE } from '../abi/mmu';
import type { Core } from './core';
import { assists } from './domain';
import type { GuestVcpu } from './types';
import { runStateNumber } from './vcpu';

export function runstateOf(core: Core, v: GuestVcpu): ValueOf<typeof vcpu_runstate_info> {
  const { run, runSince, runTimes } = v.state;
  const n = runStateNumber(run);
  const time = runTimes.map((t, i) => (i === n ? t + (core.now() - runSince) : t));
  return { state: n, state_entry_time: runSince, time };
}

/** Renews the copy that the guest registered; it must be mapped under the present tables, else it is left. */
export function publishRunstate(core: Core, v: GuestVcpu): void {
  const { runstateArea } = v.state;
  if (runstateArea === 0n) return;
  const info = runstateOf(core, v);
  const bytes = new Uint8Array(vcpu_runstate_info.size);
  const view = new DataView(bytes.buffer);
  if (assists(v.domain, VMASST_TYPE.VMASST_TYPE_runstate_update_flag)) {
    // Readers wait while the flag is set; on one processor they never see it so.
    info.state_entry_time &= ~XEN_RUNSTATE_UPDATE;
  }
  vcpu_runstate_info.write(view, 0, info);
  v.cpu.writeLinear(runstateArea, bytes, 3);
}
