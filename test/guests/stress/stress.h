/* stress.h: what the parts of the stress program share.
 *
 * Each part works for a while, checks what it can foresee, and gives a digest of everything that it saw and that
 * does not depend on time, process numbers or addresses. The same binary prints the same on any correct Linux. */
#ifndef STRESS_H
#define STRESS_H
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;

/* FNV-1a, 64 bits */
#define DIGEST_START 0xcbf29ce484222325u
static inline u64 digest(u64 h, const void *bytes, size_t length)
{
    for (const u8 *b = bytes; length--; b++)
        h = (h ^ *b) * 0x100000001b3u;
    return h;
}
static inline u64 digest_number(u64 h, u64 number)
{
    return digest(h, &number, sizeof number);
}

/* xorshift64* (Marsaglia, Vigna) */
static inline u64 draw(u64 *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1du;
}
static inline u32 below(u64 *state, u32 limit)
{
    return (draw(state) >> 32) % limit;
}

/* Ends the program: something is not as it must be. */
__attribute__((noreturn, format(printf, 1, 2))) void wrong(const char *format, ...);
/* A call that must not fail: its name and its result. */
#define MUST(call)                                                   \
    ({                                                               \
        __typeof__(call) result_ = (call);                           \
        if ((long)result_ == -1)                                     \
            wrong("%s:%d: %s: %s", __FILE__, __LINE__, #call, strerror(errno)); \
        result_;                                                     \
    })
/* Waits for a child. Returns its exit status; anything but an exit is wrong. */
int wait_for(int pid);

/* Each returns its digest; `scale` multiplies the amount of work. */
u64 stress_processes(u32 scale);
u64 stress_pipes(u32 scale);
u64 stress_memory(u32 scale);
u64 stress_signals(u32 scale);
u64 stress_files(const char *folder, u32 scale);
u64 stress_shared(u32 scale);
u64 stress_threads(u32 scale);
u64 stress_floats(u32 scale);

/* The contents of what stress_files left. */
u64 digest_files(const char *folder);
/* What a program does that stress_processes starts: `argv` as it came. Returns its exit status. */
int be_child(char **argv, char **environment);

#endif
