import { forEachBackend, DATA } from '../support/cpu';

const MAX = 0x7fff_ffff_ffff_ffffn;
const MIN = 0x8000_0000_0000_0000n;
const ONES = 0xffff_ffff_ffff_ffffn;

describe('integer arithmetic', () => {
  forEachBackend((cpu) => {
    it('add sets OF at signed overflow, CF at unsigned', () => {
      cpu('add rax,rbx', '48 01 d8')
        .given({ rax: MAX, rbx: 1n })
        .expect({ rax: MIN, of: 1, sf: 1, af: 1, pf: 1, zf: 0, cf: 0 });
      cpu('add rax,rbx', '48 01 d8')
        .given({ rax: ONES, rbx: 1n })
        .expect({ rax: 0, cf: 1, zf: 1, af: 1, pf: 1, sf: 0, of: 0 });
      cpu('add al,ah', '00 e0')
        .given({ rax: 0x80f0n << 0n })
        .expect({ rax: 0x8070, cf: 1, of: 1, sf: 0, zf: 0, af: 0, pf: 0 });
    });
    it('adc and sbb carry through all ones', () => {
      cpu('adc eax,ebx', '11 d8')
        .given({ rax: 5, rbx: 0xffffffffn, cf: 1 })
        .expect({ rax: 5, cf: 1, af: 1, pf: 1, zf: 0, sf: 0, of: 0 });
      cpu('sbb rax,rbx', '48 19 d8')
        .given({ rax: 0, rbx: ONES, cf: 1 })
        .expect({ rax: 0, cf: 1, zf: 1, af: 1, pf: 1, sf: 0, of: 0 });
      cpu('sbb eax,eax', '19 c0')
        .given({ rax: ONES, cf: 1 })
        .expect({ rax: 0xffffffffn, cf: 1, sf: 1, af: 1, pf: 1, zf: 0, of: 0 });
    });
    it('cmp changes flags only', () => {
      cpu('cmp al,80h', '3c 80').given({ rax: 0x7f }).expect({ cf: 1, of: 1, sf: 1, zf: 0, af: 0, pf: 1 });
    });
    it('inc and dec leave CF', () => {
      cpu('inc byte ptr [rbx]', 'fe 03')
        .given({ rbx: DATA, cf: 1, mem: { 0x20000: '7f' } })
        .expect({ cf: 1, of: 1, sf: 1, af: 1, pf: 0, zf: 0, mem: { 0x20000: '80' } });
      cpu('dec ax', '66 ff c8')
        .given({ rax: 0x1_0000n, cf: 1 })
        .expect({ rax: 0x1_ffffn, cf: 1, sf: 1, af: 1, pf: 1, zf: 0, of: 0 });
    });
    it('neg of the least number overflows', () => {
      cpu('neg eax', 'f7 d8')
        .given({ rax: 0x8000_0000n })
        .expect({ rax: 0x8000_0000n, cf: 1, of: 1, sf: 1, zf: 0, af: 0, pf: 1 });
      cpu('neg rax', '48 f7 d8')
        .given({ rax: 0, cf: 1 })
        .expect({ rax: 0, cf: 0, of: 0, sf: 0, zf: 1, af: 0, pf: 1 });
    });
    it('logic clears CF and OF', () => {
      cpu('and eax,0FFFFFFF0h', '83 e0 f0')
        .given({ rax: 0xf_1234_567fn, cf: 1, of: 1 })
        .expect({ rax: 0x1234_5670n, cf: 0, of: 0, sf: 0, zf: 0, pf: 0, undefined: ['af'] });
    });
    it('xadd with one register twice keeps the sum', () => {
      cpu('xadd rax,rax', '48 0f c1 c0').given({ rax: 3 }).expect({ rax: 6, pf: 1, af: 0 });
      cpu('lock xadd [rbx],ecx', 'f0 0f c1 0b')
        .given({ rbx: DATA, rcx: 0xff_0000_0001n, mem: { 0x20000: 'ff ff ff ff' } })
        .expect({ rcx: 0xffffffffn, cf: 1, zf: 1, af: 1, pf: 1, mem: { 0x20000: '00 00 00 00' } });
    });
    it('cmpxchg', () => {
      cpu('cmpxchg [rbx],rcx', '48 0f b1 0b')
        .given({ rax: 5, rbx: DATA, rcx: 9, mem: { 0x20000: '05 00 00 00 00 00 00 00' } })
        .expect({ zf: 1, pf: 1, mem: { 0x20000: '09 00 00 00 00 00 00 00' } });
      cpu('cmpxchg ecx,edx', '0f b1 d1')
        .given({ rax: 0xf_0000_0005n, rcx: 0xf_0000_0006n })
        .expect({ rax: 6, cf: 1, sf: 1, af: 1, pf: 1, zf: 0 });
    });
    it('cmpxchg16b compares, exchanges, and wants alignment', () => {
      const old = '01 00 00 00 00 00 00 00 02 00 00 00 00 00 00 00';
      cpu('cmpxchg16b [rsi]', '48 0f c7 0e')
        .given({ rsi: DATA, rax: 1, rdx: 2, rbx: 3, rcx: 4, cf: 1, mem: { 0x20000: old } })
        .expect({ zf: 1, cf: 1, mem: { 0x20000: '03 00 00 00 00 00 00 00 04 00 00 00 00 00 00 00' } });
      cpu('cmpxchg16b [rsi]', '48 0f c7 0e')
        .given({ rsi: DATA, rax: 1, rdx: 3, zf: 1, mem: { 0x20000: old } })
        .expect({ zf: 0, rax: 1, rdx: 2, mem: { 0x20000: old } });
      cpu('cmpxchg16b [rsi]', '48 0f c7 0e')
        .given({ rsi: DATA + 8n })
        .faults({ vector: 13, code: 0 });
    });
    it('cmpxchg8b ignores the upper halves', () => {
      cpu('cmpxchg8b [rsi]', '0f c7 0e')
        .given({
          rsi: DATA,
          rax: 0x9_0000_0001n,
          rdx: 2,
          rbx: 3,
          rcx: 4,
          mem: { 0x20000: '01 00 00 00 02 00 00 00' },
        })
        .expect({ zf: 1, mem: { 0x20000: '03 00 00 00 04 00 00 00' } });
    });
    it('sign extensions of rAX', () => {
      cpu('cbw', '66 98').given({ rax: 0x12_0080n }).expect({ rax: 0x12_ff80n });
      cpu('cdqe', '48 98').given({ rax: 0x8000_0000n }).expect({ rax: 0xffff_ffff_8000_0000n });
      cpu('cdq', '99').given({ rax: 0x8000_0000n, rdx: 7 }).expect({ rdx: 0xffff_ffffn });
      cpu('cwd', '66 99').given({ rax: 0x7fff, rdx: 0x9_9999n }).expect({ rdx: 0x9_0000n });
    });
  });
});

describe('multiplication and division', () => {
  const other = ['sf', 'zf', 'af', 'pf'] as const;
  const all = ['cf', 'of', ...other] as const;
  forEachBackend((cpu) => {
    it('mul and imul', () => {
      cpu('mul rbx', '48 f7 e3')
        .given({ rax: ONES, rbx: ONES })
        .expect({ rax: 1, rdx: ONES - 1n, cf: 1, of: 1, undefined: other });
      cpu('imul rbx', '48 f7 eb')
        .given({ rax: ONES, rbx: ONES })
        .expect({ rax: 1, rdx: 0, cf: 0, of: 0, undefined: other });
      cpu('mul bl', 'f6 e3')
        .given({ rax: 0x12_0010n, rbx: 0x10 })
        .expect({ rax: 0x12_0100n, cf: 1, of: 1, undefined: other });
      cpu('imul ax,bx,0FFFEh', '66 6b c3 fe')
        .given({ rax: 0x9_0000n, rbx: 0x4000 })
        .expect({ rax: 0x9_8000n, cf: 0, of: 0, undefined: other });
      cpu('imul rax,rbx', '48 0f af c3')
        .given({ rax: MIN, rbx: 2 })
        .expect({ rax: 0, cf: 1, of: 1, undefined: other });
    });
    it('div of 128 bits', () => {
      cpu('div rbx', '48 f7 f3')
        .given({ rdx: 0x1234, rax: 0x5678_9abc_def0_1234n, rbx: 0xffff_ffff_0000n })
        .expect({ rax: 0x1234_5678n, rdx: 0xacf1_3568_1234n, undefined: all });
      cpu('idiv rbx', '48 f7 fb')
        .given({ rdx: 0xffff_ffb7_2ea6_1dbfn, rax: 0xffff_ffff_ffff_fffbn, rbx: MAX })
        .expect({ rax: 0xffff_ff6e_5d4c_3b80n, rdx: 0xffff_ff6e_5d4c_3b7bn, undefined: all });
    });
    it('#DE exactly where the quotient does not fit', () => {
      cpu('div rbx', '48 f7 f3').given({ rdx: 5, rax: ONES, rbx: 5 }).faults({ vector: 0 });
      cpu('div rbx', '48 f7 f3')
        .given({ rdx: 4, rax: ONES, rbx: 5 })
        .expect({ rax: ONES, rdx: 4, undefined: all });
      cpu('div bl', 'f6 f3').given({ rax: 0x100, rbx: 1 }).faults({ vector: 0 });
      cpu('div bl', 'f6 f3').given({ rax: 0xff, rbx: 1 }).expect({ rax: 0xff, undefined: all });
      cpu('idiv bl', 'f6 fb').given({ rax: 0x80, rbx: 1 }).faults({ vector: 0 });
      cpu('idiv bl', 'f6 fb').given({ rax: 0xff80, rbx: 1 }).expect({ rax: 0x0080, undefined: all });
      cpu('idiv ebx', 'f7 fb')
        .given({ rdx: 0xffff_ffffn, rax: 0x8000_0000n, rbx: 0xffff_ffffn })
        .faults({ vector: 0 });
      cpu('idiv rbx', '48 f7 fb').given({ rdx: ONES, rax: MIN, rbx: ONES }).faults({ vector: 0 });
      cpu('idiv rbx', '48 f7 fb').given({ rdx: ONES, rax: MIN, rbx: 1 }).expect({ rdx: 0, undefined: all });
      cpu('idiv rbx', '48 f7 fb').given({ rdx: MIN, rax: 0, rbx: ONES }).faults({ vector: 0 });
      cpu('idiv ebx', 'f7 fb').given({ rdx: MIN, rax: 0, rbx: 0xf_0000_0000n }).faults({ vector: 0 });
    });
  });
});
