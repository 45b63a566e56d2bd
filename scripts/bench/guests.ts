import { noteSegment, pvKernel, pvNotes, VIRT_BASE, xenNote } from '../../test/support/elf-builder';

// Guests of a few instructions, for timing one thing each. They run for ever; the bench counts.

const hex = (text: string): Uint8Array => Uint8Array.from(text.match(/../g) ?? [], (b) => parseInt(b, 16));

/** A page-aligned entry, and room above it for data. */
const ENTRY = VIRT_BASE + 0x10_0000n;
const SPACE = 0x4_0000;
/** XEN_ELFNOTE_VIRT_BASE, elfnote.h */
const NOTE_VIRT_BASE = 3;

const guest = (code: string): Uint8Array => {
  const data = new Uint8Array(SPACE);
  data.set(hex(code));
  return pvKernel({
    entry: ENTRY,
    segments: [
      { vaddr: ENTRY, paddr: 0x10_0000n, flags: 7, memsz: BigInt(SPACE), data },
      noteSegment(pvNotes(xenNote(NOTE_VIRT_BASE, VIRT_BASE))),
    ],
  });
};

/*
 *     lea rbx, [rip + 0f]
 * 0:  and rbx, -4096
 *     add rbx, 0x10000
 *     mov rcx, 0x7fffffffffff
 *     xor esi, esi
 * 1:  mov rax, [rbx + rsi]
 *     add rax, rcx
 *     mov [rbx + rsi + 8], rax
 *     test al, 3
 *     jz  2f
 *     xor rdx, rax
 *     shr rdx, 1
 * 2:  add esi, 24
 *     and esi, 0x7ff8
 *     call 3f
 *     dec rcx
 *     jnz 1b
 * 3:  ret
 */
export const memoryAndBranches = (): Uint8Array =>
  guest(
    '488d1d000000004881e300f0ffff4881c30000010048b9ffffffffff7f000031f6' +
      '488b04334801c84889443308a80374064831c248d1ea83c61881e6f87f0000e80500000048ffc975d7c3',
  );

/*
 * 1:  mov eax, 17         # xen_version
 *     xor edi, edi        # XENVER_version
 *     xor esi, esi
 *     syscall
 *     jmp 1b
 */
export const nullHypercall = (): Uint8Array => guest('b81100000031ff31f60f05ebf3');
/** Instructions of one round of nullHypercall. */
export const NULL_ROUND = 5n;
