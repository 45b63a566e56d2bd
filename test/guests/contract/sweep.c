/* sweep.c: every sub-operation of every call with a null pointer, one into Xen, a page of zeros and a page of ones.
 * A changed half-word of the page is shown as offset=value. */
#include "guest.h"
#include <xen/platform.h>

#define BAD_POINTER 0xffff830000000000ul
#define SHOWN 512 /* bytes of the page that are looked at for changes */

static u16 page[PAGE_SIZE / 2] PAGE_ALIGNED;

enum kind { NONE, NULL_POINTER, BAD, ZEROS, ONES, VERSIONED, NR_KINDS };
static const char *const kind_names[] = { "", "null", "bad", "zeros", "ones", "versioned" };

struct call {
    const char *name;
    u64 number;
    u32 commands;
    /* Where the arguments stand: 1 is rdi; 0: in the structure's first word. */
    u8 command_at, pointer_at;
    u64 args[6]; /* the last: the version in the structure's second word */
    /* Sub-operations that end, stop or redirect the guest, as bits: with zeros, with ones, at all. */
    u64 not_zeros, not_ones, not_at_all;
    u8 quiet; /* what is copied out differs from machine to machine */
};

static const struct call calls[] = {
    { "platform_op", 7, 64, 0, 1, { 0, 0, 0, 0, 0, XENPF_INTERFACE_VERSION }, 0, 0, 0, 0 },
    { "memory_op", 12, 31, 1, 2, { 0 }, 0, 0, 0, 1 },
    { "event_channel_op_compat", 16, 12, 0, 1, { 0 }, 0, 0, 0, 0 },
    { "xen_version", 17, 13, 1, 2, { 0 }, 0, 0, 0, 1 },
    { "console_io", 18, 4, 1, 3, { 0, 0 }, 0, 0, 0, 0 },
    { "physdev_op_compat", 19, 12, 0, 1, { 0 }, 0, 0, 0, 0 },
    { "grant_table_op", 20, 15, 1, 2, { 0, 0, 1 }, 0, 0, 0, 0 },
    { "grant_table_op of none", 20, 15, 1, 2, { 0, 0, 0 }, 0, 0, 0, 0 },
    { "grant_table_op of -1", 20, 15, 1, 2, { 0, 0, 0xffffffff }, 0, 0, 0, 0 },
    { "vm_assist", 21, 3, 1, 0, { 0, 7 }, 0, 0, 0, 0 },
    { "vcpu_op", 24, 15, 1, 3, { 0, 0 }, 0, 0, 1 << 2 | 1 << 11, 1 },
    { "vcpu_op of vCPU 1", 24, 15, 1, 3, { 0, 1 }, 0, 0, 0, 0 },
    { "vcpu_op of vCPU 8192", 24, 15, 1, 3, { 0, 8192 }, 0, 0, 0, 0 },
    { "mmuext_op", 26, 24, 0, 1, { 0, 1, 0, DOMID_SELF }, 0, 0, 0, 0 },
    { "mmuext_op of none", 26, 2, 0, 1, { 0, 0, 0, DOMID_SELF }, 0, 0, 0, 0 },
    { "mmuext_op on d0", 26, 24, 0, 1, { 0, 1, 0, 0 }, 0, 0, 0, 0 },
    { "xsm_op", 27, 1, 1, 1, { 0 }, 0, 0, 0, 0 },
    { "nmi_op", 28, 3, 1, 2, { 0 }, 0, 0, 1, 0 },
    { "sched_op", 29, 9, 1, 2, { 0 }, 1 << 2 | 1 << 3 | 1 << 6, 1 << 2, 1 << 1, 0 },
    { "callback_op", 30, 4, 1, 2, { 0 }, 0, 0, 0, 0 },
    { "xenoprof_op", 31, 18, 1, 2, { 0 }, 0, 0, 1 << 0 | 1 << 14, 0 },
    { "event_channel_op", 32, 16, 1, 2, { 0 }, 0, 0, 0, 0 },
    { "physdev_op", 33, 34, 1, 2, { 0 }, 0, 0, 0, 0 },
    { "hvm_op", 34, 27, 1, 2, { 0 }, 0, 0, 0, 1 },
    { "sysctl", 35, 32, 0, 1, { 0, 0, 0, 0, 0, 0x15 }, 0, 0, 0, 0 },
    { "domctl", 36, 90, 0, 1, { 0, 0, 0, 0, 0, 0x15 }, 0, 0, 0, 0 },
    { "kexec_op", 37, 7, 1, 2, { 0 }, 0, 0, 0, 0 },
    { "tmem_op", 38, 1, 1, 1, { 0 }, 0, 0, 0, 0 },
    { "argo_op", 39, 7, 1, 2, { 0 }, 0, 0, 0, 0 },
    { "xenpmu_op", 40, 8, 1, 2, { 0 }, 0, 0, 0, 0 },
    { "dm_op of itself", 41, 1, 1, 3, { DOMID_SELF, 1 }, 0, 0, 0, 0 },
    { "dm_op of d0", 41, 1, 1, 3, { 0, 1 }, 0, 0, 0, 0 },
    { "dm_op of d999", 41, 1, 1, 3, { 999, 1 }, 0, 0, 0, 0 },
    { "hypfs_op", 42, 5, 1, 2, { 0 }, 0, 0, 0, 0 },
    { "mca", 48, 8, 0, 1, { 0 }, 0, 0, 0, 0 },
    { "arch_1", 49, 1, 1, 1, { 0 }, 0, 0, 0, 0 },
    { "arch_2", 50, 1, 1, 1, { 0 }, 0, 0, 0, 0 },
    { "arch_7", 55, 1, 1, 1, { 0 }, 0, 0, 0, 0 },
    { "56", 56, 1, 1, 1, { 0 }, 0, 0, 0, 0 },
    { "63", 63, 1, 1, 1, { 0 }, 0, 0, 0, 0 },
    { "5000000000", 5000000000, 1, 1, 1, { 0 }, 0, 0, 0, 0 },
    { "43", 43, 1, 1, 1, { 0 }, 0, 0, 0, 0 },
    { "47", 47, 1, 1, 1, { 0 }, 0, 0, 0, 0 },
    { "11", 11, 1, 1, 1, { 0 }, 0, 0, 0, 0 },
};

static void fill(enum kind kind)
{
    for (u32 i = 0; i < PAGE_SIZE / 2; i++)
        page[i] = kind == ONES ? 0xffff : 0;
}

static void ask(const struct call *c, u32 command, enum kind kind)
{
    u64 a[6];
    for (u32 i = 0; i < 6; i++)
        a[i] = c->args[i];
    fill(kind);
    u64 pointer = kind == NULL_POINTER ? 0 : kind == BAD ? BAD_POINTER : (u64)page;
    if (c->pointer_at)
        a[c->pointer_at - 1] = pointer;
    if (!c->command_at)
        *(volatile u32 *)page = command;
    if (kind == VERSIONED)
        ((volatile u32 *)page)[1] = c->args[5];
    else if (c->commands > 1)
        a[c->command_at - 1] = command;
    u16 expected = kind == ONES ? 0xffff : 0;
    print(" %s %m", kind_names[kind], hypercall(c->number, a[0], a[1], a[2], a[3], a[4], a[5]));
    if (c->quiet)
        return;
    for (u32 i = c->command_at ? 0 : kind == VERSIONED ? 4 : 2; i < SHOWN / 2; i++)
        if (page[i] != expected)
            print(" %u=%m", i * 2, (long)(short)page[i]);
}

void sweep(void)
{
    for (u32 i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        const struct call *c = &calls[i];
        for (u32 command = 0; command < c->commands; command++) {
            if (c->commands > 1)
                print("%s %u:", c->name, command);
            else
                print("%s:", c->name);
            for (enum kind kind = NULL_POINTER; kind < NR_KINDS; kind++) {
                u64 bit = command < 64 ? 1ul << command : 0;
                if ((!c->command_at && kind < ZEROS && command) || (!c->pointer_at && kind > NULL_POINTER) ||
                    (kind == VERSIONED && !c->args[5]) || (c->args[5] && kind < VERSIONED && command > 1))
                    continue;
                if (c->not_at_all & bit || (kind == ZEROS && c->not_zeros & bit) || (kind == ONES && c->not_ones & bit))
                    continue;
                ask(c, command, kind);
            }
            print("\n");
        }
    }
    install_traps();
}
