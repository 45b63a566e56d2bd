/* memory.c: the balloon, and what a domain may not do with its memory. */
#include "guest.h"

#define SPARE 16
#define XENMEM_claim_pages 24 /* memory.h has it for tools only */
static u64 spare[SPARE][512] PAGE_ALIGNED;
static u64 window[512] PAGE_ALIGNED;
static xen_pfn_t list[SPARE], out[SPARE];

static u64 *m2p = (u64 *)0xffff800000000000ul;

static long reserve(const char *what, u32 command, u64 count, u32 order, void *extents, u32 dom, u32 flags)
{
    struct xen_memory_reservation a = { .nr_extents = count, .extent_order = order, .mem_flags = flags, .domid = dom };
    set_xen_guest_handle(a.extent_start, extents);
    long result = CALL2(__HYPERVISOR_memory_op, command, &a);
    print("%s: %m\n", what, result);
    return result;
}

static void totals(void)
{
    domid_t self = DOMID_SELF;
    long current = MEMORY(current_reservation, &self), most = MEMORY(maximum_reservation, &self);
    print("  %s frames owned, %s allowed\n", current == (long)start_info->nr_pages ? "as many as at first" : "not as many",
          most >= current ? "at least that many" : "fewer");
}

static void exchange(const char *what, u64 in, u32 in_order, u64 n_out, u32 out_order, u64 done)
{
    struct xen_memory_exchange a = {
        .in = { .nr_extents = in, .extent_order = in_order, .domid = DOMID_SELF },
        .out = { .nr_extents = n_out, .extent_order = out_order, .domid = DOMID_SELF },
        .nr_exchanged = done,
    };
    set_xen_guest_handle(a.in.extent_start, list);
    set_xen_guest_handle(a.out.extent_start, out);
    long result = MEMORY(exchange, &a);
    print("exchange %s: %ld, %lu done\n", what, result, (u64)a.nr_exchanged);
}

static u64 pfn_of(void *va)
{
    return ((u64)va - VIRT_BASE) / PAGE_SIZE;
}

void memory(void)
{
    print("balloon\n");
    totals();
    list[0] = mfn_of(spare[0]);
    list[1] = mfn_of(spare[1]);
    list[2] = mfn_of((void *)start_info->pt_base);
    reserve("decrease by a mapped frame", XENMEM_decrease_reservation, 1, 0, list, DOMID_SELF, 0);
    print("  its M2P entry: %s; as a target of a new entry: %ld\n",
          m2p[list[0]] == pfn_of(spare[0]) ? "kept" : "gone", MAP(window, list[0] << 12 | RW));
    reserve("decrease by it again", XENMEM_decrease_reservation, 1, 0, list, DOMID_SELF, 0);
    print("  unmapping it: %ld\n", MAP(spare[0], 0));
    reserve("and again", XENMEM_decrease_reservation, 1, 0, list, DOMID_SELF, 0);
    print("  unmapping the second: %ld\n", MAP(spare[1], 0));
    reserve("decrease by an unmapped one", XENMEM_decrease_reservation, 1, 0, list + 1, DOMID_SELF, 0);
    totals();
    reserve("decrease by the base table", XENMEM_decrease_reservation, 0, 0, list + 2, DOMID_SELF, 0);
    out[0] = 0;
    reserve("decrease by frame 0", XENMEM_decrease_reservation, 1, 0, out, DOMID_SELF, 0);
    out[0] = 1ul << 50;
    reserve("decrease by no frame", XENMEM_decrease_reservation, 1, 0, out, DOMID_SELF, 0);
    out[0] = start_info->shared_info >> 12;
    reserve("decrease by shared_info", XENMEM_decrease_reservation, 1, 0, out, DOMID_SELF, 0);
    list[0] = pfn_of(spare[0]);
    list[1] = pfn_of(spare[1]);
    reserve("populate 1", XENMEM_populate_physmap, 1, 0, list, DOMID_SELF, 0);
    print("  M2P entry: %s, mapping it: %ld", m2p[list[0]] == pfn_of(spare[0]) ? "set" : "not set",
          MAP(spare[0], list[0] << 12 | RW));
    print(", content %lx\n", spare[0][0]);
    out[0] = 0;
    reserve("increase by 1", XENMEM_increase_reservation, 1, 0, out, DOMID_SELF, 0);
    print("  M2P entry: %s, mapping it: %ld\n", m2p[out[0]] == ~0ul ? "invalid" : m2p[out[0]] == 0x5555555555555555 ? "shared" : "other",
          MAP(spare[1], out[0] << 12 | RW));
    totals();
    for (u32 i = 0; i < SPARE; i++)
        list[i] = pfn_of(window);
    long more = reserve("populate beyond the maximum", XENMEM_populate_physmap, 16, 0, list, DOMID_SELF, 0);
    (void)more;
    reserve("populate none", XENMEM_populate_physmap, 0, 0, list, DOMID_SELF, 0);
    reserve("populate none, null", XENMEM_populate_physmap, 0, 0, 0, DOMID_SELF, 0);
    reserve("populate, null", XENMEM_populate_physmap, 1, 0, 0, DOMID_SELF, 0);
    reserve("increase, null", XENMEM_increase_reservation, 0, 0, 0, DOMID_SELF, 0);
    reserve("decrease, null", XENMEM_decrease_reservation, 1, 0, 0, DOMID_SELF, 0);
    reserve("decrease, Xen's memory", XENMEM_decrease_reservation, 1, 0, (void *)0xffff830000000000, DOMID_SELF, 0);
    reserve("populate of order 10", XENMEM_populate_physmap, 1, 10, list, DOMID_SELF, 0);
    reserve("populate of order 64", XENMEM_populate_physmap, 1, 64, list, DOMID_SELF, 0);
    reserve("populate of d0", XENMEM_populate_physmap, 1, 0, list, 0, 0);
    reserve("populate of d999", XENMEM_populate_physmap, 1, 0, list, 999, 0);
    reserve("populate on demand", XENMEM_populate_physmap, 0, 0, list, DOMID_SELF, XENMEMF_populate_on_demand);
    reserve("populate from extent 5 of 2", XENMEM_populate_physmap | 5 << 6, 2, 0, list, DOMID_SELF, 0);
    reserve("populate from extent 2 of 2", XENMEM_populate_physmap | 2 << 6, 2, 0, list, DOMID_SELF, 0);
    reserve("decrease of order 10", XENMEM_decrease_reservation, 1, 10, list, DOMID_SELF, 0);
    reserve("claim", XENMEM_claim_pages, 1, 0, 0, DOMID_SELF, 0);
    reserve("claim with a list", XENMEM_claim_pages, 1, 0, list, DOMID_SELF, 0);
    reserve("claim of order 1", XENMEM_claim_pages, 1, 1, 0, DOMID_SELF, 0);
    reserve("claim from extent 1", XENMEM_claim_pages | 1 << 6, 1, 0, 0, DOMID_SELF, 0);

    print("exchange\n");
    list[0] = mfn_of(spare[2]);
    out[0] = pfn_of(spare[2]);
    exchange("of a mapped frame", 1, 0, 1, 0, 0);
    MAP(spare[2], 0);
    exchange("of 1", 1, 0, 1, 0, 0);
    print("  a new frame: %s, M2P %s, mapping it: %ld\n", out[0] != list[0] ? "yes" : "no",
          m2p[out[0]] == pfn_of(spare[2]) ? "set" : "not set", MAP(spare[2], out[0] << 12 | RW));
    exchange("of 1 gone", 1, 0, 1, 0, 0);
    exchange("of 1 said to be done", 1, 0, 1, 0, 1);
    exchange("of 1 of which 2 are done", 1, 0, 1, 0, 2);
    exchange("1 for 2", 1, 0, 2, 0, 0);
    exchange("of nothing", 0, 0, 0, 0, 0);
    exchange("of order 10", 1, 10, 1, 10, 0);
    exchange("of order 64", 1, 64, 1, 64, 0);
    exchange("of very many", 1ul << 60, 0, 1ul << 60, 0, 0);
    list[0] = mfn_of(spare[3]);
    list[1] = mfn_of(spare[3]);
    MAP(spare[3], 0);
    out[0] = out[1] = pfn_of(spare[3]);
    exchange("of one named twice", 2, 0, 2, 0, 0);
    exchange("of one named twice, for a pair", 2, 0, 1, 1, 0);
    list[0] = mfn_of(spare[4]);
    list[1] = mfn_of(spare[5]);
    MAP(spare[4], 0);
    MAP(spare[5], 0);
    out[0] = pfn_of(spare[4]);
    exchange("2 for a pair", 2, 0, 1, 1, 0);
    print("  aligned: %s\n", out[0] & 1 ? "no" : "yes");
    list[0] = mfn_of((void *)start_info->pt_base);
    exchange("of the base table", 1, 0, 1, 0, 0);
    totals();

    print("physmap\n");
    struct xen_add_to_physmap add = { .domid = DOMID_SELF, .space = XENMAPSPACE_shared_info, .gpfn = 5 };
    print("add_to_physmap of shared_info: %ld\n", MEMORY(add_to_physmap, &add));
    add.space = XENMAPSPACE_grant_table;
    print("add_to_physmap of a grant frame: %ld\n", MEMORY(add_to_physmap, &add));
    add.domid = 0;
    print("add_to_physmap of d0: %ld\n", MEMORY(add_to_physmap, &add));
    add.domid = 999;
    print("add_to_physmap of d999: %ld\n", MEMORY(add_to_physmap, &add));
    struct xen_remove_from_physmap remove = { .domid = DOMID_SELF, .gpfn = 5 };
    print("remove_from_physmap: %ld\n", MEMORY(remove_from_physmap, &remove));
    remove.domid = 0;
    print("remove_from_physmap of d0: %ld\n", MEMORY(remove_from_physmap, &remove));
    domid_t dom = 0;
    print("current_reservation of d0: %ld\n", MEMORY(current_reservation, &dom));
    dom = 999;
    print("current_reservation of d999: %ld\n", MEMORY(current_reservation, &dom));
    print("maximum_gpfn of d999: %ld\n", MEMORY(maximum_gpfn, &dom));
    dom = DOMID_SELF;
    print("maximum_gpfn: %s\n", MEMORY(maximum_gpfn, &dom) < 0 ? "negative" : "a number");
    struct xen_memory_map map = { .nr_entries = 0 };
    u8 entries[20 * 20];
    set_xen_guest_handle(map.buffer, entries);
    print("memory_map of 0 entries: %ld", MEMORY(memory_map, &map));
    print(", %u\n", map.nr_entries);
    map.nr_entries = 20;
    print("memory_map of 20 entries: %ld", MEMORY(memory_map, &map));
    print(", %u entries, kind of the first %u\n", map.nr_entries, entries[16]);
    map.nr_entries = 20;
    set_xen_guest_handle(map.buffer, 0);
    print("memory_map to nowhere: %ld\n", MEMORY(memory_map, &map));
    struct xen_machphys_mfn_list mfns = { .max_extents = 0, .nr_extents = 99 };
    set_xen_guest_handle(mfns.extent_start, list);
    print("machphys_mfn_list of 0: %ld", MEMORY(machphys_mfn_list, &mfns));
    print(", %u\n", mfns.nr_extents);
    mfns.max_extents = 1;
    print("machphys_mfn_list of 1: %ld", MEMORY(machphys_mfn_list, &mfns));
    print(", %u\n", mfns.nr_extents);
    struct xen_machphys_mapping mapping;
    print("machphys_mapping: %ld, from %lx", MEMORY(machphys_mapping, &mapping), (u64)mapping.v_start);
    print(" to %lx\n", (u64)mapping.v_end);
}
