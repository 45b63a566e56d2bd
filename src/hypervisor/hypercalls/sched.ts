/** sched_op and set_timer_op (xen/common/sched/core.c). */
import { hex } from '../../abi/decoded';
import { ERRNO } from '../../abi/errno';
import { DOMID } from '../../abi/domains';
import { enumOf, pointer, port, u32, u64, ulong } from '../../abi/layout';
import {
  SCHEDOP,
  SHUTDOWN,
  sched_pin_override,
  sched_poll,
  sched_remote_shutdown,
  sched_shutdown,
  sched_watchdog,
} from '../../abi/sched';
import type { CallContext } from '../context';
import { shutdown } from '../domain';
import { isPending, isPort } from '../events';
import { family, fail, hypercall, opsOf } from '../hypercall';
import type { ShutdownReason } from '../state';
import { setRunState, setUpcallMask, upcallMasked, upcallPending } from '../vcpu';

const args = { cmd: enumOf(u32, SCHEDOP, 'sched_op'), arg: pointer() };
const op = opsOf('sched_op', args);

const REASONS: readonly ShutdownReason[] = [
  'poweroff',
  'reboot',
  'suspend',
  'crash',
  'watchdog',
  'soft_reset',
];
/** Ports that one poll may name. */
const MAX_POLLED = 128;

/**
 * The end of a domain, for a reason of which Xen keeps the low byte. A code set before goes before it
 * (domain_shutdown); one that nobody knows is up to the toolstack, for which it is the end.
 */
function end(context: CallContext, reason: number, text = ''): number {
  const { core, domain } = context;
  const code = domain.state.shutdownCode ?? reason & 0xff;
  const name = REASONS[code];
  shutdown(
    core,
    domain,
    name ?? 'poweroff',
    name === undefined ? `reason ${code}, which means nothing` : text,
  );
  return 0;
}

function block({ core, vcpu }: CallContext): number {
  // An event that came meanwhile is not slept through.
  if (!(upcallPending(core, vcpu) && !upcallMasked(core, vcpu))) setRunState(core, vcpu, 'blocked');
  return 0;
}

function yieldProcessor({ core, vcpu }: CallContext): number {
  vcpu.state.yielded = true;
  setRunState(core, vcpu, 'runnable');
  return 0;
}

/** Timers of a domain that shut it down unless they are set again in time (domain_watchdog). */
const WATCHDOGS = 2;
const SECOND = 1_000_000_000n;

function watchdog(
  context: CallContext,
  { id, timeout }: { readonly id: number; readonly timeout: number },
): number {
  const { core, domain } = context;
  const { watchdogs } = domain.state;
  const end = core.now() + BigInt(timeout) * SECOND;
  if (id > WATCHDOGS) return fail('EINVAL', `watchdog ${id}: there are ${WATCHDOGS}`);
  if (id === 0) {
    for (let i = 0; i < WATCHDOGS; i++) {
      if (watchdogs[i] !== undefined) continue;
      watchdogs[i] = end;
      return i + 1;
    }
    // Xen's return value is of 32 bits here, and so this is no error to the guest.
    context.note(`ENOSPC: all ${WATCHDOGS} watchdogs are in use`);
    return -ERRNO.ENOSPC >>> 0;
  }
  if (watchdogs[id - 1] === undefined) return fail('EINVAL', `watchdog ${id} is not in use`);
  watchdogs[id - 1] = timeout === 0 ? undefined : end;
  return 0;
}

export const sched_op = family({
  name: 'sched_op',
  nr: 29,
  doc: 'sched.h',
  args,
  cmd: ({ cmd }) => cmd,
  pointer: ({ arg }) => arg,
  ops: [
    op({ name: 'yield', cmd: SCHEDOP.SCHEDOP_yield, run: yieldProcessor }),
    op({
      name: 'block',
      cmd: SCHEDOP.SCHEDOP_block,
      doc: 'unmasks events and waits for one',
      run(context) {
        setUpcallMask(context.core, context.vcpu, false);
        return block(context);
      },
    }),
    op({
      name: 'shutdown',
      cmd: SCHEDOP.SCHEDOP_shutdown,
      struct: sched_shutdown,
      run(context, { reason }) {
        const { cpu } = context.vcpu;
        const text = `the guest's kernel gave up, at rip ${hex(cpu.get('rip'))}`;
        return end(context, reason, (reason & 0xff) === SHUTDOWN.SHUTDOWN_crash ? text : '');
      },
    }),
    op({
      name: 'poll',
      cmd: SCHEDOP.SCHEDOP_poll,
      struct: sched_poll,
      run({ core, domain, vcpu, guest }, { ports, nr_ports, timeout }) {
        if (nr_ports > MAX_POLLED) return fail('EINVAL', `${nr_ports} ports to poll: at most ${MAX_POLLED}`);
        const list: number[] = [];
        for (let i = 0; i < nr_ports; i++) list.push(guest.read(port, ports + BigInt(i * 4), `port ${i}`));
        for (const p of list) {
          if (!isPort(domain, p)) return fail('EINVAL', `port ${p} does not exist`);
        }
        if (upcallPending(core, vcpu) && !upcallMasked(core, vcpu)) return 0;
        if (list.some((p) => isPending(core, domain, p))) return 0;
        vcpu.state.pollPorts = list;
        vcpu.state.pollTimeout = timeout === 0n ? undefined : timeout;
        setRunState(core, vcpu, 'blocked');
        return 0;
      },
    }),
    op({
      name: 'remote_shutdown',
      cmd: SCHEDOP.SCHEDOP_remote_shutdown,
      struct: sched_remote_shutdown,
      refuse: ({ core, domain }, { domain_id: id }) =>
        id === domain.id || id === DOMID.DOM0 || core.domains.has(id)
          ? ['EPERM', 'an unprivileged domain may not shut another one down']
          : ['ESRCH', `there is no domain ${id}`],
    }),
    op({
      name: 'shutdown_code',
      cmd: SCHEDOP.SCHEDOP_shutdown_code,
      struct: sched_shutdown,
      doc: 'says why a shutdown will come, without one',
      run({ domain }, { reason }) {
        const { state } = domain;
        if (state.shutdownCode !== undefined) return state.shutdownCode;
        state.shutdownCode = reason & 0xff;
        return 0;
      },
    }),
    op({
      name: 'watchdog',
      cmd: SCHEDOP.SCHEDOP_watchdog,
      struct: sched_watchdog,
      doc: 'id 0 takes a timer (seconds) and returns its id; a timeout of 0 gives it back',
      run: watchdog,
    }),
    op({
      name: 'pin_override',
      cmd: SCHEDOP.SCHEDOP_pin_override,
      struct: sched_pin_override,
      refuse: ['EPERM', 'only the hardware domain may pin itself'],
    }),
  ],
});

const compatArgs = { cmd: enumOf(u32, SCHEDOP, 'sched_op'), arg: ulong };
const compatOp = opsOf('sched_op_compat', compatArgs);

/** Before interface version 0x00030101: yield, block and shutdown, the reason in a register. */
export const sched_op_compat = family({
  name: 'sched_op_compat',
  nr: 6,
  doc: 'sched.h (before 3.1): the argument is the shutdown reason itself',
  args: compatArgs,
  cmd: ({ cmd }) => cmd,
  ops: [
    compatOp({ name: 'yield', cmd: SCHEDOP.SCHEDOP_yield, run: yieldProcessor }),
    compatOp({
      name: 'block',
      cmd: SCHEDOP.SCHEDOP_block,
      run(context) {
        setUpcallMask(context.core, context.vcpu, false);
        return block(context);
      },
    }),
    compatOp({
      name: 'shutdown',
      cmd: SCHEDOP.SCHEDOP_shutdown,
      run: (context, _none, { arg }) => end(context, Number(arg & 0xffn)),
    }),
  ],
});

/** Farther away than this cannot be meant: an old Linux wrapped round (do_set_timer_op). */
const FAR = 1n << 50n;
const HUNDRED_MS = 100_000_000n;

export const set_timer_op = hypercall({
  name: 'set_timer_op',
  nr: 15,
  doc: 'xen.h HYPERVISOR_set_timer_op: absolute system time in ns, 0 stops',
  args: { timeout: u64 },
  run({ core, vcpu }, { timeout }) {
    const now = core.now();
    const signed = BigInt.asIntN(64, timeout);
    if (timeout === 0n) vcpu.state.singleshot = undefined;
    else if (signed < 0n || signed - now > FAR) vcpu.state.singleshot = now + HUNDRED_MS;
    else vcpu.state.singleshot = timeout;
    return 0;
  },
});
