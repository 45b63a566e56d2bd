/**
 * The two-level event ABI (xen.h shared_info): a pending and a mask bit per port, a selector bit per 64 of them in
 * vcpu_info (Xen: common/event_2l.c).
 */
import { EVTCHN_2L_NR_CHANNELS, shared_info } from '../abi/info';
import type { Core } from './core';
import type { PortAbi } from './port-abi';
import type { Domain } from './types';
import { raiseUpcall, setPendingSelector } from './vcpu';

type Bits = 'evtchn_pending' | 'evtchn_mask';

function bit(core: Core, domain: Domain, field: Bits, port: number): boolean {
  const at = shared_info.offset[field] + (port >> 3);
  return (core.memory.byteAt(domain.state.sharedInfo, at) & (1 << (port & 7))) !== 0;
}

function setBit(core: Core, domain: Domain, field: Bits, port: number, on: boolean): void {
  const { sharedInfo } = domain.state;
  const at = shared_info.offset[field] + (port >> 3);
  const mask = 1 << (port & 7);
  const old = core.memory.byteAt(sharedInfo, at);
  core.memory.setByteAt(sharedInfo, at, on ? old | mask : old & ~mask);
}

/** Selects the port's word on its vCPU and, if it was not selected, raises the upcall. */
function select(core: Core, domain: Domain, number: number): void {
  const v = domain.vcpus[domain.state.ports[number]?.vcpu ?? 0];
  if (v !== undefined && setPendingSelector(core, v, number >> 6)) raiseUpcall(core, v);
}

export const TWO_LEVEL: PortAbi = {
  channels: EVTCHN_2L_NR_CHANNELS,
  isPending: (core, domain, number) => bit(core, domain, 'evtchn_pending', number),
  isMasked: (core, domain, number) => bit(core, domain, 'evtchn_mask', number),
  isBusy: () => false,
  setPending: (core, domain, number) => {
    if (bit(core, domain, 'evtchn_pending', number)) return false;
    setBit(core, domain, 'evtchn_pending', number, true);
    if (!bit(core, domain, 'evtchn_mask', number)) select(core, domain, number);
    return true;
  },
  clearPending: (core, domain, number) => setBit(core, domain, 'evtchn_pending', number, false),
  unmask: (core, domain, number) => {
    if (!bit(core, domain, 'evtchn_mask', number)) return;
    setBit(core, domain, 'evtchn_mask', number, false);
    if (bit(core, domain, 'evtchn_pending', number)) select(core, domain, number);
  },
};
