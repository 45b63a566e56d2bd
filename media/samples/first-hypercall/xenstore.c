/* xenstore.c: a client of xenstore, the little tree of strings through which domains find each
 * other's devices. Requests and replies are messages (a header and some bytes) in two rings of one
 * shared page. Replies come in order; reports of watches come whenever they like. */
#include "guest.h"

static struct xenstore_domain_interface *ring;
static volatile u32 store_events;
static u32 last_request;
static char message[512];      /* the last reply or watch report, ended by a 0 */
static char fired_token[64];   /* of a watch that was reported and not waited for yet */

static void put(const char *bytes, u32 length)
{
    for (u32 i = 0; i < length; i++) {
        u32 seen = store_events;
        while (ring->req_prod - ring->req_cons == XENSTORE_RING_SIZE) {
            notify(start_info->store_evtchn);
            wait_for_change(&store_events, seen);
            seen = store_events;
        }
        ring->req[ring->req_prod % XENSTORE_RING_SIZE] = bytes[i];
        barrier();
        ring->req_prod++;
    }
}

/* Takes length bytes; keeps those that fit into size. */
static void get(char *bytes, u32 length, u32 size)
{
    for (u32 i = 0; i < length; i++) {
        u32 seen = store_events;
        barrier();
        while (ring->rsp_prod == ring->rsp_cons) {
            wait_for_change(&store_events, seen);
            seen = store_events;
        }
        barrier();
        if (i < size)
            bytes[i] = ring->rsp[ring->rsp_cons % XENSTORE_RING_SIZE];
        barrier();
        ring->rsp_cons++;
    }
    notify(start_info->store_evtchn); /* there is room again */
}

static u32 length_of(const char *s)
{
    u32 n = 0;
    while (s[n])
        n++;
    return n;
}

/* Receive one message into `message`; watch reports are noted here, for wait_for_watch(). */
static struct xsd_sockmsg receive(void)
{
    struct xsd_sockmsg header;
    get((char *)&header, sizeof header, sizeof header);
    get(message, header.len, sizeof message - 1);
    message[header.len < sizeof message ? header.len : sizeof message - 1] = 0;
    if (header.type == XS_WATCH_EVENT) { /* path, 0, token, 0 */
        const char *token = message + length_of(message) + 1;
        u32 i = 0;
        for (; token[i] && i < sizeof fired_token - 1; i++)
            fired_token[i] = token[i];
        fired_token[i] = 0;
    }
    return header;
}

/* Send `first`, a 0 byte, `second` and, if asked, another 0. Returns 0, or -1 with the name of
 * the error in `message`. */
static int request(u32 type, const char *first, const char *second, int terminate)
{
    u32 first_length = length_of(first) + 1;
    u32 second_length = second ? length_of(second) + (terminate ? 1 : 0) : 0;
    struct xsd_sockmsg header = { type, ++last_request, 0, first_length + second_length };

    put((char *)&header, sizeof header);
    put(first, first_length);
    put(second, second_length);
    notify(start_info->store_evtchn);
    do
        header = receive();
    while (header.type == XS_WATCH_EVENT || header.req_id != last_request);
    return header.type == XS_ERROR ? -1 : 0;
}

int xenstore_read(const char *path, char *value, u32 size)
{
    int result = request(XS_READ, path, 0, 0);
    u32 i = 0;
    for (; message[i] && i < size - 1; i++)
        value[i] = message[i];
    value[i] = 0; /* on an error this is its name */
    return result;
}

int xenstore_write(const char *path, const char *value)
{
    return request(XS_WRITE, path, value, 0);
}

int xenstore_watch(const char *path, const char *token)
{
    return request(XS_WATCH, path, token, 1);
}

int xenstore_unwatch(const char *path, const char *token)
{
    return request(XS_UNWATCH, path, token, 1);
}

void wait_for_watch(const char *token)
{
    while (!same(fired_token, token))
        receive();
    fired_token[0] = 0;
}

/* Read who we are; write a key; see a watch on it fire. Paths that do not begin with a slash
 * count from /local/domain/<our number>. */
void talk_to_xenstore(void)
{
    char value[64];

    on_event(start_info->store_evtchn, &store_events);
    ring = mfn_to_virt(start_info->store_mfn);

    if (xenstore_read("name", value, sizeof value))
        print("xenstore: name: %s\n", value);
    else
        print("xenstore: our name is \"%s\"\n", value);
    if (!xenstore_read("domid", value, sizeof value))
        print("xenstore: our domain number is %s\n", value);

    xenstore_watch("data/greeting", "greeting");
    wait_for_watch("greeting"); /* every watch fires once when it is set */
    int result = xenstore_write("data/greeting", "hello from the guest");
    if (result) {
        print("xenstore: writing data/greeting: %s\n", message);
        return;
    }
    wait_for_watch("greeting");
    xenstore_read("data/greeting", value, sizeof value);
    print("xenstore: the watch saw data/greeting become \"%s\"\n", value);
    xenstore_unwatch("data/greeting", "greeting");
}
