/* shapes.h: data of every shape that C has. */
#ifndef SHAPES_H
#define SHAPES_H
#include "hypercall.h"

enum colour { RED, GREEN, BLUE = 4 };
enum access { MAY_READ = 1, MAY_WRITE = 2, MAY_EXECUTE = 4 };

/* A page-table entry, taken apart by the compiler. */
union entry {
    u64 whole;
    struct {
        u64 present : 1;
        u64 writable : 1;
        u64 user : 1;
        u64 : 9;
        u64 frame : 40;
        u64 : 11;
        u64 no_execute : 1;
    };
};

struct point {
    int x, y;
};

struct shape {
    const char *name;
    enum colour colour;
    signed int tilt : 5; /* -16 to 15 */
    unsigned int visible : 1;
    struct point corners[4];
    u8 access;                               /* enum access, several at once */
    long (*area)(const struct shape *shape); /* as in kernels: a function in a structure */
    struct shape *next;
};

/* Its size is known when it is made; C's type does not say it. */
struct message {
    u32 length;
    char text[];
};

extern struct shape *shapes;
extern u32 drawn;

void add_shapes(void);
long total_area(void);
unsigned long depth_of(const struct shape *list);

#endif
