/* tables.c: page tables: pinning, updates, linear tables, the descriptor tables. */
#include "guest.h"

#define TABLE_AT(level) ((300 + (level)))
static u64 l1[512] PAGE_ALIGNED, l2[512] PAGE_ALIGNED, l3[512] PAGE_ALIGNED, l4[512] PAGE_ALIGNED;
static u64 other[512] PAGE_ALIGNED, page[512] PAGE_ALIGNED, segments[512] PAGE_ALIGNED;

static void ext(const char *what, u32 cmd, u64 arg1, u64 arg2)
{
    struct mmuext_op op = { .cmd = cmd };
    op.arg1.mfn = arg1;
    op.arg2.vcpumask.p = (void *)arg2;
    u32 done = 99;
    long result = CALL4(__HYPERVISOR_mmuext_op, &op, 1, &done, DOMID_SELF);
    print("%s: %ld, %u done\n", what, result, done);
}

static long update(const char *what, u64 ptr, u64 val)
{
    mmu_update_t u = { ptr, val };
    u32 done = 99;
    long result = CALL4(__HYPERVISOR_mmu_update, &u, 1, &done, DOMID_SELF);
    print("%s: %ld, %u done\n", what, result, done);
    return result;
}

static void read_only(void *va) { MAP(va, mfn_of(va) << 12 | RO); }
static void writable(void *va) { print("  writable again: %ld\n", MAP(va, mfn_of(va) << 12 | RW)); }
static u64 at(void *table, u32 index) { return mfn_of(table) << 12 | index * 8; }
static u64 entry(void *va, u64 flags) { return mfn_of(va) << 12 | flags; }

static void va(const char *what, u64 address, u64 value, u64 flags)
{
    print("update_va_mapping %s: %ld\n", what, CALL3(__HYPERVISOR_update_va_mapping, address, value, flags));
}

void tables(void)
{
    u64 base = mfn_of((void *)start_info->pt_base);
    print("pinning\n");
    ext("pin L1 while writable", MMUEXT_PIN_L1_TABLE, mfn_of(l1), 0);
    read_only(l1);
    ext("pin L1", MMUEXT_PIN_L1_TABLE, mfn_of(l1), 0);
    ext("pin it again", MMUEXT_PIN_L1_TABLE, mfn_of(l1), 0);
    ext("pin it as L2", MMUEXT_PIN_L2_TABLE, mfn_of(l1), 0);
    ext("unpin it", MMUEXT_UNPIN_TABLE, mfn_of(l1), 0);
    ext("unpin it again", MMUEXT_UNPIN_TABLE, mfn_of(l1), 0);
    ext("pin frame 0", MMUEXT_PIN_L1_TABLE, 0, 0);
    ext("pin no frame", MMUEXT_PIN_L1_TABLE, 1ul << 40, 0);
    ext("unpin frame 0", MMUEXT_UNPIN_TABLE, 0, 0);
    ext("pin shared_info", MMUEXT_PIN_L1_TABLE, start_info->shared_info >> 12, 0);
    print("entries of tables\n");
    writable(l1);
    l1[0] = entry(page, RW | 4);
    l1[1] = entry(l1, RO);
    read_only(l1);
    ext("pin an L1 that maps itself read-only", MMUEXT_PIN_L1_TABLE, mfn_of(l1), 0);
    update("map itself writable", at(l1, 2), entry(l1, RW));
    update("map a table writable", at(l1, 2), base << 12 | RW);
    update("map a table read-only", at(l1, 2), base << 12 | RO);
    update("map no frame", at(l1, 3), 1ul << 45 | RW);
    update("map beyond 52 bits", at(l1, 3), 1ul << 51 | entry(page, RW));
    update("map with bit 62", at(l1, 3), 1ul << 62 | entry(page, RW));
    update("map with bit 52", at(l1, 3), 1ul << 52 | entry(page, RW));
    update("map with PAT", at(l1, 3), entry(page, RW | 0x80));
    update("map with PCD", at(l1, 3), entry(page, RW | 0x10));
    update("map with PWT", at(l1, 3), entry(page, RW | 0x08));
    update("map global", at(l1, 3), entry(page, RW | 0x100));
    print("  became %lx\n", l1[3] & 0xfff0000000000fff);
    update("map NX", at(l1, 3), 1ul << 63 | entry(page, RW));
    update("map kernel page", at(l1, 3), entry(page, RW));
    print("  became %lx\n", l1[3] & 0xfff0000000000fff);
    update("map shared_info writable", at(l1, 4), start_info->shared_info | RW);
    update("map the M2P", at(l1, 5), 0xffff800000000000 | RO);
    update("not present, anything", at(l1, 6), 0xfffffffffffffffe);
    print("  became %lx\n", l1[6]);
    update("misaligned", at(l1, 3) + 4, entry(page, RW));
    update("command 3", at(l1, 3) | 3, entry(page, RW));
    update("keep A and D", at(l1, 3) | MMU_PT_UPDATE_PRESERVE_AD, entry(page, 3));
    print("  became %lx\n", l1[3] & 0xfff);
    update("of frame 0", 0, 0);
    update("of no frame", 1ul << 50, 0);
    update("of an ordinary page", at(page, 3), 0x1234);
    print("  became %lx\n", page[3]);
    update("M2P of a frame", mfn_of(page) << 12 | MMU_MACHPHYS_UPDATE, 0x1234);
    print("  became %lx\n", ((u64 *)0xffff800000000000)[mfn_of(page)]);
    update("M2P restored", mfn_of(page) << 12 | MMU_MACHPHYS_UPDATE, ((u64)page - VIRT_BASE) / PAGE_SIZE);
    update("M2P of frame 0", MMU_MACHPHYS_UPDATE, 0x1234);

    print("levels\n");
    l2[0] = entry(l1, 7);
    l2[1] = entry(page, 0x87);
    read_only(l2);
    ext("pin an L2 with a superpage", MMUEXT_PIN_L2_TABLE, mfn_of(l2), 0);
    MAP(l2, entry(l2, RW));
    l2[1] = entry(page, 7);
    read_only(l2);
    ext("pin an L2 that names a writable page", MMUEXT_PIN_L2_TABLE, mfn_of(l2), 0);
    MAP(l2, entry(l2, RW));
    l2[1] = 0;
    read_only(l2);
    ext("pin an L2", MMUEXT_PIN_L2_TABLE, mfn_of(l2), 0);
    l3[0] = entry(l2, 7);
    read_only(l3);
    ext("pin an L3", MMUEXT_PIN_L3_TABLE, mfn_of(l3), 0);
    update("L4 of the base: unused slot", at((void *)start_info->pt_base, 300), entry(l3, 7));
    print("  seen through it: %lx\n", *(volatile u64 *)(0xffff000000000000 | 300ul << 39) == page[0] ? 1ul : 0);
    update("L4 of the base: Xen's slot", at((void *)start_info->pt_base, 256), entry(l3, 7));
    update("L4 of the base: Xen's slot, none", at((void *)start_info->pt_base, 256), 0);
    update("L4 of the base: Xen's last slot", at((void *)start_info->pt_base, 271), 0);
    update("L4 of the base: with NX", at((void *)start_info->pt_base, 301), 1ul << 63 | entry(l3, 7));
    update("L4 of the base: with G and PAT", at((void *)start_info->pt_base, 302), entry(l3, 0x187));
    update("L4 of the base: an L1", at((void *)start_info->pt_base, 302), entry(l1, 7));
    print("linear tables\n");
    update("L4 names itself read-only", at((void *)start_info->pt_base, 303), base << 12 | 5);
    update("L4 names itself writable", at((void *)start_info->pt_base, 304), base << 12 | 7);
    for (u32 i = 0; i < 512; i++)
        l4[i] = 0;
    l4[300] = entry(l3, 7);
    read_only(l4);
    ext("pin an L4", MMUEXT_PIN_L4_TABLE, mfn_of(l4), 0);
    update("L4 of another L4, read-only", at((void *)start_info->pt_base, 305), entry(l4, 5));
    update("and the other way round", at(l4, 305), base << 12 | 5);
    update("L3 names itself read-only", at(l3, 5), entry(l3, 5));
    update("L2 names itself read-only", at(l2, 5), entry(l2, 5));
    for (u32 i = 0; i < 512; i++)
        other[i] = 0;
    read_only(other);
    ext("pin a second L2", MMUEXT_PIN_L2_TABLE, mfn_of(other), 0);
    update("L2 names another L2 read-only", at(l2, 6), entry(other, 5));
    update("and that one a third", at(other, 6), entry(l2, 5));
    update("L2 names another L2 writable", at(l2, 7), entry(other, 7));
    ext("unpin the second L2", MMUEXT_UNPIN_TABLE, mfn_of(other), 0);
    update("L2 names it no more", at(l2, 6), 0);
    writable(other);
    update("L4 of another L4, no more", at((void *)start_info->pt_base, 305), 0);
    update("L4 of itself, no more", at((void *)start_info->pt_base, 303), 0);
    print("base tables\n");
    ext("new base: an L3", MMUEXT_NEW_BASEPTR, mfn_of(l3), 0);
    ext("new base: frame 0", MMUEXT_NEW_BASEPTR, 0, 0);
    ext("new user base", MMUEXT_NEW_USER_BASEPTR, mfn_of(l4), 0);
    ext("new user base: the same", MMUEXT_NEW_USER_BASEPTR, mfn_of(l4), 0);
    ext("new user base: an L3", MMUEXT_NEW_USER_BASEPTR, mfn_of(l3), 0);
    ext("unpin the user base", MMUEXT_UNPIN_TABLE, mfn_of(l4), 0);
    update("L4 of the user base, while in use", at(l4, 306), 0);
    ext("no user base", MMUEXT_NEW_USER_BASEPTR, 0, 0);
    writable(l4);
    update("L4 of the base: no more", at((void *)start_info->pt_base, 300), 0);
    ext("unpin L3", MMUEXT_UNPIN_TABLE, mfn_of(l3), 0);
    ext("unpin L2", MMUEXT_UNPIN_TABLE, mfn_of(l2), 0);
    writable(l3);
    writable(l2);
    ext("unpin L1", MMUEXT_UNPIN_TABLE, mfn_of(l1), 0);
    writable(l1);

    print("flushes and frames\n");
    ext("TLB_FLUSH_LOCAL", MMUEXT_TLB_FLUSH_LOCAL, 0, 0);
    ext("INVLPG_LOCAL", MMUEXT_INVLPG_LOCAL, (u64)page, 0);
    ext("INVLPG_LOCAL, non-canonical", MMUEXT_INVLPG_LOCAL, 1ul << 63, 0);
    ext("TLB_FLUSH_MULTI, null", MMUEXT_TLB_FLUSH_MULTI, 0, 0);
    u64 mask = 1;
    ext("TLB_FLUSH_MULTI", MMUEXT_TLB_FLUSH_MULTI, 0, (u64)&mask);
    mask = ~0ul;
    ext("INVLPG_MULTI of all", MMUEXT_INVLPG_MULTI, (u64)page, (u64)&mask);
    ext("TLB_FLUSH_ALL", MMUEXT_TLB_FLUSH_ALL, 0, 0);
    ext("INVLPG_ALL", MMUEXT_INVLPG_ALL, (u64)page, 0);
    ext("FLUSH_CACHE", MMUEXT_FLUSH_CACHE, 0, 0);
    ext("FLUSH_CACHE_GLOBAL", MMUEXT_FLUSH_CACHE_GLOBAL, 0, 0);
    page[0] = 0x77;
    ext("CLEAR_PAGE", MMUEXT_CLEAR_PAGE, mfn_of(page), 0);
    print("  became %lx\n", page[0]);
    other[0] = 0x88;
    ext("COPY_PAGE", MMUEXT_COPY_PAGE, mfn_of(page), mfn_of(other));
    print("  became %lx\n", page[0]);
    ext("CLEAR_PAGE of a table", MMUEXT_CLEAR_PAGE, base, 0);
    ext("CLEAR_PAGE of frame 0", MMUEXT_CLEAR_PAGE, 0, 0);
    ext("COPY_PAGE of frame 0", MMUEXT_COPY_PAGE, mfn_of(page), 0);
    ext("COPY_PAGE of no frame", MMUEXT_COPY_PAGE, mfn_of(page), 1ul << 50);
    ext("MARK_SUPER", MMUEXT_MARK_SUPER, 0, 0);
    ext("UNMARK_SUPER", MMUEXT_UNMARK_SUPER, 0, 0);

    print("batches\n");
    mmu_update_t two[3] = { { at(page, 0), 1 }, { 0, 1 }, { at(page, 1), 1 } };
    u32 done = 99;
    print("three, the second bad: %ld", CALL4(__HYPERVISOR_mmu_update, two, 3, &done, DOMID_SELF));
    print(", %u done\n", done);
    print("none: %ld", CALL4(__HYPERVISOR_mmu_update, two, 0, &done, DOMID_SELF));
    print(", %u done\n", done);
    done = 99;
    print("beyond its array: %ld", CALL4(__HYPERVISOR_mmu_update, 0xffffffff7ffff000, 3, &done, DOMID_SELF));
    print(", %u done\n", done);
    print("done to nowhere: %ld\n", CALL4(__HYPERVISOR_mmu_update, two, 1, 0x1000, DOMID_SELF));
    print("on d0: %ld\n", CALL4(__HYPERVISOR_mmu_update, two, 1, 0, 0));
    print("on d999: %ld\n", CALL4(__HYPERVISOR_mmu_update, two, 1, 0, 999));
    print("on DOMID_IO: %ld\n", CALL4(__HYPERVISOR_mmu_update, two, 1, 0, DOMID_IO));
    print("on DOMID_XEN: %ld\n", CALL4(__HYPERVISOR_mmu_update, two, 1, 0, DOMID_XEN));
    print("tables of d0: %ld\n", CALL4(__HYPERVISOR_mmu_update, two, 1, 0, 1 << 16 | DOMID_SELF));
    print("tables of DOMID_SELF: %ld\n", CALL4(__HYPERVISOR_mmu_update, two, 1, 0, (DOMID_SELF + 1u) << 16 | DOMID_SELF));
    print("none on d999: %ld\n", CALL4(__HYPERVISOR_mmu_update, two, 0, 0, 999));
    va("of a page", (u64)page, entry(page, RW), UVMF_INVLPG);
    va("without a flush", (u64)page, entry(page, RW), UVMF_NONE);
    va("with flush 3", (u64)page, entry(page, RW), 3);
    va("to a table, writable", (u64)page, base << 12 | RW, UVMF_INVLPG);
    va("where there is no table", 0x1000, entry(page, RW), UVMF_INVLPG);
    va("in Xen's part", 0xffff830000000000, entry(page, RW), UVMF_INVLPG);
    va("with a mask of vCPUs", (u64)page, entry(page, RW), UVMF_INVLPG | (u64)&mask);
    va("with a mask nowhere", (u64)page, entry(page, RW), UVMF_TLB_FLUSH | 0x1000);
    print("otherdomain, d0: %ld\n", CALL4(__HYPERVISOR_update_va_mapping_otherdomain, page, entry(page, RW), UVMF_INVLPG, 0));
    print("otherdomain, self: %ld\n", CALL4(__HYPERVISOR_update_va_mapping_otherdomain, page, entry(page, RW), UVMF_INVLPG, DOMID_SELF));
    print("otherdomain, d999: %ld\n", CALL4(__HYPERVISOR_update_va_mapping_otherdomain, page, entry(page, RW), UVMF_INVLPG, 999));

    print("descriptors\n");
    u64 frames[16] = { mfn_of(segments) };
    segments[1] = 0x00cffa000000ffff;
    print("set_gdt, writable: %ld\n", CALL2(__HYPERVISOR_set_gdt, frames, 512));
    read_only(segments);
    print("set_gdt: %ld\n", CALL2(__HYPERVISOR_set_gdt, frames, 512));
    print("set_gdt of 513: %ld\n", CALL2(__HYPERVISOR_set_gdt, frames, 513));
    print("set_gdt of 7168: %ld\n", CALL2(__HYPERVISOR_set_gdt, frames, 7168));
    print("set_gdt of 7169: %ld\n", CALL2(__HYPERVISOR_set_gdt, frames, 7169));
    print("set_gdt, null: %ld\n", CALL2(__HYPERVISOR_set_gdt, 0, 512));
    print("update_descriptor: %ld\n", CALL2(__HYPERVISOR_update_descriptor, at(segments, 2), 0x00cff2000000ffff));
    print("  became %lx\n", segments[2]);
    print("update_descriptor, ring 0: %ld\n", CALL2(__HYPERVISOR_update_descriptor, at(segments, 3), 0x00cf9a000000ffff));
    print("  became %lx\n", segments[3]);
    print("update_descriptor, a call gate: %ld\n", CALL2(__HYPERVISOR_update_descriptor, at(segments, 3), 0x00008c00e0080000));
    print("update_descriptor, a TSS: %ld\n", CALL2(__HYPERVISOR_update_descriptor, at(segments, 3), 0x0000890000000067));
    print("update_descriptor, 64-bit code: %ld\n", CALL2(__HYPERVISOR_update_descriptor, at(segments, 3), 0x00affa000000ffff));
    print("update_descriptor, 64-bit code in a page: %ld\n", CALL2(__HYPERVISOR_update_descriptor, at(page, 3), 0x00008c00e0080000));
    print("update_descriptor, not present: %ld\n", CALL2(__HYPERVISOR_update_descriptor, at(segments, 3), 0x0000120000000000));
    print("update_descriptor, misaligned: %ld\n", CALL2(__HYPERVISOR_update_descriptor, at(segments, 3) + 4, 0));
    print("update_descriptor, frame 0: %ld\n", CALL2(__HYPERVISOR_update_descriptor, 0, 0));
    print("update_descriptor, a table: %ld\n", CALL2(__HYPERVISOR_update_descriptor, base << 12, 0));
    print("set_gdt of none: %ld\n", CALL2(__HYPERVISOR_set_gdt, frames, 0));
    writable(segments);
    segments[3] = 0x00008c00e0080000;
    read_only(segments);
    print("set_gdt with a call gate: %ld\n", CALL2(__HYPERVISOR_set_gdt, frames, 512));
    MAP(segments, entry(segments, RW));
    ext("SET_LDT", MMUEXT_SET_LDT, (u64)segments, 512);
    ext("SET_LDT, misaligned", MMUEXT_SET_LDT, (u64)segments + 8, 512);
    ext("SET_LDT of 8193", MMUEXT_SET_LDT, (u64)segments, 8193);
    ext("SET_LDT in Xen's part", MMUEXT_SET_LDT, 0xffff830000000000, 512);
    ext("SET_LDT of none", MMUEXT_SET_LDT, 0, 0);
}
