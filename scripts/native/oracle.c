/*
 * The host processor as an oracle: executes one instruction at a time from a given state and reports the
 * resulting state.
 *
 *   stdin:  struct test records        stdout: struct result records, one for each
 *
 * A test runs by returning from a signal handler into it with the trap flag set: all registers, flags, x87
 * and SSE state come from the signal frame, so nothing of this program's own state is live. The trap after
 * one instruction (or the fault) brings the next frame, from which the result is read, and so on.
 *
 * Memory seen by tests (fixed addresses, the same page tables are built on the emulated side):
 *   CODE   0x20000000  one page, read + write + execute, filled with INT3 around the instruction
 *   DATA   0x10000000  two pages read + write, then one read-only page, then nothing
 *   (everything else that tests touch is unmapped)
 * The base of GS is GS_BASE, that of FS belongs to the C library.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <asm/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define CODE 0x20000000ul
#define DATA 0x10000000ul
#define PAGE 4096ul
#define GS_BASE 0x40ul

/* Keep in step with src/…/oracle protocol: scripts/differential/protocol.ts. All little-endian, no padding. */
struct regs {
  uint64_t gpr[16]; /* rax rcx rdx rbx rsp rbp rsi rdi r8..r15 */
  uint64_t rip, rflags;
  uint8_t fx[512]; /* FXSAVE64 image */
};
struct test {
  uint32_t code_offset; /* within the code page */
  uint32_t code_length; /* ≤ 16 */
  uint8_t code[16];
  uint32_t data_length; /* bytes of memory[] that are copied to DATA + data_offset (within the first two pages) */
  uint32_t data_offset;
  uint8_t data[256];
  struct regs regs;
};
struct result {
  uint32_t signal;     /* 0: the instruction completed */
  uint32_t trapno;     /* of a fault, as in the signal frame */
  uint64_t error, cr2; /* of a fault */
  struct regs regs;
  uint8_t data[256];
  uint64_t elsewhere; /* hash of the rest of the two writable pages, to catch stray stores */
};

static const int REG_ORDER[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                  REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

static struct test test;
static struct result result;
static int running, steps;
static uint8_t *code = (uint8_t *)CODE, *data = (uint8_t *)DATA;
static uint8_t background[2 * PAGE];

static int read_all(void *p, size_t n) {
  size_t got = 0;
  while (got < n) {
    ssize_t r = read(0, (char *)p + got, n - got);
    if (r < 0 && errno == EINTR) continue;
    if (r <= 0) return got == 0 && r == 0 ? 0 : -1;
    got += (size_t)r;
  }
  return 1;
}
static char out[1 << 16];
static size_t out_used;
static void flush_out(void) {
  size_t done = 0;
  while (done < out_used) {
    ssize_t w = write(1, out + done, out_used - done);
    if (w <= 0) _exit(3);
    done += (size_t)w;
  }
  out_used = 0;
}
static void write_all(const void *p, size_t n) {
  if (out_used + n > sizeof out) flush_out();
  memcpy(out + out_used, p, n);
  out_used += n;
}

static uint64_t hash_elsewhere(void) {
  uint64_t h = 1469598103934665603ull;
  for (size_t i = 0; i < 2 * PAGE; i++) {
    if (i >= test.data_offset && i < test.data_offset + test.data_length) continue;
    if (data[i] != background[i]) h = (h ^ (i * 256 + data[i])) * 1099511628211ull;
  }
  return h;
}

/* glibc hides the xsave header behind the legacy image: 512 bytes in, XSTATE_BV. */
static void mark_state_present(void *fpregs) {
  uint32_t magic;
  memcpy(&magic, (char *)fpregs + 464, 4);
  if (magic != 0x46505853u) return; /* FP_XSTATE_MAGIC1: otherwise a plain FXSAVE frame */
  uint64_t bv;
  memcpy(&bv, (char *)fpregs + 512, 8);
  bv |= 3;
  memcpy((char *)fpregs + 512, &bv, 8);
}

static void load(ucontext_t *uc) {
  memcpy(data, background, 2 * PAGE);
  memcpy(data + test.data_offset, test.data, test.data_length);
  memset(code, 0xcc, PAGE);
  memcpy(code + test.code_offset, test.code, test.code_length);
  for (int i = 0; i < 16; i++) uc->uc_mcontext.gregs[REG_ORDER[i]] = (greg_t)test.regs.gpr[i];
  uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(CODE + test.code_offset);
  uc->uc_mcontext.gregs[REG_EFL] = (greg_t)(test.regs.rflags | 0x100);
  /* Bytes 464..511 of the image are software-reserved: the kernel's own words stay. */
  memcpy(uc->uc_mcontext.fpregs, test.regs.fx, 416);
  mark_state_present(uc->uc_mcontext.fpregs);
  running = 1;
  steps = 0;
}

static void on_signal(int sig, siginfo_t *info, void *context) {
  (void)info;
  ucontext_t *uc = context;
  if (running) {
    uint64_t rip = (uint64_t)uc->uc_mcontext.gregs[REG_RIP];
    /* TF traps after every iteration of a repeated instruction: go on until it is left. */
    if (sig == SIGTRAP && rip == CODE + test.code_offset && ++steps < 100000) return;
    memset(&result, 0, sizeof result);
    result.signal = sig == SIGTRAP && uc->uc_mcontext.gregs[REG_TRAPNO] == 1 ? 0 : (uint32_t)sig;
    result.trapno = (uint32_t)uc->uc_mcontext.gregs[REG_TRAPNO];
    result.error = (uint64_t)uc->uc_mcontext.gregs[REG_ERR];
    result.cr2 = (uint64_t)uc->uc_mcontext.gregs[REG_CR2];
    for (int i = 0; i < 16; i++) result.regs.gpr[i] = (uint64_t)uc->uc_mcontext.gregs[REG_ORDER[i]];
    result.regs.rip = rip;
    result.regs.rflags = (uint64_t)uc->uc_mcontext.gregs[REG_EFL] & ~0x100ull;
    memcpy(result.regs.fx, uc->uc_mcontext.fpregs, 416);
    memcpy(result.data, data + test.data_offset, test.data_length);
    result.elsewhere = hash_elsewhere();
    write_all(&result, sizeof result);
  }
  int r = read_all(&test, sizeof test);
  if (r <= 0) {
    flush_out();
    _exit(r == 0 ? 0 : 2);
  }
  if (test.code_length > 16 || test.code_offset + test.code_length > PAGE || test.data_length > 256 ||
      test.data_offset + test.data_length > 2 * PAGE)
    _exit(2);
  load(uc);
}

int main(void) {
  /* Out of tests' way, and aligned as no test is. */
  static uint8_t stack[1 << 17] __attribute__((aligned(4096)));
  stack_t alt = {.ss_sp = stack, .ss_size = sizeof stack};
  if (sigaltstack(&alt, NULL) != 0) return 1;
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_POPULATE;
  if (mmap(code, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, flags, -1, 0) != code) return 1;
  if (mmap(data, 3 * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0) != data) return 1;
  for (size_t i = 0; i < sizeof background; i++) background[i] = (uint8_t)(i * 37 + (i >> 8) * 11);
  for (size_t i = 0; i < PAGE; i++) data[2 * PAGE + i] = (uint8_t)(i * 29 + 5);
  if (mprotect(data + 2 * PAGE, PAGE, PROT_READ) != 0) return 1;
  if (syscall(SYS_arch_prctl, ARCH_SET_GS, GS_BASE) != 0) return 1;
  struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
  sigfillset(&sa.sa_mask);
  int signals[] = {SIGTRAP, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGUSR1};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) sigaction(signals[i], &sa, NULL);
  raise(SIGUSR1); /* the first frame */
  return 1;
}
