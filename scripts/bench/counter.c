/*
 * A kernel that counts for ever, in C with variables: for conditions that name them. The compiler optimizes, so that
 * they are in registers, and in memory behind a pointer.
 */
typedef unsigned int u32;

/* elfnote.h: XEN_ELFNOTE_ENTRY is 1, VIRT_BASE 3, XEN_VERSION 5, LOADER 8. */
#define NOTE(type, size, value)                                                                                \
	__asm__(".pushsection .note.Xen, \"a\", @note; .balign 4; .long 4, " #size ", " #type                    \
		"; .asciz \"Xen\"; " value "; .balign 4; .popsection")
NOTE(1, 8, ".quad _start");
NOTE(3, 8, ".quad 0xffffffff80000000");
NOTE(5, 8, ".asciz \"xen-3.0\"");
NOTE(8, 8, ".asciz \"generic\"");

struct queue {
	const char *name;
	short len;
	unsigned full : 1, turns : 31;
};
static struct queue queue = { "queue", 4, 0, 0 };
volatile u32 rounds;
volatile long last;

__attribute__((noipa)) static void count(volatile struct queue *p)
{
	for (long i = 0;; i++) {
		p->turns = (u32)i * 2;
		last = i;
		rounds++;
	}
}

void _start(void)
{
	count(&queue);
}
