/* console.c: printing. Two ways out:
 *
 * - console_io, a hypercall: works from the first instruction on, but it writes
 *   to the hypervisor's own console, and a Xen built for production ignores it
 *   for all domains but dom0;
 * - the PV console: a ring of bytes in a page that we share with the console
 *   backend, and an event channel to tell it that we wrote. This is how every
 *   split device works, in its simplest form.
 */
#include "guest.h"

static struct xencons_interface *ring; /* 0 until open_console() */
static volatile u32 console_events;

static void console_io_write(const char *text, u32 length)
{
    HYPERVISOR_console_io(CONSOLEIO_write, length, text);
}

static void ring_put(char c)
{
    u32 seen = console_events;
    while (ring->out_prod - ring->out_cons == sizeof ring->out) {
        notify(start_info->console_evtchn); /* full: wait until the backend took some */
        wait_for_change(&console_events, seen);
        seen = console_events;
    }
    ring->out[ring->out_prod % sizeof ring->out] = c;
    barrier(); /* the byte must be there before the index says so */
    ring->out_prod++;
}

static void ring_write(const char *text, u32 length)
{
    for (u32 i = 0; i < length; i++) {
        if (text[i] == '\n')
            ring_put('\r'); /* the other end is a terminal, not a file */
        ring_put(text[i]);
    }
    notify(start_info->console_evtchn);
}

/* From here on print() uses the PV console, if this domain has one. */
void open_console(void)
{
    if (start_info->flags & SIF_INITDOMAIN) {
        print("console: we are dom0, which has no console ring; staying with console_io\n");
        return;
    }
    on_event(start_info->console_evtchn, &console_events);
    ring = mfn_to_virt(start_info->console_mfn);
    print("console: PV console ring open, event channel %u\n", start_info->console_evtchn);
}

/* %s, %u, %d, %x (unsigned), %lu, %ld, %lx and %c; a line holds 256 bytes. */
void print(const char *format, ...)
{
    char line[256];
    u32 n = 0;
    __builtin_va_list args; /* what <stdarg.h> calls va_list */

    __builtin_va_start(args, format);
    for (const char *f = format; *f && n < sizeof line - 1; f++) {
        if (*f != '%') {
            line[n++] = *f;
            continue;
        }
        int is_long = *++f == 'l';
        if (is_long)
            f++;
        if (*f == 's') {
            for (const char *s = __builtin_va_arg(args, const char *); *s && n < sizeof line - 1; s++)
                line[n++] = *s;
        } else if (*f == 'c') {
            line[n++] = __builtin_va_arg(args, int);
        } else {
            char digits[24];
            u32 count = 0, base = *f == 'x' ? 16 : 10;
            u64 value = is_long ? __builtin_va_arg(args, u64) : __builtin_va_arg(args, u32);
            long value_signed = is_long ? (long)value : (int)value;
            if (*f == 'd' && value_signed < 0) {
                line[n++] = '-';
                value = -value_signed;
            }
            do
                digits[count++] = "0123456789abcdef"[value % base];
            while (value /= base);
            while (count && n < sizeof line - 1)
                line[n++] = digits[--count];
        }
    }
    __builtin_va_end(args);
    if (ring)
        ring_write(line, n);
    else
        console_io_write(line, n);
}

/* The errors that this guest is likely to meet, by name (errno.h). */
const char *errno_name(long result)
{
    switch (-result) {
    case 1:  return "-EPERM";
    case 2:  return "-ENOENT";
    case 12: return "-ENOMEM";
    case 14: return "-EFAULT";
    case 16: return "-EBUSY";
    case 22: return "-EINVAL";
    case 38: return "-ENOSYS";
    default: return result < 0 ? "an error" : "success";
    }
}
