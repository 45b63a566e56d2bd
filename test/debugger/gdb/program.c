/* A program that has a bit of everything: gdb.test.ts stops it in probe() and asks gdb and this debugger about the
 * same core file. It uses no library, so that nothing but its own code is in it.
 */
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long u64;

enum state { IDLE, BUSY = 5, GONE = -1 };
struct point { int x, y; };
struct node {
    const char *name;
    enum state state;
    int tilt : 5;
    unsigned visible : 1, level : 7;
    struct point corners[3];
    union { u64 whole; struct { u32 low, high; }; u8 bytes[8]; };
    struct node *next;
    int (*weight)(const struct node *);
};
struct message { u32 length; char text[]; };

static int weight_of(const struct node *node) { return node->corners[0].x * node->level; }

struct node nodes[3] = {
    { "first", BUSY, -7, 1, 100, { { 1, 2 }, { -3, 4 }, { 5, -6 } }, { 0x1122334455667788 }, &nodes[1], weight_of },
    { "second", GONE, 15, 0, 3, { { 10, 20 } }, { 0xdeadbeef00000001 }, &nodes[2], weight_of },
    { "third", IDLE, 0, 1, 127, { { -100, 0 } }, { 42 }, 0, 0 },
};
volatile long sink;
static double ratio = 2.5;
struct message *mail;
u8 matrix[2][3] = { { 1, 2, 3 }, { 4, 5, 6 } };

/* Where gdb stops it. */
__attribute__((noinline)) void probe(long a, long b)
{
    sink += a ^ b;
    __asm__ volatile("nop");
}

static inline __attribute__((always_inline)) int twice(int value)
{
    int doubled = value * 2;
    probe(doubled, value);
    return doubled + (int)sink;
}

__attribute__((noinline)) static long visit(struct node *node, int depth)
{
    long sum = depth;
    for (int i = 0; i < 3; i++) {
        struct point corner = node->corners[i];
        sum += corner.x + corner.y;
    }
    if (node->next) {
        u64 below = (u64)visit(node->next, depth + 1);
        sum += (long)below;
    } else {
        short narrow = (short)(sum * 3);
        sum += twice(narrow);
    }
    return sum + (node->weight ? node->weight(node) : 0);
}

/* Its parameters are gone by the time of the call: only the caller knows what they were. */
__attribute__((noinline)) static long entry_values(long first, unsigned second)
{
    long result = visit(nodes, (int)(first - second));
    return result + 1;
}

__attribute__((noinline)) int work(int count)
{
    char text[8] = "abc";
    float half = (float)ratio / 5;
    long total = 0;
    for (int i = 0; i < count; i++)
        total += entry_values(i + 7, 4u) + text[i];
    sink += (long)half;
    return (int)total;
}

void _start(void)
{
    /* Nobody called. */
    __asm__ volatile(".cfi_undefined rip");
    __asm__ volatile("syscall" : : "a"(60L), "D"(work(1) & 0x7fL) : "rcx", "r11", "memory");
    __builtin_unreachable();
}
