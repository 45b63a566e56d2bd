import { CODE, DATA, forEachBackend, STACK_TOP } from '../support/cpu';

const SP = STACK_TOP - 0x100n;
const at = (n: bigint): string => `0x${n.toString(16)}`;
const NON_CANONICAL = 0x8000_0000_0000n;
/** DATA + 0x2000 is not mapped. */
const GAP = DATA + 0x2000n;

describe('stack', () => {
  forEachBackend((cpu) => {
    it('push and pop of rsp itself', () => {
      cpu('push rsp', '54')
        .given({})
        .expect({ rsp: SP - 8n, mem: { [at(SP - 8n)]: '00 ff 02 00 00 00 00 00' } });
      cpu('pop rsp', '5c')
        .given({ mem: { [at(SP)]: '34 12 00 00 00 00 00 00' } })
        .expect({ rsp: 0x1234 });
    });
    it('pop to memory forms an rsp-based address after the increment, and leaves rsp alone on a fault', () => {
      cpu('pop qword ptr [rsp+8]', '8f 44 24 08')
        .given({ mem: { [at(SP)]: '11 22 33 44 55 66 77 88' } })
        .expect({ rsp: SP + 8n, mem: { [at(SP + 16n)]: '11 22 33 44 55 66 77 88' } });
      cpu('pop qword ptr [rbx]', '8f 03').given({ rbx: GAP }).faults({ vector: 14, code: 6, address: GAP });
    });
    it('16-bit push, sign-extended immediate', () => {
      cpu('data16 push 0FFFEh', '66 6a fe').expect({ rsp: SP - 2n, mem: { [at(SP - 2n)]: 'fe ff' } });
      cpu('push 0FFFFFFFFFFFFFFFEh', '6a fe').expect({
        rsp: SP - 8n,
        mem: { [at(SP - 8n)]: 'fe ff ff ff ff ff ff ff' },
      });
    });
    it('a push below the stack page changes nothing', () => {
      cpu('push rax', '50')
        .given({ rsp: STACK_TOP - 0x1000n })
        .faults({ vector: 14, code: 6, address: STACK_TOP - 0x1008n });
    });
    it('a non-canonical stack is #SS, a non-canonical address #GP', () => {
      cpu('push rax', '50')
        .given({ rsp: NON_CANONICAL + 8n })
        .faults({ vector: 12, code: 0 });
      cpu('mov rax,[rbp]', '48 8b 45 00').given({ rbp: NON_CANONICAL }).faults({ vector: 12, code: 0 });
      cpu('mov rax,[rbx]', '48 8b 03').given({ rbx: NON_CANONICAL }).faults({ vector: 13, code: 0 });
      cpu('mov rax,fs:[rbp]', '64 48 8b 45 00').given({ rbp: NON_CANONICAL }).faults({ vector: 13, code: 0 });
    });
    it('enter with nesting copies the display, leave undoes it', () => {
      cpu('enter 10h,2', 'c8 10 00 02')
        .given({ rbp: DATA + 0x10n, mem: { [at(DATA + 8n)]: '77 00 00 00 00 00 00 00' } })
        .expect({
          rbp: SP - 8n,
          rsp: SP - 8n - 8n - 8n - 0x10n,
          mem: { [at(SP - 24n)]: 'f8 fe 02 00 00 00 00 00 77 00 00 00 00 00 00 00 10 00 02 00 00 00 00 00' },
        });
      cpu('leave', 'c9')
        .given({ rbp: DATA, mem: { [at(DATA)]: '99 00 00 00 00 00 00 00' } })
        .expect({ rbp: 0x99, rsp: DATA + 8n });
    });
    it('pushfq shows and popfq changes what CPL 3 may', () => {
      cpu('pushfq', '9c')
        .given({ cf: 1, of: 1, df: 1, rf: 1 })
        .expect({ rsp: SP - 8n, mem: { [at(SP - 8n)]: '03 0e 00 00 00 00 00 00' } });
      cpu('popfq', '9d')
        .given({ mem: { [at(SP)]: 'd5 7c 24 00 00 00 00 00' } })
        .expect({
          rsp: SP + 8n,
          cf: 1,
          pf: 1,
          af: 1,
          zf: 1,
          sf: 1,
          of: 1,
          df: 1,
          nt: 1,
          ac: 1,
          id: 1,
          if: 1,
        });
    });
  });
});

describe('branches', () => {
  forEachBackend((cpu) => {
    it('conditions', () => {
      cpu('jg 0000000000010010h', '0f 8f 0a 00 00 00')
        .given({ zf: 0, sf: 1, of: 1 })
        .expect({ rip: CODE + 0x10n });
      cpu('jbe short 0000000000010012h', '76 10').given({ cf: 0, zf: 0 }).expect({});
      cpu('jp short 0000000000010012h', '7a 10')
        .given({ pf: 1 })
        .expect({ rip: CODE + 0x12n });
      cpu('setle bh', '0f 9e c7').given({ rbx: 0, sf: 1, of: 0 }).expect({ rbx: 0x100 });
      cpu('cmovs eax,ebx', '0f 48 c3').given({ rax: 0x1_0000_0001n, rbx: 5, sf: 0 }).expect({ rax: 1 });
      cpu('cmove rax,[rbx]', '48 0f 44 03')
        .given({ rbx: GAP, zf: 0 })
        .faults({ vector: 14, code: 4, address: GAP });
    });
    it('call pushes the next address, ret n drops arguments', () => {
      cpu('call rbx', 'ff d3')
        .given({ rbx: DATA })
        .expect({ rip: DATA, rsp: SP - 8n, mem: { [at(SP - 8n)]: '02 00 01 00 00 00 00 00' } });
      cpu('ret 10h', 'c2 10 00')
        .given({ mem: { [at(SP)]: '00 00 02 00 00 00 00 00' } })
        .expect({ rip: DATA, rsp: SP + 0x18n });
    });
    it('a non-canonical target faults at the branch', () => {
      cpu('jmp rbx', 'ff e3').given({ rbx: NON_CANONICAL }).faults({ vector: 13, code: 0 });
      cpu('call rbx', 'ff d3').given({ rbx: NON_CANONICAL }).faults({ vector: 13, code: 0 });
      cpu('ret', 'c3')
        .given({ mem: { [at(SP)]: '00 00 00 00 00 80 00 00' } })
        .faults({ vector: 13, code: 0 });
    });
    it('loop and jrcxz count by the address size', () => {
      cpu('addr32 loop 0000000000010003h', '67 e2 00').given({ rcx: 0x1_0000_0001n }).expect({ rcx: 0 });
      cpu('loop 0000000000010012h', 'e2 10')
        .given({ rcx: 0 })
        .expect({ rcx: (1n << 64n) - 1n, rip: CODE + 0x12n });
      cpu('loopne 0000000000010012h', 'e0 10').given({ rcx: 2, zf: 1 }).expect({ rcx: 1 });
      cpu('jecxz 0000000000010013h', '67 e3 10')
        .given({ rcx: 1n << 32n })
        .expect({ rip: CODE + 0x13n });
      cpu('jrcxz 0000000000010012h', 'e3 10')
        .given({ rcx: 1n << 32n })
        .expect({});
    });
  });
});

describe('moves', () => {
  forEachBackend((cpu) => {
    it('write as much of a register as their width says', () => {
      cpu('mov eax,ebx', '89 d8')
        .given({ rax: (1n << 64n) - 1n, rbx: 5 })
        .expect({ rax: 5 });
      cpu('mov ax,bx', '66 89 d8')
        .given({ rax: (1n << 64n) - 1n, rbx: 5 })
        .expect({ rax: 0xffff_ffff_ffff_0005n });
      cpu('mov ah,bl', '88 dc').given({ rax: 0, rbx: 5 }).expect({ rax: 0x500 });
      cpu('mov spl,bl', '40 88 dc')
        .given({ rbx: 5 })
        .expect({ rsp: (SP & ~0xffn) | 5n });
      cpu('xchg r8d,eax', '41 90')
        .given({ rax: (1n << 64n) - 1n, r8: 7 })
        .expect({ rax: 7, r8: 0xffff_ffff });
      cpu('nop', '90')
        .given({ rax: (1n << 64n) - 1n })
        .expect({});
      cpu('movsx eax,bh', '0f be c7').given({ rbx: 0x8000 }).expect({ rax: 0xffff_ff80 });
      cpu('movzx ax,bl', '66 0f b6 c3').given({ rax: 0xf_ffff, rbx: 0x80 }).expect({ rax: 0xf_0080 });
      cpu('movsxd rax,ebx', '48 63 c3').given({ rbx: 0x8000_0000 }).expect({ rax: 0xffff_ffff_8000_0000n });
      cpu('bswap rax', '48 0f c8')
        .given({ rax: 0x0102_0304_0506_0708n })
        .expect({ rax: 0x0807_0605_0403_0201n });
      cpu('bswap eax', '0f c8').given({ rax: 0x0102_0304_0506_0708n }).expect({ rax: 0x0807_0605 });
    });
  });
});

describe('addresses', () => {
  forEachBackend((cpu) => {
    it('add segment base, cut to 32 bits before it under 67', () => {
      cpu('mov al,fs:[rbx+rcx*4+7]', '64 8a 44 8b 07')
        .given({ rax: 0, fs_base: DATA, rbx: (1n << 64n) - 7n, rcx: 2, mem: { [at(DATA + 8n)]: '5a' } })
        .expect({ rax: 0x5a });
      cpu('mov al,gs:[ebx+1]', '65 67 8a 43 01')
        .given({ rax: 0, gs_base: DATA, rbx: 0xf_ffff_ffffn, mem: { [at(DATA)]: '5a' } })
        .expect({ rax: 0x5a });
      cpu('lea rax,[ebx]', '67 48 8d 03').given({ rbx: 0xf_0000_0001n }).expect({ rax: 1 });
      cpu('lea ax,[rbx+1]', '66 8d 43 01')
        .given({ rax: 0xf_0000n, rbx: 0x1_ffff })
        .expect({ rax: 0xf_0000n });
    });
    it('are relative to the next instruction', () => {
      cpu('lea rax,[10107h]', '48 8d 05 00 01 00 00').expect({ rax: CODE + 0x107n });
      cpu('mov byte ptr [20003h],5', 'c6 05 fc ff 00 00 05').expect({
        mem: { [at(DATA + 3n)]: '05' },
      });
    });
    it('moffs and xlat', () => {
      cpu('mov al,[20004h]', 'a0 04 00 02 00 00 00 00 00')
        .given({ rax: 0, mem: { [at(DATA + 4n)]: '77' } })
        .expect({ rax: 0x77 });
      cpu('addr32 mov fs:[4],eax', '64 67 a3 04 00 00 00')
        .given({ rax: 0x1234_5678, fs_base: DATA })
        .expect({ mem: { [at(DATA + 4n)]: '78 56 34 12' } });
      cpu('xlat [rbx]', 'd7')
        .given({ rax: 0x1_0080, rbx: DATA, mem: { [at(DATA + 0x80n)]: 'ee' } })
        .expect({ rax: 0x1_00ee });
    });
  });
});
