/* memory.c: page tables under a hypervisor that checks every entry.
 *
 * A PV guest sees the real thing: page tables hold machine frame numbers (MFNs), and the CPU
 * walks exactly the tables that the guest built. What keeps other domains safe is a rule on
 * each frame: it is writable or it is a page table, never both. So the life of a page table is:
 * fill it as ordinary memory; give up all writable mappings of it; pin it (Xen checks all
 * entries); from then on change it only through hypercalls, which check the new entry.
 */
#include "guest.h"

struct shared_info *shared_info;

static u8 shared_info_page[PAGE_SIZE] PAGE_ALIGNED; /* an address to map it at */
static u64 l1[512] PAGE_ALIGNED, l2[512] PAGE_ALIGNED, l3[512] PAGE_ALIGNED;
static char page_a[PAGE_SIZE] PAGE_ALIGNED, page_b[PAGE_SIZE] PAGE_ALIGNED;

/* A part of the address space that nobody uses: L4 slot 384, so all three levels are ours. */
#define WINDOW 0xffffc00000000000
#define L4_INDEX(va) ((va) >> 39 & 511)

#define TABLE (PTE_PRESENT | PTE_WRITE | PTE_ACCESSED)
#define DATA (PTE_PRESENT | PTE_WRITE | PTE_ACCESSED | PTE_DIRTY)
#define READ_ONLY (PTE_PRESENT | PTE_ACCESSED)

/* Pseudo-physical frames number our memory from 0; the P2M says which machine frame each
 * of them is. The boot page tables map pseudo-physical 0 at VIRT_BASE. */
u64 virt_to_mfn(const void *va)
{
    u64 pfn = ((u64)va - VIRT_BASE) / PAGE_SIZE;
    return ((u64 *)start_info->mfn_list)[pfn];
}

/* The way back is a table that Xen maps into every address space. */
void *mfn_to_virt(u64 mfn)
{
    u64 pfn = ((u64 *)MACH2PHYS_VIRT_START)[mfn];
    return (void *)(VIRT_BASE + pfn * PAGE_SIZE);
}

/* Replace what is mapped at va, which lies in the boot mapping. */
long map_machine_frame(void *va, u64 mfn, u64 flags)
{
    return HYPERVISOR_update_va_mapping((u64)va, mfn * PAGE_SIZE | flags, UVMF_INVLPG);
}

/* struct shared_info lies in a frame of Xen's, which it allows us to map. */
void map_shared_info(void)
{
    long result = map_machine_frame(shared_info_page, start_info->shared_info / PAGE_SIZE, DATA);
    shared_info = (struct shared_info *)shared_info_page;
    print("shared info: mapped: %s\n", errno_name(result));
}

static long pin_l1(u64 mfn)
{
    struct mmuext_op pin = { .cmd = MMUEXT_PIN_L1_TABLE, .mfn = mfn };
    return HYPERVISOR_mmuext_op(&pin, 1, 0, DOMID_SELF);
}

/* Change one entry, found by the machine address of the table and its index. */
static long set_entry(u64 table_mfn, u32 index, u64 entry)
{
    struct mmu_update update = {
        .ptr = (table_mfn * PAGE_SIZE + index * 8) | MMU_NORMAL_PT_UPDATE,
        .val = entry,
    };
    return HYPERVISOR_mmu_update(&update, 1, 0, DOMID_SELF);
}

static void make_read_only(u64 *table)
{
    long result = map_machine_frame(table, virt_to_mfn(table), READ_ONLY);
    if (result)
        print("page table: making it read-only refused: %ld\n", result);
}

static void fill_tables(void)
{
    l1[0] = virt_to_mfn(page_a) * PAGE_SIZE | DATA;
    l2[0] = virt_to_mfn(l1) * PAGE_SIZE | TABLE;
    l3[0] = virt_to_mfn(l2) * PAGE_SIZE | TABLE;
}

static void use_window(void)
{
    volatile char *window = (volatile char *)WINDOW;
    const char *text = "written through the new mapping";

    for (u32 i = 0; i == 0 || text[i - 1]; i++)
        window[i] = text[i];
    print("page table: the frame says, at its old address: \"%s\"\n", page_a);

    /* The table is live now; a second page enters it by mmu_update only. */
    long result = set_entry(virt_to_mfn(l1), 1, virt_to_mfn(page_b) * PAGE_SIZE | DATA);
    window[PAGE_SIZE] = 'B';
    print("page table: L1[1] added by mmu_update: %s; the second page begins with %c\n",
          errno_name(result), page_b[0]);
}

/* Map two pages at WINDOW through an L1, an L2 and an L3 of our own. */
void build_page_table(void)
{
    fill_tables();
    /* Too early: our own mapping of the L1 is still writable. */
    long result = pin_l1(virt_to_mfn(l1));
    print("page table: pinning it while it is writable: %ld (%s)\n", result, errno_name(result));

    make_read_only(l1);
    make_read_only(l2);
    make_read_only(l3);
    result = pin_l1(virt_to_mfn(l1));
    print("page table: pinning it read-only: %s\n", errno_name(result));

    /* Hooked into the L4, the L3 and what it points to are checked in the same call. */
    u64 l4_mfn = virt_to_mfn((void *)start_info->pt_base);
    result = set_entry(l4_mfn, L4_INDEX(WINDOW), virt_to_mfn(l3) * PAGE_SIZE | TABLE);
    print("page table: hooked into L4[%lu]: %s\n", L4_INDEX(WINDOW), errno_name(result));

    /* We run in ring 3, so a page that we can use has the user bit: Xen adds it. */
    print("page table: L1[0] flags: we wrote %x, they are %lx\n", DATA, l1[0] & 0xfff);
    use_window();
}

/* A writable mapping of a page table would let us forge any entry: twice no. */
void be_refused(void)
{
    u64 forged = virt_to_mfn(l1) * PAGE_SIZE | DATA;

    long result = HYPERVISOR_update_va_mapping((u64)l1, forged, UVMF_INVLPG);
    print("refusal: update_va_mapping of the L1, writable: %ld (%s)\n", result,
          errno_name(result));
    result = set_entry(virt_to_mfn(l1), 2, forged);
    print("refusal: mmu_update of L1[2], the L1 itself, writable: %ld (%s)\n", result,
          errno_name(result));
}

/* What if we just store into the live table? It is mapped read-only, so the store faults. But a
 * hypervisor asked for this assistance looks at what we tried, and if the entry is harmless writes
 * it for us. If not, we see the page fault. Two more faults, of other kinds, end the tour; all
 * of them resume at once, see probe_write in boot.S. */
void fault_and_recover(void)
{
    long result = HYPERVISOR_vm_assist(VMASST_CMD_enable, VMASST_TYPE_writable_pagetables);
    print("faults: writable page tables asked for: %s\n", errno_name(result));

    int faulted = probe_write(&l1[1], 0);
    print("faults: clearing L1[1] by a plain store: %s\n",
          faulted ? "faulted" : "the hypervisor did it for us");
    faulted = probe_write(&l1[2], virt_to_mfn(l1) * PAGE_SIZE | DATA);
    print("faults: forging L1[2] by a plain store: %s\n", faulted ? "faulted" : "done?!");
    faulted = probe_write((void *)(WINDOW + 8 * PAGE_SIZE), 0);
    print("faults: storing to a page that is not there: %s\n", faulted ? "faulted" : "done?!");
    faulted = probe_write((void *)0x8000000000000000, 0);
    print("faults: storing to a non-canonical address: %s\n", faulted ? "faulted" : "done?!");
}

/* Three calls for the price of one switch. One that fails does not stop the others. */
void call_several_at_once(void)
{
    struct multicall_entry calls[] = {
        { .op = NR_xen_version, .args = { XENVER_version } },
        { .op = NR_xen_version, .args = { 99 } },
        { .op = NR_update_va_mapping,
          .args = { (u64)page_b, virt_to_mfn(page_b) * PAGE_SIZE | READ_ONLY, UVMF_INVLPG } },
    };

    long result = HYPERVISOR_multicall(calls, 3);
    print("multicall: %s; xen_version %ld.%ld, no such sub-operation %ld (%s), mapping %s\n",
          errno_name(result), calls[0].result >> 16, calls[0].result & 0xffff, calls[1].result,
          errno_name(calls[1].result), errno_name(calls[2].result));
}
