/* echo.c: the front end of a split device, the smallest there can be. It grants one page to the
 * back end and shares one event channel with it; the two agree on the rest through xenstore.
 * README.md describes the protocol for those who write the other end. */
#include "guest.h"

static struct grant_entry_v1 grant_table[PAGE_SIZE / sizeof(struct grant_entry_v1)] PAGE_ALIGNED;
static int grants_ready;

struct echo_page {
    u32 req_seq;       /* front end: number of requests made */
    u32 rsp_seq;       /* back end: number of requests answered */
    u32 length;        /* bytes of data, of a request or a reply */
    u32 reserved;
    char greeting[240]; /* back end, before it says Connected; ends with a 0 */
    char data[3840];   /* request, then the reply in its place */
};
static struct echo_page echo_page PAGE_ALIGNED;
static volatile u32 echo_events;

/* The grant table lies in frames of Xen's; ask for the first and map it. */
void set_up_grants(void)
{
    u64 frame = 0;
    struct gnttab_setup_table setup = { DOMID_SELF, 1, 0, &frame };

    long result = HYPERVISOR_grant_table_op(GNTTABOP_setup_table, &setup, 1);
    if (!result && !setup.status)
        result = map_machine_frame(grant_table, frame,
                                   PTE_PRESENT | PTE_WRITE | PTE_ACCESSED | PTE_DIRTY);
    grants_ready = !result && !setup.status;
    print("grants: table mapped: %s, status %d\n", errno_name(result), setup.status);
}

/* Let domain `to` map one page of ours. The flags go last: they make the entry valid. */
static u32 grant_page(u16 to, const void *page)
{
    u32 ref = GNTTAB_NR_RESERVED_ENTRIES;
    grant_table[ref].domid = to;
    grant_table[ref].frame = virt_to_mfn(page);
    barrier();
    grant_table[ref].flags = GTF_permit_access;
    return ref;
}

/* Take it back; impossible while the other side has it mapped. */
static int revoke_grant(u32 ref)
{
    u16 idle = GTF_permit_access;
    return __atomic_compare_exchange_n(&grant_table[ref].flags, &idle, 0, 0, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}

static void set_state(enum xenbus_state state)
{
    char value[24];
    format_decimal(value, state);
    xenstore_write("device/echo/0/state", value);
}

/* Wait until the back end's state is `wanted` or later, and return it; every change fires
 * the watch. */
static enum xenbus_state wait_for_backend(const char *state_path, enum xenbus_state wanted)
{
    char value[8];
    for (;;) {
        wait_for_watch("backend");
        if (!xenstore_read(state_path, value, sizeof value) && value[0] >= '0' + (char)wanted)
            return value[0] - '0';
    }
}

/* Ask for an answer, and wait for it. */
static void exchange(u32 port, const char *text)
{
    u32 n = 0;
    for (; text[n]; n++)
        echo_page.data[n] = text[n];
    echo_page.length = n;
    barrier();
    echo_page.req_seq++;
    notify(port);
    for (;;) {
        u32 seen = echo_events;
        barrier();
        if (echo_page.rsp_seq == echo_page.req_seq)
            break;
        wait_for_change(&echo_events, seen);
    }
    echo_page.data[echo_page.length] = 0;
    print("echo: we said \"%s\", it answered \"%s\"\n", text, echo_page.data);
}

void meet_echo_backend(void)
{
    char backend[80], value[24];

    if (!grants_ready || xenstore_read("device/echo/0/backend", backend, sizeof backend - 8)) {
        print("echo: no device/echo/0 in xenstore; going on without it\n");
        return;
    }
    u16 backend_id = 0;
    if (!xenstore_read("device/echo/0/backend-id", value, sizeof value))
        for (char *d = value; *d >= '0' && *d <= '9'; d++)
            backend_id = backend_id * 10 + *d - '0';

    struct evtchn_alloc_unbound alloc = { .dom = DOMID_SELF, .remote_dom = backend_id };
    long result = HYPERVISOR_event_channel_op(EVTCHNOP_alloc_unbound, &alloc);
    if (result) {
        print("echo: alloc_unbound refused: %ld (%s)\n", result, errno_name(result));
        return;
    }
    on_event(alloc.port, &echo_events);
    u32 ref = grant_page(backend_id, &echo_page);
    print("echo: back end %s; grant %u, event channel %u\n", backend, ref, alloc.port);

    format_decimal(value, ref);
    xenstore_write("device/echo/0/ring-ref", value);
    format_decimal(value, alloc.port);
    xenstore_write("device/echo/0/event-channel", value);
    set_state(XenbusStateInitialised);

    char *end = backend; /* backend becomes the path of the back end's state */
    while (*end)
        end++;
    for (const char *s = "/state"; (*end = *s); s++)
        end++;
    xenstore_watch(backend, "backend");
    if (wait_for_backend(backend, XenbusStateConnected) == XenbusStateConnected) {
        set_state(XenbusStateConnected);
        print("echo: connected; the back end greets: \"%s\"\n", echo_page.greeting);
        exchange(alloc.port, "hello from the front end");
    } else {
        print("echo: the back end did not connect\n");
    }

    set_state(XenbusStateClosing);
    wait_for_backend(backend, XenbusStateClosed);
    xenstore_unwatch(backend, "backend");
    print("echo: closed; grant %s\n", revoke_grant(ref) ? "revoked" : "still in use?!");
    struct evtchn_port close = { alloc.port };
    HYPERVISOR_event_channel_op(EVTCHNOP_close, &close);
    set_state(XenbusStateClosed);
}
