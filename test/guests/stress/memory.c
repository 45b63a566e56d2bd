/* memory.c: mappings that come, go and change their rights, held against a model of them; faults are part of it. */
#include "stress.h"
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#define PAGES 192
#define PAGE 4096

struct page {
    int mapped, protection;
    u64 value;
};
static struct page model[PAGES];
static u8 *arena;

static sigjmp_buf resume;
static volatile int fault_code;
static void *volatile fault_address;

static void on_fault(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    fault_code = info->si_code;
    fault_address = info->si_addr;
    siglongjmp(resume, 1);
}

/* One access. Returns 0, or the si_code of the fault that it made. */
static int try_access(volatile u64 *at, int writing, u64 *value)
{
    if (sigsetjmp(resume, 1)) {
        if (fault_address != at)
            wrong("an access to page %ld faulted elsewhere", ((u8 *)at - arena) / PAGE);
        return fault_code;
    }
    if (writing)
        *at = *value;
    else
        *value = *at;
    return 0;
}

/* What the model says that an access must give. */
static int foreseen(const struct page *page, int writing)
{
    if (!page->mapped)
        return SEGV_MAPERR;
    return page->protection & (writing ? PROT_WRITE : PROT_READ) ? 0 : SEGV_ACCERR;
}

static u64 *slot(u32 page)
{
    /* Another offset in every page, so that they do not share a cache set for ever. */
    return (u64 *)(arena + (u64)page * PAGE + page * 8);
}

static u64 check_page(u32 i)
{
    u64 value = 0;
    int code = try_access(slot(i), 0, &value);
    if (code != foreseen(&model[i], 0))
        wrong("reading page %u gave code %d", i, code);
    if (!code && value != model[i].value)
        wrong("page %u holds %lx, not %lx", i, value, model[i].value);
    return code ? (u64)code : value;
}

static u64 check_all(u64 h)
{
    for (u32 i = 0; i < PAGES; i++)
        h = digest_number(h, check_page(i));
    return h;
}

static u64 step(u64 *seed, u64 h)
{
    static const int protections[] = { PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE };
    u32 first = below(seed, PAGES), count = 1 + below(seed, PAGES - first < 12 ? PAGES - first : 12);
    u8 *at = arena + (u64)first * PAGE;
    int protection = protections[below(seed, 3)];
    u32 what = below(seed, 16);

    if (what == 0) {
        MUST(munmap(at, count * PAGE));
        for (u32 i = first; i < first + count; i++)
            model[i] = (struct page){ 0 };
    } else if (what == 1) {
        MUST(mmap(at, count * PAGE, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
        for (u32 i = first; i < first + count; i++)
            model[i] = (struct page){ 1, protection, 0 };
    } else if (what < 5) {
        int whole = 1;
        for (u32 i = first; i < first + count; i++)
            whole &= model[i].mapped;
        if (!whole)
            return h;
        MUST(mprotect(at, count * PAGE, protection));
        for (u32 i = first; i < first + count; i++)
            model[i].protection = protection;
    } else if (what == 5) {
        int whole = 1;
        for (u32 i = first; i < first + count; i++)
            whole &= model[i].mapped;
        if (!whole)
            return h;
        MUST(madvise(at, count * PAGE, MADV_DONTNEED));
        for (u32 i = first; i < first + count; i++)
            model[i].value = 0;
    } else {
        for (u32 i = first; i < first + count; i++) {
            u64 value = draw(seed);
            int code = try_access(slot(i), 1, &value);
            if (code != foreseen(&model[i], 1))
                wrong("writing page %u gave code %d", i, code);
            if (!code)
                model[i].value = value;
            h = digest_number(h, code);
        }
    }
    return h;
}

/* A child has the same pages and changes them; ours stay as they are. */
static void copy_on_write(u64 seed)
{
    int pid = MUST(fork());
    if (!pid) {
        u64 h = check_all(DIGEST_START);
        for (u32 i = 0; i < 100; i++)
            h = step(&seed, h);
        check_all(h);
        _exit(0);
    }
    if (wait_for(pid))
        wrong("the copy differs");
}

/* A mapping that grows, moves and shrinks keeps its contents. */
static u64 remap(u64 h)
{
    u32 size = 4 * PAGE;
    u8 *at = MUST(mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (u32 i = 0; i < size; i++)
        at[i] = i * 7;
    for (u32 step = 0; step < 20; step++) {
        u32 next = (2 + (step * 5) % 37) * PAGE;
        at = MUST(mremap(at, size, next, MREMAP_MAYMOVE));
        for (u32 i = size; i < next; i += PAGE / 2)
            at[i] = step;
        size = next;
        h = digest(h, at, size);
    }
    MUST(munmap(at, size));
    return h;
}

u64 stress_memory(u32 scale)
{
    struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO }, before[2];
    sigaction(SIGSEGV, &action, &before[0]);
    sigaction(SIGBUS, &action, &before[1]);
    arena = MUST(mmap(0, PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    for (u32 i = 0; i < PAGES; i++)
        model[i] = (struct page){ 1, PROT_NONE, 0 };

    u64 seed = 0x9e3779b97f4a7c15, h = DIGEST_START;
    for (u32 i = 0; i < 1500 * scale; i++) {
        h = step(&seed, h);
        if (i % 300 == 299) {
            copy_on_write(seed);
            h = check_all(h);
        }
    }
    MUST(munmap(arena, PAGES * PAGE));
    for (u32 i = 0; i < scale; i++)
        h = remap(h);
    sigaction(SIGSEGV, &before[0], 0);
    sigaction(SIGBUS, &before[1], 0);
    return h;
}
