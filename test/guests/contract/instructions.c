/* instructions.c: what the kernel of a PV guest meets when it uses instructions that are not its own. */
#include "guest.h"

/* Runs a few instructions; says which trap came of them, if one did. Registers go in and come out by name. */
#define TRY(what, text, out, in...)                                                                         \
    do {                                                                                                    \
        u64 out##_ = 0;                                                                                     \
        last_trap.vector = -1;                                                                              \
        __asm__ volatile("lea 77f(%%rip), %%r11; mov %%r11, resume_at(%%rip)\n" text                        \
                         "\n77: movq $0, resume_at(%%rip)"                                                  \
                         : "=a"(out##_)                                                                     \
                         : in                                                                               \
                         : "rcx", "rdx", "rbx", "r8", "r9", "r10", "r11", "r12", "rdi", "memory", "cc");           \
        report(what);                                                                                       \
        (void)out##_;                                                                                       \
        last_value = out##_;                                                                                \
    } while (0)
static u64 last_value;
static volatile u64 page[512] PAGE_ALIGNED;
u64 buffer[16] __attribute__((aligned(16)));

static void report(const char *what)
{
    if (last_trap.vector < 0)
        print("%s: goes on\n", what);
    else
        print("%s: trap %ld, error code %lx\n", what, last_trap.vector, last_trap.error);
}
static void value(u64 mask)
{
    print("  rax %lx\n", last_value & mask);
}

static void iopl(u32 level)
{
    struct physdev_set_iopl a = { level };
    print("set_iopl %u: %ld\n", level, CALL2(__HYPERVISOR_physdev_op, PHYSDEVOP_set_iopl, &a));
}

void instructions(void)
{
    print("flags\n");
    iopl(0);
    TRY("cli", "cli", r, "a"(0));
    TRY("sti", "sti", r, "a"(0));
    TRY("pushf", "pushf; pop %%rax", r, "a"(0));
    value(0x3200);
    TRY("popf without IF and with IOPL 3", "pushf; pop %%rcx; mov $0x3002, %%eax; push %%rax; popf; pushf; pop %%rax; push %%rcx; popf", r, "a"(0));
    value(0x3200);
    TRY("popf with AC and VIF", "push $0x180002; popf; pushf; pop %%rax; push $0x202; popf", r, "a"(0));
    value(0x1fffff & ~0xd5ul);
    print("ports\n");
    TRY("in from 0x60", "in $0x60, %%al", r, "a"(0));
    value(~0ul);
    TRY("in from 0x61", "in $0x61, %%al", r, "a"(0));
    TRY("in from 0x80", "in $0x80, %%al", r, "a"(0));
    value(~0ul);
    TRY("in from 0x3f8", "mov $0x3f8, %%edx; in %%dx, %%eax", r, "a"(0x1122334455667788));
    value(~0ul);
    TRY("out to 0x80", "out %%al, $0x80", r, "a"(0));
    TRY("ins", "lea buffer(%%rip), %%rdi; mov $0x60, %%edx; insb", r, "a"(0));
    iopl(1);
    TRY("cli at IOPL 1", "cli", r, "a"(0));
    TRY("sti at IOPL 1", "sti", r, "a"(0));
    TRY("pushf at IOPL 1", "pushf; pop %%rax", r, "a"(0));
    value(0x3200);
    TRY("in from 0x60 at IOPL 1", "in $0x60, %%al", r, "a"(0));
    value(~0ul);
    TRY("in from 0x3f8 at IOPL 1", "mov $0x3f8, %%edx; in %%dx, %%eax", r, "a"(0x1122334455667788));
    value(~0ul);
    TRY("in from 0xcf8 at IOPL 1", "mov $0xcf8, %%edx; in %%dx, %%eax", r, "a"(0));
    value(~0ul);
    TRY("out to 0xcf8 and in", "mov $0xcf8, %%edx; out %%eax, %%dx; xor %%eax, %%eax; in %%dx, %%eax", r, "a"(0x80000800));
    value(~0ul);
    TRY("in from 0xcfa", "mov $0xcfa, %%edx; in %%dx, %%al", r, "a"(0));
    value(~0ul);
    TRY("in from 0xcfc", "mov $0xcfc, %%edx; in %%dx, %%eax", r, "a"(0));
    value(~0ul);
    TRY("out to 0x80 at IOPL 1", "out %%al, $0x80", r, "a"(0));
    iopl(3);
    TRY("cli at IOPL 3", "cli", r, "a"(0));
    TRY("pushf at IOPL 3", "pushf; pop %%rax", r, "a"(0));
    value(0x3200);
    iopl(4);
    iopl(0);
    print("control registers\n");
    TRY("mov from cr0", "mov %%cr0, %%rax", r, "a"(0));
    value(~0ul);
    TRY("mov from cr2", "mov %%cr2, %%rax", r, "a"(0));
    TRY("mov from cr3", "mov %%cr3, %%rax", r, "a"(0));
    print("  the base table: %s\n", last_value >> 12 == mfn_of((void *)start_info->pt_base) ? "yes" : "no");
    TRY("mov from cr4", "mov %%cr4, %%rax", r, "a"(0));
    TRY("mov from cr8", "mov %%cr8, %%rax", r, "a"(0));
    TRY("mov to cr0, the same", "mov %%cr0, %%rax; mov %%rax, %%cr0", r, "a"(0));
    TRY("mov to cr0, TS", "mov %%cr0, %%rax; or $8, %%rax; mov %%rax, %%cr0; mov %%cr0, %%rax", r, "a"(0));
    value(~0ul);
    TRY("fnop with TS", "fnop", r, "a"(0));
    TRY("fnop after", "fnop", r, "a"(0));
    TRY("mov to cr0, PG clear", "mov $1, %%eax; mov %%rax, %%cr0", r, "a"(0));
    TRY("mov to cr2", "mov $0x1234, %%eax; mov %%rax, %%cr2; mov %%cr2, %%rax", r, "a"(0));
    value(~0ul);
    TRY("mov to cr3, the same", "mov %%cr3, %%rax; mov %%rax, %%cr3", r, "a"(0));
    TRY("mov to cr3, frame 0", "xor %%eax, %%eax; mov %%rax, %%cr3", r, "a"(0));
    TRY("mov to cr4, the same", "mov %%cr4, %%rax; mov %%rax, %%cr4", r, "a"(0));
    TRY("mov to cr4, 0", "xor %%eax, %%eax; mov %%rax, %%cr4", r, "a"(0));
    TRY("mov to cr8", "xor %%eax, %%eax; mov %%rax, %%cr8", r, "a"(0));
    TRY("clts", "clts", r, "a"(0));
    TRY("lmsw", "mov $1, %%eax; lmsw %%ax", r, "a"(0));
    TRY("smsw", "smsw %%rax", r, "a"(0));
    TRY("mov from dr0", "mov %%dr0, %%rax", r, "a"(0));
    TRY("mov from dr4", "mov %%dr4, %%rax", r, "a"(0));
    TRY("mov from dr6", "mov %%dr6, %%rax", r, "a"(0));
    value(~0ul);
    TRY("mov from dr7", "mov %%dr7, %%rax", r, "a"(0));
    value(~0ul);
    TRY("mov to dr0", "lea buffer(%%rip), %%rax; mov %%rax, %%dr0; xor %%eax, %%eax; mov %%rax, %%dr0", r, "a"(0));
    TRY("mov to dr0, Xen's", "mov $-1, %%rax; shl $46, %%rax; mov %%rax, %%dr0", r, "a"(0));
    TRY("mov to dr7, GD", "mov $0x2000, %%eax; mov %%rax, %%dr7; mov %%dr7, %%rax", r, "a"(0));
    value(~0ul);
    TRY("mov to dr7, upper half", "mov $1, %%eax; shl $32, %%rax; mov %%rax, %%dr7; mov %%dr7, %%rax", r, "a"(0));
    value(~0ul);
    print("system\n");
    TRY("hlt's neighbour: pause", "pause", r, "a"(0));
    TRY("invlpg", "invlpg buffer(%%rip)", r, "a"(0));
    TRY("wbinvd", "wbinvd", r, "a"(0));
    TRY("invd", "invd", r, "a"(0));
    TRY("rdmsr EFER", "mov $0xc0000080, %%ecx; rdmsr", r, "a"(0));
    value(~0ul);
    TRY("rdmsr FS base", "mov $0xc0000100, %%ecx; rdmsr", r, "a"(0));
    TRY("rdmsr LSTAR", "mov $0xc0000082, %%ecx; rdmsr", r, "a"(0));
    TRY("rdmsr STAR", "mov $0xc0000081, %%ecx; rdmsr", r, "a"(0));
    TRY("rdmsr APIC base", "mov $0x1b, %%ecx; rdmsr", r, "a"(0));
    value(0xfff);
    TRY("rdmsr unknown", "mov $0xdead, %%ecx; rdmsr", r, "a"(0));
    TRY("rdmsr MISC_ENABLE", "mov $0x1a0, %%ecx; rdmsr", r, "a"(0));
    TRY("rdmsr PAT", "mov $0x277, %%ecx; rdmsr", r, "a"(0));
    value(~0ul);
    TRY("rdmsr TSC", "mov $0x10, %%ecx; rdmsr", r, "a"(0));
    TRY("rdmsr 0x40000000", "mov $0x40000000, %%ecx; rdmsr", r, "a"(0));
    value(~0ul);
    TRY("rdmsr 0x40000001", "mov $0x40000001, %%ecx; rdmsr", r, "a"(0));
    TRY("wrmsr 0x40000000, page 1", "mov $0x40000000, %%ecx; xor %%edx, %%edx; wrmsr", r, "a"(1));
    TRY("wrmsr 0x40000000, frame 0", "mov $0x40000000, %%ecx; xor %%edx, %%edx; wrmsr", r, "a"(0));
    TRY("wrmsr 0x40000000", "mov %%rax, %%rdx; shr $32, %%rdx; mov $0x40000000, %%ecx; wrmsr", r, "a"(mfn_of(page) << 12));
    print("  a hypercall page: %lx\n", page[17 * 4]);
    TRY("wrmsr FS base", "mov $0xc0000100, %%ecx; xor %%edx, %%edx; wrmsr", r, "a"(0));
    TRY("wrmsr FS base, non-canonical", "mov $0xc0000100, %%ecx; mov $0x80000000, %%edx; wrmsr", r, "a"(0));
    TRY("wrmsr EFER", "mov $0xc0000080, %%ecx; xor %%edx, %%edx; wrmsr", r, "a"(0));
    TRY("wrmsr LSTAR", "mov $0xc0000082, %%ecx; xor %%edx, %%edx; wrmsr", r, "a"(0));
    TRY("wrmsr unknown", "mov $0xdead, %%ecx; xor %%edx, %%edx; wrmsr", r, "a"(0));
    TRY("wrmsr PAT", "mov $0x277, %%ecx; xor %%edx, %%edx; wrmsr", r, "a"(0));
    TRY("wrmsr APIC base", "mov $0x1b, %%ecx; xor %%edx, %%edx; wrmsr", r, "a"(0));
    TRY("rdtsc", "rdtsc", r, "a"(0));
    TRY("rdpmc", "xor %%ecx, %%ecx; rdpmc", r, "a"(0));
    TRY("xsetbv, index 1", "mov $1, %%ecx; xor %%edx, %%edx; xsetbv", r, "a"(3));
    TRY("lgdt", "lgdt buffer(%%rip)", r, "a"(0));
    TRY("lidt", "lidt buffer(%%rip)", r, "a"(0));
    TRY("lldt", "lldt %%ax", r, "a"(0));
    TRY("ltr", "ltr %%ax", r, "a"(0));
    TRY("swapgs", "swapgs", r, "a"(0));
    TRY("sysret", "sysretq", r, "a"(0));
    TRY("ud2", "ud2", r, "a"(0));
    TRY("int3", "int3", r, "a"(0));
    TRY("int 0x80", "int $0x80", r, "a"(0));
    TRY("int 3 of two bytes", ".byte 0xcd, 3", r, "a"(0));
    TRY("vmcall", "vmcall", r, "a"(0));
    TRY("a prefixed cpuid", ".byte 0x0f, 0x0b, 0x78, 0x65, 0x6e; cpuid; mov %%ebx, %%eax", r, "a"(0x40000000));
    value(~0ul);
    TRY("divide by 0", "xor %%ecx, %%ecx; div %%ecx", r, "a"(0));
    TRY("single step", "pushf; pop %%rax; or $0x100, %%rax; push %%rax; popf; nop; nop", r, "a"(0));
    __asm__ volatile("push $0x202; popf" ::: "cc");
    print("segments and transfers\n");
    TRY("mov to ds, null", "xor %%eax, %%eax; mov %%eax, %%ds", r, "a"(0));
    TRY("mov to ds, flat", "mov $0xe02b, %%eax; mov %%eax, %%ds; xor %%eax, %%eax; mov %%eax, %%ds", r, "a"(0));
    TRY("mov to ds, Xen's", "mov $0xe010, %%eax; mov %%eax, %%ds", r, "a"(0));
    TRY("mov to ds, beyond the table", "mov $0xfffb, %%eax; mov %%eax, %%ds", r, "a"(0));
    TRY("mov to ds, the guest's empty", "mov $0x0b, %%eax; mov %%eax, %%ds", r, "a"(0));
    TRY("mov to ds, LDT", "mov $0x0f, %%eax; mov %%eax, %%ds", r, "a"(0));
    TRY("mov to ss, null", "xor %%eax, %%eax; mov %%ss, %%ecx; mov %%eax, %%ss; mov %%ecx, %%ss", r, "a"(0));
    TRY("cs", "mov %%cs, %%eax", r, "a"(0));
    value(~0ul);
    TRY("ss", "mov %%ss, %%eax", r, "a"(0));
    value(~0ul);
    TRY("far return to the flat code", "push $0xe033; lea 1f(%%rip), %%rcx; push %%rcx; lretq; 1:", r, "a"(0));
    TRY("far return to ring 0", "mov %%rsp, %%r12; push $0xe008; lea 1f(%%rip), %%rcx; push %%rcx; lretq; 1:; 77: mov %%r12, %%rsp", r, "a"(0));
    TRY("iretq within the kernel",
        "mov %%rsp, %%r12; mov %%ss, %%ecx; push %%rcx; push %%r12; pushf; mov %%cs, %%ecx; push %%rcx; lea 1f(%%rip), %%rcx; push %%rcx; iretq; 1:", r, "a"(0));
    TRY("load of a non-canonical address", "mov $1, %%eax; shl $47, %%rax; mov (%%rax), %%rax", r, "a"(0));
    TRY("load of Xen's memory", "mov $-1, %%rax; shl $46, %%rax; mov (%%rax), %%rax", r, "a"(0));
    print("  address %lx\n", last_trap.address);
    TRY("load of the M2P", "mov $-1, %%rax; shl $47, %%rax; mov (%%rax), %%rax", r, "a"(0));
    TRY("store to the M2P", "mov $-1, %%rax; shl $47, %%rax; mov %%rax, (%%rax)", r, "a"(0));
    TRY("store to a table", "mov %%rax, (%%rax)", r, "a"(start_info->pt_base));
    TRY("load of nothing", "mov 0x1000, %%rax", r, "a"(0));
    TRY("jump to nothing", "mov $0x1000, %%eax; mov %%rsp, %%r12; call *%%rax; 77: mov %%r12, %%rsp", r, "a"(0));
    TRY("misaligned, AC", "pushf; orl $0x40000, (%%rsp); popf; lea buffer+1(%%rip), %%rax; mov (%%rax), %%rax", r, "a"(0));
    __asm__ volatile("push $0x202; popf" ::: "cc");
    TRY("misaligned SSE", "movaps buffer+1(%%rip), %%xmm0", r, "a"(0));
}
