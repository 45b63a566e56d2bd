/* floats.c: SSE and x87 arithmetic in all rounding modes, also while several processes take turns with them.
 * Nothing of the mathematics library: it chooses its code by processor. */
#include "stress.h"
#include <sched.h>
#include <sys/wait.h>

static void set_rounding(u32 mode)
{
    u32 mxcsr = 0x1f80 | mode << 13;
    uint16_t control = 0x037f | mode << 10;
    __asm__ volatile("ldmxcsr %0; fldcw %1" : : "m"(mxcsr), "m"(control));
}

static double root_of(double value)
{
    __asm__("sqrtsd %0, %0" : "+x"(value));
    return value;
}

static u64 flags(void)
{
    u32 mxcsr;
    uint16_t status;
    __asm__ volatile("stmxcsr %0; fnstsw %1" : "=m"(mxcsr), "=m"(status));
    __asm__ volatile("fnclex");
    return (mxcsr & 0x3f) << 8 | (status & 0x3f);
}

static u64 reckon(u64 seed, u32 rounds, u32 yields)
{
    u64 h = DIGEST_START;
    volatile double x = 1.0 + seed, y = 0.5;
    volatile float f = 1.5f;
    volatile long double l = 3.0L + seed;
    for (u32 i = 0; i < rounds; i++) {
        set_rounding(i & 3);
        x = x * 1.000123 + (double)(int64_t)draw(&seed) / 3.0;
        y = y / (x * x + 0.1) - root_of(x < 0 ? -x : x);
        f = f * 0.9f + (float)y;
        l = l / 7.0L + (long double)x * y - (long double)(int64_t)(seed >> 3);
        long double root;
        __asm__("fsqrt" : "=t"(root) : "0"(l < 0 ? -l : l));
        double copy_x = x, copy_y = y;
        float copy_f = f;
        long double copy_l = root;
        h = digest(h, &copy_x, sizeof copy_x);
        h = digest(h, &copy_y, sizeof copy_y);
        h = digest(h, &copy_f, sizeof copy_f);
        h = digest(h, &copy_l, 10);
        h = digest_number(h, (u64)(x > y) + 2 * (u64)(f != f));
        h = digest_number(h, flags());
        if (x > 1e100 || x < -1e100 || x != x)
            x = 1.25;
        if (y > 1e100 || y < -1e100 || y != y)
            y = -0.75;
        if (yields && i % yields == 0)
            sched_yield();
    }
    set_rounding(0);
    return h;
}

u64 stress_floats(u32 scale)
{
    u64 h = DIGEST_START;
    int pids[3];
    u64 alone[3];
    for (u32 i = 0; i < 3; i++)
        h = digest_number(h, alone[i] = reckon(i + 1, 1500 * scale, 0));
    for (u32 i = 0; i < 3; i++)
        if (!(pids[i] = MUST(fork())))
            _exit(reckon(i + 1, 1500 * scale, 5) != alone[i]);
    for (u32 i = 0; i < 3; i++)
        if (wait_for(pids[i]))
            wrong("processes disturb each other's floating point");
    return h;
}
