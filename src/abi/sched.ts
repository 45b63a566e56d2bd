/** sched_op (sched.h). */
import { arrayOf, domid, enumOf, i32, port, struct, u32, u64 } from './layout';

export const SCHEDOP = {
  SCHEDOP_yield: 0, SCHEDOP_block: 1, SCHEDOP_shutdown: 2, SCHEDOP_poll: 3, SCHEDOP_remote_shutdown: 4,
  SCHEDOP_shutdown_code: 5, SCHEDOP_watchdog: 6, SCHEDOP_pin_override: 7,
} as const; // prettier-ignore
export const SHUTDOWN = {
  SHUTDOWN_poweroff: 0, SHUTDOWN_reboot: 1, SHUTDOWN_suspend: 2, SHUTDOWN_crash: 3, SHUTDOWN_watchdog: 4,
  SHUTDOWN_soft_reset: 5,
} as const; // prettier-ignore
const reason = enumOf(u32, SHUTDOWN, 'sched_shutdown_reason');
export const sched_shutdown = struct('sched_shutdown', { reason });
export const sched_poll = struct('sched_poll', {
  ports: arrayOf(port, 'nr_ports'),
  nr_ports: u32,
  timeout: u64,
});
export const sched_remote_shutdown = struct('sched_remote_shutdown', { domain_id: domid, reason });
export const sched_watchdog = struct('sched_watchdog', { id: u32, timeout: u32 });
export const sched_pin_override = struct('sched_pin_override', { pcpu: i32 });
