/*
 * What kernels.c has of a C library when it is a 32-bit multiboot kernel: memory that is given out and taken back all
 * at once, the bytes of strings, 64-bit division, and printing to the first serial port.
 */
#include <stddef.h>
#include <stdint.h>

#define PORT 0x3f8

static inline void out(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t in(uint16_t port)
{
	uint8_t value;
	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static void put_begin(void)
{
	/* Line control: eight data bits. */
	out(PORT + 3, 3);
}

static void put(char c)
{
	/* Line status: the transmitter holds nothing. */
	while (!(in(PORT + 5) & 0x20))
		;
	out(PORT, c);
}

static void puts_bare(const char *s)
{
	while (*s)
		put(*s++);
}

static uint8_t arena[24 << 20] __attribute__((aligned(16)));
static size_t used;

static void *malloc(size_t n)
{
	void *p = arena + used;
	used += (n + 15) & ~(size_t)15;
	return p;
}

static void free(void *p)
{
	(void)p;
}

void *memset(void *to, int c, size_t n)
{
	void *d = to;
	__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
	return to;
}

void *memcpy(void *to, const void *from, size_t n)
{
	void *d = to;
	size_t words = n / 4, rest = n % 4;
	__asm__ volatile("rep movsl" : "+D"(d), "+S"(from), "+c"(words) : : "memory");
	__asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(rest) : : "memory");
	return to;
}

void *memmove(void *to, const void *from, size_t n)
{
	uint8_t *d = (uint8_t *)to + n;
	const uint8_t *s = (const uint8_t *)from + n;
	if ((uint8_t *)to <= (const uint8_t *)from || (uint8_t *)to >= s)
		return memcpy(to, from, n);
	while (n >= 4 && (d -= 4, s -= 4, n -= 4, 1))
		*(uint32_t *)d = *(const uint32_t *)s;
	while (n--)
		*--d = *--s;
	return to;
}

/* By a divisor of 32 bits, which is all there is: two of the processor's divisions. */
static uint64_t divide(uint64_t n, uint32_t d, uint32_t *rest)
{
	uint32_t high = n >> 32, low = n, upper = high / d;
	high %= d;
	__asm__("divl %2" : "+a"(low), "+d"(high) : "r"(d));
	*rest = high;
	return (uint64_t)upper << 32 | low;
}

uint64_t __udivdi3(uint64_t n, uint64_t d)
{
	uint32_t rest;
	return divide(n, d, &rest);
}

uint64_t __umoddi3(uint64_t n, uint64_t d)
{
	uint32_t rest;
	divide(n, d, &rest);
	return rest;
}
