/* events.c: event channels, both ABIs, within one domain. */
#include "guest.h"

static u64 control[512] PAGE_ALIGNED, array[512] PAGE_ALIGNED, array2[512] PAGE_ALIGNED;
static u32 own_id;

static u32 alloc(u32 dom, u32 remote)
{
    evtchn_alloc_unbound_t a = { .dom = dom, .remote_dom = remote, .port = 9999 };
    long result = EVENT(alloc_unbound, &a);
    print("alloc_unbound of %s for %s: %ld, port %u\n", dom == DOMID_SELF ? "self" : dom == own_id ? "own" : "other",
          remote == DOMID_SELF ? "self" : remote == own_id ? "own" : "other", result, a.port);
    return a.port;
}

static u32 bind(u32 remote, u32 port)
{
    evtchn_bind_interdomain_t a = { .remote_dom = remote, .remote_port = port, .local_port = 9999 };
    long result = EVENT(bind_interdomain, &a);
    print("bind_interdomain to %u: %ld, port %u\n", port, result, a.local_port);
    return a.local_port;
}

static void status(u32 port)
{
    evtchn_status_t a = { .dom = DOMID_SELF, .port = port, .status = 99, .vcpu = 99 };
    long result = EVENT(status, &a);
    print("  status of %u: %ld", port, result);
    if (!result) {
        print(", kind %u, vCPU %u", a.status, a.vcpu);
        if (a.status == EVTCHNSTAT_unbound)
            print(", for %s", a.u.unbound.dom == own_id ? "own" : a.u.unbound.dom ? "other" : "d0");
        if (a.status == EVTCHNSTAT_interdomain)
            print(", with %s port %u", a.u.interdomain.dom == own_id ? "own" : a.u.interdomain.dom ? "other" : "d0",
                  a.u.interdomain.dom ? a.u.interdomain.port : 0);
        if (a.status == EVTCHNSTAT_virq)
            print(", VIRQ %u", a.u.virq);
    }
    print("\n");
}

static void virq(u32 number, u32 vcpu)
{
    evtchn_bind_virq_t a = { .virq = number, .vcpu = vcpu, .port = 9999 };
    long result = EVENT(bind_virq, &a);
    print("bind_virq %u on %u: %ld, port %u\n", number, vcpu, result, a.port);
}

static void ipi(u32 vcpu)
{
    evtchn_bind_ipi_t a = { .vcpu = vcpu, .port = 9999 };
    long result = EVENT(bind_ipi, &a);
    print("bind_ipi on %u: %ld, port %u\n", vcpu, result, a.port);
}

#define SIMPLE(op, port) print(#op " of %u: %ld\n", port, EVENT(op, &(u32){ port }))

static void vcpu(u32 port, u32 number)
{
    evtchn_bind_vcpu_t a = { port, number };
    print("bind_vcpu of %u to %u: %ld\n", port, number, EVENT(bind_vcpu, &a));
}

static void priority(u32 port, u32 level)
{
    evtchn_set_priority_t a = { port, level };
    print("set_priority of %u to %u: %ld\n", port, level, EVENT(set_priority, &a));
}

static void pending(u32 port)
{
    u64 word = shared_info->evtchn_pending[port / 64];
    print("  port %u: %s; upcall %u, selector %lx\n", port, word >> port % 64 & 1 ? "pending" : "not pending",
          shared_info->vcpu_info[0].evtchn_upcall_pending, shared_info->vcpu_info[0].evtchn_pending_sel);
}

static void init_control(u64 gfn, u32 offset, u32 on)
{
    evtchn_init_control_t a = { .control_gfn = gfn, .offset = offset, .vcpu = on, .link_bits = 99 };
    long result = EVENT(init_control, &a);
    print("init_control at %u for vCPU %u: %ld, link bits %u\n", offset, on, result, a.link_bits);
}

static void expand(u64 gfn)
{
    print("expand_array: %ld\n", EVENT(expand_array, &(evtchn_expand_array_t){ gfn }));
}

static void reset(u32 dom)
{
    print("reset of %s: %ld\n", dom == DOMID_SELF ? "self" : "other", EVENT(reset, &(evtchn_reset_t){ dom }));
}

static void clear(void)
{
    shared_info->vcpu_info[0].evtchn_upcall_pending = 0;
    shared_info->vcpu_info[0].evtchn_pending_sel = 0;
    for (u32 word = 0; word < 64; word++)
        shared_info->evtchn_pending[word] = 0;
}

void events(void)
{
    for (u32 id = 1; id < 100 && !own_id; id++) {
        evtchn_status_t a = { .dom = id, .port = 0 };
        if (!EVENT(status, &a))
            own_id = id;
    }
    u32 console = start_info->console.domU.evtchn, store = start_info->store_evtchn;
    print("console on %u, store on %u\n", console, store);
    for (u32 port = 0; port < 6; port++)
        status(port);
    /* What the sweep left. */
    for (u32 port = 3; port < 64; port++)
        if (port != console && port != store)
            EVENT(close, &(u32){ port });
    status(4095);
    status(4096);
    status(1 << 20);
    print("unbound\n");
    u32 p = alloc(DOMID_SELF, DOMID_SELF);
    alloc(own_id, 0);
    alloc(0, 0);
    alloc(999, 0);
    alloc(DOMID_SELF, 999);
    status(p);
    status(p + 1);
    status(p + 2);
    SIMPLE(send, p);
    SIMPLE(send, 0);
    SIMPLE(send, 60);
    SIMPLE(send, 1 << 20);
    SIMPLE(close, 0);
    SIMPLE(close, 60);
    SIMPLE(close, 1 << 20);
    SIMPLE(unmask, 0);
    SIMPLE(unmask, 60);
    SIMPLE(unmask, 1 << 20);
    print("connected to itself\n");
    clear();
    u32 q = bind(own_id, p);
    pending(q);
    status(p);
    status(q);
    bind(own_id, p);
    bind(DOMID_SELF, 60);
    bind(DOMID_SELF, p + 1);
    bind(999, p);
    bind(0, 1);
    bind(0, 1 << 20);
    clear();
    SIMPLE(send, q);
    pending(p);
    SIMPLE(unmask, p);
    pending(p);
    shared_info->evtchn_mask[0] |= 1ul << p;
    clear();
    SIMPLE(close, q);
    status(p);
    pending(p);
    SIMPLE(close, p);
    SIMPLE(close, p + 1);
    SIMPLE(close, p + 2);
    print("VIRQs and IPIs\n");
    virq(VIRQ_TIMER, 0);
    virq(VIRQ_TIMER, 0);
    virq(VIRQ_TIMER, 1);
    virq(VIRQ_DEBUG, 0);
    virq(VIRQ_CONSOLE, 0);
    virq(VIRQ_CONSOLE, 1);
    virq(VIRQ_DOM_EXC, 0);
    virq(VIRQ_TBUF, 0);
    virq(VIRQ_DEBUGGER, 0);
    virq(VIRQ_XENOPROF, 0);
    virq(VIRQ_CON_RING, 0);
    virq(VIRQ_PCPU_STATE, 0);
    virq(VIRQ_MEM_EVENT, 0);
    virq(VIRQ_ARGO, 0);
    virq(VIRQ_ENOMEM, 0);
    virq(VIRQ_XENPMU, 0);
    virq(14, 0);
    virq(15, 0);
    virq(16, 0);
    virq(23, 0);
    virq(24, 0);
    virq(1000, 0);
    ipi(0);
    ipi(1);
    for (u32 port = 3; port < 24; port++)
        status(port);
    vcpu(3, 0);
    vcpu(5, 0);
    vcpu(5, 1);
    vcpu(60, 0);
    vcpu(0, 0);
    priority(3, 0);
    clear();
    SIMPLE(send, 3);
    for (u32 port = 3; port < 64; port++)
        if (port != console && port != store)
            EVENT(close, &(u32){ port });
    print("bind_pirq: %ld\n", EVENT(bind_pirq, &(evtchn_bind_pirq_t){ 1, 0, 0 }));
    print("bind_pirq of many: %ld\n", EVENT(bind_pirq, &(evtchn_bind_pirq_t){ 10000, 0, 0 }));
    /* All of them: how many there are, and what is said when there are no more. */
    u32 last = 0, n = 0;
    for (;; n++) {
        evtchn_alloc_unbound_t a = { .dom = DOMID_SELF, .remote_dom = DOMID_SELF };
        long result = EVENT(alloc_unbound, &a);
        if (result) {
            print("alloc_unbound after %s: %ld, last port %u\n", n > 100 ? "many" : "few", result, last);
            break;
        }
        last = a.port;
    }
    for (u32 port = 3; port <= last; port++)
        EVENT(close, &(u32){ port });
    print("FIFO\n");
    expand(mfn_of(array));
    priority(console, 3);
    init_control(mfn_of(control), 4095, 0);
    init_control(mfn_of(control), 4, 0);
    init_control(mfn_of(control), 4096 - 64, 0);
    init_control(mfn_of(control), 0, 1);
    init_control(0, 0, 0);
    init_control(mfn_of((void *)start_info->pt_base), 0, 0);
    init_control(mfn_of(control), 64, 0);
    init_control(mfn_of(control), 128, 0);
    print("  ready word %x\n", ((u32 *)control)[16]);
    expand(0);
    expand(mfn_of((void *)start_info->pt_base));
    expand(mfn_of(array));
    priority(console, 3);
    priority(console, 15);
    priority(console, 16);
    priority(60, 3);
    p = alloc(DOMID_SELF, DOMID_SELF);
    q = bind(DOMID_SELF, p);
    print("  word %x\n", ((u32 *)array)[q]);
    SIMPLE(send, q);
    print("  word %x\n", ((u32 *)array)[p]);
    SIMPLE(unmask, p);
    print("  word %x\n", ((u32 *)array)[p]);
    ((volatile u32 *)array)[p] = 0x40000000;
    SIMPLE(unmask, p);
    print("  word %x\n", ((u32 *)array)[p]);
    SIMPLE(send, q);
    print("  word %x\n", ((u32 *)array)[p]);
    SIMPLE(close, q);
    SIMPLE(close, p);
    expand(mfn_of(array2));
    print("  new words masked: %x\n", array2[0] == 0 ? 0 : (u32)array2[0]);
    reset(0);
    reset(999);
}
