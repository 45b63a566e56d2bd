/* shapes.c: a list of structures, functions that the compiler inlines, a recursion. */
#include "shapes.h"

struct shape *shapes;
u32 drawn;

static long rectangle_area(const struct shape *shape)
{
    const struct point *first = &shape->corners[0];
    const struct point *third = &shape->corners[2];
    long width = third->x - first->x;
    long height = third->y - first->y;

    return width * height;
}

static struct shape table = {
    .name = "table",
    .colour = GREEN,
    .tilt = -3,
    .visible = 1,
    .corners = { { 0, 0 }, { 30, 0 }, { 30, 20 }, { 0, 20 } },
    .access = MAY_READ | MAY_WRITE,
    .area = rectangle_area,
};
static struct shape door = {
    .name = "door",
    .colour = BLUE,
    .tilt = 15,
    .corners = { { 5, 5 }, { 14, 5 }, { 14, 25 }, { 5, 25 } },
    .access = MAY_EXECUTE,
    .area = rectangle_area,
};

/* Small enough to disappear into its callers: step into it all the same. */
static inline void push_shape(struct shape *shape)
{
    struct shape *old = shapes;

    shape->next = old;
    shapes = shape;
    drawn++;
}

void add_shapes(void)
{
    push_shape(&table);
    push_shape(&door);
}

/* The list is walked by calling itself: a stack to look at. */
__attribute__((noinline)) unsigned long depth_of(const struct shape *list)
{
    unsigned long below;

    if (!list)
        return 0;
    below = depth_of(list->next);
    __asm__ volatile("" : "+r"(below)); /* or the compiler makes a loop of it */
    return below + 1;
}

__attribute__((noinline)) long total_area(void)
{
    long sum = 0;

    for (const struct shape *shape = shapes; shape; shape = shape->next) {
        long area = shape->area(shape);

        sum += area;
    }
    return sum;
}
