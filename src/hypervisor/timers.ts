/** Timers of vCPUs: one-shot and periodic (VIRQ_TIMER), and the end of a poll; and the watchdogs of domains. */
import { VIRQ } from '../abi/events';
import type { Core } from './core';
import { shutdown } from './domain';
import { raiseVirq } from './events';
import type { GuestVcpu } from './types';
import { wake } from './vcpu';

function* deadlines(v: GuestVcpu): Generator<bigint> {
  const { singleshot, period, periodicNext, pollTimeout, online } = v.state;
  if (!online) return;
  if (singleshot !== undefined) yield singleshot;
  if (period > 0n) yield periodicNext;
  if (pollTimeout !== undefined) yield pollTimeout;
}

export function nextDeadline(core: Core): bigint | undefined {
  let first: bigint | undefined;
  for (const domain of core.domains.values()) {
    if (domain.state.shutdown !== undefined) continue;
    for (const at of domain.state.watchdogs)
      if (at !== undefined && (first === undefined || at < first)) first = at;
    for (const v of domain.vcpus) {
      for (const at of deadlines(v)) if (first === undefined || at < first) first = at;
    }
  }
  return first;
}

export function expireTimers(core: Core): void {
  const now = core.now();
  for (const domain of core.domains.values()) {
    if (domain.state.shutdown !== undefined) continue;
    const bitten = domain.state.watchdogs.findIndex((at) => at !== undefined && at <= now);
    if (bitten >= 0) {
      shutdown(core, domain, 'watchdog', `watchdog ${bitten + 1} was not set again in time`);
      continue;
    }
    for (const v of domain.vcpus) expire(core, v, now);
  }
}

function expire(core: Core, v: GuestVcpu, now: bigint): void {
  const { state } = v;
  if (!state.online) return;
  if (state.singleshot !== undefined && state.singleshot <= now) {
    state.singleshot = undefined;
    raiseVirq(core, v, VIRQ.VIRQ_TIMER);
  }
  if (state.period > 0n && state.periodicNext <= now) {
    // Ticks that were slept through are one.
    const missed = (now - state.periodicNext) / state.period;
    state.periodicNext += (missed + 1n) * state.period;
    raiseVirq(core, v, VIRQ.VIRQ_TIMER);
  }
  if (state.pollTimeout !== undefined && state.pollTimeout <= now) wake(core, v);
}
