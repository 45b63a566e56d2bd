/* miscellany.c: the rest: debug registers, assists, callbacks, segment bases, multicalls. */
#include "guest.h"

static u64 page[512] PAGE_ALIGNED;

static void debug(u32 reg, u64 value)
{
    long set = CALL2(__HYPERVISOR_set_debugreg, reg, value);
    print("set_debugreg %u to %lx: %ld, then %lx\n", reg, value, set, CALL1(__HYPERVISOR_get_debugreg, reg));
}

static void callback(const char *what, u32 op, u32 type, u32 flags, u64 address)
{
    struct callback_register a = { type, flags, address };
    print("callback %s: %ld\n", what, CALL2(__HYPERVISOR_callback_op, op, &a));
}

static void base(u32 which, u64 address)
{
    print("set_segment_base %u, %lx: %ld\n", which, address, CALL2(__HYPERVISOR_set_segment_base, which, address));
}

static void iobitmap(u64 bitmap, u32 ports)
{
    struct physdev_set_iobitmap a = { .nr_ports = ports };
    set_xen_guest_handle(a.bitmap, (u8 *)bitmap);
    print("set_iobitmap of %u: %ld\n", ports, CALL2(__HYPERVISOR_physdev_op, PHYSDEVOP_set_iobitmap, &a));
}

void miscellany(void)
{
    print("debug registers\n");
    for (u32 reg = 0; reg < 9; reg++)
        print("get_debugreg %u: %lx\n", reg, CALL1(__HYPERVISOR_get_debugreg, reg));
    debug(0, (u64)page);
    debug(0, 0xffff830000000000);
    debug(0, 1ul << 47);
    debug(0, 0);
    debug(4, 0);
    debug(6, 0);
    debug(6, ~0ul);
    debug(7, 0x401);
    debug(7, 0x20401);
    debug(7, 0x2400);
    debug(7, 0x400 | 1ul << 32);
    debug(7, 0);
    debug(8, 0);
    print("assists\n");
    for (u32 type = 0; type < 8; type++)
        print("vm_assist %u: %ld %ld\n", type, CALL2(__HYPERVISOR_vm_assist, 0, type), type == 3 ? 0 : CALL2(__HYPERVISOR_vm_assist, 1, type));
    print("vm_assist 32: %ld, 64: %ld, command 2: %ld\n", CALL2(__HYPERVISOR_vm_assist, 0, 32),
          CALL2(__HYPERVISOR_vm_assist, 0, 64), CALL2(__HYPERVISOR_vm_assist, 2, 0));
    print("callbacks\n");
    for (u32 type = 0; type < 8; type++) {
        print("type %u:", type);
        struct callback_register a = { type, 0, 1ul << 47 };
        print(" non-canonical %ld", CALL2(__HYPERVISOR_callback_op, CALLBACKOP_register, &a));
        print(", unregistered %ld\n", CALL2(__HYPERVISOR_callback_op, CALLBACKOP_unregister, &a.type));
    }
    callback("syscall", CALLBACKOP_register, CALLBACKTYPE_syscall, CALLBACKF_mask_events, (u64)page);
    callback("sysenter", CALLBACKOP_register, CALLBACKTYPE_sysenter, 0, (u64)page);
    callback("with unknown flags", CALLBACKOP_register, CALLBACKTYPE_syscall, 0x8000, (u64)page);
    install_traps();
    print("set_callbacks, non-canonical: %ld\n", CALL3(__HYPERVISOR_set_callbacks, 1ul << 47, 0, 0));
    install_traps();
    print("nmi_op: %ld\n", CALL2(__HYPERVISOR_nmi_op, XENNMI_unregister_callback, 0));
    print("stack_switch to a null selector: %ld\n", CALL2(__HYPERVISOR_stack_switch, 0, page + 512));
    print("stack_switch to ring 0: %ld\n", CALL2(__HYPERVISOR_stack_switch, 0xe010, page + 512));
    print("stack_switch: %ld\n", CALL2(__HYPERVISOR_stack_switch, 0xe02b, page + 512));
    print("fpu_taskswitch: %ld %ld\n", CALL1(__HYPERVISOR_fpu_taskswitch, 1), CALL1(__HYPERVISOR_fpu_taskswitch, 0));
    base(0, (u64)page);
    base(0, 0xffff830000000000);
    base(0, 1ul << 47);
    base(0, 0);
    base(1, 1ul << 47);
    base(1, 0);
    base(2, 1ul << 47);
    base(2, (u64)page);
    base(3, 0);
    base(3, 0xe02b);
    base(3, 0xe008);
    base(3, 0xfff8);
    base(3, 0);
    base(4, 0);
    iobitmap((u64)page, 65536);
    iobitmap((u64)page, 65537);
    iobitmap(0xffff830000000000, 8);
    iobitmap(0, 0);
    struct physdev_map_pirq pirq = { .domid = DOMID_SELF, .type = MAP_PIRQ_TYPE_GSI, .index = 1, .pirq = 1 };
    print("map_pirq: %ld", CALL2(__HYPERVISOR_physdev_op, PHYSDEVOP_map_pirq, &pirq));
    print(", unmap_pirq: %ld\n", CALL2(__HYPERVISOR_physdev_op, PHYSDEVOP_unmap_pirq, &(struct physdev_unmap_pirq){ DOMID_SELF, 1 }));
    for (int type = 0; type < 3; type++) {
        struct physdev_get_free_pirq f = { type, 0 };
        print("get_free_pirq of type %d: %ld", type, CALL2(__HYPERVISOR_physdev_op, PHYSDEVOP_get_free_pirq, &f));
        print(", %u\n", f.pirq);
    }
    print("trap table: %ld\n", CALL1(__HYPERVISOR_set_trap_table, 0xffff830000000000));
    static struct trap_info odd[3];
    odd[0] = (struct trap_info){ 40, 0, 0xe033, 1ul << 47 };
    print("trap table with a non-canonical address: %ld\n", CALL1(__HYPERVISOR_set_trap_table, odd));
    odd[0] = (struct trap_info){ 40, 0, 0xe008, (u64)page };
    print("trap table with ring 0: %ld\n", CALL1(__HYPERVISOR_set_trap_table, odd));
    odd[0] = (struct trap_info){ 40, 7, 0, (u64)page };
    print("trap table with a null selector: %ld\n", CALL1(__HYPERVISOR_set_trap_table, odd));
    install_traps();

    print("multicalls\n");
    multicall_entry_t calls[4] = {
        { .op = __HYPERVISOR_xen_version, .args = { XENVER_version, 0 } },
        { .op = __HYPERVISOR_xen_version, .args = { 99, 0 } },
        { .op = __HYPERVISOR_multicall, .args = { (u64)calls, 1 } },
        { .op = 63 },
    };
    print("of 4: %ld\n", CALL2(__HYPERVISOR_multicall, calls, 4));
    print("  results %lx %ld %ld %ld\n", (u64)calls[0].result, calls[1].result, calls[2].result, calls[3].result);
    print("of none: %ld\n", CALL2(__HYPERVISOR_multicall, calls, 0));
    print("of none, null: %ld\n", CALL2(__HYPERVISOR_multicall, 0, 0));
    print("of 1, null: %ld\n", CALL2(__HYPERVISOR_multicall, 0, 1));
    print("of 1, in Xen: %ld\n", CALL2(__HYPERVISOR_multicall, 0xffff830000000000, 1));
    print("of very many: %ld\n", CALL2(__HYPERVISOR_multicall, calls, 1ul << 60));
    calls[0].op = __HYPERVISOR_iret;
    calls[1].op = 5000000000;
    print("iret and a large number: %ld\n", CALL2(__HYPERVISOR_multicall, calls + 1, 1));
    print("  results %ld\n", calls[1].result);
    struct vcpu_info *v = &shared_info->vcpu_info[0];
    v->evtchn_upcall_mask = 1;
    print("version: %lx", CALL2(__HYPERVISOR_xen_version, XENVER_version, 0));
    static char text[1024];
    CALL2(__HYPERVISOR_xen_version, XENVER_commandline, text);
    print(", command line \"%s\"\n", text);
    for (u32 map = 0; map < 3; map++) {
        xen_feature_info_t f = { map, 0 };
        print("get_features %u: %ld, ", map, CALL2(__HYPERVISOR_xen_version, XENVER_get_features, &f));
        print("%x\n", f.submap);
    }
    print("pagesize: %ld %ld\n", CALL2(__HYPERVISOR_xen_version, XENVER_pagesize, 0), CALL2(__HYPERVISOR_xen_version, XENVER_pagesize, page));
    print("build_id: %ld %ld\n", CALL2(__HYPERVISOR_xen_version, XENVER_build_id, 0), CALL2(__HYPERVISOR_xen_version, XENVER_build_id, page));
    print("console_io: %ld %ld\n", CALL3(__HYPERVISOR_console_io, 0, 0, 0), CALL3(__HYPERVISOR_console_io, 0, 3, "x\n"));
    print("set_timer_op: %ld\n", CALL1(__HYPERVISOR_set_timer_op, 0));
}
