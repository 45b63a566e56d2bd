/* console.c: printing to the PV console's ring, by polling. */
#include "guest.h"

static struct xencons_interface *ring;

void open_console(void)
{
    const u64 *m2p = (u64 *)0xffff800000000000ul;
    ring = (void *)(VIRT_BASE + m2p[start_info->console.domU.mfn] * PAGE_SIZE);
}

static void put(char c)
{
    volatile struct xencons_interface *r = ring;
    while (r->out_prod - r->out_cons == sizeof r->out) {
        EVENT(send, &(evtchn_send_t){ start_info->console.domU.evtchn });
        SCHED(yield, 0);
    }
    r->out[r->out_prod % sizeof r->out] = c;
    __asm__ volatile("" ::: "memory");
    r->out_prod++;
}

static void number(u64 value, u32 base)
{
    char digits[24];
    u32 n = 0;
    do
        digits[n++] = "0123456789abcdef"[value % base];
    while (value /= base);
    while (n)
        put(digits[--n]);
}

/* One that differs from machine to machine when it is large. */
static void masked(long value)
{
    if (value > 999 || value < -999) {
        put('#');
        return;
    }
    if (value < 0)
        put('-');
    number(value < 0 ? -value : value, 10);
}

void print(const char *format, ...)
{
    __builtin_va_list args;
    __builtin_va_start(args, format);
    for (const char *f = format; *f; f++) {
        if (*f == '\n')
            put('\r');
        if (*f != '%') {
            put(*f);
            continue;
        }
        int is_long = *++f == 'l';
        if (is_long)
            f++;
        if (*f == 's') {
            for (const char *s = __builtin_va_arg(args, const char *); *s; s++)
                put(*s);
        } else if (*f == 'm') {
            masked(__builtin_va_arg(args, long));
        } else if (*f == 'd') {
            long value = is_long ? __builtin_va_arg(args, long) : __builtin_va_arg(args, int);
            if (value < 0)
                put('-');
            number(value < 0 ? -value : value, 10);
        } else {
            number(is_long ? __builtin_va_arg(args, u64) : __builtin_va_arg(args, u32), *f == 'x' ? 16 : 10);
        }
    }
    __builtin_va_end(args);
    EVENT(send, &(evtchn_send_t){ start_info->console.domU.evtchn });
}
