/*
 * Small programs that each load one part of a machine. `kernels NAME…` prints BENCH-BEGIN, works, and prints BENCH-END
 * with a checksum, which must be the same wherever it runs; whoever times it looks at the console from outside. Words
 * that name none of them are printed.
 * Built with -O2 -static; the same binary runs on every machine compared. With -DBARE those that need no operating
 * system are a 32-bit kernel of their own (bare.h), for machines that have no long mode.
 */
#ifdef BARE
#include "bare.h"
#else
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

static uint64_t state = 88172645463325252u;

static uint64_t random64(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static uint64_t integer(void)
{
	uint64_t a = 1, b = 2, c = 3;
	for (int i = 0; i < 60000000; i++) {
		a = a * 6364136223846793005u + b;
		b ^= a >> 29;
		c += (b << 3) - a;
	}
	return a ^ b ^ c;
}

static uint64_t chase(void)
{
	enum { N = 1 << 17 };
	uint32_t *next = malloc(N * sizeof *next);
	for (uint32_t i = 0; i < N; i++)
		next[i] = i;
	/* Sattolo: one cycle through all of it. */
	for (uint32_t i = N - 1; i > 0; i--) {
		uint32_t j = random64() % i, t = next[i];
		next[i] = next[j];
		next[j] = t;
	}
	uint32_t at = 0;
	uint64_t sum = 0;
	for (int i = 0; i < 60000000; i++) {
		at = next[at];
		sum += at;
	}
	free(next);
	return sum;
}

static void quicksort(uint32_t *v, long low, long high)
{
	while (low < high) {
		uint32_t pivot = v[(low + high) / 2];
		long i = low, j = high;
		while (i <= j) {
			while (v[i] < pivot)
				i++;
			while (v[j] > pivot)
				j--;
			if (i <= j) {
				uint32_t t = v[i];
				v[i++] = v[j];
				v[j--] = t;
			}
		}
		quicksort(v, low, j);
		low = i;
	}
}

static uint64_t sort(void)
{
	enum { N = 4000000 };
	uint32_t *v = malloc(N * sizeof *v);
	uint64_t sum = 0;
	for (int i = 0; i < N; i++)
		v[i] = random64();
	quicksort(v, 0, N - 1);
	for (int i = 0; i < N; i++)
		sum = sum * 31 + v[i];
	free(v);
	return sum;
}

static uint64_t crc(void)
{
	static uint32_t table[256];
	enum { N = 1 << 20 };
	uint8_t *data = malloc(N);
	uint32_t c = ~0u;
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t r = i;
		for (int k = 0; k < 8; k++)
			r = r & 1 ? r >> 1 ^ 0xedb88320u : r >> 1;
		table[i] = r;
	}
	for (int i = 0; i < N; i++)
		data[i] = random64();
	for (int k = 0; k < 120; k++)
		for (int i = 0; i < N; i++)
			c = table[(c ^ data[i]) & 255] ^ c >> 8;
	free(data);
	return c;
}

static uint64_t sieve(void)
{
	enum { N = 2000000 };
	uint8_t *composite = malloc(N);
	uint64_t sum = 0;
	for (int k = 0; k < 12; k++) {
		memset(composite, 0, N);
		for (long i = 2; i < N; i++) {
			if (composite[i])
				continue;
			sum += i;
			if (i > N / i)
				continue;
			for (long j = i * i; j < N; j += i)
				composite[j] = 1;
		}
	}
	free(composite);
	return sum;
}

static uint64_t sse(void)
{
	enum { N = 120 };
	static double a[N][N], b[N][N], c[N][N];
	memset(c, 0, sizeof c);
	for (int i = 0; i < N; i++)
		for (int j = 0; j < N; j++) {
			a[i][j] = (double)(random64() % 1000) / 7;
			b[i][j] = (double)(random64() % 1000) / 3;
		}
	for (int k = 0; k < 50; k++)
		for (int i = 0; i < N; i++)
			for (int j = 0; j < N; j++) {
				double s = c[i][j] / 2;
				for (int l = 0; l < N; l++)
					s += a[i][l] * b[l][j];
				c[i][j] = s;
			}
	uint64_t sum = 0, bits;
	for (int i = 0; i < N; i++)
		for (int j = 0; j < N; j++) {
			memcpy(&bits, &c[i][j], 8);
			sum = sum * 31 + bits;
		}
	return sum;
}

static uint64_t copy(void)
{
	enum { N = 1 << 20 };
	uint8_t *a = malloc(N), *b = malloc(N);
	uint64_t sum = 0;
	for (int i = 0; i < N; i++)
		a[i] = random64();
	for (int k = 0; k < 800; k++) {
		memcpy(b, a + (k & 15), N - 16);
		memmove(a + 1, b, N - 32);
		sum = sum * 31 + a[k * 977 % N];
	}
	free(a);
	free(b);
	return sum;
}

/* A machine with a stack and a few registers, dispatched through a switch. */
static uint64_t branchy(void)
{
	static const uint8_t code[] = { 0, 1, 2, 3, 1, 4, 2, 5, 3, 6, 0, 2, 7 };
	uint64_t r[4] = { 1, 2, 3, 4 };
	long left = 60000000;
	for (size_t at = 0; left > 0; left--) {
		switch (code[at++]) {
		case 0: r[0] += r[1]; break;
		case 1: r[1] ^= r[2] >> 3; break;
		case 2: r[2] = r[2] * 5 + r[0]; break;
		case 3: r[3] -= r[1]; break;
		case 4: if (r[0] & 1) at++; break;
		case 5: if (r[3] & 4) at++; break;
		case 6: r[0] = (r[0] << 1) | (r[0] >> 63); break;
		case 7: at = 0; break;
		}
	}
	return r[0] ^ r[1] ^ r[2] ^ r[3];
}

#ifndef BARE
static uint64_t syscalls(void)
{
	uint64_t sum = 0;
	for (int i = 0; i < 200000; i++)
		sum += syscall(SYS_getuid) + 1;
	return sum;
}

static uint64_t faults(void)
{
	enum { PAGES = 256 };
	uint64_t sum = 0;
	for (int k = 0; k < 48; k++) {
		uint8_t *p = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		for (int i = 0; i < PAGES; i++)
			p[i * 4096] = i;
		for (int i = 0; i < PAGES; i++)
			sum += p[i * 4096];
		munmap(p, PAGES * 4096);
	}
	return sum;
}

static uint64_t forkexec(void)
{
	uint64_t sum = 0;
	for (int i = 0; i < 40; i++) {
		pid_t pid = fork();
		int status = 0;
		if (pid == 0) {
			execl("/proc/self/exe", "kernels", "nothing", (char *)NULL);
			_exit(1);
		}
		waitpid(pid, &status, 0);
		sum += WEXITSTATUS(status);
	}
	return sum;
}

static uint64_t switches(void)
{
	int there[2], back[2];
	char byte = 1;
	uint64_t sum = 0;
	if (pipe(there) || pipe(back))
		return 0;
	pid_t pid = fork();
	if (pid == 0) {
		close(there[1]);
		while (read(there[0], &byte, 1) == 1) {
			byte++;
			if (write(back[1], &byte, 1) != 1)
				break;
		}
		_exit(0);
	}
	for (int i = 0; i < 8000; i++) {
		if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
			return 0;
		sum = sum * 31 + byte;
	}
	close(there[1]);
	waitpid(pid, NULL, 0);
	close(there[0]);
	close(back[0]);
	close(back[1]);
	return sum;
}

#endif

static const struct {
	const char *name;
	uint64_t (*run)(void);
} kernels[] = {
	{ "integer", integer }, { "chase", chase },       { "sort", sort },         { "crc", crc },
	{ "sieve", sieve },     { "sse", sse },           { "copy", copy },         { "branchy", branchy },
#ifndef BARE
	{ "syscalls", syscalls }, { "faults", faults },   { "forkexec", forkexec }, { "switches", switches },
#endif
};

#ifdef BARE
static void put_sum(uint64_t sum)
{
	for (int shift = 60; shift >= 0; shift -= 4)
		put("0123456789abcdef"[sum >> shift & 15]);
}

void bare_main(void)
{
	put_begin();
	for (int round = 0; round < BARE; round++)
		for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
			state = 88172645463325252u;
			used = 0;
			puts_bare("BENCH-BEGIN ");
			puts_bare(kernels[i].name);
			puts_bare("\n");
			uint64_t sum = kernels[i].run();
			puts_bare("BENCH-END ");
			puts_bare(kernels[i].name);
			put(' ');
			put_sum(sum);
			puts_bare(".\n");
		}
	puts_bare("BENCH-DONE\n");
	for (;;)
		__asm__ volatile("hlt");
}

/* Multiboot 0.6.96 §3.1: magic, flags (addresses are given), checksum, where to load, where to begin. */
__asm__(".section .boot, \"a\"\n"
	".globl start\n"
	".align 4\n"
	"header: .long 0x1badb002, 0x10000, -(0x1badb002 + 0x10000)\n"
	".long header, header, load_end, bss_end, start\n"
	"start: mov $stack_end, %esp\n"
	/* SSE: CR0.MP, not EM; CR4.OSFXSR, OSXMMEXCPT */
	"mov %cr0, %eax; and $~4, %eax; or $2, %eax; mov %eax, %cr0\n"
	"mov %cr4, %eax; or $0x600, %eax; mov %eax, %cr4\n"
	"fninit\n"
	"call bare_main\n"
	".bss\n"
	".align 16\n"
	".skip 65536\n"
	"stack_end:\n"
	".text\n");
#else
static void run(const char *name)
{
	for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
		if (strcmp(name, kernels[i].name) != 0)
			continue;
		state = 88172645463325252u;
		printf("BENCH-BEGIN %s\n", name);
		fflush(stdout);
		uint64_t sum = kernels[i].run();
		printf("BENCH-END %s %016llx.\n", name, (unsigned long long)sum);
		fflush(stdout);
		return;
	}
	puts(name);
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "nothing") == 0)
		return 7;
	for (int i = 1; i < argc; i++)
		run(argv[i]);
	return 0;
}
#endif
