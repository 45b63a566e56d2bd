/** vcpu_op (xen/common/domain.c do_vcpu_op, xen/arch/x86/domain.c). */
import { hex } from '../../abi/decoded';
import { vcpu_info, vcpu_time_info } from '../../abi/info';
import { enumOf, pointer, u32, type Type } from '../../abi/layout';
import {
  VCPUOP,
  vcpu_get_physid,
  vcpu_guest_context,
  vcpu_register_runstate_memory_area,
  vcpu_register_time_memory_area,
  vcpu_register_vcpu_info,
  vcpu_runstate_info,
  vcpu_set_periodic_timer,
  vcpu_set_singleshot_timer,
} from '../../abi/vcpu';
import type { Mfn } from '../../base/branded';
import type { CallContext } from '../context';
import { shutdown } from '../domain';
import { vcpuOf } from '../events';
import { FRAME_TYPE } from '../frames';
import { addressOk } from '../guest-memory';
import { family, fail, opsOf, Refusal } from '../hypercall';
import { runstateOf } from '../runstate';
import type { GuestVcpu } from '../types';
import { setUpcallPending, setRunState, wake, writeTimeInfo, TIME_INFO } from '../vcpu';
import { initialiseVcpu } from '../vcpu-context';

const args = { cmd: enumOf(u32, VCPUOP, 'vcpu_op'), vcpuid: u32, extra_args: pointer() };
const op = opsOf('vcpu_op', args);

const target = ({ domain }: CallContext, { vcpuid }: { readonly vcpuid: number }): GuestVcpu =>
  vcpuOf(domain, vcpuid);

function own({ vcpu }: CallContext, v: GuestVcpu): void {
  if (v !== vcpu) fail('EINVAL', `vCPU ${vcpu.id} may set its own timer only, not that of vCPU ${v.id}`);
}

/** An area must be in the guest's part of the address space; whether it is mapped shows when it is written. */
function ownAddress(addr: bigint): void {
  if (!addressOk(addr)) fail('EFAULT', `${hex(addr)} is not in the guest's part of the address space`);
}

function writeArea<T>({ vcpu }: CallContext, type: Type<T>, addr: bigint, value: T): void {
  if (addr === 0n || !addressOk(addr, type.size)) return;
  const bytes = new Uint8Array(type.size);
  type.write(new DataView(bytes.buffer), 0, value);
  vcpu.cpu.writeLinear(addr, bytes, 3);
}

const MILLISECOND = 1_000_000n;
/** STIME_DELTA_MAX */
const LONGEST_PERIOD = 1n << 57n;

export const vcpu_op = family({
  name: 'vcpu_op',
  nr: 24,
  doc: 'vcpu.h',
  args,
  cmd: ({ cmd }) => cmd,
  pointer: ({ extra_args }) => extra_args,
  before: (context, a) => void target(context, a),
  ops: [
    op({
      name: 'initialise',
      cmd: VCPUOP.VCPUOP_initialise,
      struct: vcpu_guest_context,
      run(context, value, a) {
        const v = target(context, a);
        if (v.state.initialised) return fail('EEXIST', `vCPU ${v.id} is initialised already`);
        initialiseVcpu(context.core, v, value);
        return 0;
      },
    }),
    op({
      name: 'up',
      cmd: VCPUOP.VCPUOP_up,
      run(context, _none, a) {
        const v = target(context, a);
        if (!v.state.initialised) return fail('EINVAL', `vCPU ${v.id} has not been initialised`);
        if (!v.state.online) {
          v.state.online = true;
          setRunState(context.core, v, 'runnable');
        }
        return 0;
      },
    }),
    op({
      name: 'down',
      cmd: VCPUOP.VCPUOP_down,
      run(context, _none, a) {
        const v = target(context, a);
        const others = context.domain.vcpus.some((other) => other !== v && other.state.online);
        if (!others) {
          shutdown(context.core, context.domain, 'poweroff', 'its last vCPU went down');
          return 0;
        }
        v.state.online = false;
        v.state.singleshot = undefined;
        setRunState(context.core, v, 'offline');
        return 0;
      },
    }),
    op({
      name: 'is_up',
      cmd: VCPUOP.VCPUOP_is_up,
      run: (context, _none, a) => (target(context, a).state.online ? 1 : 0),
    }),
    op({
      name: 'get_runstate_info',
      cmd: VCPUOP.VCPUOP_get_runstate_info,
      run(context, _none, a) {
        const v = target(context, a);
        context.guest.write(vcpu_runstate_info, a.extra_args, runstateOf(context.core, v), 'run state');
        return 0;
      },
    }),
    op({
      name: 'register_runstate_memory_area',
      cmd: VCPUOP.VCPUOP_register_runstate_memory_area,
      struct: vcpu_register_runstate_memory_area,
      run(context, { addr }, a) {
        const v = target(context, a);
        ownAddress(addr);
        v.state.runstateArea = addr;
        writeArea(context, vcpu_runstate_info, addr, runstateOf(context.core, v));
        return 0;
      },
    }),
    op({
      name: 'set_periodic_timer',
      cmd: VCPUOP.VCPUOP_set_periodic_timer,
      struct: vcpu_set_periodic_timer,
      run(context, { period_ns }, a) {
        const { state } = target(context, a);
        if (period_ns < MILLISECOND || period_ns > LONGEST_PERIOD) {
          return fail(
            'EINVAL',
            `a period of ${period_ns} ns: it must be between 1 ms and ${LONGEST_PERIOD} ns`,
          );
        }
        state.period = period_ns;
        state.periodicNext = context.core.now() + period_ns;
        return 0;
      },
    }),
    op({
      name: 'stop_periodic_timer',
      cmd: VCPUOP.VCPUOP_stop_periodic_timer,
      run(context, _none, a) {
        target(context, a).state.period = 0n;
        return 0;
      },
    }),
    op({
      name: 'set_singleshot_timer',
      cmd: VCPUOP.VCPUOP_set_singleshot_timer,
      struct: vcpu_set_singleshot_timer,
      doc: 'a time that has passed fires at once, with VCPU_SSHOTTMR_future as well',
      run(context, { timeout_abs_ns }, a) {
        const v = target(context, a);
        own(context, v);
        const signed = BigInt.asIntN(64, timeout_abs_ns);
        v.state.singleshot = signed < 0n ? 0n : signed;
        return 0;
      },
    }),
    op({
      name: 'stop_singleshot_timer',
      cmd: VCPUOP.VCPUOP_stop_singleshot_timer,
      run(context, _none, a) {
        const v = target(context, a);
        own(context, v);
        v.state.singleshot = undefined;
        return 0;
      },
    }),
    op({
      name: 'register_vcpu_info',
      cmd: VCPUOP.VCPUOP_register_vcpu_info,
      struct: vcpu_register_vcpu_info,
      run(context, { mfn, offset }, a) {
        registerInfo(context, target(context, a), Number(mfn), offset);
        return 0;
      },
    }),
    op({
      name: 'send_nmi',
      cmd: VCPUOP.VCPUOP_send_nmi,
      run(context, _none, a) {
        const v = target(context, a);
        v.state.nmiPending = true;
        wake(context.core, v);
        return 0;
      },
    }),
    op({
      name: 'get_physid',
      cmd: VCPUOP.VCPUOP_get_physid,
      struct: vcpu_get_physid,
      refuse: ['EINVAL', 'only pinned vCPUs have a physical number'],
    }),
    op({
      name: 'register_vcpu_time_memory_area',
      cmd: VCPUOP.VCPUOP_register_vcpu_time_memory_area,
      struct: vcpu_register_time_memory_area,
      run(context, { addr }, a) {
        const v = target(context, a);
        ownAddress(addr);
        v.state.timeArea = addr;
        writeArea(context, vcpu_time_info, addr, { ...TIME_INFO });
        return 0;
      },
    }),
  ],
});

/** Moves vcpu_info to a page of the guest's, for good; everything is made pending, so that no event is lost. */
function registerInfo({ core, vcpu, domain }: CallContext, v: GuestVcpu, mfn: number, offset: number): void {
  const { state } = v;
  if (offset > 4096 - vcpu_info.size)
    fail('ENXIO', `offset ${offset}: vcpu_info's ${vcpu_info.size} bytes would leave the page`);
  if ((offset & 7) !== 0) fail('ENXIO', `offset ${offset} is not aligned to 8`);
  if (state.infoRegistered)
    fail('EINVAL', `vCPU ${v.id} has its vcpu_info at mfn ${hex(state.infoFrame)} already`);
  if (v !== vcpu && state.online) fail('EINVAL', `vCPU ${v.id} is up: only it may move its vcpu_info`);
  const problem = core.types.getPageAndType(mfn, domain.id, FRAME_TYPE.writable);
  if (problem !== undefined) throw new Refusal('EINVAL', problem.reason);
  const old = core.memory.bytes(state.infoFrame).slice(state.infoOffset, state.infoOffset + vcpu_info.size);
  core.memory.write(mfn, offset, old);
  state.infoFrame = mfn as Mfn;
  state.infoOffset = offset;
  state.infoRegistered = true;
  writeTimeInfo(core, v);
  const all = new Uint8Array(8).fill(0xff);
  core.memory.write(mfn, offset + vcpu_info.offset.evtchn_pending_sel, all);
  setUpcallPending(core, v);
}
