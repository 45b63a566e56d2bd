/* traps.c: exceptions. A PV guest has no IDT: it hands the hypervisor a table of
 * handlers, and gets its faults "bounced" from there (see boot.S). */
#include "guest.h"

/* The stack as trap_common in boot.S leaves it. */
struct trap_frame {
    u64 r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
    u64 vector, error_code;
    u64 rip, cs, rflags, rsp, ss;
};

#define NR_TRAPS       20
#define TRAP_gp_fault  13
#define TRAP_page_fault 14

extern const u64 trap_entries[NR_TRAPS]; /* boot.S */
extern char probe_fault[];

void register_traps(void)
{
    static struct trap_info table[NR_TRAPS + 1]; /* the last one stays 0: the end */

    for (u32 vector = 0; vector < NR_TRAPS; vector++) {
        table[vector].vector = vector;
        table[vector].flags = TI_MASK_EVENTS;
        table[vector].cs = FLAT_KERNEL_CS;
        table[vector].address = trap_entries[vector];
    }
    long result = HYPERVISOR_set_trap_table(table);
    print("traps: %u handlers registered: %s\n", NR_TRAPS, errno_name(result));
}

/* Page fault. The faulting address is not in %cr2, which belongs to the hypervisor:
 * it comes through the shared page. Error code: SDM vol. 3, 4.7. */
static void page_fault(struct trap_frame *frame)
{
    u64 e = frame->error_code;
    print("#PF: %s %s page at %lx, error code %lx\n", e & 2 ? "writing" : "reading",
          e & 1 ? "a protected" : "an absent", shared_info->vcpu_info[0].cr2, e);
}

static void gp_fault(struct trap_frame *frame)
{
    print("#GP: error code %lx\n", frame->error_code);
}

/* Called from boot.S with the frame of the interrupted code. */
void trap_handler(struct trap_frame *frame)
{
    if (frame->vector == TRAP_page_fault)
        page_fault(frame);
    else if (frame->vector == TRAP_gp_fault)
        gp_fault(frame);

    if (frame->rip == (u64)probe_write) { /* a fault we asked for: resume after it */
        frame->rip = (u64)probe_fault;
        return;
    }
    print("trap %lu, error code %lx, rip %lx, rsp %lx: giving up\n", frame->vector,
          frame->error_code, frame->rip, frame->rsp);
    shut_down(SHUTDOWN_crash);
}

void failsafe_handler(void)
{
    print("failsafe callback: a segment register did not reload; giving up\n");
    shut_down(SHUTDOWN_crash);
}
