/**
 * The hypercall page: 32 bytes a call, entered by `call hypercall_page + nr * 32`. The code is Xen's own calling
 * sequence: SYSCALL destroys rcx and r11, so they go to the stack; iret does not come back, and leaves on the
 * stack what its frame begins with (rax, r11, rcx).
 */
const IRET = 23;
const SLOT = 32;

const PUSH_RCX_R11 = [0x51, 0x41, 0x53];
const PUSH_RAX = [0x50];
const SYSCALL = [0x0f, 0x05];
const POP_R11_RCX = [0x41, 0x5b, 0x59];
const RET = [0xc3];
const movEax = (nr: number): number[] => [0xb8, nr & 0xff, nr >> 8, 0, 0];

/** By which code of a guest's own is known to call in the same way: what is around its SYSCALL. */
export const CALLING_SEQUENCE = {
  bare: [...PUSH_RCX_R11, ...SYSCALL],
  after: POP_R11_RCX,
} as const;

export function hypercallPage(): Uint8Array {
  const page = new Uint8Array(4096).fill(0xcc);
  for (let nr = 0; nr < page.length / SLOT; nr++) {
    const code =
      nr === IRET
        ? [...PUSH_RCX_R11, ...PUSH_RAX, ...movEax(nr), ...SYSCALL]
        : [...PUSH_RCX_R11, ...movEax(nr), ...SYSCALL, ...POP_R11_RCX, ...RET];
    page.set(code, nr * SLOT);
  }
  return page;
}
