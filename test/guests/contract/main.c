/* main.c: a guest that asks its hypervisor a long list of questions and prints the answers, one a line.
 *
 * What it prints on real Xen 4.17 as an ordinary domain is real-xen.txt; the test demands the same of ours. Numbers
 * that differ from machine to machine (frames, times) are not printed. Command line: the names of the parts to run
 * (all, when there are none).
 */
#include "guest.h"

struct start_info *start_info;
struct shared_info *shared_info;
volatile struct trap last_trap;
volatile u64 resume_at;
volatile u32 nmis, upcalls;

static u64 shared_page[512] PAGE_ALIGNED;

struct trap_frame {
    u64 r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
    u64 vector, error_code;
    u64 rip, cs, rflags, rsp, ss;
};

long hypercall(u64 number, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
    register u64 r10 __asm__("r10") = d;
    register u64 r8 __asm__("r8") = e;
    register u64 r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "+a"(number), "+D"(a), "+S"(b), "+d"(c), "+r"(r10), "+r"(r8), "+r"(r9)
                     :
                     : "rcx", "r11", "memory", "cc");
    return number;
}

/* ---- traps ---- */

extern const u64 trap_entries[20];
extern char event_entry[], failsafe_entry[];

void trap_handler(struct trap_frame *frame)
{
    if (frame->vector == 2) {
        nmis++;
        return;
    }
    last_trap.vector = frame->vector;
    last_trap.error = frame->error_code;
    last_trap.address = shared_info->vcpu_info[0].arch.cr2;
    last_trap.cs = frame->cs;
    last_trap.flags = frame->rflags;
    if (resume_at) {
        frame->rip = resume_at;
        frame->rflags &= ~0x40100ul; /* TF and AC have done their work */
        resume_at = 0;
        return;
    }
    print("trap %ld, error code %lx, rip %lx: giving up\n", frame->vector, frame->error_code, frame->rip);
    shut_down(SHUTDOWN_crash);
}

void event_upcall(void)
{
    upcalls++;
    shared_info->vcpu_info[0].evtchn_upcall_pending = 0;
    shared_info->vcpu_info[0].evtchn_pending_sel = 0;
}

void failsafe_handler(void)
{
    print("failsafe callback: giving up\n");
    shut_down(SHUTDOWN_crash);
}

void install_traps(void)
{
    static struct trap_info table[21];
    for (u32 vector = 0; vector < 20; vector++) {
        table[vector].vector = vector;
        table[vector].flags = vector == 3 ? 3 : 0;
        table[vector].cs = FLAT_KERNEL_CS;
        table[vector].address = trap_entries[vector];
    }
    CALL1(__HYPERVISOR_set_trap_table, table);
    CALL2(__HYPERVISOR_callback_op, CALLBACKOP_register,
          &(struct callback_register){ CALLBACKTYPE_event, 0, (u64)event_entry });
    CALL2(__HYPERVISOR_callback_op, CALLBACKOP_register,
          &(struct callback_register){ CALLBACKTYPE_failsafe, 0, (u64)failsafe_entry });
}

/* ---- memory ---- */

u64 mfn_of(const volatile void *va)
{
    return ((u64 *)start_info->mfn_list)[((u64)va - VIRT_BASE) / PAGE_SIZE];
}

u64 entry_of(const volatile void *va)
{
    const u64 *m2p = (u64 *)0xffff800000000000ul;
    u64 mfn = mfn_of((void *)start_info->pt_base);
    for (int level = 4; level > 1; level--) {
        u64 *table = (u64 *)(VIRT_BASE + m2p[mfn] * PAGE_SIZE);
        mfn = table[(u64)va >> (3 + 9 * level) & 511] >> 12 & 0xffffffffff;
    }
    return mfn << 12 | ((u64)va >> 12 & 511) * 8;
}

__attribute__((noreturn)) void shut_down(u32 reason)
{
    for (;;)
        SCHED(shutdown, &reason);
}

static const struct {
    const char *name;
    void (*run)(void);
} parts[] = {
    { "sweep", sweep },           { "grants", grants }, { "events", events },
    { "memory", memory },         { "tables", tables }, { "scheduling", scheduling },
    { "instructions", instructions }, { "miscellany", miscellany },
};

/* Whether a word stands in the command line. */
static int asked(const char *word)
{
    for (const char *c = (const char *)start_info->cmd_line; *c; c++) {
        u32 n = 0;
        while (word[n] && c[n] == word[n])
            n++;
        if (!word[n])
            return 1;
    }
    return !start_info->cmd_line[0];
}

void guest_main(struct start_info *info)
{
    start_info = info;
    MAP(shared_page, start_info->shared_info | RW);
    shared_info = (void *)shared_page;
    shared_info->vcpu_info[0].evtchn_upcall_mask = 1;
    for (u32 word = 0; word < 64; word++)
        shared_info->evtchn_mask[word] = ~0ul;
    VCPU(stop_periodic_timer, 0, 0);
    install_traps();
    open_console();
    for (u32 i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (asked(parts[i].name)) {
            print("== %s\n", parts[i].name);
            parts[i].run();
        }
    print("== done\n");
    shut_down(SHUTDOWN_poweroff);
}
