/*
 * Runs floating-point operations on the host's own processor, so that the
 * software floating point in src/cpu/softfloat can be compared with it.
 *
 *   gcc -O1 -mno-red-zone -o softfloat softfloat.c
 *   softfloat --list        one operation name per line; its number is its line
 *   softfloat < in > out    struct request records in, struct reply records out
 *
 * SSE operations take xmm0 = a and xmm1 = b and load `control` into MXCSR;
 * x87 operations take st(0) = a and st(1) = b and load `control` into FCW.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

struct request {
  uint32_t op, control;
  uint8_t a[16], b[16], pad[8];
};
struct reply {
  uint8_t r0[16];   /* xmm0, or st(0) after the operation */
  uint8_t r1[16];   /* st(1) after the operation */
  uint8_t mem[16];  /* memory operand after the operation, or the integer result */
  uint32_t status;  /* MXCSR or FSW */
  uint32_t extra;   /* EFLAGS for comparisons; bit 31: #XM was raised */
  uint8_t pad[8];
};
_Static_assert(sizeof(struct request) == 48, "request");
_Static_assert(sizeof(struct reply) == 64, "reply");

static volatile uint64_t resume;
static volatile uint32_t trapped;

/* #XM: note it, mask everything (keeping the flags) and step over the instruction. */
static void on_fpe(int sig, siginfo_t *info, void *context) {
  (void)sig; (void)info;
  ucontext_t *uc = context;
  trapped = 0x80000000u;
  uc->uc_mcontext.fpregs->mxcsr |= 0x1f80;
  uc->uc_mcontext.gregs[REG_RIP] = (greg_t)resume;
}

typedef void operation(const struct request *, struct reply *);

static const uint32_t quiet_mxcsr = 0x1f80;

#define SSE(name, insn)                                                        \
  static void op_##name(const struct request *in, struct reply *out) {         \
    uint64_t gpr = *(const uint64_t *)in->b;                                   \
    uint64_t flags = 0;                                                        \
    trapped = 0;                                                               \
    asm volatile(                                                              \
        "movups %[a], %%xmm0\n movups %[b], %%xmm1\n"                          \
        "lea 1f(%%rip), %%rcx\n mov %%rcx, %[resume]\n"                        \
        "ldmxcsr %[control]\n" insn "\n1: stmxcsr %[status]\n"                 \
        "pushfq\n popq %[flags]\n ldmxcsr %[quiet]\n movups %%xmm0, %[r0]\n"   \
        : [r0] "=m"(out->r0), [status] "=m"(out->status),                      \
          [resume] "=m"(resume), "+a"(gpr), [flags] "=&r"(flags)               \
        : [a] "m"(in->a), [b] "m"(in->b), [control] "m"(in->control),          \
          [quiet] "m"(quiet_mxcsr)                                             \
        : "rcx", "xmm0", "xmm1", "cc", "memory");                              \
    memcpy(out->mem, &gpr, 8);                                                 \
    out->extra = (uint32_t)(flags & 0x8d5) | trapped;                          \
  }

/* 28-byte environment followed by eight 80-bit registers, st(0) first. */
struct fsave { uint16_t cw, p0, sw, p1, tw, p2; uint32_t r[4]; uint8_t st[80]; };
_Static_assert(sizeof(struct fsave) == 108, "fsave");

#define X87(name, insn, fill)                                                  \
  static void op_##name(const struct request *in, struct reply *out) {         \
    struct fsave save;                                                         \
    uint64_t flags;                                                            \
    uint8_t mem[16];                                                           \
    if (fill) memset(mem, 0xcc, 16); else memcpy(mem, in->b, 16);              \
    asm volatile(                                                              \
        "fninit\n fldt %[b]\n fldt %[a]\n fldcw %[control]\n" insn "\n"        \
        "pushfq\n popq %[flags]\n fnsave %[save]\n"                            \
        : [save] "=m"(save), [flags] "=&r"(flags), [m] "+m"(mem)               \
        : [a] "m"(in->a), [b] "m"(in->b), [control] "m"(in->control)           \
        : "cc", "memory");                                                     \
    memcpy(out->r0, save.st, 10);                                              \
    memcpy(out->r1, save.st + 10, 10);                                         \
    memcpy(out->mem, mem, 16);                                                 \
    out->status = save.sw;                                                     \
    out->extra = (uint32_t)(flags & 0x8d5);                                    \
  }

#define EACH_SSE(S)                                                            \
  S(addss, "addss %%xmm1, %%xmm0") S(addsd, "addsd %%xmm1, %%xmm0")            \
  S(subss, "subss %%xmm1, %%xmm0") S(subsd, "subsd %%xmm1, %%xmm0")            \
  S(mulss, "mulss %%xmm1, %%xmm0") S(mulsd, "mulsd %%xmm1, %%xmm0")            \
  S(divss, "divss %%xmm1, %%xmm0") S(divsd, "divsd %%xmm1, %%xmm0")            \
  S(minss, "minss %%xmm1, %%xmm0") S(minsd, "minsd %%xmm1, %%xmm0")            \
  S(maxss, "maxss %%xmm1, %%xmm0") S(maxsd, "maxsd %%xmm1, %%xmm0")            \
  S(sqrtss, "sqrtss %%xmm1, %%xmm0") S(sqrtsd, "sqrtsd %%xmm1, %%xmm0")        \
  S(addps, "addps %%xmm1, %%xmm0") S(divps, "divps %%xmm1, %%xmm0")            \
  S(sqrtps, "sqrtps %%xmm1, %%xmm0") S(mulpd, "mulpd %%xmm1, %%xmm0")          \
  S(rcpss, "rcpss %%xmm1, %%xmm0") S(rsqrtss, "rsqrtss %%xmm1, %%xmm0")        \
  S(cmpss0, "cmpss $0, %%xmm1, %%xmm0") S(cmpsd0, "cmpsd $0, %%xmm1, %%xmm0")  \
  S(cmpss1, "cmpss $1, %%xmm1, %%xmm0") S(cmpsd1, "cmpsd $1, %%xmm1, %%xmm0")  \
  S(cmpss2, "cmpss $2, %%xmm1, %%xmm0") S(cmpsd2, "cmpsd $2, %%xmm1, %%xmm0")  \
  S(cmpss3, "cmpss $3, %%xmm1, %%xmm0") S(cmpsd3, "cmpsd $3, %%xmm1, %%xmm0")  \
  S(cmpss4, "cmpss $4, %%xmm1, %%xmm0") S(cmpsd4, "cmpsd $4, %%xmm1, %%xmm0")  \
  S(cmpss5, "cmpss $5, %%xmm1, %%xmm0") S(cmpsd5, "cmpsd $5, %%xmm1, %%xmm0")  \
  S(cmpss6, "cmpss $6, %%xmm1, %%xmm0") S(cmpsd6, "cmpsd $6, %%xmm1, %%xmm0")  \
  S(cmpss7, "cmpss $7, %%xmm1, %%xmm0") S(cmpsd7, "cmpsd $7, %%xmm1, %%xmm0")  \
  S(comiss, "comiss %%xmm1, %%xmm0") S(comisd, "comisd %%xmm1, %%xmm0")        \
  S(ucomiss, "ucomiss %%xmm1, %%xmm0") S(ucomisd, "ucomisd %%xmm1, %%xmm0")    \
  S(cvtss2sd, "cvtss2sd %%xmm1, %%xmm0") S(cvtsd2ss, "cvtsd2ss %%xmm1, %%xmm0")\
  S(cvtss2si32, "cvtss2si %%xmm1, %%eax") S(cvtsd2si32, "cvtsd2si %%xmm1, %%eax") \
  S(cvtss2si64, "cvtss2si %%xmm1, %%rax") S(cvtsd2si64, "cvtsd2si %%xmm1, %%rax") \
  S(cvttss2si32, "cvttss2si %%xmm1, %%eax") S(cvttsd2si32, "cvttsd2si %%xmm1, %%eax") \
  S(cvttss2si64, "cvttss2si %%xmm1, %%rax") S(cvttsd2si64, "cvttsd2si %%xmm1, %%rax") \
  S(cvtsi2ss32, "cvtsi2ssl %%eax, %%xmm0") S(cvtsi2sd32, "cvtsi2sdl %%eax, %%xmm0") \
  S(cvtsi2ss64, "cvtsi2ssq %%rax, %%xmm0") S(cvtsi2sd64, "cvtsi2sdq %%rax, %%xmm0")

#define EACH_X87(X)                                                            \
  X(fadd, "fadd %%st(1), %%st", 0) X(fsub, "fsub %%st(1), %%st", 0)            \
  X(fmul, "fmul %%st(1), %%st", 0) X(fdiv, "fdiv %%st(1), %%st", 0)            \
  X(fsqrt, "fsqrt", 0) X(frndint, "frndint", 0) X(fscale, "fscale", 0)         \
  X(fxtract, "fxtract", 0) X(fprem, "fprem", 0) X(fprem1, "fprem1", 0)         \
  X(fcom, "fcom %%st(1)", 0) X(fucom, "fucom %%st(1)", 0) X(ftst, "ftst", 0)   \
  X(fcomi, "fcomi %%st(1), %%st", 0) X(fucomi, "fucomi %%st(1), %%st", 0)      \
  X(fxam, "fxam", 0) X(fabs, "fabs", 0) X(fchs, "fchs", 0)                     \
  X(f2xm1, "f2xm1", 0) X(fyl2x, "fyl2x", 0) X(fyl2xp1, "fyl2xp1", 0)           \
  X(fptan, "fptan", 0) X(fpatan, "fpatan", 0) X(fsin, "fsin", 0)               \
  X(fcos, "fcos", 0) X(fsincos, "fsincos", 0)                                  \
  X(fld1, "fld1", 0) X(fldl2t, "fldl2t", 0) X(fldl2e, "fldl2e", 0)             \
  X(fldpi, "fldpi", 0) X(fldlg2, "fldlg2", 0) X(fldln2, "fldln2", 0)           \
  X(fldz, "fldz", 0)                                                           \
  X(fld32, "flds %[m]", 0) X(fld64, "fldl %[m]", 0) X(fld80, "fldt %[m]", 0)   \
  X(fild16, "filds %[m]", 0) X(fild32, "fildl %[m]", 0)                        \
  X(fild64, "fildll %[m]", 0) X(fbld, "fbld %[m]", 0)                          \
  X(fadd32, "fadds %[m]", 0) X(fadd64, "faddl %[m]", 0)                        \
  X(fmul32, "fmuls %[m]", 0) X(fmul64, "fmull %[m]", 0)                        \
  X(fdiv32, "fdivs %[m]", 0) X(fdivr64, "fdivrl %[m]", 0)                      \
  X(fcom32, "fcoms %[m]", 0) X(fcom64, "fcoml %[m]", 0)                        \
  X(fiadd16, "fiadds %[m]", 0) X(fidivr32, "fidivrl %[m]", 0)                  \
  X(fst32, "fsts %[m]", 1) X(fst64, "fstl %[m]", 1) X(fstp80, "fstpt %[m]", 1) \
  X(fist16, "fists %[m]", 1) X(fist32, "fistl %[m]", 1)                        \
  X(fistp64, "fistpll %[m]", 1) X(fbstp, "fbstp %[m]", 1)                      \
  X(fisttp16, "fisttps %[m]", 1) X(fisttp32, "fisttpl %[m]", 1)                \
  X(fisttp64, "fisttpll %[m]", 1)

EACH_SSE(SSE)
EACH_X87(X87)

#define ENTRY(name, ...) {#name, op_##name},
static const struct { const char *name; operation *run; } operations[] = {EACH_SSE(ENTRY) EACH_X87(ENTRY)};
enum { COUNT = sizeof operations / sizeof *operations, BATCH = 1024 };

int main(int argc, char **argv) {
  if (argc > 1 && !strcmp(argv[1], "--list")) {
    for (int i = 0; i < COUNT; i++) puts(operations[i].name);
    return 0;
  }
  struct sigaction action = {.sa_sigaction = on_fpe, .sa_flags = SA_SIGINFO};
  sigaction(SIGFPE, &action, NULL);
  static struct request in[BATCH];
  static struct reply out[BATCH];
  size_t n;
  while ((n = fread(in, sizeof *in, BATCH, stdin)) > 0) {
    memset(out, 0, sizeof out);
    for (size_t i = 0; i < n; i++) {
      if (in[i].op >= COUNT) { fprintf(stderr, "no operation %u\n", in[i].op); return 2; }
      operations[in[i].op].run(&in[i], &out[i]);
    }
    if (fwrite(out, sizeof *out, n, stdout) != n) return 1;
  }
  return 0;
}
