/* hypercall.h: the hypercalls this guest makes.
 *
 * These are ordinary C functions, but nobody wrote their bodies: they lie in
 * the hypercall page (boot.S), which the hypervisor fills when it builds the
 * domain. That works because the hypercall convention was chosen to look like
 * the C one: arguments in %rdi, %rsi, %rdx, %r10, %r8, %r9, result in %rax,
 * nothing else changed. Only the fourth argument is different (C passes it in
 * %rcx, which SYSCALL overwrites), so calls with four go through a two-line
 * shim in boot.S.
 *
 * A negative result is a negated errno.
 */
#ifndef HYPERCALL_H
#define HYPERCALL_H
#include "xen.h"

long HYPERVISOR_set_trap_table(const struct trap_info *traps);
long HYPERVISOR_mmu_update(const struct mmu_update *reqs, u32 count, u32 *done, u32 domid);
long HYPERVISOR_multicall(struct multicall_entry *calls, u32 count);
long HYPERVISOR_update_va_mapping(u64 va, u64 pte, u64 flags);
long HYPERVISOR_xen_version(u32 cmd, void *arg);
long HYPERVISOR_console_io(u32 cmd, u32 count, const char *buffer);
long HYPERVISOR_grant_table_op(u32 cmd, void *args, u32 count);
long HYPERVISOR_vm_assist(u32 cmd, u32 type);
long HYPERVISOR_vcpu_op(u32 cmd, u32 vcpu, void *arg);
long HYPERVISOR_mmuext_op(const struct mmuext_op *ops, u32 count, u32 *done, u32 domid);
long HYPERVISOR_sched_op(u32 cmd, void *arg);
long HYPERVISOR_callback_op(u32 cmd, const void *arg);
long HYPERVISOR_event_channel_op(u32 cmd, void *arg);

/* Their numbers, for multicall (xen.h __HYPERVISOR_*). */
#define NR_update_va_mapping 14
#define NR_xen_version       17
#define NR_mmuext_op         26

#endif
