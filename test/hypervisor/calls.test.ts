import assert from 'node:assert/strict';
import { DOMID } from '../../src/abi/domains';
import {
  EVTCHNOP,
  evtchn_alloc_unbound,
  evtchn_bind_virq,
  evtchn_bind_ipi,
  evtchn_close,
  evtchn_send,
  evtchn_status,
  VIRQ,
} from '../../src/abi/events';
import {
  GNTST,
  GTF,
  GNTTABOP,
  gnttab_copy,
  gnttab_query_size,
  gnttab_setup_table,
  grant_entry_v1,
} from '../../src/abi/grant';
import { vcpu_info } from '../../src/abi/info';
import { chars, u32, u64, ulong } from '../../src/abi/layout';
import {
  XENMEM,
  XENMEM_RDM_ALL,
  xen_memory_map,
  xen_memory_reservation,
  xen_reserved_device_memory_map,
} from '../../src/abi/memory';
import { PHYSDEVOP, physdev_op_set_iobitmap, physdev_op_set_iopl } from '../../src/abi/physdev';
import { multicall_entry, PTE, makePte } from '../../src/abi/mmu';
import { SCHEDOP, sched_poll, sched_shutdown, sched_watchdog } from '../../src/abi/sched';
import {
  VCPUOP,
  vcpu_guest_context,
  vcpu_register_vcpu_info,
  vcpu_runstate_info,
  vcpu_set_singleshot_timer,
} from '../../src/abi/vcpu';
import { XENVER, xen_feature_info } from '../../src/abi/version';
import type { EventPort, GrantRef } from '../../src/base/branded';
import { checkFrames } from '../../src/hypervisor/check';
import { isPending, setPending } from '../../src/hypervisor/events';
import { upcallPending } from '../../src/hypervisor/vcpu';
import { SCRATCH, VIRT_BASE, testMachine } from './machine';

const PAGE = VIRT_BASE + 300n * 4096n;

describe('event channels', () => {
  it('binds, sends, and tells what a port is', () => {
    const m = testMachine();
    const evtchn = (cmd: number): ReturnType<typeof m.call> => m.call('event_channel_op', cmd, SCRATCH);
    m.put(evtchn_bind_ipi, { vcpu: 0, port: 0 });
    assert.equal(evtchn(EVTCHNOP.EVTCHNOP_bind_ipi).result, 0n);
    const { port } = m.fetch(evtchn_bind_ipi, SCRATCH);
    assert.equal(port, 3, 'after xenstore and console');
    m.put(evtchn_send, { port });
    assert.equal(evtchn(EVTCHNOP.EVTCHNOP_send).result, 0n);
    assert.ok(isPending(m.core, m.domain, port));
    assert.ok(upcallPending(m.core, m.v));
    m.put(evtchn_status, { ...evtchn_status.zero(), dom: DOMID.SELF, port: 2 });
    assert.equal(evtchn(EVTCHNOP.EVTCHNOP_status).result, 0n);
    const status = m.fetch(evtchn_status, SCRATCH);
    assert.equal(status.status, 2);
    assert.equal(status.u.interdomain.dom, 0);
    assert.equal(status.u.interdomain.port, m.hv.backend.connections()[0]?.consolePort);
    m.put(evtchn_close, { port });
    assert.equal(evtchn(EVTCHNOP.EVTCHNOP_close).result, 0n);
    assert.match(evtchn(EVTCHNOP.EVTCHNOP_send).reason ?? '', /port 3 is free: nothing can be sent/);
    m.put(evtchn_send, { port: 4000 });
    assert.match(evtchn(EVTCHNOP.EVTCHNOP_send).reason ?? '', /port 4000 of d1 does not exist/);
  });

  it('refuses what Xen refuses, with the reason', () => {
    const m = testMachine();
    const virq = (number: number, vcpu: number): ReturnType<typeof m.call> => {
      m.put(evtchn_bind_virq, { virq: number, vcpu, port: 0 });
      return m.call('event_channel_op', EVTCHNOP.EVTCHNOP_bind_virq, SCRATCH);
    };
    assert.deepEqual(
      [virq(24, 0).errno, virq(VIRQ.VIRQ_ARGO, 1).errno, virq(0, 5).errno],
      ['EINVAL', 'EINVAL', 'ENOENT'],
    );
    assert.equal(virq(0, 0).result, 0n);
    assert.match(virq(0, 0).reason ?? '', /VIRQ 0 is bound to port 3 already/);
    m.put(evtchn_alloc_unbound, { dom: 7, remote_dom: 0, port: 0 });
    assert.equal(m.call('event_channel_op', EVTCHNOP.EVTCHNOP_alloc_unbound, SCRATCH).errno, 'ESRCH');
    assert.equal(m.call('event_channel_op', 77, SCRATCH).errno, 'ENOSYS');
  });

  it('connects back ends, which hear of notifications after the call, and can answer', () => {
    const m = testMachine();
    const { backend } = m.hv;
    m.put(evtchn_alloc_unbound, { dom: DOMID.SELF, remote_dom: 0, port: 0 });
    m.call('event_channel_op', EVTCHNOP.EVTCHNOP_alloc_unbound, SCRATCH);
    const { port } = m.fetch(evtchn_alloc_unbound, SCRATCH);
    const own = backend.bindInterdomain(m.domain.id, port as EventPort);
    assert.ok(own !== undefined);
    let heard = 0;
    backend.onEvent(own, () => {
      heard++;
      backend.notify(own);
    });
    m.put(evtchn_send, { port });
    m.call('event_channel_op', EVTCHNOP.EVTCHNOP_send, SCRATCH);
    assert.equal(heard, 1);
    assert.ok(isPending(m.core, m.domain, port));
    assert.equal(backend.bindInterdomain(m.domain.id, port as EventPort), undefined, 'connected already');
  });
});

describe('scheduling and time', () => {
  it('blocks until an event, polls for one, and wakes at a timeout', () => {
    const m = testMachine();
    m.call('sched_op', 1);
    assert.equal(m.v.state.run, 'blocked');
    assert.equal(m.hv.deliverPending(m.v), 'deschedule');
    setPending(m.core, m.domain, 2);
    assert.equal(m.v.state.run, 'runnable');
    m.hv.scheduled(m.v, true);
    assert.equal(m.call('sched_op', 1).outcome, 'run', 'an event is due: no sleep');

    const p = testMachine();
    p.put(u32, 2, SCRATCH + 64n);
    p.put(sched_poll, { ports: SCRATCH + 64n, nr_ports: 1, timeout: 5000n });
    assert.equal(p.call('sched_op', 3, SCRATCH).outcome, 'deschedule');
    assert.equal(p.hv.nextDeadline(), 5000n);
    p.hv.expireTimers();
    assert.equal(p.v.state.run, 'blocked');
    p.now = 5000n;
    p.hv.expireTimers();
    assert.equal(p.v.state.run, 'runnable');
  });

  it('raises VIRQ_TIMER when the one-shot timer fires, and reports run states', () => {
    const m = testMachine();
    m.put(evtchn_bind_virq, { virq: 0, vcpu: 0, port: 0 });
    m.call('event_channel_op', EVTCHNOP.EVTCHNOP_bind_virq, SCRATCH);
    m.put(vcpu_set_singleshot_timer, { timeout_abs_ns: 9000n, flags: 1 });
    assert.equal(m.call('vcpu_op', VCPUOP.VCPUOP_set_singleshot_timer, 0, SCRATCH).result, 0n);
    assert.equal(m.hv.nextDeadline(), 9000n);
    m.now = 9000n;
    m.hv.expireTimers();
    assert.ok(isPending(m.core, m.domain, 3));
    assert.equal(m.hv.nextDeadline(), undefined);
    m.put(vcpu_set_singleshot_timer, { timeout_abs_ns: 8000n, flags: 1 });
    const late = m.call('vcpu_op', VCPUOP.VCPUOP_set_singleshot_timer, 0, SCRATCH);
    assert.equal(late.errno, undefined, 'Xen 4.17 ignores VCPU_SSHOTTMR_future');
    assert.equal(m.hv.nextDeadline(), 8000n);
    m.call('vcpu_op', VCPUOP.VCPUOP_stop_singleshot_timer, 0, 0);
    m.call('vcpu_op', VCPUOP.VCPUOP_get_runstate_info, 0, SCRATCH);
    const run = m.fetch(vcpu_runstate_info, SCRATCH);
    assert.equal(run.state, 0);
    assert.equal(
      run.time.reduce((a, b) => a + b, 0n),
      8000n,
      'from 1000 to 9000',
    );
  });

  it('shuts down with the reason given', () => {
    for (const [reason, name] of [
      [0, 'poweroff'],
      [1, 'reboot'],
      [3, 'crash'],
    ] as const) {
      const m = testMachine();
      m.put(sched_shutdown, { reason });
      assert.equal(m.call('sched_op', 2, SCRATCH).outcome, 'shutdown');
      assert.equal(m.domain.state.shutdown, name);
    }
  });

  it('shuts down a domain whose watchdog is not set again in time', () => {
    const m = testMachine();
    const set = (id: number, timeout: number): ReturnType<typeof m.call> => {
      m.put(sched_watchdog, { id, timeout });
      return m.call('sched_op', SCHEDOP.SCHEDOP_watchdog, SCRATCH);
    };
    const second = 1_000_000_000n;
    assert.equal(set(3, 1).errno, 'EINVAL');
    assert.equal(set(1, 1).errno, 'EINVAL', 'not in use');
    assert.equal(set(0, 2).result, 1n);
    assert.equal(set(0, 5).result, 2n);
    assert.equal(set(0, 1).result, 0xffff_ffe4n, '-ENOSPC, which Xen makes 32 bits of');
    assert.equal(m.hv.nextDeadline(), m.now + 2n * second);
    m.now += second;
    assert.equal(set(1, 2).result, 0n);
    assert.equal(m.hv.nextDeadline(), m.now + 2n * second);
    assert.equal(set(1, 0).result, 0n);
    const gone: number[] = [];
    m.hv.backend.onShutdown((id) => gone.push(id));
    m.now += 4n * second - 1n;
    m.hv.expireTimers();
    assert.equal(m.domain.state.shutdown, undefined);
    m.now += 1n;
    m.hv.expireTimers();
    assert.equal(m.domain.state.shutdown, 'watchdog');
    assert.deepEqual(gone, [m.domain.id], 'back ends hear of it');
    assert.equal(m.hv.nextDeadline(), undefined);
  });

  it('brings up a second vCPU from its context', () => {
    const m = testMachine({ vcpus: 2 });
    assert.equal(m.call('vcpu_op', VCPUOP.VCPUOP_is_up, 1).result, 0n);
    assert.equal(m.call('vcpu_op', VCPUOP.VCPUOP_is_up, 2).errno, 'ENOENT');
    assert.equal(m.call('vcpu_op', VCPUOP.VCPUOP_up, 1).errno, 'EINVAL');
    const context = vcpu_guest_context.zero();
    context.flags = 4n;
    context.user_regs.rip = VIRT_BASE;
    context.user_regs.rsp = 0x1000n;
    context.user_regs.cs = 0xe033;
    context.ctrlreg[3] = BigInt(m.frameOf(PAGE)) << 12n;
    const at = VIRT_BASE + 0x9000n;
    m.put(vcpu_guest_context, context, at);
    assert.match(
      m.call('vcpu_op', VCPUOP.VCPUOP_initialise, 1, at).reason ?? '',
      /kernel base table: .*in use as writable/,
    );
    context.ctrlreg[3] = BigInt(m.v.state.kernelTable) << 12n;
    m.put(vcpu_guest_context, context, at);
    assert.equal(m.call('vcpu_op', VCPUOP.VCPUOP_initialise, 1, at).result, 0n);
    assert.equal(m.call('vcpu_op', VCPUOP.VCPUOP_initialise, 1, at).errno, 'EEXIST');
    assert.equal(m.call('vcpu_op', VCPUOP.VCPUOP_up, 1).result, 0n);
    const second = m.domain.vcpus[1];
    assert.ok(second);
    assert.equal(second.state.run, 'runnable');
    assert.equal(second.cpu.get('rip'), VIRT_BASE);
    assert.deepEqual(checkFrames(m.core), []);
  });

  it('powers off when the last vCPU goes down', () => {
    const m = testMachine();
    assert.equal(m.call('vcpu_op', VCPUOP.VCPUOP_down, 0).outcome, 'shutdown');
    assert.equal(m.domain.state.shutdown, 'poweroff');
  });

  it('moves vcpu_info once, with everything made pending', () => {
    const m = testMachine();
    const mfn = m.frameOf(PAGE);
    const register = (offset: number): ReturnType<typeof m.call> => {
      m.put(vcpu_register_vcpu_info, { mfn: BigInt(mfn), offset, rsvd: 0 });
      return m.call('vcpu_op', VCPUOP.VCPUOP_register_vcpu_info, 0, SCRATCH);
    };
    assert.equal(register(4090).errno, 'ENXIO');
    assert.equal(register(65).errno, 'ENXIO');
    assert.equal(register(64).result, 0n);
    assert.match(register(64).reason ?? '', /already/);
    const info = m.fetch(vcpu_info, PAGE + 64n);
    assert.deepEqual([info.evtchn_upcall_pending, info.evtchn_upcall_mask], [1, 1]);
    assert.equal(info.time.tsc_to_system_mul, 0x8000_0000);
    assert.deepEqual(checkFrames(m.core), []);
  });
});

describe('memory_op', () => {
  const reserve = (
    m: ReturnType<typeof testMachine>,
    cmd: number,
    frames: readonly bigint[],
    order = 0,
  ): ReturnType<typeof m.call> => {
    frames.forEach((f, i) => m.put(ulong, f, SCRATCH + 128n + BigInt(i * 8)));
    m.put(xen_memory_reservation, {
      extent_start: SCRATCH + 128n, nr_extents: BigInt(frames.length), extent_order: order, mem_flags: 0, domid: DOMID.SELF,
    }); // prettier-ignore
    return m.call('memory_op', cmd, SCRATCH);
  };

  it('takes frames back and gives them again', () => {
    const m = testMachine();
    const mfn = m.frameOf(PAGE);
    m.call('update_va_mapping', PAGE, 0n, 0);
    assert.equal(reserve(m, XENMEM.XENMEM_decrease_reservation, [BigInt(mfn)]).result, 1n);
    assert.equal(m.domain.state.totalPages, 1023);
    assert.equal(m.domain.state.p2m[300], -1);
    const again = reserve(m, XENMEM.XENMEM_decrease_reservation, [BigInt(mfn)]);
    assert.equal(again.result, 0n);
    assert.match(
      again.reason ?? '',
      /decrease_reservation: 0 of 1 extents done: .*free.* does not belong to d1/,
    );
    assert.equal(reserve(m, XENMEM.XENMEM_populate_physmap, [300n]).result, 1n);
    const fresh = m.fetch(ulong, SCRATCH + 128n);
    assert.equal(m.domain.state.p2m[300], Number(fresh));
    m.domain.state.maxPages = 1024;
    assert.match(
      reserve(m, XENMEM.XENMEM_increase_reservation, [0n]).reason ?? '',
      /has 1024 of at most 1024 frames/,
    );
    assert.deepEqual(checkFrames(m.core), []);
  });

  it('never hands out what a former owner left in a frame', () => {
    const m = testMachine();
    const mfn = m.frameOf(PAGE);
    m.put(ulong, 0x5ec_2e7n, PAGE);
    m.call('update_va_mapping', PAGE, 0n, 0);
    reserve(m, XENMEM.XENMEM_decrease_reservation, [BigInt(mfn)]);
    reserve(m, XENMEM.XENMEM_populate_physmap, [300n]);
    assert.equal(m.core.memory.read64(mfn, 0), 0n);
  });

  it('answers questions about memory', () => {
    const m = testMachine();
    m.put(u32, DOMID.SELF);
    assert.equal(m.call('memory_op', XENMEM.XENMEM_current_reservation, SCRATCH).result, 1024n);
    assert.equal(m.call('memory_op', XENMEM.XENMEM_maximum_ram_page, 0).result, BigInt(m.core.frames.count));
    m.put(xen_memory_map, { nr_entries: 4, buffer: SCRATCH + 64n });
    assert.equal(m.call('memory_op', XENMEM.XENMEM_memory_map, SCRATCH).result, 0n);
    assert.equal(m.fetch(xen_memory_map, SCRATCH).nr_entries, 1);
    assert.equal(m.fetch(u64, SCRATCH + 72n), 4n * 2n ** 20n);
    assert.equal(m.call('memory_op', XENMEM.XENMEM_machphys_mapping, SCRATCH).result, 0n);
    assert.equal(m.fetch(u64, SCRATCH), 0xffff_8000_0000_0000n);
    assert.equal(m.call('memory_op', XENMEM.XENMEM_machine_memory_map, SCRATCH).errno, 'EPERM');
  });
});

describe('grants', () => {
  it('sets up the table, with console and xenstore granted already', () => {
    const m = testMachine();
    m.put(gnttab_setup_table, { dom: DOMID.SELF, nr_frames: 2, status: -1, frame_list: SCRATCH + 64n });
    assert.equal(m.call('grant_table_op', GNTTABOP.GNTTABOP_setup_table, SCRATCH, 1).result, 0n);
    assert.equal(m.fetch(gnttab_setup_table, SCRATCH).status, 0);
    const mfn = m.fetch(ulong, SCRATCH + 64n);
    const entry = grant_entry_v1.read(m.core.memory.view(Number(mfn)), 0);
    assert.deepEqual(entry, { flags: GTF.permit_access, domid: 0, frame: m.domain.state.consoleFrame });
    assert.equal(m.call('update_va_mapping', PAGE, makePte(Number(mfn), PTE.PRESENT | PTE.RW), 0).result, 0n);
    m.put(gnttab_query_size, { dom: DOMID.SELF, nr_frames: 0, max_nr_frames: 0, status: -1 });
    m.call('grant_table_op', GNTTABOP.GNTTABOP_query_size, SCRATCH, 1);
    assert.deepEqual(m.fetch(gnttab_query_size, SCRATCH), {
      dom: DOMID.SELF,
      nr_frames: 2,
      max_nr_frames: 64,
      status: 0,
    });
    m.put(gnttab_setup_table, { dom: DOMID.SELF, nr_frames: 65, status: 0, frame_list: SCRATCH + 64n });
    const many = m.call('grant_table_op', GNTTABOP.GNTTABOP_setup_table, SCRATCH, 1);
    assert.equal(many.result, 0n);
    assert.match(many.reason ?? '', /GNTST_general_error: 65 grant frames: at most 64/);
    assert.deepEqual(checkFrames(m.core), []);
  });

  it('lets back ends map what is granted, and only so', () => {
    const m = testMachine();
    const table = m.domain.state.grantFrames[0] ?? 0;
    const mfn = m.frameOf(PAGE);
    const write = (ref: number, flags: number, domid: number, frame: number): void =>
      grant_entry_v1.write(m.core.memory.view(table), ref * 8, { flags, domid, frame });
    const map = (ref: number, writable: boolean): ReturnType<typeof m.hv.backend.mapGrant> =>
      m.hv.backend.mapGrant(m.domain.id, ref as GrantRef, writable);
    write(8, GTF.permit_access | GTF.readonly, 0, mfn);
    write(9, GTF.permit_access, 5, mfn);
    write(10, GTF.permit_access, 0, m.v.state.kernelTable);
    write(11, GTF.permit_access, 0, m.core.slots.m2pFrame);
    for (const [ref, status, reason] of [
      [8, GNTST.GNTST_general_error, /for reading only/],
      [9, GNTST.GNTST_general_error, /it is for d5, not d0/],
      [10, GNTST.GNTST_general_error, /in use as L4/],
      [11, GNTST.GNTST_bad_page, /does not belong/],
      [12, GNTST.GNTST_general_error, /flags 0x0 do not permit/],
      [600, GNTST.GNTST_bad_gntref, /512 entries/],
    ] as const) {
      const got = map(ref, true);
      assert.ok(!got.ok, `grant ${ref}`);
      assert.equal(got.status, status);
      assert.match(got.reason, reason);
    }
    const got = map(8, false);
    assert.ok(got.ok);
    assert.equal(
      m.core.memory.view(table).getUint16(64, true),
      GTF.permit_access | GTF.readonly | GTF.reading,
    );
    assert.deepEqual(checkFrames(m.core), []);
    m.hv.backend.unmapGrant(got.mapping);
    m.hv.backend.unmapGrant(got.mapping);
    assert.equal(m.core.memory.view(table).getUint16(64, true), GTF.permit_access | GTF.readonly);
    assert.deepEqual(checkFrames(m.core), []);
  });

  it('copies between pages within their bounds', () => {
    const m = testMachine();
    m.put(ulong, 0x1122_3344_5566_7788n, PAGE);
    const side = (
      page: bigint,
      offset: number,
    ): { u: { gmfn: bigint; ref: number }; domid: number; offset: number } => {
      const gmfn = BigInt(m.frameOf(page));
      return { u: { gmfn, ref: Number(gmfn) }, domid: DOMID.SELF, offset };
    };
    const copy = (len: number): number => {
      m.put(gnttab_copy, { source: side(PAGE, 0), dest: side(PAGE + 4096n, 8), len, flags: 0, status: 1 });
      m.call('grant_table_op', GNTTABOP.GNTTABOP_copy, SCRATCH, 1);
      return m.fetch(gnttab_copy, SCRATCH).status;
    };
    assert.equal(copy(8), GNTST.GNTST_okay);
    assert.equal(m.fetch(ulong, PAGE + 4104n), 0x1122_3344_5566_7788n);
    assert.equal(copy(4096), GNTST.GNTST_bad_copy_arg);
  });
});

describe('versions and small calls', () => {
  it('knows physdev_op as it was before Xen 3.2', () => {
    const m = testMachine();
    m.put(physdev_op_set_iopl, { cmd: PHYSDEVOP.PHYSDEVOP_set_iopl, pad: 0, iopl: 3 });
    assert.equal(m.call('physdev_op_compat', SCRATCH).result, 0n);
    assert.equal(m.v.state.iopl, 3);
    const map = { cmd: PHYSDEVOP.PHYSDEVOP_set_iobitmap, pad: 0, bitmap: 0x1234n, nr_ports: 65536 };
    m.put(physdev_op_set_iobitmap, map);
    assert.equal(m.call('physdev_op_compat', SCRATCH).result, 0n);
    assert.deepEqual(m.v.state.ioBitmap, { address: 0x1234n, ports: 65536 });
    m.put(physdev_op_set_iobitmap, { ...map, nr_ports: 65537 });
    assert.equal(m.call('physdev_op_compat', SCRATCH).errno, 'EINVAL');
    for (const [cmd, errno] of [
      [PHYSDEVOP.PHYSDEVOP_apic_read, 'EPERM'],
      [PHYSDEVOP.PHYSDEVOP_irq_status_query, 'EINVAL'],
      [PHYSDEVOP.PHYSDEVOP_eoi, 'ENOSYS'],
      [PHYSDEVOP.PHYSDEVOP_IRQ_UNMASK_NOTIFY, undefined],
    ] as const) {
      m.put(u32, cmd);
      assert.equal(m.call('physdev_op_compat', SCRATCH).errno, errno);
    }
    assert.equal(m.call('physdev_op_compat', 0x5000n).errno, 'EFAULT');
  });

  it('has no device that reserves memory', () => {
    const m = testMachine();
    const zero = xen_reserved_device_memory_map.zero();
    m.put(xen_reserved_device_memory_map, { ...zero, flags: XENMEM_RDM_ALL, nr_entries: 9 });
    const cmd = XENMEM.XENMEM_reserved_device_memory_map;
    assert.equal(m.call('memory_op', cmd, SCRATCH).result, 0n);
    assert.equal(m.fetch(xen_reserved_device_memory_map, SCRATCH).nr_entries, 0);
    m.put(xen_reserved_device_memory_map, { ...zero, flags: 2 });
    assert.equal(m.call('memory_op', cmd, SCRATCH).errno, 'EINVAL');
    assert.equal(m.call('memory_op', cmd | (1 << 6), SCRATCH).errno, 'EINVAL');
  });

  it('says what it is', () => {
    const m = testMachine();
    assert.equal(m.call('xen_version', XENVER.XENVER_version, 0).result, 0x0004_0011n);
    m.call('xen_version', XENVER.XENVER_capabilities, SCRATCH);
    assert.equal(m.fetch(chars(1024), SCRATCH).trim(), 'xen-3.0-x86_64');
    m.put(xen_feature_info, { submap_idx: 0, submap: 0 });
    m.call('xen_version', XENVER.XENVER_get_features, SCRATCH);
    assert.equal(m.fetch(xen_feature_info, SCRATCH).submap & (1 << 5), 1 << 5, 'mmu_pt_update_preserve_ad');
    assert.equal(m.call('xen_version', XENVER.XENVER_build_id, SCRATCH).errno, 'EPERM');
    assert.equal(m.call('domctl', SCRATCH).errno, 'EACCES', 'of another version');
    assert.equal(m.call('xenpmu_op', 0, SCRATCH).errno, 'EOPNOTSUPP');
    assert.equal(m.call('vm_assist', 0, 99).errno, 'EINVAL');
  });

  it('runs the entries of a multicall in order, each with its result', () => {
    const m = testMachine();
    const entry = (op: number, ...args: bigint[]): Parameters<typeof m.put<ReturnType<typeof multicall_entry.zero>>>[1] => ({
      op: BigInt(op), result: 99n, arg0: args[0] ?? 0n, arg1: args[1] ?? 0n, arg2: args[2] ?? 0n, arg3: 0n, arg4: 0n, arg5: 0n,
    }); // prettier-ignore
    m.put(multicall_entry, entry(17, 0n), SCRATCH);
    m.put(multicall_entry, entry(13, 0n), SCRATCH + 64n);
    m.put(multicall_entry, entry(3, 0n, 0x7000n), SCRATCH + 128n);
    assert.equal(m.call('multicall', SCRATCH, 3).result, 0n);
    const results = [0n, 64n, 128n].map((o) =>
      BigInt.asIntN(64, m.fetch(multicall_entry, SCRATCH + o).result),
    );
    assert.deepEqual(results, [0x40011n, -22n, 0n]);
    assert.equal(m.v.state.kernelSp, 0x7000n);
    assert.deepEqual(
      m.calls.map((c) => [c.nr, c.depth]),
      [
        [17, 1],
        [13, 1],
        [3, 1],
        [13, 0],
      ],
    );
    const far = m.call('multicall', 0x10n, 1);
    assert.match(far.reason ?? '', /multicall entry 0: 0x10: the L4 entry 0/);
  });
});
