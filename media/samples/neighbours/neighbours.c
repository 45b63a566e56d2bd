/* neighbours.c: two domains that share a page and a doorbell.
 *
 * The same image runs in both; the command line says who it is (role=giver or role=taker) and the number of the
 * other one (peer=N). The giver grants three pages and offers a place for a fourth; the taker maps one, copies
 * from another, is refused what it was not given, and gives a page away. They ring each other by an event
 * channel. The files of first-hypercall do the rest: console, traps, events, memory.
 *
 * Good places for a function breakpoint: meet() in either, hypercall:grant_table_op, hypercall:event_channel_op.
 */
#include "guest.h"

/* grant_table.h */
#define GNTTABOP_map_grant_ref   0
#define GNTTABOP_unmap_grant_ref 1
#define GNTTABOP_transfer        4
#define GNTTABOP_copy            5
#define GNTMAP_host_map          2
#define GNTMAP_readonly          4
#define GNTCOPY_source_gref      1
#define GNTCOPY_dest_gref        2
#define GTF_accept_transfer      2
#define GTF_readonly             4
#define GTF_transfer_completed   8
struct gnttab_map_grant_ref {
    u64 host_addr;
    u32 flags, ref;
    u16 dom;
    short status; /* out, and what follows */
    u32 handle;
    u64 dev_bus_addr;
};
struct gnttab_unmap_grant_ref {
    u64 host_addr, dev_bus_addr;
    u32 handle;
    short status; /* out */
};
struct gnttab_transfer {
    u64 mfn;
    u16 domid;
    u32 ref;
    short status; /* out */
};
struct gnttab_copy {
    struct {
        u64 ref_or_mfn;
        u16 domid, offset;
    } source, dest;
    u16 len, flags;
    short status; /* out */
};
/* event_channel.h */
#define EVTCHNOP_bind_interdomain 0
struct evtchn_bind_interdomain {
    u16 remote_dom;
    u32 remote_port;
    u32 local_port; /* out */
};

#define DATA (PTE_PRESENT | PTE_WRITE | PTE_ACCESSED | PTE_DIRTY)
/* The first port that is not the console's or xenstore's: nobody has to be told. */
#define DOORBELL 3
/* Grant references, likewise agreed upon. */
#define REF_SHARED 8
#define REF_READ   9
#define REF_TAKE   10
#define REF_NONE   20

struct start_info *start_info;
static struct grant_entry_v1 grant_table[512] PAGE_ALIGNED;
static char page_shared[PAGE_SIZE] PAGE_ALIGNED, page_read[PAGE_SIZE] PAGE_ALIGNED;
static char window[PAGE_SIZE] PAGE_ALIGNED, gift[PAGE_SIZE] PAGE_ALIGNED;
static volatile u32 rings;
static u32 seen, port;
static u16 peer;

/* The text after `name=` in the command line. */
static const char *option(const char *name)
{
    for (const char *c = start_info->cmd_line; *c; c++) {
        u32 n = 0;
        while (name[n] && c[n] == name[n])
            n++;
        if (!name[n] && c[n] == '=')
            return c + n + 1;
    }
    return "";
}

static void write_text(char *to, const char *text)
{
    while ((*to++ = *text++))
        ;
}

static void wait_for_ring(void)
{
    wait_for_change(&rings, seen);
    seen++;
}

static void grant(u32 ref, const void *page, u16 flags)
{
    grant_table[ref].domid = peer;
    grant_table[ref].frame = page ? virt_to_mfn(page) : 0;
    barrier();
    grant_table[ref].flags = flags;
}

/* ---- the giver ---- */

static void give(void)
{
    u64 frame = 0;
    struct gnttab_setup_table setup = { DOMID_SELF, 1, 0, &frame };
    HYPERVISOR_grant_table_op(GNTTABOP_setup_table, &setup, 1);
    map_machine_frame(grant_table, frame, DATA);
    write_text(page_shared, "a page for both of us");
    write_text(page_read, "a page to be read");
    grant(REF_SHARED, page_shared, GTF_permit_access);
    grant(REF_READ, page_read, GTF_permit_access | GTF_readonly);
    grant(REF_TAKE, 0, GTF_accept_transfer);

    struct evtchn_alloc_unbound alloc = { DOMID_SELF, peer, 0 };
    long result = HYPERVISOR_event_channel_op(EVTCHNOP_alloc_unbound, &alloc);
    port = alloc.port;
    print("giver: doorbell for domain %u: %s, port %u\n", peer, errno_name(result), port);
    on_event(port, &rings);

    wait_for_ring();
    print("giver: they wrote \"%s\", the grant is %s\n", page_shared,
          grant_table[REF_SHARED].flags & GTF_writing ? "in use, to write" : "not in use");
    write_text(page_shared, "welcome");
    notify(port);

    wait_for_ring();
    if (grant_table[REF_TAKE].flags & GTF_transfer_completed) {
        map_machine_frame(gift, grant_table[REF_TAKE].frame, DATA);
        print("giver: got a page, it says \"%s\"\n", gift);
    }
    notify(port);

    wait_for_ring();
    print("giver: the grant is %s\n",
          grant_table[REF_SHARED].flags & (GTF_reading | GTF_writing) ? "still in use" : "free again");
    struct evtchn_port close = { port };
    print("giver: doorbell closed: %s\n", errno_name(HYPERVISOR_event_channel_op(EVTCHNOP_close, &close)));
}

/* ---- the taker ---- */

static struct gnttab_map_grant_ref map_grant(u32 ref, u32 flags)
{
    struct gnttab_map_grant_ref map = { .host_addr = (u64)(ref == REF_SHARED ? window : gift), .flags = flags, .ref = ref, .dom = peer };
    HYPERVISOR_grant_table_op(GNTTABOP_map_grant_ref, &map, 1);
    return map;
}

static int copy(u64 from, u64 to, u16 flags)
{
    struct gnttab_copy c = { { from, DOMID_SELF, 0 }, { to, DOMID_SELF, 0 }, 64, flags, 0 };
    if (flags & GNTCOPY_source_gref)
        c.source.domid = peer;
    if (flags & GNTCOPY_dest_gref)
        c.dest.domid = peer;
    HYPERVISOR_grant_table_op(GNTTABOP_copy, &c, 1);
    return c.status;
}

static void refused(u64 mfn)
{
    print("taker: mapping what was not granted: status %d\n", map_grant(REF_NONE, GNTMAP_host_map).status);
    print("taker: mapping the read-only page to write: status %d\n", map_grant(REF_READ, GNTMAP_host_map).status);
    print("taker: mapping their frame without a grant: %s\n",
          errno_name(map_machine_frame(gift, mfn, DATA)));
    print("taker: copying into the read-only page: status %d\n",
          copy(virt_to_mfn(gift), REF_READ, GNTCOPY_dest_gref));
}

static void take(void)
{
    struct evtchn_bind_interdomain bind = { peer, DOORBELL, 0 };
    while (HYPERVISOR_event_channel_op(EVTCHNOP_bind_interdomain, &bind))
        HYPERVISOR_sched_op(SCHEDOP_yield, 0); /* they have not come so far */
    port = bind.local_port;
    on_event(port, &rings);
    /* A fresh channel rings once, in case something was sent before it was whole. */
    wait_for_ring();
    print("taker: doorbell of domain %u connected\n", peer);

    struct gnttab_map_grant_ref map = map_grant(REF_SHARED, GNTMAP_host_map);
    print("taker: page mapped: status %d, it says \"%s\"\n", map.status, window);
    if (map.status)
        shut_down(SHUTDOWN_crash);
    print("taker: copied: status %d", copy(REF_READ, virt_to_mfn(gift), GNTCOPY_source_gref));
    print(", \"%s\"\n", gift);
    refused(map.dev_bus_addr / PAGE_SIZE);
    write_text(window, "hello, neighbour");
    notify(port);
    wait_for_ring();
    print("taker: they answered \"%s\"\n", window);
    if (same(option("then"), "crash")) {
        print("taker: crashing with their page mapped\n");
        shut_down(SHUTDOWN_crash);
    }
    if (same(option("then"), "spin")) {
        print("taker: spinning with their page mapped\n");
        for (;;)
            ;
    }

    /* A page is given away only when nothing of ours maps it. */
    u64 mfn = virt_to_mfn(gift);
    write_text(gift, "a gift");
    map_machine_frame(gift, 0, 0);
    struct gnttab_transfer transfer = { mfn, peer, REF_TAKE, 0 };
    HYPERVISOR_grant_table_op(GNTTABOP_transfer, &transfer, 1);
    print("taker: page given away: status %d\n", transfer.status);
    print("taker: mapping it again: %s\n", errno_name(map_machine_frame(gift, mfn, DATA)));
    notify(port);
    wait_for_ring();

    struct gnttab_unmap_grant_ref unmap = { (u64)window, 0, map.handle, 0 };
    HYPERVISOR_grant_table_op(GNTTABOP_unmap_grant_ref, &unmap, 1);
    print("taker: page unmapped: status %d\n", unmap.status);
    print("taker: storing to it: %s\n", probe_write(window, 1) ? "faulted" : "still possible?!");
    notify(port);
}

void guest_main(struct start_info *info)
{
    start_info = info;
    for (const char *c = option("peer"); *c >= '0' && *c <= '9'; c++)
        peer = peer * 10 + *c - '0';
    register_traps();
    map_shared_info();
    register_callbacks();
    open_console();
    if (option("role")[0] == 'g')
        give();
    else
        take();
    print("%s: done\n", option("role")[0] == 'g' ? "giver" : "taker");
    shut_down(SHUTDOWN_poweroff);
}

void shut_down(u32 reason)
{
    HYPERVISOR_sched_op(SCHEDOP_shutdown, &reason);
    for (;;)
        HYPERVISOR_sched_op(SCHEDOP_block, 0);
}

/* Of first-hypercall's main.c. */
int same(const char *a, const char *b)
{
    while (*b && *a == *b)
        a++, b++;
    return !*b;
}
