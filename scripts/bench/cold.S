// ROUTINES pieces of code that run once, one after the other, and then nothing: what compilers make most of, with
// other numbers in each. Some branch over an instruction, so that how many are executed is known only from below.
        .text
        .intel_syntax noprefix
        .set    n, 12345

        lea     rbx, [rip + data]
        .rept   ROUTINES
        // The generator of ISO C's example of rand(); its upper bits are the better ones.
        .set    n, (n * 1103515245 + 12345) & 0x7fffffff
        mov     rax, [rbx + ((n >> 8) & 0x7f8)]
        lea     rdx, [rax + rcx * 4 + n]
        add     edx, n
        mov     [rbx + ((n >> 9) & 0x7f8)], rdx
        cmp     eax, n
        jne     1f
        inc     rcx
1:      movzx   esi, byte ptr [rbx + ((n >> 10) & 0x7ff)]
        push    rsi
        xor     esi, edx
        shl     esi, (n >> 16) & 15
        pop     rdi
        test    edi, n
        jz      2f
        imul    edi, esi, n
2:      call    3f
        jmp     4f
3:      mov     r8d, edi
        sub     r8, rax
        ret
4:
        .endr
5:      jmp     5b

        .p2align 12
data:   .fill   1024, 4, 0
