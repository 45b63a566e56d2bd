// Guests that cross the boundary in one way for ever: `gcc -c -D<NAME>`, the text as it is put at an entry point.
// On entry: rsi = start_info, rsp = the top of a stack (arch-x86/xen.h). Position-independent; what is written lies
// behind `data`, in the same writable segment.
        .text
        .intel_syntax noprefix

#define VIRT_BASE 0xffffffff80000000
#define __HYPERVISOR_set_trap_table 0
#define __HYPERVISOR_mmu_update 1
#define __HYPERVISOR_set_callbacks 4
#define __HYPERVISOR_update_va_mapping 14
#define __HYPERVISOR_xen_version 17
#define __HYPERVISOR_iret 23
#define __HYPERVISOR_event_channel_op 32
#define __HYPERVISOR_physdev_op 33
#define EVTCHNOP_send 4
#define EVTCHNOP_bind_ipi 7
#define PHYSDEVOP_set_iopl 6
#define START_INFO_SHARED_INFO 0x28
#define START_INFO_PT_BASE 0x58
/* shared_info */
#define UPCALL_MASK 1
#define PENDING_SEL 8
#define PENDING 2048
#define MASK 2560
#define DOMID_SELF 0x7ff0
/* machine_to_phys_mapping, xen-x86_64.h HYPERVISOR_VIRT_START */
#define M2P 0xffff800000000000

// Of an exception frame whose rcx and r11 were popped: the rest of iret_context (arch-x86/xen-x86_64.h), and the call.
        .macro  IRET
        push    0
        push    rcx
        push    r11
        push    rax
        mov     eax, __HYPERVISOR_iret
        syscall
        .endm

        mov     r15, rsi
        lea     rbx, [rip + data]

#if defined(PORTS) || defined(CLI)
        mov     eax, __HYPERVISOR_physdev_op
        mov     edi, PHYSDEVOP_set_iopl
        mov     dword ptr [rbx], 1
        mov     rsi, rbx
        syscall
#endif

#ifdef FAULT
        lea     rax, [rip + page_fault]
        lea     rdi, [rip + traps]
        mov     [rdi + 8], rax
        mov     eax, __HYPERVISOR_set_trap_table
        syscall
        mov     edx, 0x1000
#endif

#ifdef EVENT
        // shared_info in the page after `data`: r14. An IPI to itself, whose port lies at rbx + 4.
        lea     r14, [rbx + 0x1000]
        mov     eax, __HYPERVISOR_update_va_mapping
        mov     rdi, r14
        mov     rsi, [r15 + START_INFO_SHARED_INFO]
        or      rsi, 0x63
        mov     edx, 2
        syscall
        mov     eax, __HYPERVISOR_set_callbacks
        lea     rdi, [rip + upcall]
        xor     esi, esi
        xor     edx, edx
        syscall
        mov     eax, __HYPERVISOR_event_channel_op
        mov     edi, EVTCHNOP_bind_ipi
        mov     dword ptr [rbx], 0
        mov     rsi, rbx
        syscall
        mov     qword ptr [r14 + MASK], 0
        mov     byte ptr [r14 + UPCALL_MASK], 0
#endif

#if defined(MMU_UPDATE) || defined(UPDATE_VA)
        // The L1 entry of the page at `data`, through the M2P: r12 is its machine address, r13 its value.
        mov     r10, [r15 + START_INFO_PT_BASE]
        mov     cl, 39
        mov     r9, 4
1:      mov     rax, rbx
        shr     rax, cl
        and     eax, 511
        mov     r13, [r10 + rax * 8]
        lea     r12, [rax * 8]
        dec     r9
        jz      2f
        movabs  rax, 0x000ffffffffff000
        and     rax, r13
        mov     r14, rax
        shr     rax, 12
        movabs  r11, M2P
        mov     r10, [r11 + rax * 8]
        shl     r10, 12
        mov     r11, VIRT_BASE
        add     r10, r11
        sub     cl, 9
        jmp     1b
2:      add     r12, r14
#endif

#ifdef MMU_UPDATE
        xor     ecx, ecx
3:      mov     rax, rcx
        shl     rax, 4
        mov     [rbx + rax], r12
        mov     [rbx + rax + 8], r13
        inc     ecx
        cmp     ecx, MMU_UPDATE
        jne     3b
#endif

        .p2align 4
again:
#ifdef NULL
        mov     eax, __HYPERVISOR_xen_version
        xor     edi, edi
        xor     esi, esi
        syscall
#endif
#ifdef PORTS
        in      al, 0x61
#endif
#ifdef CLI
        cli
#endif
#ifdef CPUID
        ud2
        .ascii  "xen"
        cpuid
#endif
#ifdef RDMSR
        mov     ecx, 0xc0000080
        rdmsr
#endif
#ifdef FAULT
        mov     al, [rdx]
#endif
#ifdef EVENT
        mov     eax, __HYPERVISOR_event_channel_op
        mov     edi, EVTCHNOP_send
        lea     rsi, [rbx + 4]
        syscall
#endif
#ifdef MMU_UPDATE
        mov     eax, __HYPERVISOR_mmu_update
        mov     rdi, rbx
        mov     esi, MMU_UPDATE
        xor     edx, edx
        mov     r10d, DOMID_SELF
        syscall
#endif
#ifdef UPDATE_VA
        mov     eax, __HYPERVISOR_update_va_mapping
        mov     rdi, rbx
        mov     rsi, r13
        xor     edx, edx
        syscall
#endif
        jmp     again

#ifdef EVENT
upcall: pop     rcx
        pop     r11
        mov     byte ptr [r14], 0
        mov     qword ptr [r14 + PENDING_SEL], 0
        mov     qword ptr [r14 + PENDING], 0
        IRET
#endif

#ifdef FAULT
page_fault:
        pop     rcx
        pop     r11
        add     rsp, 8
        // `mov al, [rdx]` has two bytes.
        add     qword ptr [rsp], 2
        IRET

        .p2align 3
traps:  .byte   14, 0
        .2byte  0xe033
        .4byte  0
        .8byte  0
        .8byte  0, 0
#endif
        .p2align 12
data:   .fill   1024, 4, 0
