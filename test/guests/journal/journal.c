/* journal.c: a guest that writes to its first disk for ever and says what is safe there.
 *
 * Step n writes 1 to 4 blocks of 4 KiB to places that follow from n, has the disk flushed, and prints n. So
 * whatever happens afterwards, the blocks of every step that was printed are on the disk, or newer ones in their
 * place. Every 64-bit word of a block says where it belongs: step << 32 | block of the step << 16 | word.
 *
 * Command line: first=N, the first step (default 1). All but this file is the bundled sample's. */
#include "guest.h"

#define NUMBER "51712" /* xvda */
#define SECTORS_PER_BLOCK 8
#define PLACES 64
#define MOST_BLOCKS 4

/* io/blkif.h */
#define BLKIF_OP_WRITE 1
#define BLKIF_OP_WRITE_BARRIER 2
#define BLKIF_OP_FLUSH_DISKCACHE 3
struct blkif_request {
    u8 operation, nr_segments;
    u16 handle;
    u64 id, sector_number;
    struct {
        u32 gref;
        u8 first_sect, last_sect;
    } seg[11];
};
struct blkif_response {
    u64 id;
    u8 operation;
    short status;
};
/* io/ring.h */
#define RING_SLOTS 32
static struct {
    u32 req_prod, req_event, rsp_prod, rsp_event;
    u8 pad[48];
    union {
        struct blkif_request request;
        struct blkif_response response;
    } slots[RING_SLOTS];
} ring PAGE_ALIGNED;

struct start_info *start_info;

static struct grant_entry_v1 grants[PAGE_SIZE / sizeof(struct grant_entry_v1)] PAGE_ALIGNED;
static u64 blocks[MOST_BLOCKS][512] PAGE_ALIGNED;
static u32 block_refs[MOST_BLOCKS], port, produced, consumed;
static volatile u32 events;

__attribute__((noreturn)) static void give_up(const char *why)
{
    print("journal: %s\n", why);
    shut_down(SHUTDOWN_crash);
}

static u32 grant(const void *page)
{
    static u32 ref = GNTTAB_NR_RESERVED_ENTRIES;
    grants[ref].domid = 0;
    grants[ref].frame = virt_to_mfn(page);
    barrier();
    grants[ref].flags = GTF_permit_access;
    return ref++;
}

static void tell(const char *path, u64 value)
{
    char text[24];
    format_decimal(text, value);
    if (xenstore_write(path, text))
        give_up("xenstore refuses");
}

static void connect(void)
{
    u64 frame = 0;
    struct gnttab_setup_table setup = { DOMID_SELF, 1, 0, &frame };
    struct evtchn_alloc_unbound alloc = { .dom = DOMID_SELF, .remote_dom = 0 };
    char backend[80], state[80], value[8];
    u32 n = 0;

    if (HYPERVISOR_grant_table_op(GNTTABOP_setup_table, &setup, 1) || setup.status ||
        map_machine_frame(grants, frame, PTE_PRESENT | PTE_WRITE | PTE_ACCESSED | PTE_DIRTY))
        give_up("no grant table");
    if (HYPERVISOR_event_channel_op(EVTCHNOP_alloc_unbound, &alloc))
        give_up("no event channel");
    port = alloc.port;
    on_event(port, &events);
    ring.req_event = ring.rsp_event = 1;
    u32 ring_ref = grant(&ring);
    for (u32 i = 0; i < MOST_BLOCKS; i++)
        block_refs[i] = grant(blocks[i]);

    if (xenstore_read("device/vbd/" NUMBER "/backend", backend, sizeof backend - 8))
        give_up("no disk");
    for (; backend[n]; n++)
        state[n] = backend[n];
    for (const char *s = "/state"; (state[n] = *s); s++)
        n++;
    tell("device/vbd/" NUMBER "/ring-ref", ring_ref);
    tell("device/vbd/" NUMBER "/event-channel", port);
    xenstore_write("device/vbd/" NUMBER "/protocol", "x86_64-abi");
    tell("device/vbd/" NUMBER "/state", XenbusStateInitialised);
    xenstore_watch(state, "backend");
    do
        wait_for_watch("backend");
    while (xenstore_read(state, value, sizeof value) || value[0] != '0' + XenbusStateConnected);
    tell("device/vbd/" NUMBER "/state", XenbusStateConnected);
}

static void ask(u8 operation, u64 sector, u32 ref)
{
    struct blkif_request *r = &ring.slots[produced % RING_SLOTS].request;
    r->operation = operation;
    r->nr_segments = ref ? 1 : 0;
    r->handle = 0;
    r->id = produced;
    r->sector_number = sector;
    r->seg[0].gref = ref;
    r->seg[0].first_sect = 0;
    r->seg[0].last_sect = SECTORS_PER_BLOCK - 1;
    barrier();
    ring.req_prod = ++produced;
}

/* Until everything that was asked for is answered. */
static void await(void)
{
    notify(port);
    while (consumed != produced) {
        u32 seen = events;
        ring.rsp_event = consumed + 1;
        barrier();
        if (ring.rsp_prod == consumed) {
            wait_for_change(&events, seen);
            continue;
        }
        for (; consumed != ring.rsp_prod; consumed++)
            if (ring.slots[consumed % RING_SLOTS].response.status)
                give_up("a request failed");
    }
}

static u64 sector_of(u64 step, u64 block)
{
    return (step * 7 + block * 19) % PLACES * SECTORS_PER_BLOCK;
}

static void make(u64 step)
{
    u32 count = 1 + step % MOST_BLOCKS;
    for (u64 i = 0; i < count; i++)
        for (u64 word = 0; word < 512; word++)
            blocks[i][word] = step << 32 | i << 16 | word;
    for (u32 i = 0; i + 1 < count; i++)
        ask(BLKIF_OP_WRITE, sector_of(step, i), block_refs[i]);
    /* A barrier is a write that comes after all others and is safe when it is answered. */
    int by_barrier = step % 5 == 0;
    ask(by_barrier ? BLKIF_OP_WRITE_BARRIER : BLKIF_OP_WRITE, sector_of(step, count - 1),
        block_refs[count - 1]);
    await();
    if (!by_barrier) {
        ask(BLKIF_OP_FLUSH_DISKCACHE, 0, 0);
        await();
    }
}

static u64 first_step(void)
{
    const char *word = start_info->cmd_line;
    u64 step = 0;
    for (const char *s = "first="; *s; s++)
        if (*word++ != *s)
            return 1;
    for (; *word >= '0' && *word <= '9'; word++)
        step = step * 10 + *word - '0';
    return step;
}

void guest_main(struct start_info *info)
{
    start_info = info;
    register_traps();
    map_shared_info();
    register_callbacks();
    open_console();
    talk_to_xenstore();
    connect();
    for (u64 step = first_step();; step++) {
        make(step);
        print("safe %lu\n", step);
    }
}

void shut_down(u32 reason)
{
    HYPERVISOR_sched_op(SCHEDOP_shutdown, &reason);
    for (;;)
        HYPERVISOR_sched_op(SCHEDOP_block, 0);
}

int same(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

void format_decimal(char *to, u64 value)
{
    char digits[24];
    u32 n = 0;
    do
        digits[n++] = '0' + value % 10;
    while (value /= 10);
    while (n)
        *to++ = digits[--n];
    *to = 0;
}
