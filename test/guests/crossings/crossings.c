/* crossings.c: a guest whose kernel and user go back and forth in every way, usual and unusual, for tests.
 *
 * The user makes system calls and takes faults; the kernel answers with hypercalls chosen by chance and returns by
 * frames that differ in flags, selectors and stacks: ordinary ones, and those that a hypervisor has to look at twice
 * (stacks across pages, descriptors that are not there, events pending or masked, TF, DF, NT set).
 *
 * Command line: rounds=N (default 4000), seed=N (default 1). Ends in a poweroff, having printed what it has seen.
 */
#include "hypercall.h"

#define PAGE_SIZE 4096
#define PAGE_ALIGNED __attribute__((aligned(PAGE_SIZE)))
#define RW (PTE_PRESENT | PTE_WRITE | PTE_ACCESSED | PTE_DIRTY)
#define RO (PTE_PRESENT | PTE_ACCESSED)

#define NR_stack_switch     3
#define NR_set_gdt          2
#define NR_set_segment_base 25
#define NR_vm_assist        21
#define NR_update_va_mapping 14
#define NR_physdev_op       33
#define PHYSDEVOP_set_iopl   6
#define VMASST_writable_pagetables 2
#define CALLBACKTYPE_syscall 2
#define MASK_EVENTS          1
#define MMUEXT_PIN_L4_TABLE      3
#define MMUEXT_NEW_BASEPTR       5
#define MMUEXT_TLB_FLUSH_LOCAL   6
#define MMUEXT_INVLPG_LOCAL      7
#define MMUEXT_TLB_FLUSH_ALL    10
#define MMUEXT_INVLPG_ALL       11
#define MMUEXT_NEW_USER_BASEPTR 15
#define PTE_FRAME 0x000ffffffffff000ul
#define EVTCHNOP_bind_ipi 7
#define VGCF_in_syscall 256
#define FLAT_KERNEL_SS 0xe02b
#define EFLAGS_TF 0x100
#define EFLAGS_IF 0x200

struct trap_frame {
    u64 r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
    u64 vector, error_code; /* of a system call: the flags of its return */
    u64 rip, cs, rflags, rsp, ss;
};

extern const u64 trap_entries[20];
extern char event_entry[], syscall_entry[], repair_entry[], user_code[], probe_fault[];
int probe_write(void *va, u64 value);
u64 probe_exchange(void *va, u64 value), probe_near(void *va, u64 value), probe_or(void *va, u64 value);
void failsafe_handler(void);

static struct start_info *start_info;
static union { struct shared_info info; u8 page[PAGE_SIZE]; } shared_page PAGE_ALIGNED;
static u64 user_l4[512] PAGE_ALIGNED, other_user_l4[512] PAGE_ALIGNED, other_l4[512] PAGE_ALIGNED, gdt[512] PAGE_ALIGNED;
static u64 spare[4][512] PAGE_ALIGNED, window[1024] PAGE_ALIGNED;
static u8 requests[2 * PAGE_SIZE] PAGE_ALIGNED;
static u8 kernel_stack[8 * PAGE_SIZE] PAGE_ALIGNED, user_stack[2 * PAGE_SIZE] PAGE_ALIGNED;
static u64 random_state, sum;
static u64 rounds;
static u32 traps[20], upcalls, ipi, timer;
volatile u32 repairs;
#define shared (&shared_page.info)
#define vcpu (&shared->vcpu_info[0])

static u64 rnd(void)
{
    random_state = random_state * 6364136223846793005ul + 1442695040888963407ul;
    return random_state >> 33;
}
static u32 below(u32 n) { return rnd() % n; }
static void note(u64 value) { sum = (sum ^ value) * 0x9e3779b97f4a7c15ul; }

static long hypercall(u64 nr, u64 a, u64 b, u64 c)
{
    long result;
    register u64 di __asm__("rdi") = a;
    register u64 si __asm__("rsi") = b;
    register u64 dx __asm__("rdx") = c;
    __asm__ volatile("syscall" : "=a"(result) : "a"(nr), "r"(di), "r"(si), "r"(dx) : "rcx", "r11", "memory");
    return result;
}

static void say(const char *text, u64 number)
{
    char line[120];
    u32 n = 0;
    while (*text)
        line[n++] = *text++;
    for (int shift = 60; shift >= 0; shift -= 4)
        line[n++] = "0123456789abcdef"[number >> shift & 15];
    line[n++] = '\n';
    HYPERVISOR_console_io(CONSOLEIO_write, n, line);
}

static u64 option(const char *name, u64 otherwise)
{
    for (const char *c = start_info->cmd_line; *c; c++) {
        u32 n = 0;
        while (name[n] && c[n] == name[n])
            n++;
        if (name[n] || c[n] != '=')
            continue;
        u64 value = 0;
        for (c += n + 1; *c >= '0' && *c <= '9'; c++)
            value = value * 10 + (*c - '0');
        return value;
    }
    return otherwise;
}

/* ---- The ways in that boot.S does not have, and the user ---- */

__asm__(
    ".text\n"
    ".macro save_all\n"
    ".irp r, rdi, rsi, rdx, rcx, rax, r8, r9, r10, r11, rbx, rbp, r12, r13, r14, r15\n push %\\r\n .endr\n"
    ".endm\n"
    ".globl syscall_entry\n"
    "syscall_entry: pop %rcx; pop %r11; push $0; push $256\n"
    "save_all; cld; mov %rsp, %rdi; call syscall_handler\n"
    ".irp r, r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi\n pop %\\r\n .endr\n"
    /* What the handler left as error code are the flags of the return. */
    "add $8, %rsp; jmp hypercall_iret\n"

    /* A frame that could not be returned by: rcx, r11, ds, es, fs, gs, and the frame. */
    ".globl repair_entry\n"
    "repair_entry: mov (%rsp), %rcx; mov 8(%rsp), %r11; add $48, %rsp\n"
    "movq $0xe033, 8(%rsp); movq $0xe02b, 32(%rsp); incl repairs(%rip); push $0; jmp hypercall_iret\n"

    /* As probe_write: what a fault ends returns -1. */
    "probe_exchange: xchg %rsi, (%rdi); mov %rsi, %rax; ret\n"
    "probe_near: lea -16(%rdi), %rax; mov %rsi, %r8; mov %r8, 16(%rax); xor %eax, %eax; ret\n"
    "probe_or: lock or %rsi, (%rdi); mov $0, %eax; ret\n"

    /* The user: rbx is where a trap goes on, r13 the stack then, r12 chooses, r14 is an address, r15 counts. */
    ".globl user_code\n"
    "user_code: mov %rsp, %r13; lea 9f(%rip), %rbx\n"
    "1: dec %r15; jz 8f\n"
    "   imul $0x19660d, %r12, %r12; add $0x3c6ef35f, %r12; mov %r12d, %eax; shr $16, %eax; and $15, %eax\n"
    "   mov %r12, %r14; and $0x3ffff8, %r14; add $0x10000, %r14\n"
    "   lea 2f(%rip), %rcx; lea (%rax, %rax, 2), %rdx; lea (%rcx, %rdx, 8), %rcx; jmp *%rcx\n"
    ".macro done\n jmp *%rbx\n .skip 24 - (. - 7b)\n .endm\n"
    "2:\n"
    ".irp n, 0, 1, 2, 3, 4, 5\n 7: syscall; done\n .endr\n"
    "7: mov (%r14), %al; done\n"                                 /* loads of nothing */
    "7: mov (%r14), %rax; done\n"
    "7: mov %al, (%r14); done\n"                                 /* a store to it */
    "7: mov %al, user_code(%rip); done\n"                        /* a store to what is read-only */
    "7: call *%r14; done\n"                                      /* a call of nothing */
    "7: int3; done\n"
    "7: stc; std; syscall; done\n"
    "7: pushf; orl $0x100, (%rsp); popf; nop; syscall; done\n"   /* TF */
    "7: ud2; done\n"
    "7: cmp %r12, %r14; syscall; done\n"
    "9: mov %r13, %rsp; jmp 1b\n"
    "8: mov $1, %eax; syscall; ud2\n");

static void shut_down(void)
{
    static const char *const names[] = { "vector 1: ", "vector 3: ", "vector 6: ", "vector 14: " };
    static const u8 vectors[] = { 1, 3, 6, 14 };
    for (u32 i = 0; i < 4; i++)
        say(names[i], traps[vectors[i]]);
    say("upcalls: ", upcalls);
    say("repairs: ", repairs);
    say("crossings: ", sum);
    u32 reason = SHUTDOWN_poweroff;
    for (;;)
        HYPERVISOR_sched_op(SCHEDOP_shutdown, &reason);
}

/* ---- The kernel ---- */

static void new_stack(void)
{
    /* Anywhere in the upper half: also where the frame lies across two pages, or is not aligned. */
    u64 top = (u64)kernel_stack + 4 * PAGE_SIZE + below(3 * PAGE_SIZE);
    if (below(4))
        top &= ~15ul;
    note(hypercall(NR_stack_switch, below(2) ? FLAT_KERNEL_SS : FLAT_KERNEL_SS & ~3, top, 0));
}

static void segment_base(void)
{
    static const u64 values[] = { 0, 1, 3, 8, 16, 24, 0x7fffffffffff, 0x800000000000, 0xffff888000000000, 5, 0x4242 };
    note(hypercall(NR_set_segment_base, below(5), values[below(sizeof values / sizeof *values)], 0));
}

static void send(void)
{
    struct evtchn_port port = { ipi };
    note(HYPERVISOR_event_channel_op(EVTCHNOP_send, &port));
}

static void set_masked(void) { vcpu->evtchn_upcall_mask = below(2); }

static void register_all(u32 flags)
{
    struct trap_info table[21];
    for (u32 i = 0; i < 20; i++)
        table[i] = (struct trap_info){ i, (i == 3 ? 3 : 0) | flags, 0xe033, trap_entries[i] };
    table[20] = (struct trap_info){ 0, 0, 0, 0 };
    HYPERVISOR_set_trap_table(table);
}

static void other_handlers(void)
{
    register_all(below(2) ? TI_MASK_EVENTS : 0);
    HYPERVISOR_callback_op(CALLBACKOP_register, &(struct callback_register){ CALLBACKTYPE_syscall, below(4) ? MASK_EVENTS : 0,
                                                                             (u64)syscall_entry });
}

static void own_fault(void) { note(probe_write((void *)(below(2) ? 0x20000 : (u64)gdt), 0)); }
static void version(void) { note(HYPERVISOR_xen_version(below(3) ? XENVER_version : 99, 0)); }
static void timer_soon(void)
{
    struct vcpu_set_singleshot_timer at = { vcpu->time.system_time + below(4000) * 1000ul, 0 };
    note(HYPERVISOR_vcpu_op(VCPUOP_set_singleshot_timer, 0, &at));
}

static u64 mfn_of(const void *va)
{
    return ((u64 *)start_info->mfn_list)[((u64)va - VIRT_BASE) / PAGE_SIZE];
}
static u64 *table_of(u64 entry)
{
    const u64 *pfns = (const u64 *)MACH2PHYS_VIRT_START;
    return (u64 *)(VIRT_BASE + pfns[(entry & PTE_FRAME) >> 12] * PAGE_SIZE);
}
static u64 *entry_of(const void *va)
{
    u64 *table = (u64 *)start_info->pt_base;
    for (u32 shift = 39; shift > 12; shift -= 9)
        table = table_of(table[(u64)va >> shift & 511]);
    return &table[(u64)va >> 12 & 511];
}

/* Entries that map the window: what may be mapped, and what may not; a frame is counted up and down by it. */
static u64 any_entry(void)
{
    static const u64 flags[] = { 0x67, 0x63, 0x61, 0x65, 0x167, 0x163, 0x21, 0x27, 0x77, 0xe3, 0x0, 0x66, 0xe63, 0x8000000000000063,
                                 0x0010000000000067, 0x4000000000000065 };
    static const void *const pages[] = { spare[0], spare[1], spare[2], spare[3], spare[0], spare[1], user_l4, gdt, requests };
    u64 frame = below(24) ? mfn_of(pages[below(sizeof pages / sizeof *pages)]) : 1ul << below(40);
    return frame << 12 | flags[below(sizeof flags / sizeof *flags)];
}
static void look_at(volatile u64 *entry)
{
    note(*entry & ~0x60ul);
    if (*entry & PTE_PRESENT && below(2)) {
        struct mmuext_op flush = { 7, (u64)window, 0 }; /* INVLPG_LOCAL */
        if (below(2))
            HYPERVISOR_mmuext_op(&flush, 1, 0, DOMID_SELF);
        note(((volatile u64 *)window)[below(512)]);
    }
}
static void update_entry(void)
{
    volatile u64 *entry = entry_of(window);
    struct mmu_update *request = (void *)(below(8) ? requests : requests + (below(2 * PAGE_SIZE - 64) & ~(below(2) ? 7 : 3)));
    static u32 done;
    u32 count = below(2) ? 1 : below(16) ? below(5) : below(170);
    u32 command = below(4) ? 0 : 2;
    if (count > 4)
        request = (void *)(requests + below(PAGE_SIZE));
    for (u32 i = 0; i < count; i++) {
        volatile u64 *at = entry + (count > 1 ? below(2) : 0);
        request[i].ptr = (mfn_of((void *)((u64)at & -PAGE_SIZE)) << 12 | ((u64)at & 0xff8)) +
                         (below(24) ? command : (u32)"\0\2\3\5"[below(4)]);
        request[i].val = any_entry();
        if (!below(count > 4 ? 400 : 20))
            request[i].ptr = below(2) ? mfn_of(spare[3]) << 12 | 8 : 1ul << (34 + below(12));
    }
    note(HYPERVISOR_mmu_update(request, count, below(8) ? 0 : &done, below(16) ? DOMID_SELF : below(4)));
    note(done);
    look_at(entry);
}
/* The same by its address, and a flush. */
static void update_va(void)
{
    u64 *entry = entry_of(window);
    static const u64 elsewhere[] = { 0x1000, 0xffff800000000000, 0xffff880000000000, 0x800000000000, VIRT_BASE + 1234 };
    u64 va = below(16) ? (u64)window + below(PAGE_SIZE) : elsewhere[below(5)];
    note(hypercall(NR_update_va_mapping, va, any_entry(), below(8) ? below(4) : below(8)));
    look_at(entry);
}
static void flush(void)
{
    static const u32 commands[] = { MMUEXT_TLB_FLUSH_LOCAL, MMUEXT_INVLPG_LOCAL, MMUEXT_TLB_FLUSH_ALL, MMUEXT_INVLPG_ALL };
    struct mmuext_op *op = (void *)(requests + (below(2 * PAGE_SIZE - 64) & ~7));
    *op = (struct mmuext_op){ commands[below(4)], below(4) ? (u64)window : rnd() << 31, 0 };
    note(HYPERVISOR_mmuext_op(op, 1, 0, below(16) ? DOMID_SELF : below(4)));
    look_at(entry_of(window));
}
/* The same by stores, which the hypervisor makes for those that may not. */
static void store_entry(void)
{
    u64 *entry = entry_of(window);
    u64 value = any_entry();
    switch (below(6)) {
    case 0: note(probe_write(entry, value)); break;
    case 1: note(probe_near(entry, value)); break;
    case 2: note(probe_or(entry, below(2) ? PTE_ACCESSED : PTE_PRESENT)); break;
    case 3: note(probe_write((u8 *)entry + (below(4) ? 0 : below(8)), *entry)); break;
    default: note(probe_exchange(entry, below(3) ? value : 0) & ~0x60ul);
    }
    look_at(entry);
}

/* Kernel and user on other tables, or on the same. */
static void switch_bases(void)
{
    const void *const kernels[] = { (void *)start_info->pt_base, other_l4, other_l4, (void *)start_info->pt_base, user_l4, gdt };
    const void *const users[] = { user_l4, other_user_l4, user_l4, other_user_l4, spare[2], other_l4 };
    struct mmuext_op *ops = (void *)(below(8) ? requests : requests + (below(2 * PAGE_SIZE - 64) & ~7));
    ops[0] = (struct mmuext_op){ MMUEXT_NEW_BASEPTR, mfn_of(kernels[below(6)]), 0 };
    ops[1] = (struct mmuext_op){ MMUEXT_NEW_USER_BASEPTR, mfn_of(users[below(6)]), 0 };
    if (!below(10))
        ops[1] = ops[0];
    if (!below(10))
        ops[0] = ops[1];
    if (!below(20))
        ops[below(2)].mfn = 1ul << (20 + below(30));
    note(HYPERVISOR_mmuext_op(ops, below(6) ? 2 : 1, 0, below(16) ? DOMID_SELF : below(4)));
}

/* Instructions that need privilege, usual ones and those that are not seen to in place. */
#define PRIVILEGED(name, code) static u64 name(u64 a, u64 d) { __asm__ volatile(code : "+a"(a) : "d"(d) : "cc"); return a; }
PRIVILEGED(in_byte, "in $0x42, %%al")
PRIVILEGED(in_word, "in $0x42, %%ax")
PRIVILEGED(in_long, "in $0xf8, %%eax")
PRIVILEGED(in_dx_byte, "in %%dx, %%al")
PRIVILEGED(in_dx_word, "in %%dx, %%ax")
PRIVILEGED(in_dx_long, "in %%dx, %%eax")
PRIVILEGED(in_dx_rex, ".byte 0x48; in %%dx, %%eax")
PRIVILEGED(out_byte, "out %%al, $0x43")
PRIVILEGED(out_dx_byte, "out %%al, %%dx")
PRIVILEGED(out_dx_word, "out %%ax, %%dx")
PRIVILEGED(out_dx_long, "out %%eax, %%dx")
PRIVILEGED(no_interrupts, "cli")
PRIVILEGED(interrupts, "sti")
PRIVILEGED(word_interrupts, ".byte 0x66; cli")
PRIVILEGED(no_cache, "wbinvd")
static void privileged(void)
{
    static u64 (*const acts[])(u64, u64) = { in_byte, in_word, in_long, in_dx_byte, in_dx_word, in_dx_long, in_dx_rex, out_byte,
                                             out_dx_byte, out_dx_word, out_dx_long, no_interrupts, interrupts, word_interrupts,
                                             no_cache, in_dx_long, out_dx_long };
    static const u64 ports[] = { 0xcf8, 0xcf8, 0xcf9, 0xcfc, 0x10cf8, 0x20 };
    u32 n = below(8);
    if (below(16) == 0) {
        u32 level = below(4) ? 1 : below(4);
        note(hypercall(NR_physdev_op, PHYSDEVOP_set_iopl, (u64)&level, 0));
    }
    for (; n; n--)
        note(acts[below(sizeof acts / sizeof *acts)](rnd() << 20, ports[below(sizeof ports / sizeof *ports)]));
}

/* What a frame is returned with. */
static void dress(struct trap_frame *frame)
{
    static const u64 code[] = { 0xe033, 8, 0xe033, 0xe033, 24, 40, 0xe033 }, data[] = { 0xe02b, 16, 0xe02b, 0xe02b, 32, 0xe02b };
    if ((frame->cs & 3) != 3)
        return;
    frame->rflags = (frame->rflags & ~EFLAGS_TF) | (below(3) ? EFLAGS_IF : 0);
    if (!below(3))
        frame->rflags ^= rnd() & 0x0000000000207cd5 & ~0x200ul; /* status, DF, IOPL, NT, ID */
    if (!below(40))
        frame->rflags |= EFLAGS_TF;
    frame->cs = code[below(sizeof code / sizeof *code)] | 3;
    frame->ss = data[below(sizeof data / sizeof *data)] | 3;
}

void syscall_handler(struct trap_frame *frame)
{
    static void (*const acts[])(void) = { version, version, new_stack, new_stack, segment_base, segment_base, send,
                                          set_masked, own_fault, other_handlers, timer_soon, update_entry, update_entry,
                                          update_entry, update_entry, store_entry, store_entry, store_entry, switch_bases,
                                          switch_bases, privileged, privileged, update_va, update_va, flush };
    note(frame->rcx);
    note(frame->r11);
    note(frame->rflags);
    note(frame->cs);
    if (frame->rax == 1 && frame->r15 == 0)
        shut_down();
    for (u32 n = below(3); n; n--)
        acts[below(sizeof acts / sizeof *acts)]();
    dress(frame);
    frame->error_code = below(2) ? VGCF_in_syscall : 0;
    frame->rax = rnd();
}

void trap_handler(struct trap_frame *frame)
{
    note(frame->vector << 32 | frame->error_code);
    note(frame->rflags);
    note(frame->cs);
    traps[frame->vector]++;
    if (frame->vector == 14)
        note(vcpu->cr2);
    if ((frame->cs & 3) != 3) {
        /* Only a store of probe_write. */
        frame->rip = (u64)probe_fault;
        return;
    }
    if (frame->vector != 1) {
        frame->rip = frame->rbx;
        frame->rsp = frame->r13;
    }
    dress(frame);
}

void event_upcall(struct trap_frame *frame)
{
    note(frame->rflags);
    upcalls++;
    vcpu->evtchn_upcall_pending = 0;
    u64 words = __atomic_exchange_n(&vcpu->evtchn_pending_sel, 0, __ATOMIC_SEQ_CST);
    for (; words; words &= words - 1)
        shared->evtchn_pending[__builtin_ctzl(words)] = 0;
}

void failsafe_handler(void) {}

static void map(void *va, u64 pte) { note(HYPERVISOR_update_va_mapping((u64)va, pte, UVMF_INVLPG)); }

static void make_user(void)
{
    /* The user's table has the image, and nothing else. */
    u64 *const tables[] = { user_l4, other_user_l4, other_l4 };
    for (u32 i = 0; i < 3; i++) {
        tables[i][511] = ((u64 *)start_info->pt_base)[511];
        map(tables[i], mfn_of(tables[i]) << 12 | RO);
    }
    struct mmuext_op ops[] = { { MMUEXT_PIN_L4_TABLE, mfn_of(user_l4), 0 }, { MMUEXT_NEW_USER_BASEPTR, mfn_of(user_l4), 0 },
                               { MMUEXT_PIN_L4_TABLE, mfn_of(other_l4), 0 }, { MMUEXT_PIN_L4_TABLE, mfn_of(other_user_l4), 0 } };
    note(HYPERVISOR_mmuext_op(ops, 4, 0, DOMID_SELF));

    gdt[1] = 0x00affb000000ffff; /* 64-bit code of level 3 */
    gdt[2] = 0x00cff3000000ffff; /* data of level 3 */
    gdt[3] = 0x00af7b000000ffff; /* code that is not present */
    gdt[4] = 0x00cf73000000ffff; /* data that is not present */
    map(gdt, mfn_of(gdt) << 12 | RO);
    u64 frames[] = { mfn_of(gdt) };
    note(hypercall(NR_set_gdt, (u64)frames, 512, 0));
}

void guest_main(struct start_info *info)
{
    start_info = info;
    random_state = option("seed", 1);
    rounds = option("rounds", 4000);
    map(&shared_page, info->shared_info | RW);
    register_all(0);
    other_handlers();
    HYPERVISOR_callback_op(CALLBACKOP_register, &(struct callback_register){ CALLBACKTYPE_event, 0, (u64)event_entry });
    HYPERVISOR_callback_op(CALLBACKOP_register, &(struct callback_register){ CALLBACKTYPE_failsafe, 0, (u64)repair_entry });
    make_user();
    struct { u32 vcpu_id, port; } bind = { 0, 0 };
    note(HYPERVISOR_event_channel_op(EVTCHNOP_bind_ipi, &bind));
    ipi = bind.port;
    struct evtchn_bind_virq virq = { VIRQ_TIMER, 0, 0 };
    note(HYPERVISOR_event_channel_op(EVTCHNOP_bind_virq, &virq));
    timer = virq.port;
    for (u32 i = 0; i < 64; i++)
        shared->evtchn_mask[i] = 0;
    new_stack();
    if (below(8))
        note(hypercall(NR_vm_assist, 0, VMASST_writable_pagetables, 0));

    struct { u64 rax, r11, rcx, flags, rip, cs, rflags, rsp, ss; } frame = {
        0, 0, 0, 0, (u64)user_code, 0xe033, EFLAGS_IF, (u64)user_stack + sizeof user_stack, FLAT_KERNEL_SS,
    };
    __asm__ volatile("mov %0, %%rsp; mov %1, %%r15; mov %2, %%r12; mov $23, %%eax; syscall"
                     : : "r"(&frame), "r"(rounds), "r"(random_state) : "memory");
    __builtin_unreachable();
}
