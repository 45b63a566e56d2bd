/* tour.c: an optimized kernel to be looked at in its source: variables of all kinds, inlined functions,
 * recursion, a fault and its handler, an event and its upcall. Begin at guest_main(). */
#include "shapes.h"

extern const u64 trap_entries[20]; /* boot.S */
extern char probe_fault[], event_entry[], failsafe_entry[];
int probe_write(void *va, u64 value);

/* The stack as boot.S leaves it for a handler. */
struct trap_frame {
    u64 r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
    u64 vector, error_code;
    u64 rip, cs, rflags, rsp, ss;
};

volatile u32 ticks;   /* counted by event_upcall() */
static u32 faults;

static u64 length_of(const char *text)
{
    u64 length = 0;

    while (text[length])
        length++;
    return length;
}

static __attribute__((noinline)) void say(const char *text)
{
    HYPERVISOR_console_io(CONSOLEIO_write, length_of(text), text);
}

/* Copies a text into a structure that ends in it. */
static __attribute__((noinline)) u32 compose(struct message *message, const char *text)
{
    u32 at = 0;

    for (; text[at]; at++)
        message->text[at] = text[at];
    message->text[at] = 0;
    message->length = at;
    return at;
}

static __attribute__((noinline)) u64 take_apart(u64 value)
{
    union entry entry = { .whole = value };

    if (!entry.present)
        return 0;
    entry.writable = 0;
    return entry.whole ^ value;
}

/* A store that faults on purpose; trap_handler() lets it go on behind it. */
static __attribute__((noinline)) int fault_once(void)
{
    u32 before = faults;
    int faulted = probe_write((void *)0x1000, 42);

    return faulted && faults == before + 1;
}

void trap_handler(struct trap_frame *frame)
{
    struct sched_shutdown { u32 reason; } crash = { SHUTDOWN_crash };
    u64 vector = frame->vector;

    if (vector == 14 && frame->rip == (u64)probe_write) {
        faults++;
        frame->rip = (u64)probe_fault;
        return;
    }
    say("an exception that nobody asked for\n");
    HYPERVISOR_sched_op(SCHEDOP_shutdown, &crash);
}

/* The timer is the only event there is; nothing is masked, so there is nothing to clear but the pending bits. */
void event_upcall(struct trap_frame *frame);
void failsafe_handler(void)
{
    say("the failsafe callback\n");
}

static struct shared_info *shared; /* not mapped: this guest asks for the time by what it was given */

static void register_handlers(void)
{
    static struct trap_info traps[21];
    struct callback_register event = { CALLBACKTYPE_event, 0, (u64)event_entry };
    struct callback_register failsafe = { CALLBACKTYPE_failsafe, 0, (u64)failsafe_entry };

    for (u32 vector = 0; vector < 20; vector++) {
        traps[vector].vector = vector;
        traps[vector].flags = TI_MASK_EVENTS;
        traps[vector].cs = FLAT_KERNEL_CS;
        traps[vector].address = trap_entries[vector];
    }
    HYPERVISOR_set_trap_table(traps);
    HYPERVISOR_callback_op(CALLBACKOP_register, &event);
    HYPERVISOR_callback_op(CALLBACKOP_register, &failsafe);
}

static __attribute__((aligned(4096))) u8 shared_page[4096];

static void map_shared_info(const struct start_info *info)
{
    u64 entry = info->shared_info | PTE_PRESENT | PTE_WRITE | PTE_USER | PTE_ACCESSED | PTE_DIRTY;

    HYPERVISOR_update_va_mapping((u64)shared_page, entry, UVMF_INVLPG);
    shared = (struct shared_info *)shared_page;
}

void event_upcall(struct trap_frame *frame)
{
    struct vcpu_info *vcpu = &shared->vcpu_info[0];

    (void)frame;
    vcpu->evtchn_upcall_pending = 0;
    vcpu->evtchn_pending_sel = 0;
    shared->evtchn_pending[0] = 0;
    ticks++;
}

/* Works while an event comes in: a step over these lines does not fall into the upcall. */
static __attribute__((noinline)) u64 work_until_tick(void)
{
    struct evtchn_bind_virq timer = { .virq = VIRQ_TIMER };
    struct vcpu_set_singleshot_timer soon;
    u32 seen = ticks;
    u64 rounds = 0;

    HYPERVISOR_event_channel_op(EVTCHNOP_bind_virq, &timer);
    soon.timeout_abs_ns = shared->vcpu_info[0].time.system_time + 100000;
    soon.flags = 0;
    HYPERVISOR_vcpu_op(VCPUOP_set_singleshot_timer, 0, &soon);
    shared->vcpu_info[0].evtchn_upcall_mask = 0;
    while (ticks == seen)
        rounds++;
    shared->vcpu_info[0].evtchn_upcall_mask = 1;
    return rounds;
}

void guest_main(const struct start_info *info)
{
    struct sched_shutdown { u32 reason; } off = { SHUTDOWN_poweroff };
    static u8 buffer[64];
    struct message *message = (struct message *)buffer;
    unsigned long depth;
    long area;

    say("c-tour: a guest to be read in its source\n");
    register_handlers();
    map_shared_info(info);
    add_shapes();
    depth = depth_of(shapes);
    area = total_area();
    compose(message, depth == 2 && area == 780 ? "shapes: as they should be\n" : "shapes: wrong\n");
    say(message->text);
    if (take_apart(0x8000000012345063) == 2 && fault_once())
        say("entry and fault: as they should be\n");
    if (work_until_tick() > 0)
        say("one tick\n");
    HYPERVISOR_sched_op(SCHEDOP_shutdown, &off);
}
