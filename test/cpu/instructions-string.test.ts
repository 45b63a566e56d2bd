import { DATA, forEachBackend } from '../support/cpu';

const at = (n: bigint): string => `0x${n.toString(16)}`;
/** DATA + 0x2000 is not mapped. */
const GAP = DATA + 0x2000n;
const FIRST32 = 0xffff_ffff_0000_0000n;

describe('string instructions', () => {
  forEachBackend((cpu) => {
    it('move, backwards too', () => {
      cpu('movsq [rdi],[rsi]', '48 a5')
        .given({ rsi: DATA, rdi: DATA + 0x40n, mem: { [at(DATA)]: '01 02 03 04 05 06 07 08' } })
        .expect({
          rsi: DATA + 8n,
          rdi: DATA + 0x48n,
          mem: { [at(DATA + 0x40n)]: '01 02 03 04 05 06 07 08' },
        });
      cpu('rep movsb [rdi],[rsi]', 'f3 a4')
        .given({ rsi: DATA + 2n, rdi: DATA + 3n, rcx: 3, df: 1, mem: { [at(DATA)]: '01 02 03 00' } })
        .expect({ rsi: DATA - 1n, rdi: DATA, rcx: 0, mem: { [at(DATA)]: '01 01 02 03' } });
    });
    it('a repeat of zero touches nothing', () => {
      cpu('rep stosd [rdi]', 'f3 ab').given({ rdi: GAP, rcx: 0 }).expect({});
    });
    it('a fault in the middle keeps what is done', () => {
      cpu('rep stosd [rdi]', 'f3 ab')
        .given({ rdi: GAP - 8n, rcx: 5, rax: 0x44332211 })
        .faults(
          { vector: 14, code: 6, address: GAP },
          { rdi: GAP, rcx: 3, mem: { [at(GAP - 8n)]: '11 22 33 44 11 22 33 44' } },
        );
    });
    // Many elements may be moved at once: the result is as if one by one.
    it('move into what is still to be read, a little and far ahead', () => {
      for (const ahead of [1n, 3n, 8n, 0x1000n - 5n]) {
        const bytes = Array.from({ length: 64 }, (_, i) => (i * 7 + 1) & 255);
        const end = Number(ahead) + 48;
        const memory = [...bytes, ...Array<number>(Math.max(0, end - 64)).fill(0)];
        for (let i = 0; i < 48; i++) memory[Number(ahead) + i] = memory[i] ?? 0;
        const text = (from: number[]): string => from.map((b) => b.toString(16).padStart(2, '0')).join(' ');
        cpu('rep movsb [rdi],[rsi]', 'f3 a4')
          .given({ rsi: DATA, rdi: DATA + ahead, rcx: 48, mem: { [at(DATA)]: text(bytes) } })
          .expect({
            rsi: DATA + 48n,
            rdi: DATA + ahead + 48n,
            rcx: 0,
            mem: { [at(DATA + ahead)]: text(memory.slice(Number(ahead), end)) },
          });
      }
    });
    it('store across pages, what is all one byte and what is not, up to one that is missing', () => {
      const start = GAP - 0x1000n - 24n;
      for (const [rax, bytes] of [
        [0n, '00 00 00 00 00 00 00 00'],
        [0x7777_7777_7777_7777n, '77 77 77 77 77 77 77 77'],
        [0x0102_0304_0506_0708n, '08 07 06 05 04 03 02 01'],
      ] as const) {
        const mem = Object.fromEntries(
          [start, start + 8n, start + 0x800n, GAP - 16n, GAP - 8n].map((a) => [at(a), bytes]),
        );
        cpu('rep stosq [rdi]', 'f3 48 ab')
          .given({ rax, rdi: start, rcx: 1000 })
          .faults({ vector: 14, code: 6, address: GAP }, { rdi: GAP, rcx: 1000 - 515, mem });
      }
      // Its elements lie across the pages' ends.
      cpu('rep stosd [rdi]', 'f3 ab')
        .given({ rax: 0x1111_1111, rdi: GAP - 0x1006n, rcx: 3 })
        .expect({
          rdi: GAP - 0xffan,
          rcx: 0,
          mem: { [at(GAP - 0x1006n)]: '11 11 11 11 11 11 11 11 11 11 11 11' },
        });
    });
    it('compare until different, or until equal', () => {
      cpu('repe cmpsb [rsi],[rdi]', 'f3 a6')
        .given({
          rsi: DATA,
          rdi: DATA + 8n,
          rcx: 8,
          mem: { [at(DATA)]: '61 62 63 64 00 00 00 00 61 62 70 64' },
        })
        .expect({ rsi: DATA + 3n, rdi: DATA + 11n, rcx: 5, cf: 1, zf: 0, sf: 1, af: 0, pf: 1, of: 0 });
      cpu('repne scasb [rdi]', 'f2 ae')
        .given({ rax: 0x63, rdi: DATA, rcx: 8, mem: { [at(DATA)]: '61 62 63 64' } })
        .expect({ rdi: DATA + 3n, rcx: 5, zf: 1, pf: 1, cf: 0, sf: 0, af: 0, of: 0 });
    });
    it('use 32-bit registers under 67', () => {
      cpu('rep stosb [edi]', 'f3 67 aa')
        .given({ rax: 7, rdi: FIRST32 | DATA, rcx: FIRST32 | 2n })
        .expect({ rdi: DATA + 2n, rcx: 0, mem: { [at(DATA)]: '07 07 00' } });
    });
    it('take a segment for the source only', () => {
      cpu('lodsd fs:[rsi]', '64 ad')
        .given({ rax: FIRST32, fs_base: 8, rsi: DATA, mem: { [at(DATA + 8n)]: '78 56 34 12' } })
        .expect({ rax: 0x1234_5678, rsi: DATA + 4n });
    });
  });
});

describe('bit instructions', () => {
  const others = ['of', 'sf', 'af', 'pf'] as const;
  forEachBackend((cpu) => {
    it('address bit strings in memory, also below the operand', () => {
      cpu('bts [rbx],rcx', '48 0f ab 0b')
        .given({ rbx: DATA + 0x10n, rcx: -65n, mem: { [at(DATA)]: '00 00 00 00 00 00 00 00' } })
        .expect({ cf: 0, undefined: others, mem: { [at(DATA)]: '00 00 00 00 00 00 00 80' } });
      cpu('bt [rbx],ecx', '0f a3 0b')
        .given({ rbx: DATA, rcx: 0xf_0000_0025n, mem: { [at(DATA + 4n)]: '20' } })
        .expect({ cf: 1, undefined: others });
      cpu('lock btr word ptr [rbx],11h', '66 f0 0f ba 33 11')
        .given({ rbx: DATA, mem: { [at(DATA)]: 'ff ff ff ff' } })
        .expect({ cf: 1, undefined: others, mem: { [at(DATA)]: 'fd ff ff ff' } });
    });
    it('take a register’s bit modulo its width', () => {
      cpu('btc eax,ecx', '0f bb c8')
        .given({ rax: FIRST32, rcx: 33 })
        .expect({ rax: 2, cf: 0, undefined: others });
    });
    it('scan, and leave the destination alone for zero', () => {
      cpu('bsf rax,rbx', '48 0f bc c3')
        .given({ rbx: 1n << 63n, zf: 1 })
        .expect({ rax: 63, zf: 0, undefined: ['cf', ...others] });
      cpu('bsr ax,bx', '66 0f bd c3')
        .given({ rax: 0xf_0000, rbx: 0x1_0180 })
        .expect({ rax: 0xf_0008, zf: 0, undefined: ['cf', ...others] });
      cpu('bsf eax,ebx', '0f bc c3')
        .given({ rax: FIRST32, rbx: 1n << 40n })
        .expect({ zf: 1, undefined: ['cf', ...others] });
    });
  });
});
