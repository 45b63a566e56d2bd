/* processes.c: fork, exec, exit, pipes. */
#include "stress.h"
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

int be_child(char **argv, char **environment)
{
    u64 h = DIGEST_START;
    for (; *argv; argv++)
        h = digest(h, *argv, strlen(*argv));
    for (; *environment; environment++)
        h = digest(h, *environment, strlen(*environment));
    /* Memory of its own: the heap, and pages that the loader left zero. */
    u64 *numbers = calloc(5000, sizeof *numbers);
    for (u32 i = 0; i < 5000; i++)
        numbers[i] += i * h;
    h = digest(h, numbers, 5000 * sizeof *numbers);
    free(numbers);
    if (write(1, &h, sizeof h) != sizeof h)
        return 98;
    return h & 63;
}

static u64 read_number(int fd)
{
    u64 number = 0;
    if (read(fd, &number, sizeof number) != sizeof number)
        wrong("a child said nothing");
    return number;
}

static u64 run_program(u32 i, int spawn)
{
    int ends[2], pid;
    char number[16], variable[32];
    snprintf(number, sizeof number, "%u", i);
    snprintf(variable, sizeof variable, "NUMBER=%u", i * i);
    char *arguments[] = { "stress", "child", number, 0 };
    char *environment[] = { variable, "OTHER=x", 0 };

    MUST(pipe2(ends, O_CLOEXEC));
    if (spawn) {
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
        if (posix_spawn(&pid, "/proc/self/exe", &actions, 0, arguments, environment))
            wrong("posix_spawn");
        posix_spawn_file_actions_destroy(&actions);
    } else if (!(pid = MUST(fork()))) {
        MUST(dup2(ends[1], 1));
        execve("/proc/self/exe", arguments, environment);
        _exit(97);
    }
    close(ends[1]);
    u64 said = read_number(ends[0]);
    close(ends[0]);
    int status = wait_for(pid);
    if (status != (int)(said & 63))
        wrong("the child said %lx and ended with %d", said, status);
    return digest_number(said, status);
}

/* A tree of processes, each of which adds what its children found. */
static u64 tree(u32 depth, u64 seed)
{
    if (!depth)
        return digest_number(seed, depth);
    u64 sum = seed;
    for (u32 i = 0; i < 2; i++) {
        int ends[2];
        MUST(pipe(ends));
        int pid = MUST(fork());
        if (!pid) {
            u64 found = tree(depth - 1, digest_number(seed, i));
            _exit(write(ends[1], &found, sizeof found) != sizeof found);
        }
        close(ends[1]);
        sum = digest_number(sum, read_number(ends[0]));
        close(ends[0]);
        if (wait_for(pid))
            wrong("a leaf could not write");
    }
    return sum;
}

u64 stress_processes(u32 scale)
{
    u64 h = DIGEST_START;
    for (u32 i = 0; i < 12 * scale; i++)
        h = digest_number(h, run_program(i, i & 1));
    for (u32 i = 0; i < scale; i++)
        h = digest_number(h, tree(4, i));
    return h;
}

#define STAGES 4

/* Sends `total` bytes in pieces of any size. */
static void produce(int to, u64 seed, u32 total)
{
    static u8 bytes[9000];
    for (u32 done = 0; done < total;) {
        u32 piece = 1 + below(&seed, sizeof bytes);
        if (piece > total - done)
            piece = total - done;
        for (u32 i = 0; i < piece; i++)
            bytes[i] = draw(&seed) >> 56;
        for (u32 sent = 0; sent < piece;)
            sent += MUST(write(to, bytes + sent, piece - sent));
        done += piece;
    }
}

static void transform(int from, int to, u64 key)
{
    static u8 bytes[3000];
    for (;;) {
        ssize_t got = MUST(read(from, bytes, 1 + below(&key, sizeof bytes)));
        if (!got)
            return;
        for (ssize_t i = 0; i < got; i++)
            bytes[i] = (bytes[i] << 3 | bytes[i] >> 5) ^ 0x5a;
        for (ssize_t sent = 0; sent < got;)
            sent += MUST(write(to, bytes + sent, got - sent));
    }
}

static u64 pipeline(u64 seed, u32 total)
{
    int from = -1, pids[STAGES];
    for (u32 stage = 0; stage < STAGES; stage++) {
        int ends[2];
        MUST(pipe(ends));
        if (!(pids[stage] = MUST(fork()))) {
            close(ends[0]);
            if (stage)
                transform(from, ends[1], stage + 1);
            else
                produce(ends[1], seed, total);
            _exit(0);
        }
        if (stage)
            close(from);
        close(ends[1]);
        from = ends[0];
    }
    u64 h = DIGEST_START;
    u8 bytes[4096];
    u32 sum = 0;
    for (ssize_t got; (got = MUST(read(from, bytes, sizeof bytes))) > 0; sum += got)
        h = digest(h, bytes, got);
    close(from);
    for (u32 stage = 0; stage < STAGES; stage++)
        if (wait_for(pids[stage]))
            wrong("a stage of the pipeline failed");
    if (sum != total)
        wrong("%u of %u bytes came through the pipeline", sum, total);
    return h;
}

u64 stress_pipes(u32 scale)
{
    u64 h = DIGEST_START;
    for (u32 i = 0; i < scale; i++)
        h = digest_number(h, pipeline(i + 1, 150000 + i));

    /* To and fro, a number at a time. */
    int there[2], back[2];
    MUST(pipe(there));
    MUST(pipe(back));
    int pid = MUST(fork());
    if (!pid) {
        close(there[1]);
        for (u64 number; read(there[0], &number, sizeof number) == sizeof number;) {
            number = digest_number(number, 1);
            if (write(back[1], &number, sizeof number) != sizeof number)
                _exit(1);
        }
        _exit(0);
    }
    for (u32 i = 0; i < 500 * scale; i++) {
        MUST(write(there[1], &h, sizeof h));
        h = read_number(back[0]);
    }
    close(there[1]);
    if (wait_for(pid))
        wrong("the other end of the pipe failed");

    /* Nobody reads any more. */
    signal(SIGPIPE, SIG_IGN);
    close(there[0]);
    MUST(pipe(there));
    close(there[0]);
    if (write(there[1], "x", 1) != -1 || errno != EPIPE)
        wrong("a pipe without reader takes bytes");
    close(there[1]);
    close(back[0]);
    close(back[1]);
    return h;
}
