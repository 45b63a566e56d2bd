/* main.c: a walk along the boundary between a paravirtualized guest and its hypervisor.
 *
 * guest_main() below is the table of contents. Each step is a small function of its own: put
 * a function breakpoint on its name, or on a hypercall (hypercall:mmu_update), and step. */
#include "guest.h"

struct start_info *start_info;

static void say_hello(void)
{
    print("first-hypercall: a paravirtualized guest on %s, %lu KiB of memory\n",
          start_info->magic, start_info->nr_pages * 4);
}

static void ask_version(void)
{
    char extra[16] = "";
    long version = HYPERVISOR_xen_version(XENVER_version, 0);
    HYPERVISOR_xen_version(XENVER_extraversion, extra);
    print("version: Xen %ld.%ld%s\n", version >> 16, version & 0xffff, extra);
}

static void visit_xenstore(void)
{
    if (start_info->flags & SIF_INITDOMAIN) {
        print("xenstore: we are dom0, nobody serves xenstore to us; skipped, and echo with it\n");
        return;
    }
    talk_to_xenstore();
    meet_echo_backend();
}

/* Called from _start in boot.S. */
void guest_main(struct start_info *info)
{
    start_info = info;
    say_hello();            /* console_io: our first hypercall */
    register_traps();       /* set_trap_table */
    map_shared_info();      /* update_va_mapping */
    register_callbacks();   /* callback_op */
    open_console();         /* event_channel_op, from here on for every line */
    ask_version();          /* xen_version */
    take_timer_event();     /* vcpu_op, sched_op */
    build_page_table();     /* mmuext_op, mmu_update */
    be_refused();           /* the same, refused */
    fault_and_recover();    /* vm_assist, #PF, #GP, iret */
    set_up_grants();        /* grant_table_op */
    visit_xenstore();       /* rings, event channels, a grant */
    call_several_at_once(); /* multicall */
    print("first-hypercall: done\n");
    shut_down(SHUTDOWN_poweroff);
}

void shut_down(u32 reason)
{
    HYPERVISOR_sched_op(SCHEDOP_shutdown, &reason); /* struct sched_shutdown is this one word */
    for (;;)
        HYPERVISOR_sched_op(SCHEDOP_block, 0);
}

int same(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

void format_decimal(char *to, u64 value)
{
    char digits[24];
    u32 n = 0;
    do
        digits[n++] = '0' + value % 10;
    while (value /= 10);
    while (n)
        *to++ = digits[--n];
    *to = 0;
}
