import { EXIT } from '../../src/cpu/exits';
import { CODE, DATA, forEachBackend, STACK_TOP } from '../support/cpu';

const SP = STACK_TOP - 0x100n;
const at = (n: bigint): string => `0x${n.toString(16)}`;
const GDT = DATA + 0x1000n;
const le64 = (...v: bigint[]): string =>
  v
    .flatMap((n) =>
      Array.from({ length: 8 }, (_, i) => ((n >> BigInt(8 * i)) & 0xffn).toString(16).padStart(2, '0')),
    )
    .join(' ');

/** Selectors of the table below, at RPL 3. */
const CODE64 = 0x0b;
const DATA3 = 0x13;
const NOT_PRESENT = 0x1b;
const KERNEL = 0x20;
const FS_BASED = 0x2b;
const CODE32 = 0x33;
const TABLE = {
  gdt_base: GDT,
  gdt_limit: 0x37,
  mem: {
    [at(GDT)]: le64(
      0n,
      0x00af_fb00_0000_ffffn,
      0x00cf_f300_0000_ffffn,
      0x00cf_7300_0000_ffffn,
      0x00cf_9300_0000_ffffn,
      0x12cf_f334_5678_ffffn,
      0x00cf_fb00_0000_ffffn,
    ),
  },
};

describe('segments', () => {
  forEachBackend((cpu) => {
    it('loads take base from the descriptor, null clears it', () => {
      cpu('mov fs,ax', '8e e0')
        .given({ ...TABLE, rax: FS_BASED })
        .expect({ fs: FS_BASED, fs_base: 0x1234_5678 });
      cpu('mov gs,ax', '8e e8').given({ rax: 3, gs_base: 5, gs: 1 }).expect({ gs: 3, gs_base: 0 });
      cpu('pop fs', '0f a1')
        .given({ ...TABLE, mem: { ...TABLE.mem, [at(SP)]: '2b 00 00 00 00 00 00 00' } })
        .expect({ fs: FS_BASED, fs_base: 0x1234_5678, rsp: SP + 8n });
    });
    it('loads are refused with the selector', () => {
      cpu('mov ds,ax', '8e d8')
        .given({ ...TABLE, rax: NOT_PRESENT })
        .faults({ vector: 11, code: 0x18 });
      cpu('mov ds,ax', '8e d8')
        .given({ ...TABLE, rax: KERNEL })
        .faults({ vector: 13, code: 0x20 });
      cpu('mov ds,ax', '8e d8')
        .given({ ...TABLE, rax: 0x3b })
        .faults({ vector: 13, code: 0x38 });
      cpu('mov ds,ax', '8e d8')
        .given({ ...TABLE, rax: 0x0f })
        .faults({ vector: 13, code: 0x0c });
      cpu('mov ss,ax', '8e d0')
        .given({ ...TABLE, rax: CODE64 })
        .faults({ vector: 13, code: 8 });
      cpu('mov ss,ax', '8e d0')
        .given({ ...TABLE, rax: 3 })
        .faults({ vector: 13, code: 0 });
    });
    it('reading one gives 16 bits, zero-extended to a register', () => {
      cpu('mov eax,gs', '8c e8').given({ gs: 0x2b }).expect({ rax: 0x2b });
      cpu('mov [rbx],ss', '8c 13')
        .given({ rbx: DATA, mem: { [at(DATA)]: 'ff ff ff' } })
        .expect({ mem: { [at(DATA)]: '2b 00 ff' } });
    });
    it('lar, lsl, verr, verw', () => {
      cpu('lar eax,ebx', '0f 02 c3')
        .given({ ...TABLE, rbx: CODE64 })
        .expect({ rax: 0x00af_fb00, zf: 1 });
      cpu('lsl eax,ebx', '0f 03 c3')
        .given({ ...TABLE, rbx: DATA3 })
        .expect({ rax: 0xffff_ffff, zf: 1 });
      cpu('lsl eax,ebx', '0f 03 c3')
        .given({ ...TABLE, rbx: KERNEL, zf: 1 })
        .expect({ zf: 0 });
      cpu('verw bx', '0f 00 eb')
        .given({ ...TABLE, rbx: CODE64, zf: 1 })
        .expect({ zf: 0 });
      cpu('verr bx', '0f 00 e3')
        .given({ ...TABLE, rbx: CODE64 })
        .expect({ zf: 1 });
    });
    it('iretq to the same privilege', () => {
      cpu('iretq', '48 cf')
        .given({
          ...TABLE,
          mem: { ...TABLE.mem, [at(SP)]: le64(DATA, BigInt(CODE64), 0xcd5n, DATA + 8n, BigInt(DATA3)) },
        })
        .expect({
          rip: DATA,
          rsp: DATA + 8n,
          cs: CODE64,
          ss: DATA3,
          cf: 1,
          pf: 1,
          af: 1,
          zf: 1,
          sf: 1,
          of: 1,
          df: 1,
          if: 1,
        });
      cpu('iretq', '48 cf')
        .given({ ...TABLE, mem: { ...TABLE.mem, [at(SP)]: le64(DATA, 8n, 2n, DATA, BigInt(DATA3)) } })
        .faults({ vector: 13, code: 8 });
      cpu('iretq', '48 cf')
        .given({
          ...TABLE,
          mem: { ...TABLE.mem, [at(SP)]: le64(1n << 47n, BigInt(CODE64), 2n, DATA, BigInt(DATA3)) },
        })
        .faults({ vector: 13, code: 0 });
    });
    it('far call, return and jump', () => {
      cpu('call far fword ptr [rbx]', 'ff 1b')
        .given({ ...TABLE, rbx: DATA, mem: { ...TABLE.mem, [at(DATA)]: '00 10 02 00 0b 00' } })
        .expect({
          rip: DATA + 0x1000n,
          cs: CODE64,
          rsp: SP - 8n,
          mem: { [at(SP - 8n)]: '02 00 01 00 33 00 00 00' },
        });
      cpu('data64 ret far', '48 cb')
        .given({ ...TABLE, mem: { ...TABLE.mem, [at(SP)]: le64(DATA, BigInt(CODE64)) } })
        .expect({ rip: DATA, cs: CODE64, rsp: SP + 16n });
      cpu('jmp far fword ptr [rbx]', 'ff 2b')
        .given({ ...TABLE, rbx: DATA, mem: { ...TABLE.mem, [at(DATA)]: '00 10 02 00 13 00' } })
        .faults({ vector: 13, code: 0x10 });
    });
    it('a transfer out of 64-bit mode is declared unimplemented', () => {
      cpu('jmp far fword ptr [rbx]', 'ff 2b')
        .given({
          ...TABLE,
          rbx: DATA,
          mem: { ...TABLE.mem, [at(DATA)]: `00 10 02 00 ${CODE32.toString(16)} 00` },
        })
        .stops(EXIT.UNIMPLEMENTED);
    });
  });
});

describe('system instructions at CPL 3', () => {
  forEachBackend((cpu) => {
    it('privileged ones are #GP(0)', () => {
      for (const [text, hex] of [
        ['hlt', 'f4'],
        ['cli', 'fa'],
        ['sti', 'fb'],
        ['in al,dx', 'ec'],
        ['out 20h,eax', 'e7 20'],
        ['rep insb [rdi],dx', 'f3 6c'],
        ['mov cr3,rax', '0f 22 d8'],
        ['mov rax,cr8', '44 0f 20 c0'],
        ['mov rax,dr7', '0f 21 f8'],
        ['rdmsr', '0f 32'],
        ['wrmsr', '0f 30'],
        ['rdpmc', '0f 33'],
        ['invlpg [rbx]', '0f 01 3b'],
        ['lgdt [rbx]', '0f 01 13'],
        ['lidt [rbx]', '0f 01 1b'],
        ['ltr bx', '0f 00 db'],
        ['swapgs', '0f 01 f8'],
        ['clts', '0f 06'],
        ['wbinvd', '0f 09'],
        ['sysretq', '48 0f 07'],
      ] as const)
        cpu(text, hex).given({}).faults({ vector: 13, code: 0 });
    });
    it('undefined ones are #UD', () => {
      cpu('ud2', '0f 0b').faults({ vector: 6 });
      for (const hex of ['0f 01 d0', '0f 34', 'f3 0f ae c0', '0f 38 f0 03', '0f 01 c1', '06', 'c5 f8 77'])
        cpu('(bad)', hex).faults({ vector: 6 });
    });
    it('cli with IOPL 3 works', () => {
      cpu('cli', 'fa').given({ rflags: 0x3202 }).expect({ if: 0 });
    });
    it('leave to the hypervisor', () => {
      cpu('syscall', '0f 05').given({ rcx: 5 }).exits(EXIT.SYSCALL);
      cpu('int 80h', 'cd 80').exits(EXIT.INT, { exit_vector: 0x80 });
      cpu('int3', 'cc').exits(EXIT.INT, { exit_vector: 3 });
      cpu('syscall', '0f 05').given({ efer: 0xd00 }).faults({ vector: 6 });
    });
    it('cpuid and rdtsc write whole registers', () => {
      cpu('cpuid', '0f a2')
        .given({ rax: (1n << 63n) | 7n, rcx: 3 })
        .expect({ rax: 7, rbx: 2, rcx: 3, rdx: 0xffff_ffff });
      cpu('rdtsc', '0f 31').expect({ rax: 0x5566_7788, rdx: 0x1122_3344 });
      cpu('rdtsc', '0f 31').given({ cr4: 0x624 }).faults({ vector: 13, code: 0 });
    });
    it('tables can be looked at', () => {
      cpu('sgdt [rbx]', '0f 01 03')
        .given({ rbx: DATA, gdt_base: 0xffff_8300_0000_1000n, gdt_limit: 0xe7ff })
        .expect({ mem: { [at(DATA)]: 'ff e7 00 10 00 00 00 83 ff ff' } });
      cpu('smsw eax', '0f 01 e0').expect({ rax: 0x8001_0033 });
    });
    it('hints do nothing, wherever they point', () => {
      cpu('nop [rbx],eax', '0f 1f 03').given({ rbx: 0 }).expect({});
      cpu('nop [rbx],eax', '0f 18 03')
        .given({ rbx: 1n << 50n })
        .expect({});
      cpu('nop edx,edi', 'f3 0f 1e fa').expect({});
      cpu('clflush [rbx]', '0f ae 3b')
        .given({ rbx: 0x7000 })
        .faults({ vector: 14, code: 4, address: 0x7000n });
      cpu('mfence', '0f ae f0').expect({ rip: CODE + 3n });
    });
  });
});
