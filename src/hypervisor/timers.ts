/** Timers of vCPUs: one-shot and periodic (VIRQ_TIMER), and the end of a poll; and the watchdogs of domains. */
import { VIRQ } from '../abi/events';
import type { Core } from './core';
import { shutdown } from './domain';
import { raiseVirq } from './events';
import type { GuestVcpu } from './types';
import { wake } from './vcpu';

const earlier = (a: bigint | undefined, b: bigint | undefined): bigint | undefined =>
  b === undefined || (a !== undefined && a <= b) ? a : b;

/** Of one vCPU's own timers. */
export function deadlineOf({ state }: GuestVcpu): bigint | undefined {
  if (!state.online) return undefined;
  const timer = state.period > 0n ? earlier(state.singleshot, state.periodicNext) : state.singleshot;
  return earlier(timer, state.pollTimeout);
}

/** Asked at every exit. */
export function nextDeadline(core: Core): bigint | undefined {
  let first: bigint | undefined;
  for (const { state, vcpus } of core.domains.values()) {
    if (state.shutdown !== undefined) continue;
    const { watchdogs } = state;
    for (let i = 0; i < watchdogs.length; i++) first = earlier(first, watchdogs[i]);
    for (let i = 0; i < vcpus.length; i++) {
      const timers = vcpus[i]?.state;
      if (timers === undefined || !timers.online) continue;
      first = earlier(first, timers.singleshot);
      if (timers.period > 0n) first = earlier(first, timers.periodicNext);
      first = earlier(first, timers.pollTimeout);
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
