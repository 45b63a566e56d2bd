/* boot.S: what C cannot say: the notes that introduce the guest to the
 * hypervisor, the entry point, the hypercall page, and the way in and out of
 * traps and event upcalls. */
#include "xen.h"

.cfi_sections .debug_frame /* unwinding is for the debugger only: nothing to load */

/* ---- The notes (Xen's elfnote.h). The domain builder reads them from the image. ---- */
#define NOTE(type, desc)                                          \
    .pushsection .note.Xen, "a", @note; .balign 4;                \
    .long 4, 2f - 1f, type; .asciz "Xen"; 1: desc; 2: .balign 4;  \
    .popsection

#ifndef GUEST_NAME
#define GUEST_NAME "first-hypercall"
#endif
NOTE(XEN_ELFNOTE_GUEST_OS,           .asciz GUEST_NAME)
NOTE(XEN_ELFNOTE_GUEST_VERSION,      .asciz "1")
NOTE(XEN_ELFNOTE_LOADER,             .asciz "generic")
NOTE(XEN_ELFNOTE_XEN_VERSION,        .asciz "xen-3.0")  /* the ABI's name; it never changed */
NOTE(XEN_ELFNOTE_PAE_MODE,           .asciz "yes")
NOTE(XEN_ELFNOTE_VIRT_BASE,          .quad VIRT_BASE)   /* where pseudo-physical 0 appears */
NOTE(XEN_ELFNOTE_PADDR_OFFSET,       .quad 0)           /* p_paddr counts from 0 */
NOTE(XEN_ELFNOTE_ENTRY,              .quad _start)
NOTE(XEN_ELFNOTE_HYPERCALL_PAGE,     .quad hypercall_page)
NOTE(XEN_ELFNOTE_HV_START_LOW,       .quad HV_VIRT_START)
NOTE(XEN_ELFNOTE_FEATURES,           .asciz "dom0")     /* we can also run as dom0 */
NOTE(XEN_ELFNOTE_SUPPORTED_FEATURES, .long 1 << XENFEAT_dom0)

.macro function name
    .globl \name
    .type \name, @function
\name:
    .cfi_startproc
.endm
.macro end name
    .cfi_endproc
    .size \name, . - \name
.endm

.text

/* The hypervisor starts us here, in 64-bit mode, paging on, deprivileged to
 * ring 3, events masked, %rsi = struct start_info. It also gave us a stack, but
 * our own is easier to find. A zero %rbp ends the chain of frames. */
function _start
    .cfi_undefined rip
    cld
    lea stack_top(%rip), %rsp
    xor %ebp, %ebp
    mov %rsi, %rdi
    call guest_main
    ud2
end _start

/* ---- The hypercall page ----
 * 128 slots of 32 bytes, in the order of the hypercall numbers. We only reserve
 * and name them. What Xen writes into a slot, when it builds the domain, is
 *     push %rcx; push %r11; mov $number, %eax; syscall; pop %r11; pop %rcx; ret
 * (SYSCALL overwrites %rcx and %r11), and the unwind notes below describe that. */
.macro hypercall number, name
    .org hypercall_page + \number * 32
function \name
    .skip 1             /* push %rcx */
    .cfi_adjust_cfa_offset 8
    .skip 2             /* push %r11 */
    .cfi_adjust_cfa_offset 8
    .skip 9             /* mov $number, %eax; syscall; pop %r11 */
    .cfi_adjust_cfa_offset -8
    .skip 1             /* pop %rcx */
    .cfi_adjust_cfa_offset -8
    .skip 19            /* ret */
end \name
.endm

    .section .hypercall_page, "ax"
    .globl hypercall_page
hypercall_page:
    hypercall 0,  HYPERVISOR_set_trap_table
    hypercall 1,  hypercall_mmu_update
    hypercall 13, HYPERVISOR_multicall
    hypercall 14, HYPERVISOR_update_va_mapping
    hypercall 17, HYPERVISOR_xen_version
    hypercall 18, HYPERVISOR_console_io
    hypercall 20, HYPERVISOR_grant_table_op
    hypercall 21, HYPERVISOR_vm_assist
    hypercall 23, hypercall_iret
    hypercall 24, HYPERVISOR_vcpu_op
    hypercall 26, hypercall_mmuext_op
    hypercall 29, HYPERVISOR_sched_op
    hypercall 30, HYPERVISOR_callback_op
    hypercall 32, HYPERVISOR_event_channel_op
    .org hypercall_page + 4096

.text
/* Four arguments: C has the fourth in %rcx, the hypervisor wants it in %r10. */
function HYPERVISOR_mmu_update
    mov %rcx, %r10
    jmp hypercall_mmu_update
end HYPERVISOR_mmu_update
function HYPERVISOR_mmuext_op
    mov %rcx, %r10
    jmp hypercall_mmuext_op
end HYPERVISOR_mmuext_op

/* ---- Traps and upcalls ----
 * The hypervisor "bounces" them to us: it builds the frame that hardware would
 * have built (ss, rsp, rflags, cs, rip and, for some vectors, an error code) and
 * pushes %r11 and %rcx on top of it. We store all registers (struct trap_frame in
 * traps.c), call a C function, and return by the iret hypercall: a bare IRETQ could
 * not unmask events and return in one step, the hypervisor can. */
.macro save register
    push \register
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset \register, 0
.endm
.macro enter_c name, handler
\name:
    .cfi_startproc
    .cfi_signal_frame               /* the frame below was interrupted, it made no call */
    .cfi_def_cfa rsp, 16            /* CFA: the address of the saved rip */
    .cfi_offset rip, 0
    .cfi_offset rsp, 24
    save %rdi
    save %rsi
    save %rdx
    save %rcx
    save %rax
    save %r8
    save %r9
    save %r10
    save %r11
    save %rbx
    save %rbp
    save %r12
    save %r13
    save %r14
    save %r15
    mov %rsp, %rdi
    call \handler
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rax
    pop %rcx
    pop %rdx
    pop %rsi
    pop %rdi
    add $16, %rsp                   /* vector and error code */
    push $0                         /* iret's flags: not a return from a system call */
    jmp hypercall_iret              /* rip, cs, rflags, rsp, ss are already in place */
    .cfi_endproc
.endm
    enter_c trap_common, trap_handler
    enter_c event_common, event_upcall

    .globl event_entry
event_entry:
    pop %rcx
    pop %r11
    push $0
    push $0
    jmp event_common

/* One entry per exception, and a table of them for register_traps(). */
.macro trap vector, pushes_error_code
trap_entry_\vector:
    pop %rcx
    pop %r11
    .if \pushes_error_code == 0
    push $0
    .endif
    push $\vector
    jmp trap_common
    .pushsection .rodata
    .quad trap_entry_\vector
    .popsection
.endm
    .pushsection .rodata
    .balign 8
    .globl trap_entries
trap_entries:
    .popsection
    .irp vector, 0, 1, 2, 3, 4, 5, 6, 7
    trap \vector, 0
    .endr
    trap 8, 1
    trap 9, 0
    .irp vector, 10, 11, 12, 13, 14
    trap \vector, 1
    .endr
    trap 15, 0
    trap 16, 0
    trap 17, 1
    trap 18, 0
    trap 19, 0

/* Called when Xen cannot reload our segment registers on the way back to us. We
 * load none, so this is the end: there is nothing to return to. */
    .globl failsafe_entry
failsafe_entry:
    call failsafe_handler
    ud2

/* int probe_write(void *va, u64 value): stores value; 1 if the store faulted.
 * The trap handlers know the address of the store and resume at probe_fault. */
    .globl probe_fault
function probe_write
    mov %rsi, (%rdi)
    xor %eax, %eax
    ret
probe_fault:
    mov $1, %eax
    ret
end probe_write

.bss
    .balign 4096
    .skip 16384
stack_top:

.section .note.GNU-stack, "", @progbits
