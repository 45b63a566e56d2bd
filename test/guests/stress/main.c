/* main.c: `stress FOLDER [SCALE [PART…]]` does everything, or the named parts, and prints a line for each;
 * `stress verify FOLDER` prints the digest of the files that a run left in FOLDER. */
#include "stress.h"
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>

extern char **environ;

void wrong(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    printf("WRONG ");
    vprintf(format, arguments);
    printf("\n");
    fflush(stdout);
    /* Nobody shall wait for this process: all of them end. */
    kill(0, SIGKILL);
    _exit(99);
}

int wait_for(int pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            wrong("waitpid: %s", strerror(errno));
    if (!WIFEXITED(status))
        wrong("a child ended with status %x", status);
    return WEXITSTATUS(status);
}

static const char *folder;
static u64 files(u32 scale)
{
    return stress_files(folder, scale);
}

static const struct {
    const char *name;
    u64 (*run)(u32 scale);
} parts[] = {
    { "processes", stress_processes }, { "pipes", stress_pipes },     { "memory", stress_memory },
    { "signals", stress_signals },     { "files", files },            { "shared", stress_shared },
    { "threads", stress_threads },     { "floats", stress_floats },
};

static int chosen(const char *name, char **names)
{
    if (!*names)
        return 1;
    for (; *names; names++)
        if (!strcmp(name, *names))
            return 1;
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "child"))
        return be_child(argv, environ);
    if (argc > 2 && !strcmp(argv[1], "verify")) {
        printf("verify %016lx\n", digest_files(argv[2]));
        return 0;
    }
    if (argc < 2) {
        fprintf(stderr, "usage: stress FOLDER [SCALE [PART...]]\n");
        return 2;
    }
    setpgid(0, 0);
    folder = argv[1];
    u32 scale = argc > 2 ? atoi(argv[2]) : 1;
    for (u32 i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (!chosen(parts[i].name, argv + (argc > 2 ? 3 : 2)))
            continue;
        u64 result = parts[i].run(scale);
        printf("%s %016lx\n", parts[i].name, result);
        fflush(stdout);
    }
    printf("stress done\n");
    return 0;
}
