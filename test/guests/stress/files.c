/* files.c: files that are written in every way, held against copies in memory. */
#include "stress.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define FILES 6
#define LARGEST (192 * 1024)

static struct {
    u8 bytes[LARGEST];
    u32 size;
} copies[FILES];
static u8 buffer[LARGEST];

static void name_of(char *name, const char *folder, u32 file)
{
    sprintf(name, "%s/stress-%u", folder, file);
}

static void compare(int fd, u32 file, u32 from, u32 length)
{
    ssize_t got = MUST(pread(fd, buffer, length, from)), there = (ssize_t)copies[file].size - from;
    if (there > (ssize_t)length)
        there = length;
    if (got != (there < 0 ? 0 : there) || memcmp(buffer, copies[file].bytes + from, got))
        wrong("file %u differs after byte %u", file, from);
}

static void write_mapped(int fd, u32 file, u64 *seed)
{
    u32 size = copies[file].size;
    if (!size)
        return;
    u8 *at = MUST(mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    for (u32 i = 0; i < 20; i++) {
        u32 byte = below(seed, size);
        at[byte] = copies[file].bytes[byte] = draw(seed) >> 56;
    }
    if (below(seed, 2))
        MUST(msync(at, size, MS_SYNC));
    MUST(munmap(at, size));
}

static void step(const char *folder, u32 file, u64 *seed)
{
    char name[256], other[256];
    name_of(name, folder, file);
    int fd = MUST(open(name, O_RDWR | O_CREAT, 0644));
    u32 from = below(seed, LARGEST), length = 1 + below(seed, (LARGEST - from < 20000 ? LARGEST - from : 20000));
    u32 what = below(seed, 12);

    if (what < 5) {
        for (u32 i = 0; i < length; i++)
            copies[file].bytes[from + i] = buffer[i] = draw(seed) >> 56;
        if (pwrite(fd, buffer, length, from) != (ssize_t)length)
            wrong("pwrite: %s", strerror(errno));
        if (copies[file].size < from + length)
            copies[file].size = from + length;
    } else if (what < 8) {
        compare(fd, file, from, length);
    } else if (what == 8) {
        MUST(ftruncate(fd, from));
        if (from < copies[file].size)
            memset(copies[file].bytes + from, 0, copies[file].size - from);
        copies[file].size = from;
    } else if (what == 9) {
        write_mapped(fd, file, seed);
    } else if (what == 10) {
        MUST(fsync(fd));
    } else {
        sprintf(other, "%s/stress-other", folder);
        MUST(rename(name, other));
        if (access(name, F_OK) != -1 || errno != ENOENT)
            wrong("a renamed file is still there");
        MUST(link(other, name));
        MUST(unlink(other));
    }
    MUST(close(fd));
}

/* Many small files in a folder of their own, and its end. */
static u64 small_files(const char *folder, u64 h)
{
    char name[256], inner[300];
    struct stat what;
    sprintf(name, "%s/stress-folder", folder);
    MUST(mkdir(name, 0755));
    for (u32 i = 0; i < 60; i++) {
        sprintf(inner, "%s/%u", name, i);
        int fd = MUST(open(inner, O_WRONLY | O_CREAT | O_EXCL, 0600));
        MUST(write(fd, inner + strlen(folder), i));
        MUST(close(fd));
        MUST(stat(inner, &what));
        h = digest_number(digest_number(h, what.st_size), what.st_mode);
    }
    if (rmdir(name) != -1 || errno != ENOTEMPTY)
        wrong("a folder with files in it can be removed");
    for (u32 i = 0; i < 60; i++) {
        sprintf(inner, "%s/%u", name, i);
        MUST(unlink(inner));
    }
    MUST(rmdir(name));
    return h;
}

u64 digest_files(const char *folder)
{
    u64 h = DIGEST_START;
    char name[256];
    for (u32 file = 0; file < FILES; file++) {
        name_of(name, folder, file);
        int fd = MUST(open(name, O_RDONLY));
        for (ssize_t got; (got = MUST(read(fd, buffer, sizeof buffer))) > 0;)
            h = digest(digest_number(h, got), buffer, got);
        MUST(close(fd));
    }
    return h;
}

u64 stress_files(const char *folder, u32 scale)
{
    char name[256];
    u64 seed = 0x1234567, h = DIGEST_START;
    memset(copies, 0, sizeof copies);
    for (u32 file = 0; file < FILES; file++) {
        name_of(name, folder, file);
        MUST(close(MUST(open(name, O_RDWR | O_CREAT | O_TRUNC, 0644))));
    }
    for (u32 i = 0; i < 300 * scale; i++)
        step(folder, below(&seed, FILES), &seed);
    for (u32 file = 0; file < FILES; file++) {
        name_of(name, folder, file);
        int fd = MUST(open(name, O_RDWR));
        compare(fd, file, 0, LARGEST);
        MUST(fsync(fd));
        MUST(close(fd));
    }
    for (u32 i = 0; i < scale; i++)
        h = small_files(folder, h);
    return digest_number(h, digest_files(folder));
}
