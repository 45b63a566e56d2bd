/* scheduling.c: sched_op, timers, vcpu_op, areas in the guest's memory. */
#include "guest.h"

static struct vcpu_runstate_info runstate;
static struct vcpu_time_info time_area;
static u64 info_page[512] PAGE_ALIGNED;

static u64 now(void)
{
    struct vcpu_runstate_info r;
    VCPU(get_runstate_info, 0, &r);
    return r.state_entry_time;
}

static void single(const char *what, u64 at, u32 flags, u32 vcpu)
{
    struct vcpu_set_singleshot_timer t = { at, flags };
    print("singleshot, %s: %ld\n", what, VCPU(set_singleshot_timer, vcpu, &t));
    VCPU(stop_singleshot_timer, 0, 0);
}

static void periodic(const char *what, u64 period)
{
    struct vcpu_set_periodic_timer t = { period };
    print("periodic, %s: %ld\n", what, VCPU(set_periodic_timer, 0, &t));
    VCPU(stop_periodic_timer, 0, 0);
}

static void poll(const char *what, u32 *ports, u32 n, u64 timeout)
{
    struct sched_poll p = { .nr_ports = n, .timeout = timeout };
    set_xen_guest_handle(p.ports, ports);
    print("poll, %s: %ld\n", what, SCHED(poll, &p));
}

static void watchdog(u32 id, u32 timeout)
{
    sched_watchdog_t w = { id, timeout };
    print("watchdog %u, %u s: %ld\n", id, timeout, SCHED(watchdog, &w));
}

void scheduling(void)
{
    u32 ports[130] = { 0 };
    print("timers\n");
    single("past", 1, 0, 0);
    single("past, to be in the future", 1, VCPU_SSHOTTMR_future, 0);
    single("future, to be in the future", now() + 1000000000, VCPU_SSHOTTMR_future, 0);
    single("unknown flag", now() + 1000000000, 4, 0);
    single("negative", ~0ul, 0, 0);
    single("of vCPU 1", 1, 0, 1);
    periodic("0", 0);
    periodic("999999", 999999);
    periodic("1000000", 1000000);
    periodic("2^57", 1ul << 57);
    periodic("2^63", 1ul << 63);
    print("set_timer_op: %ld\n", CALL1(__HYPERVISOR_set_timer_op, now() + 1000000000));
    print("set_timer_op, past: %ld\n", CALL1(__HYPERVISOR_set_timer_op, 1));
    print("set_timer_op, none: %ld\n", CALL1(__HYPERVISOR_set_timer_op, 0));
    print("set_timer_op, wild: %ld\n", CALL1(__HYPERVISOR_set_timer_op, ~0ul));
    CALL1(__HYPERVISOR_set_timer_op, 0);
    print("poll\n");
    poll("nothing, past", ports, 0, 1);
    poll("129 ports", ports, 129, 1);
    ports[0] = 5000;
    poll("no such port", ports, 1, 1);
    poll("null", 0, 1, 1);
    ports[0] = start_info->console.domU.evtchn;
    shared_info->evtchn_pending[0] = 0;
    poll("a port, past", ports, 1, 1);
    shared_info->evtchn_pending[0] |= 1ul << ports[0];
    poll("a pending port", ports, 1, 0);
    shared_info->evtchn_pending[0] = 0;
    poll("a port, 1 ms", ports, 1, now() + 1000000);
    print("watchdogs\n");
    watchdog(1, 100);
    watchdog(0, 100);
    watchdog(0, 100);
    watchdog(0, 100);
    watchdog(1, 200);
    watchdog(3, 200);
    watchdog(1, 0);
    watchdog(1, 0);
    watchdog(2, 0);
    print("shutdown codes\n");
    for (u32 code = 0; code < 2; code++)
        print("shutdown_code %u: %ld\n", code, SCHED(shutdown_code, &code));
    sched_remote_shutdown_t remote = { 0, 0 };
    print("remote_shutdown of d0: %ld\n", SCHED(remote_shutdown, &remote));
    remote.domain_id = 999;
    print("remote_shutdown of d999: %ld\n", SCHED(remote_shutdown, &remote));
    remote.domain_id = DOMID_SELF;
    print("remote_shutdown of itself: %ld\n", SCHED(remote_shutdown, &remote));
    sched_pin_override_t pin = { 0 };
    print("pin_override: %ld\n", SCHED(pin_override, &pin));
    print("sched_op_compat yield: %ld\n", CALL2(__HYPERVISOR_sched_op_compat, 0, 0));
    print("sched_op_compat 3: %ld\n", CALL2(__HYPERVISOR_sched_op_compat, 3, 0));

    print("areas\n");
    struct vcpu_register_runstate_memory_area area = { 0 };
    area.addr.v = &runstate;
    print("runstate area: %ld", VCPU(register_runstate_memory_area, 0, &area));
    print(", state %d\n", runstate.state);
    u64 seen = runstate.time[0];
    SCHED(yield, 0);
    poll("1 ms", ports, 0, now() + 1000000);
    print("  brought up to date: %s\n", runstate.time[0] + runstate.time[2] > seen ? "yes" : "no");
    area.addr.v = (void *)0x1000;
    print("runstate area, not mapped: %ld\n", VCPU(register_runstate_memory_area, 0, &area));
    area.addr.v = (void *)0xffff830000000000;
    print("runstate area in Xen: %ld\n", VCPU(register_runstate_memory_area, 0, &area));
    area.addr.v = &runstate;
    print("runstate area of vCPU 1: %ld\n", VCPU(register_runstate_memory_area, 1, &area));
    VCPU(register_runstate_memory_area, 0, &area);
    print("update flag: %ld\n", CALL2(__HYPERVISOR_vm_assist, VMASST_CMD_enable, VMASST_TYPE_runstate_update_flag));
    poll("1 ms", ports, 0, now() + 1000000);
    print("  flag after: %lu\n", runstate.state_entry_time >> 63);
    struct vcpu_register_time_memory_area t = { 0 };
    t.addr.v = &time_area;
    print("time area: %ld", VCPU(register_vcpu_time_memory_area, 0, &t));
    print(", version %s\n", time_area.version & 1 ? "odd" : "even");
    poll("1 ms", ports, 0, now() + 1000000);
    print("  same factor as shared_info: %s\n", time_area.tsc_to_system_mul == shared_info->vcpu_info[0].time.tsc_to_system_mul ? "yes" : "no");
    t.addr.v = (void *)0x1000;
    print("time area, not mapped: %ld\n", VCPU(register_vcpu_time_memory_area, 0, &t));
    t.addr.v = (void *)0xffff830000000000;
    print("time area in Xen: %ld\n", VCPU(register_vcpu_time_memory_area, 0, &t));
    t.addr.v = &time_area;
    VCPU(register_vcpu_time_memory_area, 0, &t);
    print("vCPU\n");
    print("is_up: %ld, vCPU 1: %ld\n", VCPU(is_up, 0, 0), VCPU(is_up, 1, 0));
    print("up: %ld\n", VCPU(up, 0, 0));
    static u8 context[8192];
    print("initialise itself: %ld\n", VCPU(initialise, 0, context));
    struct vcpu_get_physid physid;
    print("get_physid: %ld\n", VCPU(get_physid, 0, &physid));
    struct vcpu_register_vcpu_info info = { .mfn = mfn_of(info_page), .offset = 4096 - 56 };
    print("vcpu_info, beyond the page: %ld\n", VCPU(register_vcpu_info, 0, &info));
    info.offset = 4;
    print("vcpu_info, misaligned: %ld\n", VCPU(register_vcpu_info, 0, &info));
    info.offset = 64;
    info.mfn = 0;
    print("vcpu_info in frame 0: %ld\n", VCPU(register_vcpu_info, 0, &info));
    print("NMI\n");
    print("send_nmi without a handler of its own: %ld", VCPU(send_nmi, 0, 0));
    SCHED(yield, 0);
    print(", %u taken\n", nmis);
    print("nmi_op unregister: %ld\n", CALL2(__HYPERVISOR_nmi_op, XENNMI_unregister_callback, 0));
    print("nmi_op register, null: %ld\n", CALL2(__HYPERVISOR_nmi_op, XENNMI_register_callback, 0));
}
