/* signals.c: signals from faults, from oneself, from timers and between processes. */
#include "stress.h"
#include <setjmp.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>

static u64 seen;
static volatile u32 count;
static sigjmp_buf resume;

static void note(int number, siginfo_t *info, void *context)
{
    (void)context;
    seen = digest_number(digest_number(seen, number), info->si_code);
    count++;
}

static void note_value(int number, siginfo_t *info, void *context)
{
    note(number, info, context);
    seen = digest_number(seen, info->si_value.sival_int);
}

static void note_and_jump(int number, siginfo_t *info, void *context)
{
    note(number, info, context);
    siglongjmp(resume, 1);
}

static void handle(int number, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags };
    MUST(sigaction(number, &action, 0));
}

/* Faults of the processor's, each with its code. */
static void from_the_processor(void)
{
    handle(SIGFPE, note_and_jump, 0);
    handle(SIGILL, note_and_jump, 0);
    handle(SIGTRAP, note, 0);
    handle(SIGSEGV, note_and_jump, 0);
    handle(SIGBUS, note_and_jump, 0);
    volatile int zero = 0, one = 1;
    if (!sigsetjmp(resume, 1))
        one /= zero;
    if (!sigsetjmp(resume, 1))
        __asm__ volatile("ud2");
    __asm__ volatile("int3");
    if (!sigsetjmp(resume, 1))
        __asm__ volatile("hlt"); /* #GP, which is SIGSEGV with SI_KERNEL */
    if (!sigsetjmp(resume, 1))
        (void)*(volatile u64 *)0x1122334455667788; /* not canonical */
    volatile u64 unmapped = 8;
    if (!sigsetjmp(resume, 1))
        *(volatile u8 *)unmapped = 1;
    for (int n = 0; n < 5; n++)
        signal((int[]){ SIGFPE, SIGILL, SIGTRAP, SIGSEGV, SIGBUS }[n], SIG_DFL);
}

/* A single step and its end: the trap flag is ours to set. */
static volatile u32 steps;
static void on_step(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info;
    if (++steps == 20)
        ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~0x100l;
}

static void single_steps(void)
{
    handle(SIGTRAP, on_step, 0);
    steps = 0;
    __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq\n\t"
                     ".rept 40; nop; .endr" ::: "memory", "cc");
    seen = digest_number(seen, steps);
    signal(SIGTRAP, SIG_DFL);
}

/* A handler on a stack of its own that is interrupted by another. */
static void on_outer(int number, siginfo_t *info, void *context)
{
    u8 here;
    stack_t stack;
    sigaltstack(0, &stack);
    if (!(stack.ss_flags & SS_ONSTACK) || &here < (u8 *)stack.ss_sp ||
        &here >= (u8 *)stack.ss_sp + stack.ss_size)
        wrong("a handler is not on its stack");
    note(number, info, context);
    raise(SIGUSR2);
    seen = digest_number(seen, count);
}

static void nested(void)
{
    static u8 space[65536];
    stack_t stack = { .ss_sp = space, .ss_size = sizeof space };
    MUST(sigaltstack(&stack, 0));
    handle(SIGUSR1, on_outer, SA_ONSTACK);
    handle(SIGUSR2, note, SA_ONSTACK);
    for (int i = 0; i < 10; i++)
        raise(SIGUSR1);
    stack.ss_flags = SS_DISABLE;
    MUST(sigaltstack(&stack, 0));
}

/* Held back, they wait: real-time ones in their order with their values, others once. */
static void held_back(void)
{
    sigset_t all, old;
    sigfillset(&all);
    handle(SIGUSR1, note, 0);
    for (int n = 0; n < 4; n++)
        handle(SIGRTMIN + n, note_value, 0);
    sigprocmask(SIG_SETMASK, &all, &old);
    for (int i = 0; i < 40; i++) {
        sigqueue(getpid(), SIGRTMIN + (i * 7) % 4, (union sigval){ .sival_int = i });
        kill(getpid(), SIGUSR1);
    }
    sigprocmask(SIG_SETMASK, &old, 0);
}

/* Children are stopped, continued and killed. */
static void between_processes(void)
{
    for (int i = 0; i < 3; i++) {
        int status, pid = MUST(fork());
        if (!pid)
            for (;;)
                pause();
        kill(pid, SIGSTOP);
        MUST(waitpid(pid, &status, WUNTRACED));
        seen = digest_number(seen, status);
        kill(pid, SIGCONT);
        MUST(waitpid(pid, &status, WCONTINUED));
        seen = digest_number(seen, status);
        kill(pid, i == 0 ? SIGTERM : SIGKILL);
        MUST(waitpid(pid, &status, 0));
        seen = digest_number(seen, status);
    }
}

static volatile u32 ticks;
static void on_tick(int number)
{
    (void)number;
    ticks++;
}

/* A timer interrupts reckoning and does not disturb it. */
static void timer(void)
{
    signal(SIGALRM, on_tick);
    ticks = 0;
    struct itimerval every = { { 0, 2000 }, { 0, 2000 } }, never = { 0 };
    MUST(setitimer(ITIMER_REAL, &every, 0));
    u64 a = 1, b = 1, rounds = 0;
    double x = 1.0;
    while (ticks < 5 || rounds % 1000) {
        if (rounds++ % 1000 == 0)
            a = b = 1, x = 1.0;
        a = a * 6364136223846793005u + 1442695040888963407u;
        b ^= a >> 17;
        x = x * 1.0000001 + 0.25;
        if (rounds % 1000 == 0 && (a != 0 && b != 0)) {
            static u64 a1, b1;
            static double x1;
            if (rounds == 1000)
                a1 = a, b1 = b, x1 = x;
            else if (a != a1 || b != b1 || x != x1)
                wrong("a signal disturbed what it interrupted");
        }
    }
    MUST(setitimer(ITIMER_REAL, &never, 0));
    signal(SIGALRM, SIG_DFL);
    seen = digest_number(digest_number(seen, a), b);
}

u64 stress_signals(u32 scale)
{
    seen = DIGEST_START;
    for (u32 i = 0; i < scale; i++) {
        from_the_processor();
        single_steps();
        nested();
        held_back();
        between_processes();
        timer();
    }
    return digest_number(seen, count);
}
