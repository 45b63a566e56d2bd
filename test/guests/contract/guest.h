/* guest.h: what the files of the contract guest share. It uses Xen's own public headers (libxen-dev). */
#ifndef CONTRACT_H
#define CONTRACT_H
#include <stdint.h>
#define __XEN_INTERFACE_VERSION__ 0x00040d00
#include <xen/xen.h>
#include <xen/callback.h>
#include <xen/event_channel.h>
#include <xen/grant_table.h>
#include <xen/io/console.h>
#include <xen/memory.h>
#include <xen/nmi.h>
#include <xen/physdev.h>
#include <xen/sched.h>
#include <xen/vcpu.h>
#include <xen/version.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define PAGE_SIZE 4096
#define PAGE_ALIGNED __attribute__((aligned(PAGE_SIZE)))
#define VIRT_BASE 0xffffffff80000000ul
#define RO 0x21ul /* present, accessed */
#define RW 0x63ul /* present, writable, accessed, dirty */

extern struct start_info *start_info;
extern struct shared_info *shared_info;

/* A bare SYSCALL, whatever the number. */
long hypercall(u64 number, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f);
#define CALL1(nr, a)          hypercall(nr, (u64)(a), 0, 0, 0, 0, 0)
#define CALL2(nr, a, ...)     hypercall(nr, (u64)(a), (u64)(__VA_ARGS__), 0, 0, 0, 0)
#define CALL3(nr, a, b, c)    hypercall(nr, (u64)(a), (u64)(b), (u64)(c), 0, 0, 0)
#define CALL4(nr, a, b, c, d) hypercall(nr, (u64)(a), (u64)(b), (u64)(c), (u64)(d), 0, 0)
#define EVENT(op, ...)   CALL2(__HYPERVISOR_event_channel_op, EVTCHNOP_##op, __VA_ARGS__)
#define SCHED(op, arg)   CALL2(__HYPERVISOR_sched_op, SCHEDOP_##op, arg)
#define MEMORY(op, arg)  CALL2(__HYPERVISOR_memory_op, XENMEM_##op, arg)
#define VCPU(op, id, arg) CALL3(__HYPERVISOR_vcpu_op, VCPUOP_##op, id, arg)
#define GRANT(op, arg)   CALL3(__HYPERVISOR_grant_table_op, GNTTABOP_##op, arg, 1)
#define MAP(va, pte)     CALL3(__HYPERVISOR_update_va_mapping, va, pte, UVMF_INVLPG)

/* console.c: %s %d %u %x %lx %ld; a number in %m is printed as # unless it is small or small and negative */
void print(const char *format, ...);
void open_console(void);
__attribute__((noreturn)) void shut_down(u32 reason);

/* What the last trap was; set by trap_handler, which goes on at resume_at. */
struct trap { long vector; u64 error, address, cs, flags; };
extern volatile struct trap last_trap;
extern volatile u64 resume_at;
extern volatile u32 nmis, upcalls;

u64 mfn_of(const volatile void *va);
/* Machine address of the L1 entry that maps an address of the image. */
u64 entry_of(const volatile void *va);
void install_traps(void);

/* The parts; each prints its lines. */
void sweep(void);
void grants(void);
void events(void);
void memory(void);
void tables(void);
void scheduling(void);
void instructions(void);
void miscellany(void);
#endif
