/* shared.c: processes and threads that work on the same memory at the same time. */
#include "stress.h"
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define WORKERS 4
#define QUEUE 64
#define PAGE 4096

struct board {
    _Atomic u64 added, exchanged, stack, bits;
    _Atomic u32 lock, turn, arrived, generation;
    u64 guarded[8];              /* under lock: all the same */
    u64 next[WORKERS * 64];      /* the stack's links: index + 1, tag in the upper half of `stack` */
    _Atomic u64 head, tail;      /* a queue from worker 0 to worker 1 */
    u64 queue[QUEUE];
    u64 found[WORKERS];
};

static void futex(_Atomic u32 *word, int operation, u32 value)
{
    syscall(SYS_futex, word, operation, value, 0, 0, 0);
}

/* All workers wait for each other. */
static void meet(struct board *b)
{
    u32 generation = atomic_load(&b->generation);
    if (atomic_fetch_add(&b->arrived, 1) == WORKERS - 1) {
        atomic_store(&b->arrived, 0);
        atomic_fetch_add(&b->generation, 1);
        futex(&b->generation, FUTEX_WAKE, WORKERS);
        return;
    }
    while (atomic_load(&b->generation) == generation)
        futex(&b->generation, FUTEX_WAIT, generation);
}

static void lock(struct board *b)
{
    for (u32 tries = 0; atomic_exchange_explicit(&b->lock, 1, memory_order_acquire); tries++)
        if (tries % 16 == 15)
            sched_yield();
}
static void unlock(struct board *b)
{
    atomic_store_explicit(&b->lock, 0, memory_order_release);
}

static void guarded_work(struct board *b)
{
    lock(b);
    u64 value = b->guarded[0];
    for (u32 i = 1; i < 8; i++)
        if (b->guarded[i] != value)
            wrong("two were in the critical section");
    for (u32 i = 0; i < 8; i++)
        b->guarded[i] = value + 1;
    unlock(b);
}

static void push(struct board *b, u64 index)
{
    u64 old = atomic_load(&b->stack), new;
    do {
        b->next[index] = old & 0xffffffff;
        new = ((old >> 32) + 1) << 32 | (index + 1);
    } while (!atomic_compare_exchange_weak(&b->stack, &old, new));
}

static u64 pop(struct board *b)
{
    u64 old = atomic_load(&b->stack), new;
    do {
        if (!(old & 0xffffffff))
            return ~0ul;
        new = ((old >> 32) + 1) << 32 | *(volatile u64 *)&b->next[(old & 0xffffffff) - 1];
    } while (!atomic_compare_exchange_weak(&b->stack, &old, new));
    return (old & 0xffffffff) - 1;
}

static u64 through_queue(struct board *b, u32 me, u32 count)
{
    u64 h = DIGEST_START;
    for (u64 i = 0; i < count; i++) {
        if (me == 0) {
            while (atomic_load_explicit(&b->head, memory_order_relaxed) -
                       atomic_load_explicit(&b->tail, memory_order_acquire) == QUEUE)
                sched_yield();
            b->queue[i % QUEUE] = i * 0x9e3779b97f4a7c15;
            atomic_store_explicit(&b->head, i + 1, memory_order_release);
        } else if (me == 1) {
            while (atomic_load_explicit(&b->head, memory_order_acquire) == i)
                sched_yield();
            h = digest_number(h, b->queue[i % QUEUE]);
            atomic_store_explicit(&b->tail, i + 1, memory_order_release);
        }
    }
    return h;
}

static void work(struct board *b, u32 me, u32 scale)
{
    meet(b);
    for (u32 i = 0; i < 3000 * scale; i++) {
        atomic_fetch_add(&b->added, me + i);
        u64 old = atomic_load(&b->exchanged);
        while (!atomic_compare_exchange_weak(&b->exchanged, &old, old + 2 * me + 1))
            ;
        atomic_fetch_xor(&b->bits, 1ul << (me * 16 + i % 16));
        if (i % 10 == 0)
            guarded_work(b);
        if (i % 500 == 0)
            sched_yield();
    }
    meet(b);
    for (u32 round = 0; round < 10 * scale; round++) {
        for (u32 i = 0; i < 64; i++)
            push(b, me * 64 + i);
        for (u32 i = 0; i < 64; i++) {
            u64 index;
            while ((index = pop(b)) == ~0ul)
                sched_yield();
            b->found[me] += index;
        }
        meet(b); /* so that nobody pushes an index that is still there */
    }
    u64 h = through_queue(b, me, 1000 * scale);
    meet(b);
    if (me == 1)
        b->found[1] += h;
    /* Whose turn it is: a word on which they sleep. */
    for (u32 i = 0; i < 50 * scale; i++) {
        for (u32 turn; (turn = atomic_load(&b->turn)) % WORKERS != me;)
            futex(&b->turn, FUTEX_WAIT, turn);
        atomic_fetch_add(&b->turn, 1);
        futex(&b->turn, FUTEX_WAKE, WORKERS);
    }
}

static u64 result(const struct board *b)
{
    u64 h = DIGEST_START, found = 0;
    for (u32 i = 0; i < WORKERS; i++)
        found += b->found[i];
    h = digest_number(h, b->added);
    h = digest_number(h, b->exchanged);
    h = digest_number(h, b->bits);
    h = digest_number(h, b->guarded[7]);
    h = digest_number(h, b->stack & 0xffffffff);
    h = digest_number(h, b->turn);
    return digest_number(h, found);
}

static struct board *new_board(void)
{
    return MUST(mmap(0, sizeof(struct board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
}

u64 stress_shared(u32 scale)
{
    struct board *b = new_board();
    int pids[WORKERS];
    for (u32 i = 0; i < WORKERS; i++)
        if (!(pids[i] = MUST(fork()))) {
            work(b, i, scale);
            _exit(0);
        }
    for (u32 i = 0; i < WORKERS; i++)
        if (wait_for(pids[i]))
            wrong("a worker failed");
    u64 h = result(b);
    MUST(munmap(b, sizeof *b));
    return h;
}

/* ---- threads: one address space, so what one changes in it must be seen by all ---- */

static struct {
    struct board *board;
    u32 scale;
} task;

static void *thread_work(void *me)
{
    work(task.board, (u64)me, task.scale);
    return 0;
}

static volatile u64 *target;
static _Atomic u32 stop, faults;
static __thread sigjmp_buf resume;

static void on_fault(int number)
{
    (void)number;
    siglongjmp(resume, 1);
}

/* Stores to the page as long as it may; then waits until it may again. */
static void *store_on(void *me)
{
    while (!atomic_load(&stop)) {
        if (sigsetjmp(resume, 1)) {
            atomic_fetch_add(&faults, 1);
            sched_yield();
            continue;
        }
        for (u32 i = 0; i < 100 && !atomic_load(&stop); i++)
            ((_Atomic u64 *)target)[(u64)me]++;
    }
    return 0;
}

static u64 sum(void)
{
    u64 total = 0;
    for (u32 i = 0; i < WORKERS; i++)
        total += target[i];
    return total;
}

/* Once a page is read-only for one thread it is for all: no processor may go on by what it remembers. */
static void take_rights_away(u32 rounds)
{
    pthread_t threads[WORKERS];
    struct sigaction action = { .sa_handler = on_fault, .sa_flags = SA_NODEFER }, before;
    sigaction(SIGSEGV, &action, &before);
    target = MUST(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    atomic_store(&stop, 0);
    for (u64 i = 0; i < WORKERS; i++)
        pthread_create(&threads[i], 0, store_on, (void *)i);
    for (u32 round = 0; round < rounds; round++) {
        for (u64 start = sum(); sum() == start;)
            sched_yield();
        MUST(mprotect((void *)target, PAGE, PROT_READ));
        u64 first = sum();
        for (u32 i = 0; i < 20; i++)
            sched_yield();
        if (sum() != first)
            wrong("a store came through after mprotect");
        MUST(mprotect((void *)target, PAGE, PROT_READ | PROT_WRITE));
    }
    atomic_store(&stop, 1);
    for (u32 i = 0; i < WORKERS; i++)
        pthread_join(threads[i], 0);
    MUST(munmap((void *)target, PAGE));
    sigaction(SIGSEGV, &before, 0);
}

/* Each maps, fills, checks and unmaps memory, so that addresses pass from thread to thread. */
static void *map_and_unmap(void *me)
{
    u64 seed = (u64)me + 77, h = DIGEST_START;
    for (u32 i = 0; i < 60 * task.scale; i++) {
        u32 pages = 1 + below(&seed, 8);
        u64 value = draw(&seed);
        u64 *at = MUST(mmap(0, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        for (u32 page = 0; page < pages; page++) {
            if (at[page * PAGE / 8])
                wrong("a new page is not empty");
            at[page * PAGE / 8] = value + page;
        }
        if (i % 8 == 0)
            sched_yield();
        for (u32 page = 0; page < pages; page++)
            if (at[page * PAGE / 8] != value + page)
                wrong("a page has another's contents");
        MUST(munmap(at, pages * PAGE));
        h = digest_number(h, value);
    }
    return (void *)h;
}

u64 stress_threads(u32 scale)
{
    pthread_t threads[WORKERS];
    task.board = new_board();
    task.scale = scale;
    for (u64 i = 0; i < WORKERS; i++)
        pthread_create(&threads[i], 0, thread_work, (void *)i);
    for (u32 i = 0; i < WORKERS; i++)
        pthread_join(threads[i], 0);
    u64 h = result(task.board);
    MUST(munmap(task.board, sizeof *task.board));

    for (u64 i = 0; i < WORKERS; i++)
        pthread_create(&threads[i], 0, map_and_unmap, (void *)i);
    for (u32 i = 0; i < WORKERS; i++) {
        void *found;
        pthread_join(threads[i], &found);
        h = digest_number(h, (u64)found);
    }
    take_rights_away(10 * scale);
    return h;
}
