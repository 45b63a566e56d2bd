import type { Domain } from '../hypervisor/types';
import type { EndAction, MachineConfig, ShutdownReason, StopReason } from './target';

/** What xl does with a domain that has ended (xl.cfg(5): on_poweroff, on_reboot, on_crash, on_watchdog). */
export const END_DEFAULTS: Readonly<Record<ShutdownReason, EndAction>> = {
  poweroff: 'destroy',
  reboot: 'restart',
  crash: 'destroy',
  watchdog: 'destroy',
  // Xen has no soft reset for PV domains; xl then destroys the domain.
  soft_reset: 'destroy',
  // Somebody will resume it.
  suspend: 'preserve',
};

/**
 * What becomes of domain `id` after it ended for `reason`. A restart makes the whole machine anew but for its time,
 * its trace and what was written to its disks: one of several domains cannot be restarted, and is kept as it is.
 */
export function endAction({ domains }: MachineConfig, id: number, reason: ShutdownReason): EndAction {
  const action = wanted({ domains }, id, reason);
  return action === 'restart' && domains.length > 1 ? 'preserve' : action;
}

const wanted = ({ domains }: MachineConfig, id: number, reason: ShutdownReason): EndAction =>
  domains[id - 1]?.onEnd?.[reason] ?? END_DEFAULTS[reason];

/** The end of a domain with what becomes of it; any other reason as it is. */
export function withAction(config: MachineConfig, reason: StopReason, { id, state }: Domain): StopReason {
  const ended = reason.kind === 'crash' || reason.kind === 'shutdown';
  if (!ended || state.shutdown === undefined) return reason;
  const action = endAction(config, id, state.shutdown);
  if (action === wanted(config, id, state.shutdown)) return { ...reason, action };
  const text = reason.text === '' ? state.shutdown : reason.text;
  return { ...reason, action, text: `${text}: it would start again, which one of several domains cannot` };
}

/** Every domain has ended, and at least one of them is to start again. */
export function restartDue(config: MachineConfig, domains: Iterable<Domain>): boolean {
  const actions = [...domains].map(({ id, state }) =>
    state.shutdown === undefined ? undefined : endAction(config, id, state.shutdown),
  );
  return !actions.includes(undefined) && actions.includes('restart');
}
