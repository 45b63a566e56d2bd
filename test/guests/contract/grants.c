/* grants.c: grant tables of both versions, within one domain: it grants to itself. */
#include "guest.h"

#define FRAMES 16
static u64 table[FRAMES][512] PAGE_ALIGNED, status_page[512] PAGE_ALIGNED;
static u64 source[512] PAGE_ALIGNED, target[512] PAGE_ALIGNED, window[512] PAGE_ALIGNED;
static u64 tabled[512] PAGE_ALIGNED;
static u64 frame_list[FRAMES];
static u32 own_id;

#define V1(ref) (&((volatile grant_entry_v1_t *)table)[ref])
#define V2(ref) (&((volatile grant_entry_v2_t *)table)[ref])
#define STATUS(ref) (((volatile grant_status_t *)status_page)[ref])

static long set_version(u32 version)
{
    struct gnttab_set_version a = { version };
    long result = GRANT(set_version, &a);
    print("set_version %u: %ld, version %u\n", version, result, a.version);
    return result;
}

static void get_version(u32 dom)
{
    struct gnttab_get_version a = { dom, 0, 99 };
    long result = GRANT(get_version, &a);
    print("get_version of %u: %ld, %u\n", dom, result, a.version);
}

static void setup(u32 frames)
{
    struct gnttab_setup_table a = { .dom = DOMID_SELF, .nr_frames = frames, .status = 99 };
    set_xen_guest_handle(a.frame_list, frame_list);
    long result = GRANT(setup_table, &a);
    print("setup_table of %u: %ld, status %d\n", frames, result, a.status);
    if (!result && !a.status)
        for (u32 i = 0; i < frames; i++)
            MAP(table[i], frame_list[i] << 12 | RW);
}

static void query(void)
{
    struct gnttab_query_size a = { .dom = DOMID_SELF, .status = 99 };
    long result = GRANT(query_size, &a);
    print("query_size: %ld, status %d, %u of %u\n", result, a.status, a.nr_frames, a.max_nr_frames);
}

static void status_frames(u32 frames)
{
    struct gnttab_get_status_frames a = { .nr_frames = frames, .dom = DOMID_SELF, .status = 99 };
    u64 list[4] = { 0 };
    set_xen_guest_handle(a.frame_list, list);
    long result = GRANT(get_status_frames, &a);
    print("get_status_frames of %u: %ld, status %d\n", frames, result, a.status);
    if (!result && !a.status && frames)
        print("  mapped: %ld\n", MAP(status_page, list[0] << 12 | RW));
}

static u32 handle;
static long map_flags(u32 ref, u32 flags, u64 at)
{
    struct gnttab_map_grant_ref a = { .host_addr = at, .flags = flags, .ref = ref, .dom = own_id, .status = 99 };
    long result = GRANT(map_grant_ref, &a);
    if (!a.status)
        handle = a.handle;
    print("  map of %u, flags %x: %ld, status %d%s\n", ref, flags, result, a.status,
          a.status ? "" : a.dev_bus_addr == mfn_of(source) << 12 ? ", bus address of the page" : ", other bus address");
    return a.status;
}
static long map(u32 ref, u32 flags)
{
    return map_flags(ref, flags, (u64)window);
}

static void unmap_from(u64 at, u64 bus)
{
    struct gnttab_unmap_grant_ref a = { .host_addr = at, .dev_bus_addr = bus, .handle = handle, .status = 99 };
    long result = GRANT(unmap_grant_ref, &a);
    print("  unmap: %ld, status %d\n", result, a.status);
}
static void unmap_at(u64 at)
{
    unmap_from(at, 0);
}
static void unmap(void)
{
    unmap_at((u64)window);
}

static void copy(const char *what, u32 from, u32 from_offset, u32 to_offset, u32 length, u32 flags)
{
    gnttab_copy_t a = { .len = length, .flags = flags, .status = 99 };
    a.source.domid = flags & GNTCOPY_source_gref ? own_id : DOMID_SELF;
    a.dest.domid = flags & GNTCOPY_dest_gref ? own_id : DOMID_SELF;
    if (flags & GNTCOPY_source_gref)
        a.source.u.ref = from;
    else
        a.source.u.gmfn = mfn_of(source);
    if (flags & GNTCOPY_dest_gref)
        a.dest.u.ref = from;
    else
        a.dest.u.gmfn = mfn_of(target);
    a.source.offset = from_offset;
    a.dest.offset = to_offset;
    target[0] = 0;
    long result = GRANT(copy, &a);
    print("  copy %s: %ld, status %d, target %lx\n", what, result, a.status, target[0]);
}

static void swap(u32 a, u32 b)
{
    struct gnttab_swap_grant_ref s = { a, b, 99 };
    long result = GRANT(swap_grant_ref, &s);
    print("  swap %u and %u: %ld, status %d\n", a, b, result, s.status);
}

static void flush(const char *what, u64 address, u32 offset, u32 length, u32 op)
{
    gnttab_cache_flush_t a = { .offset = offset, .length = length, .op = op };
    a.a.dev_bus_addr = address;
    print("  cache_flush %s: %ld\n", what, GRANT(cache_flush, &a));
}

static void grant1(u32 ref, u32 flags, u32 dom, u64 mfn)
{
    V1(ref)->frame = mfn;
    V1(ref)->domid = dom;
    V1(ref)->flags = flags;
}

static void version_1(void)
{
    u64 page = mfn_of(source);
    grant1(8, GTF_permit_access, own_id, page);
    print("version 1, a page granted to itself\n");
    map(8, GNTMAP_host_map);
    print("  through it: %lx, flags %x\n", window[0], V1(8)->flags);
    map_flags(8, GNTMAP_host_map | GNTMAP_readonly, (u64)tabled);
    print("  flags %x\n", V1(8)->flags);
    set_version(2);
    swap(8, 9);
    unmap_at((u64)tabled);
    print("  flags %x\n", V1(8)->flags);
    handle = 0;
    unmap();
    print("  flags %x\n", V1(8)->flags);
    unmap();
    grant1(8, GTF_permit_access | GTF_readonly, own_id, page);
    print("read-only\n");
    map(8, GNTMAP_host_map);
    map(8, GNTMAP_host_map | GNTMAP_readonly);
    print("  flags %x\n", V1(8)->flags);
    unmap();
    print("  flags %x\n", V1(8)->flags);
    map(8, GNTMAP_device_map | GNTMAP_readonly);
    unmap_at(0);
    unmap_at((u64)window);
    unmap_from(0, 0x1000);
    unmap_from(0, page << 12);
    print("  flags %x\n", V1(8)->flags);
    map(8, 0);
    map(8, GNTMAP_host_map | GNTMAP_contains_pte | GNTMAP_readonly);
    map_flags(8, GNTMAP_host_map | GNTMAP_contains_pte | GNTMAP_readonly, entry_of(window));
    unmap();
    unmap_at(entry_of(window));
    map_flags(8, GNTMAP_host_map | GNTMAP_readonly, 0x1000);
    map_flags(8, GNTMAP_host_map | GNTMAP_readonly, 0xffff830000000000);
    map(8, GNTMAP_host_map | GNTMAP_readonly | 7 << 16 | GNTMAP_application_map);
    unmap();
    print("entries that permit nothing\n");
    grant1(8, 0, own_id, page);
    map(8, GNTMAP_host_map);
    grant1(8, GTF_accept_transfer, own_id, page);
    map(8, GNTMAP_host_map);
    grant1(8, GTF_permit_access | GTF_sub_page, own_id, page);
    map(8, GNTMAP_host_map);
    grant1(8, GTF_transitive, own_id, page);
    map(8, GNTMAP_host_map);
    copy("of a transitive one", 8, 0, 0, 8, GNTCOPY_source_gref);
    grant1(8, GTF_permit_access, 0, page);
    map(8, GNTMAP_host_map);
    grant1(8, GTF_permit_access, own_id, 0);
    map(8, GNTMAP_host_map);
    grant1(8, GTF_permit_access, own_id, 0xfffffff);
    map(8, GNTMAP_host_map);
    grant1(8, GTF_permit_access, own_id, mfn_of((void *)start_info->pt_base));
    map(8, GNTMAP_host_map);
    print("  flags %x\n", V1(8)->flags);
    map(100000, GNTMAP_host_map);
    grant1(8, 0, 0, 0);

    print("copies\n");
    grant1(9, GTF_permit_access, own_id, page);
    grant1(10, GTF_permit_access | GTF_readonly, own_id, mfn_of(target));
    grant1(11, GTF_permit_access | GTF_sub_page, own_id, page);
    copy("by frame", 0, 0, 0, 8, 0);
    copy("by grant", 9, 0, 0, 8, GNTCOPY_source_gref);
    copy("by a grant marked sub-page", 11, 0, 0, 8, GNTCOPY_source_gref);
    copy("of nothing", 9, 0, 0, 0, GNTCOPY_source_gref);
    copy("of nothing by a bad grant", 77777, 0, 0, 0, GNTCOPY_source_gref);
    copy("beyond the page", 9, 4090, 0, 8, GNTCOPY_source_gref);
    copy("beyond the target", 9, 0, 4090, 8, GNTCOPY_source_gref);
    copy("beyond the page by a bad grant", 77777, 4090, 0, 8, GNTCOPY_source_gref);
    copy("by a bad grant", 77777, 0, 0, 8, GNTCOPY_source_gref);
    copy("to a read-only grant", 10, 0, 0, 8, GNTCOPY_dest_gref);
    copy("with unknown flags", 9, 0, 0, 8, GNTCOPY_source_gref | 0x40);
    print("  flags %x\n", V1(9)->flags);
    gnttab_copy_t a = { .len = 8, .status = 99 };
    a.source.u.gmfn = page;
    a.source.domid = own_id;
    a.dest.u.gmfn = mfn_of(target);
    a.dest.domid = DOMID_SELF;
    print("  copy by frame of its own number: %ld", GRANT(copy, &a));
    print(", status %d\n", a.status);
    a.source.domid = 999;
    a.flags = GNTCOPY_source_gref;
    print("  copy by grant of d999: %ld", GRANT(copy, &a));
    print(", status %d\n", a.status);
    a.source.domid = DOMID_SELF;
    a.flags = 0;
    a.dest.u.gmfn = mfn_of((void *)start_info->pt_base);
    print("  copy to a page table: %ld", GRANT(copy, &a));
    print(", status %d\n", a.status);
    a.dest.u.gmfn = 0;
    print("  copy to another's frame: %ld", GRANT(copy, &a));
    print(", status %d\n", a.status);

    print("swaps\n");
    swap(9, 9);
    swap(9, 10);
    print("  flags %x %x\n", V1(9)->flags, V1(10)->flags);
    swap(9, 100000);
    V1(9)->flags |= GTF_reading;
    swap(9, 10);
    for (u32 ref = 8; ref < 16; ref++)
        grant1(ref, 0, 0, 0);
}

static void grant2(u32 ref, u32 flags, u32 dom, u64 mfn)
{
    V2(ref)->full_page.frame = mfn;
    V2(ref)->full_page.hdr.domid = dom;
    V2(ref)->full_page.hdr.flags = flags;
}

static void sub_page(u32 ref, u32 flags, u32 offset, u32 length)
{
    V2(ref)->sub_page.page_off = offset;
    V2(ref)->sub_page.length = length;
    grant2(ref, flags | GTF_sub_page | GTF_permit_access, own_id, mfn_of(source));
}

static void transitive(u32 ref, u32 flags, u32 dom, u32 through)
{
    V2(ref)->transitive.gref = through;
    V2(ref)->transitive.trans_domid = dom;
    V2(ref)->transitive.hdr.domid = own_id;
    V2(ref)->transitive.hdr.flags = flags | GTF_transitive;
}

static void version_2(void)
{
    u64 page = mfn_of(source);
    print("version 2\n");
    grant2(8, GTF_permit_access, own_id, page);
    map(8, GNTMAP_host_map);
    print("  through it: %lx, flags %x, status %x\n", window[0], V2(8)->hdr.flags, STATUS(8));
    set_version(1);
    unmap();
    print("  flags %x, status %x\n", V2(8)->hdr.flags, STATUS(8));
    grant2(8, GTF_permit_access | GTF_readonly, own_id, page);
    map(8, GNTMAP_host_map);
    print("  status %x\n", STATUS(8));
    map(8, GNTMAP_host_map | GNTMAP_readonly);
    print("  status %x\n", STATUS(8));
    swap(8, 9);
    unmap();
    print("  status %x\n", STATUS(8));
    grant2(8, GTF_permit_access, 0, page);
    map(8, GNTMAP_host_map);
    grant2(8, GTF_permit_access, own_id, 1ul << 40);
    map(8, GNTMAP_host_map);
    grant2(8, GTF_permit_access, own_id, 1ul << 60);
    map(8, GNTMAP_host_map);
    print("  status %x\n", STATUS(8));
    print("sub-pages\n");
    sub_page(9, 0, 8, 16);
    map(9, GNTMAP_host_map | GNTMAP_readonly);
    copy("within", 9, 8, 0, 8, GNTCOPY_source_gref);
    copy("before", 9, 0, 0, 8, GNTCOPY_source_gref);
    copy("beyond", 9, 16, 0, 16, GNTCOPY_source_gref);
    copy("beyond the page", 9, 4090, 0, 16, GNTCOPY_source_gref);
    copy("to it", 9, 0, 8, 8, GNTCOPY_dest_gref);
    print("  source %lx\n", source[1]);
    copy("to before it", 9, 0, 0, 8, GNTCOPY_dest_gref);
    sub_page(9, GTF_readonly, 8, 16);
    copy("to it, read-only", 9, 0, 8, 8, GNTCOPY_dest_gref);
    sub_page(9, 0, 4090, 100);
    copy("of a range beyond the page", 9, 4092, 0, 8, GNTCOPY_source_gref);
    print("  status %x\n", STATUS(9));
    print("transitive\n");
    grant2(8, GTF_permit_access, own_id, page);
    transitive(10, 0, own_id, 8);
    map(10, GNTMAP_host_map);
    copy("through itself", 10, 0, 0, 8, GNTCOPY_source_gref);
    transitive(10, 0, DOMID_SELF, 8);
    copy("through DOMID_SELF", 10, 0, 0, 8, GNTCOPY_source_gref);
    transitive(10, 0, 999, 8);
    copy("through d999", 10, 0, 0, 8, GNTCOPY_source_gref);
    transitive(10, 0, 0, 8);
    copy("through d0, which granted nothing", 10, 0, 0, 8, GNTCOPY_source_gref);
    transitive(10, 0, 0, 1 << 30);
    copy("through d0, beyond its table", 10, 0, 0, 8, GNTCOPY_source_gref);
    transitive(10, GTF_readonly, own_id, 8);
    copy("to a read-only one", 10, 0, 0, 8, GNTCOPY_dest_gref);
    print("  status %x\n", STATUS(10));
    print("swaps\n");
    sub_page(9, 0, 24, 48);
    STATUS(9) = 5;
    swap(8, 9);
    print("  8: flags %x, offset %u, status %x; 9: flags %x, status %x\n", V2(8)->hdr.flags, V2(8)->sub_page.page_off,
          STATUS(8), V2(9)->hdr.flags, STATUS(9));
    copy("by frame", 0, 0, 0, 8, 0);
}

void grants(void)
{
    source[0] = 0x1234;
    source[1] = 0x5678;
    /* Its own number: the only one for which it may ask as for itself. */
    for (u32 id = 1; id < 100 && !own_id; id++) {
        struct gnttab_get_version a = { id, 0, 0 };
        if (!GRANT(get_version, &a))
            own_id = id;
    }
    print("own number found: %s\n", own_id ? "yes" : "no");
    get_version(DOMID_SELF);
    get_version(0);
    get_version(999);
    query();
    setup(0);
    status_frames(0);
    status_frames(1);
    setup(1);
    query();
    setup(100000);
    /* What the builder granted, to xenstored and the console. */
    print("reserved: %x for %u, %x for %u\n", V1(0)->flags & 0xff7, V1(0)->domid, V1(1)->flags & 0xff7, V1(1)->domid);
    version_1();
    set_version(3);
    set_version(0);
    set_version(1);
    V1(12)->frame = 0x777;
    set_version(2);
    get_version(DOMID_SELF);
    query();
    print("reserved: %x for %u, %x for %u; the rest: %x\n", V2(0)->hdr.flags & 0xff7, V2(0)->hdr.domid,
          V2(1)->hdr.flags & 0xff7, V2(1)->hdr.domid, ((u32 *)table)[12 * 2 + 1]);
    status_frames(2);
    status_frames(1);
    version_2();
    setup(9);
    status_frames(3);
    status_frames(2);
    query();
    for (u32 ref = 8; ref < 16; ref++)
        grant2(ref, 0, 0, 0);
    print("back to version 1, with the status page mapped and without\n");
    set_version(1);
    MAP(status_page, mfn_of(status_page) << 12 | RW);
    V2(3)->transitive.hdr.flags = GTF_transitive;
    set_version(1);
    grant2(3, GTF_permit_access, own_id, 1ul << 40);
    set_version(1);
    grant2(3, GTF_accept_transfer, own_id, 5);
    grant2(4, GTF_permit_access, own_id, 5);
    set_version(1);
    print("entries 3 and 4: %x %x for self %u, frame %u\n", V1(3)->flags, V1(4)->flags, V1(4)->domid == own_id,
          V1(4)->frame);
    grant1(4, 0, 0, 0);
    status_frames(1);
    query();
    print("cache_flush\n");
    flush("of a page", mfn_of(source) << 12, 0, 4096, GNTTAB_CACHE_CLEAN);
    flush("and invalidate", mfn_of(source) << 12, 0, 64, GNTTAB_CACHE_CLEAN | GNTTAB_CACHE_INVAL);
    flush("invalidate", mfn_of(source) << 12, 0, 64, GNTTAB_CACHE_INVAL);
    flush("by grant", 8, 0, 64, GNTTAB_CACHE_CLEAN | GNTTAB_CACHE_SOURCE_GREF);
    flush("of nothing", mfn_of(source) << 12, 0, 0, GNTTAB_CACHE_CLEAN);
    flush("with nothing to do", mfn_of(source) << 12, 0, 64, 0);
    flush("with unknown bits", mfn_of(source) << 12, 0, 64, 0x10);
    flush("beyond the page", mfn_of(source) << 12, 4090, 64, GNTTAB_CACHE_CLEAN);
    flush("of no frame", 1ul << 50, 0, 64, GNTTAB_CACHE_CLEAN);
    flush("of Xen's frame", start_info->shared_info, 0, 64, GNTTAB_CACHE_CLEAN);
    flush("of frame 0", 0, 0, 64, GNTTAB_CACHE_CLEAN);
    MAP(window, mfn_of(window) << 12 | RW);
    MAP(tabled, mfn_of(tabled) << 12 | RW);
}
