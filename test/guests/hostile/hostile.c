/* hostile.c: a guest that misuses its hypervisor, for tests.
 *
 * Command line (words, in any order):
 *   mode=fuzz     (default) calls every hypercall number 0..63 with wild pointers and random
 *                 arguments, survives, prints "hostile: survived ..." and powers off
 *   mode=wild     the same without the list of calls that may end a guest (see is_lethal):
 *                 anything may happen to the guest, nothing may happen to the hypervisor
 *   mode=loop     never stops, makes no hypercall
 *   mode=triple   takes a page fault with no trap table
 *   mode=stack    takes a page fault with a trap table and an impossible stack pointer
 *   mode=recurse  takes a page fault whose handler does not exist either
 *   mode=iret     makes the iret hypercall with an impossible stack pointer
 *   seed=N        seed of the generator (default 1); the run depends on nothing else
 *   count=N       number of calls (default 2000)
 *   call=N        only this hypercall number
 *   quiet=1       no line per 256 calls
 *
 * On real Xen 4.17: fuzz ends in a clean poweroff (as dom0: seeds 1 to 3; as an ordinary domain: seed 11,
 * 10,000 calls); triple, stack, recurse and iret end as "Domain 0 crashed", wild mostly as well.
 * (A dom0 is trusted: seed 4 takes that Xen down by way of calls that only a dom0 may make.)
 *
 * All output is by console_io. Shares boot.S and the headers with the bundled sample.
 */
#include "hypercall.h"

#define PAGE_SIZE 4096
#define NR_SCRATCH 4
#define NR_WORDS (PAGE_SIZE / 8)
#define DATA 0x63      /* present, writable, accessed, dirty */
#define READ_ONLY 0x21 /* present, accessed */

struct trap_frame {
    u64 r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
    u64 vector, error_code;
    u64 rip, cs, rflags, rsp, ss;
};

enum mode { FUZZ, WILD, LOOP, TRIPLE, STACK, RECURSE, IRET, NR_MODES };
static const char *const mode_names[NR_MODES] = { "fuzz",  "wild",    "loop", "triple",
                                                  "stack", "recurse", "iret" };

extern char hypercall_page[], code_end[], event_entry[], failsafe_entry[], probe_fault[];
extern const u64 trap_entries[20];
int probe_write(void *va, u64 value);

static struct start_info *start_info;
/* The last one is a guard: unmapped, so that what runs out of scratch runs into nothing. */
static u64 scratch[NR_SCRATCH + 1][NR_WORDS] __attribute__((aligned(PAGE_SIZE)));
static u64 scratch_mfn[NR_SCRATCH], l4_mfn;
static u64 random_state;
static u32 faults;

/* ---- printing ---- */

static void say(const char *text)
{
    u32 n = 0;
    while (text[n])
        n++;
    HYPERVISOR_console_io(CONSOLEIO_write, n, text);
}

/* A whole line in one call, so that lines do not mix with the hypervisor's own. */
static void say_numbers(const char *format, const u64 *numbers)
{
    char line[200];
    u32 n = 0;
    for (; *format && n < 170; format++) {
        if (*format != '#') {
            line[n++] = *format;
            continue;
        }
        char digits[24];
        u32 count = 0;
        u64 value = *numbers++;
        do
            digits[count++] = '0' + value % 10;
        while (value /= 10);
        while (count)
            line[n++] = digits[--count];
    }
    line[n] = 0;
    say(line);
}

__attribute__((noreturn)) static void shut_down(u32 reason)
{
    /* A bare SYSCALL: the hypercall page may be gone. */
    u64 number = 29, cmd = SCHEDOP_shutdown;
    u32 *argument = &reason;
    __asm__ volatile("syscall"
                     : "+a"(number), "+D"(cmd), "+S"(argument)
                     :
                     : "rcx", "r11", "memory", "cc");
    for (;;)
        ;
}

/* ---- traps: everything is ignored, within reason ---- */

void trap_handler(struct trap_frame *frame)
{
    if (frame->rip == (u64)probe_write) {
        frame->rip = (u64)probe_fault;
        return;
    }
    if (++faults < 100 && frame->vector <= 3) /* #DE, #DB, NMI, #BP: resume */
        return;
    static u32 dying;
    if (dying++)
        shut_down(SHUTDOWN_crash);
    say_numbers("hostile: trap #, error code #, rip #\n",
                (u64[]){ frame->vector, frame->error_code, frame->rip });
    shut_down(SHUTDOWN_crash);
}

void event_upcall(void)
{
    /* The pending flags stay as they are: the bits in them may be random. The upcall mask is
     * set by the upcall and restored by iret, so clear the summary or it comes again. */
    for (u32 page = 0; page < NR_SCRATCH; page++)
        for (u32 word = 0; word < NR_WORDS; word += 8)
            ((struct vcpu_info *)&scratch[page][word])->evtchn_upcall_pending = 0;
}

void failsafe_handler(void)
{
    say("hostile: failsafe callback\n");
    shut_down(SHUTDOWN_crash);
}

static void register_traps(u64 (*address)(u32 vector))
{
    static struct trap_info table[21];
    for (u32 vector = 0; vector < 20; vector++)
        table[vector] = (struct trap_info){ vector, TI_MASK_EVENTS, FLAT_KERNEL_CS, address(vector) };
    HYPERVISOR_set_trap_table(table);
}

static u64 good_handler(u32 vector)
{
    return trap_entries[vector];
}

static u64 absent_handler(u32 vector)
{
    return 0x10000 + vector;
}

/* ---- random arguments ---- */

/* xorshift64*, Vigna, "An experimental exploration of Marsaglia's xorshift generators" (2016). */
static u64 random(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 2685821657736338717ul;
}

static u64 below(u64 limit)
{
    return random() % limit;
}

static u64 random_scratch_address(void)
{
    return (u64)scratch[below(NR_SCRATCH)] + (below(4) ? below(16) * 64 : below(PAGE_SIZE));
}

/* Addresses that a careless hypervisor would follow. */
static u64 random_pointer(void)
{
    static const u64 bad[] = {
        0,                  /* null */
        1,                  /* misaligned null */
        0x00007ffffffff000, /* last page below the hole */
        0x00007ffffffffff8, /* runs into the hole */
        0x0000800000000000, /* non-canonical */
        0x8000000000000000, /* non-canonical */
        0xffff7fffffffffff, /* non-canonical, one below the hypervisor */
        0xffff800000000000, /* M2P: readable, not writable */
        0xffff804000000000, /* end of the M2P */
        0xffff82d040200000, /* Xen's own code */
        0xffff830000000000, /* Xen's direct map */
        0xffff87fffffffff8, /* last word of the hypervisor */
        0xffff880000000000, /* not mapped */
        0xffffffff7ffff000, /* just below us */
        0xfffffffffffff000, /* last page */
        0xfffffffffffffff8, /* wraps around */
        0xffffffffffffffff,
    };
    switch (below(8)) {
    case 0:
        return bad[below(sizeof bad / sizeof bad[0])];
    case 1:
        return random();
    case 2: /* our code and page tables: readable, not writable */
        return below(2) ? (u64)hypercall_page + below(PAGE_SIZE) : start_info->pt_base + below(PAGE_SIZE);
    case 3: /* runs out of the scratch pages */
        return (u64)scratch[NR_SCRATCH] - below(64);
    default:
        return random_scratch_address();
    }
}

/* A word for a structure: something that gets past the first checks. */
static u64 random_word(void)
{
    switch (below(12)) {
    case 0: case 1: case 2:
        return below(32);
    case 3:
        return random();
    case 4:
        return random() & 0xffffffff;
    case 5:
        return DOMID_SELF;
    case 6:
        return scratch_mfn[below(NR_SCRATCH)];
    case 7: /* an entry that maps a scratch page */
        return scratch_mfn[below(NR_SCRATCH)] << 12 | below(0x200);
    case 8: /* machine address of an unused L4 entry, or one of the hypervisor's */
        return l4_mfn << 12 | (below(2) ? 300 : 256 + below(16)) * 8 | below(4);
    case 9:
        return l4_mfn;
    case 10:
        return random_pointer();
    default:
        return -below(4);
    }
}

static u64 random_argument(void)
{
    switch (below(4)) {
    case 0:
        return below(48);
    case 1:
        return random_word();
    default:
        return random_pointer();
    }
}

/* Stores may fault where a call took the page away: then it keeps what it has. */
static void fill_scratch(void)
{
    for (u32 page = 0; page < NR_SCRATCH; page++)
        for (u32 word = 0; word < NR_WORDS / 4; word++)
            if (probe_write(&scratch[page][word], random_word()))
                break;
}

/* ---- the calls ---- */

static long call(u64 number, const u64 *args)
{
    u64 rdi = args[0], rsi = args[1], rdx = args[2];
    register u64 r10 __asm__("r10") = args[3];
    register u64 r8 __asm__("r8") = args[4];
    register u64 r9 __asm__("r9") = args[5];
    u64 rax = (u64)hypercall_page + number * 32;

    __asm__ volatile("call *%%rax"
                     : "+a"(rax), "+D"(rdi), "+S"(rsi), "+d"(rdx), "+r"(r10), "+r"(r8), "+r"(r9)
                     :
                     : "rcx", "r11", "memory", "cc");
    return rax;
}

/* A number beyond the page and beyond the table, by a bare SYSCALL. */
static long call_any(u64 number, const u64 *args)
{
    u64 rax = number, rdi = args[0], rsi = args[1], rdx = args[2];
    __asm__ volatile("syscall"
                     : "+a"(rax), "+D"(rdi), "+S"(rsi), "+d"(rdx)
                     :
                     : "rcx", "r11", "memory", "cc");
    return rax;
}

#define NR_sched_op_compat 6
#define NR_set_callbacks   4
#define NR_multicall      13
#define NR_console_io     18
#define NR_iret           23
#define NR_vcpu_op        24
#define NR_update_va_mapping_otherdomain 22
#define NR_nmi_op         28
#define NR_sched_op       29
#define NR_callback_op    30

/* Calls that legitimately stop, end or redirect their caller. The rest has to be survivable. */
static int is_lethal(u64 number, const u64 *args)
{
    u32 cmd = args[0];
    switch (number) {
    case NR_iret:           /* loads a whole context from the stack */
    case NR_set_callbacks:  /* where upcalls go */
    case NR_callback_op:
    case NR_nmi_op:
        return 1;
    case NR_sched_op_compat: /* block, shutdown */
        return cmd == 1 || cmd == 2;
    case NR_sched_op: /* block, shutdown, poll, remote_shutdown (as dom0), watchdog */
        return cmd >= 1 && cmd <= 6;
    case NR_vcpu_op: /* down, register_vcpu_info (random upcall mask), send_nmi */
        return cmd == 2 || cmd == 10 || cmd == 11;
    case NR_console_io: /* printing a scratch page is allowed, but no help */
        return args[1] > 0 && (args[2] - (u64)scratch) < sizeof scratch;
    case NR_update_va_mapping: /* pulls our own code or stack away */
    case NR_update_va_mapping_otherdomain:
        return args[0] >= (u64)hypercall_page && args[0] - (u64)scratch >= sizeof scratch;
    default:
        return 0;
    }
}

/* The entries of a multicall are calls as well; which word is a number depends on where the
 * array begins, so none may look like one of those. */
static void disarm_multicall(void)
{
    static const u8 forbidden[] = { NR_set_callbacks, NR_sched_op_compat, NR_console_io, NR_iret,
                                    NR_vcpu_op, NR_nmi_op, NR_sched_op, NR_callback_op,
                                    NR_update_va_mapping, NR_update_va_mapping_otherdomain };
    for (u32 page = 0; page < NR_SCRATCH; page++)
        for (u32 word = 0; word < NR_WORDS; word++)
            for (u32 f = 0; f < sizeof forbidden; f++)
                if ((scratch[page][word] & 0xffffffff) == forbidden[f])
                    probe_write(&scratch[page][word], NR_xen_version);
}

/* Undo what the last call may have done to us; each of these may be refused. */
static void repair(void)
{
    register_traps(good_handler);
    for (u32 page = 0; page < NR_SCRATCH; page++)
        HYPERVISOR_update_va_mapping((u64)scratch[page], scratch_mfn[page] << 12 | DATA, UVMF_INVLPG);
    call(8, (u64[6]){ 7, 0 }); /* set_debugreg: no breakpoints */
}

static void fuzz(u64 count, u64 only, u64 filtered, u64 quiet)
{
    u64 succeeded = 0, refused = 0, skipped = 0;

    for (u64 i = 0; i < count; i++) {
        u64 number = only < 64 ? only : i % 64, args[6];
        fill_scratch();
        for (u32 a = 0; a < 6; a++)
            args[a] = random_argument();
        if (filtered && number == NR_multicall)
            disarm_multicall();
        if (filtered && is_lethal(number, args)) {
            skipped++;
        } else {
            long result = i % 97 == 96 ? call_any(random() | 64, args) : call(number, args);
            if (result < 0)
                refused++;
            else
                succeeded++;
        }
        repair();
        if (!quiet && i % 256 == 255)
            say_numbers("hostile: # calls: # accepted, # refused, # skipped\n",
                        (u64[]){ i + 1, succeeded, refused, skipped });
    }
    say_numbers("hostile: survived # calls: # accepted, # refused, # skipped\n",
                (u64[]){ count, succeeded, refused, skipped });
}

/* ---- command line ---- */

/* The text after `name=` in the command line, or 0. */
static const char *option(const char *name)
{
    for (const char *c = start_info->cmd_line; *c; c++) {
        if (c != start_info->cmd_line && c[-1] != ' ')
            continue;
        u32 n = 0;
        while (name[n] && c[n] == name[n])
            n++;
        if (!name[n] && c[n] == '=')
            return c + n + 1;
    }
    return 0;
}

static u64 number_option(const char *name, u64 otherwise)
{
    const char *c = option(name);
    u64 value = 0;
    if (!c)
        return otherwise;
    for (; *c >= '0' && *c <= '9'; c++)
        value = value * 10 + *c - '0';
    return value;
}

static enum mode mode_option(void)
{
    const char *c = option("mode");
    for (u32 mode = 0; c && mode < NR_MODES; mode++) {
        u32 n = 0;
        while (mode_names[mode][n] && c[n] == mode_names[mode][n])
            n++;
        if (!mode_names[mode][n] && (c[n] == ' ' || !c[n]))
            return mode;
    }
    if (c) {
        say("hostile: no such mode\n");
        shut_down(SHUTDOWN_crash);
    }
    return FUZZ;
}

static u64 mfn_of(const void *va)
{
    return ((u64 *)start_info->mfn_list)[((u64)va - VIRT_BASE) / PAGE_SIZE];
}

/* Hypercalls that write to memory must not write over us, wherever we point them. */
static void protect(void)
{
    for (char *page = hypercall_page; page < code_end; page += PAGE_SIZE)
        HYPERVISOR_update_va_mapping((u64)page, mfn_of(page) << 12 | READ_ONLY, UVMF_INVLPG);
    HYPERVISOR_update_va_mapping((u64)scratch[NR_SCRATCH], 0, UVMF_INVLPG);
}

void guest_main(struct start_info *info)
{
    start_info = info;
    enum mode mode = mode_option();
    say_numbers("hostile: mode #, seed #\n", (u64[]){ mode, number_option("seed", 1) });

    for (u32 page = 0; page < NR_SCRATCH; page++)
        scratch_mfn[page] = mfn_of(scratch[page]);
    l4_mfn = mfn_of((void *)start_info->pt_base);
    random_state = number_option("seed", 1) * 0x9e3779b97f4a7c15ul + 1;

    switch (mode) {
    case FUZZ:
    case WILD:
        register_traps(good_handler);
        HYPERVISOR_callback_op(CALLBACKOP_register,
                               &(struct callback_register){ CALLBACKTYPE_event, 0, (u64)event_entry });
        HYPERVISOR_callback_op(CALLBACKOP_register, &(struct callback_register){
                                   CALLBACKTYPE_failsafe, 0, (u64)failsafe_entry });
        protect();
        fuzz(number_option("count", 2000), number_option("call", 64), mode == FUZZ,
             number_option("quiet", 0));
        shut_down(SHUTDOWN_poweroff);
    case LOOP:
        for (;;)
            __asm__ volatile("");
    case STACK:
        register_traps(good_handler);
        __asm__ volatile("mov $0x1000, %rsp; movl $0, 0x2000");
        break;
    case RECURSE:
        register_traps(absent_handler);
        *(volatile u32 *)0x2000 = 0;
        break;
    case IRET:
        register_traps(good_handler);
        __asm__ volatile("mov $0x1000, %rsp; mov $23, %eax; syscall");
        break;
    default: /* TRIPLE */
        *(volatile u32 *)0x2000 = 0;
    }
    say("hostile: still here?!\n");
    shut_down(SHUTDOWN_crash);
}
