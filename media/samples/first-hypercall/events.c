/* events.c: event channels, which are PV's interrupts, and time.
 *
 * An event is one bit, `pending`, in the shared page. When Xen sets it, and neither the
 * port's mask bit nor the vCPU's evtchn_upcall_mask is set, it calls event_entry (boot.S)
 * as a CPU would call an interrupt handler. This guest keeps evtchn_upcall_mask set
 * while it works, and clears it only where it waits: it is a loop, not a multitasker.
 */
#include "guest.h"

#define NR_PORTS 64
static volatile u32 *counters[NR_PORTS]; /* what an event on a port increments */
static struct vcpu_info *vcpu;           /* ours: vCPU 0's */

extern char event_entry[], failsafe_entry[]; /* boot.S */

void register_callbacks(void)
{
    struct callback_register event = { CALLBACKTYPE_event, 0, (u64)event_entry };
    struct callback_register failsafe = { CALLBACKTYPE_failsafe, 0, (u64)failsafe_entry };

    vcpu = &shared_info->vcpu_info[0];
    vcpu->evtchn_upcall_mask = 1;
    for (u32 word = 0; word < 64; word++)
        shared_info->evtchn_mask[word] = ~0ul; /* nobody listens yet */
    long result = HYPERVISOR_callback_op(CALLBACKOP_register, &event);
    long result2 = HYPERVISOR_callback_op(CALLBACKOP_register, &failsafe);
    print("callbacks: event %s, failsafe %s\n", errno_name(result), errno_name(result2));
}

/* Count the events of a port in *counter, from now on. */
void on_event(u32 port, volatile u32 *counter)
{
    struct evtchn_port unmask = { port };

    if (port >= NR_PORTS) {
        print("events: port %u is beyond this guest's table\n", port);
        shut_down(SHUTDOWN_crash);
    }
    counters[port] = counter;
    HYPERVISOR_event_channel_op(EVTCHNOP_unmask, &unmask);
}

void notify(u32 port)
{
    struct evtchn_port send = { port };
    HYPERVISOR_event_channel_op(EVTCHNOP_send, &send);
}

/* Called from boot.S, with evtchn_upcall_mask set by Xen. Clear the summary before looking,
 * so that an event that arrives meanwhile causes another upcall and is not lost. */
void event_upcall(void)
{
    vcpu->evtchn_upcall_pending = 0;
    u64 words = __atomic_exchange_n(&vcpu->evtchn_pending_sel, 0, __ATOMIC_SEQ_CST);

    for (; words; words &= words - 1) {
        u32 word = __builtin_ctzl(words);
        u64 ports = shared_info->evtchn_pending[word] & ~shared_info->evtchn_mask[word];
        for (; ports; ports &= ports - 1) {
            u32 bit = __builtin_ctzl(ports), port = word * 64 + bit;
            __atomic_fetch_and(&shared_info->evtchn_pending[word], ~(1ul << bit),
                               __ATOMIC_SEQ_CST);
            if (port < NR_PORTS && counters[port])
                ++*counters[port];
        }
    }
}

/* Sleep until *counter is no longer `seen`. SCHEDOP_block clears evtchn_upcall_mask and
 * sleeps in one step, so an event between our test and our sleep still wakes us. */
void wait_for_change(volatile u32 *counter, u32 seen)
{
    while (*counter == seen) {
        HYPERVISOR_sched_op(SCHEDOP_block, 0);
        vcpu->evtchn_upcall_mask = 1;
        barrier();
    }
}

static u64 rdtsc(void)
{
    u32 low, high;
    __asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high));
    return (u64)high << 32 | low;
}

/* System time in ns: the time at Xen's last update, plus the TSC ticks since, scaled by
 * a 32.32 fixed-point factor (xen.h vcpu_time_info). Read again if Xen updated meanwhile. */
u64 now(void)
{
    volatile struct vcpu_time_info *t = &shared_info->vcpu_info[0].time;
    u32 version;
    u64 time;

    do {
        version = t->version & ~1u;
        barrier();
        u64 ticks = rdtsc() - t->tsc_timestamp;
        ticks = t->tsc_shift >= 0 ? ticks << t->tsc_shift : ticks >> -t->tsc_shift;
        time = t->system_time + (u64)((unsigned __int128)ticks * t->tsc_to_system_mul >> 32);
        barrier();
    } while (t->version != version);
    return time;
}

/* Ask for one timer event in 10 ms and sleep until it comes. */
void take_timer_event(void)
{
    static volatile u32 timer_events;
    struct evtchn_bind_virq bind = { .virq = VIRQ_TIMER, .vcpu = 0 };

    /* Domains begin with a periodic timer, for the guests of 2003. We want only ours. */
    HYPERVISOR_vcpu_op(VCPUOP_stop_periodic_timer, 0, 0);
    long result = HYPERVISOR_event_channel_op(EVTCHNOP_bind_virq, &bind);
    if (result) {
        print("timer: bind_virq refused: %ld (%s)\n", result, errno_name(result));
        return;
    }
    on_event(bind.port, &timer_events);

    u64 start = now();
    struct vcpu_set_singleshot_timer timer = { .timeout_abs_ns = start + 10 * 1000 * 1000 };
    u32 seen = timer_events;
    HYPERVISOR_vcpu_op(VCPUOP_set_singleshot_timer, 0, &timer);
    wait_for_change(&timer_events, seen);
    print("timer: VIRQ_TIMER on port %u came after %lu us (we asked for 10000)\n", bind.port,
          (now() - start) / 1000);

    struct evtchn_port close = { bind.port };
    HYPERVISOR_event_channel_op(EVTCHNOP_close, &close);
}
