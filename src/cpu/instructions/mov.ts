import type { Instruction } from '../instruction';
import { each } from '../instruction';
import { CONDITIONS } from './flags';

/** Data movement between registers and memory, with and without widening. */
export const mov: readonly Instruction[] = [
  {
    mnemonic: 'mov',
    doc: 'SDM 2B MOV',
    encodings: [
      '88 /r rm8,r8', '89 /r rmv,rv', '8a /r r8,rm8', '8b /r rv,rmv',
      'c6 /0 rm8,imm8', 'c7 /0 rmv,immz', 'b0+ o8,imm8', 'b8+ ov,immv',
      'a0 al,moffs8', 'a1 ax_v,moffsv', 'a2 moffs8,al', 'a3 moffsv,ax_v',
      // A selector is stored as 16 bits, or zero-extended to a register.
      '8c /r rrv,sreg', '8c /r m16,sreg',
    ], // prettier-ignore
    semantics(_o, _c, dst, src) {
      dst.set(src.get());
    },
  },
  {
    mnemonic: 'lea',
    doc: 'SDM 2A LEA',
    encodings: ['8d /r rv,m'],
    semantics(o, { w }, dst, src) {
      dst.set(o.zx(w, src.offset()));
    },
  },
  {
    mnemonic: 'movzx',
    doc: 'SDM 2B MOVZX',
    encodings: ['0f b6 /r rv,rm8', '0f b7 /r rv,rm16'],
    semantics(_o, _c, dst, src) {
      dst.set(src.get());
    },
  },
  {
    mnemonic: 'movsx',
    doc: 'SDM 2B MOVSX',
    encodings: ['0f be /r rv,rm8', '0f bf /r rv,rm16'],
    semantics(o, { w }, dst, src) {
      dst.set(o.zx(w, src.gets()));
    },
  },
  {
    mnemonic: 'movsxd',
    doc: 'SDM 2B MOVSX/MOVSXD',
    // With a 66 prefix AMD processors read 32 bits of memory all the same (measured); the manuals say 16.
    encodings: ['63 /r r16,rm32; w16', '63 /r r32,rm32; w32', '63 /r r64,rm32; w64'],
    semantics(o, { w }, dst, src) {
      dst.set(o.zx(w, src.gets()));
    },
  },
  {
    mnemonic: 'xchg',
    doc: 'SDM 2D XCHG: locked with memory, with or without the prefix',
    encodings: ['86 /r rm8,r8; lock', '87 /r rmv,rv; lock', '90+ ov,ax_v'],
    semantics(_o, _c, dst, src) {
      const a = dst.rmw();
      const b = src.get();
      dst.set(b);
      src.set(a);
    },
  },
  {
    mnemonic: 'bswap',
    doc: 'SDM 2A BSWAP: undefined at 16 bits, where Intel and AMD processors store zero',
    encodings: ['0f c8+ ov'],
    semantics(o, { w }, dst) {
      if (w === 16) {
        dst.set(o.k(0));
        return;
      }
      const swapStep = (v: ReturnType<typeof dst.get>, n: number, mask: bigint): typeof v =>
        o.or(o.and(o.shr(v, o.k(n)), o.k(mask)), o.shl(o.and(v, o.k(mask)), o.k(n)));
      let v = swapStep(dst.get(), 8, 0x00ff00ff00ff00ffn);
      v = swapStep(v, 16, 0x0000ffff0000ffffn);
      if (w === 64) v = o.or(o.shl(v, o.k(32)), o.shr(v, o.k(32)));
      dst.set(v);
    },
  },
  {
    mnemonic: 'xlatb',
    doc: 'SDM 2D XLAT',
    encodings: ['d7 ; aw'],
    semantics(o, c) {
      const offset = o.add(o.get('rbx'), o.zx(8, o.get('rax')));
      const v = o.load(8, o.add(c.aw === 32 ? o.zx(32, offset) : offset, c.segBase(o)));
      o.set('rax', o.or(o.and(o.get('rax'), o.k(~0xffn)), v));
    },
  },
  ...each(
    CONDITIONS.map((c, n) => ({ ...c, n })),
    ({ name, test, n }) => ({
      mnemonic: `cmov${name}`,
      doc: 'SDM 2A CMOVcc: the source is read, and 32 bits zero-extended, in either case',
      encodings: [`0f ${(0x40 + n).toString(16)} /r rv,rmv`],
      semantics(o, _c, dst, src) {
        const v = src.get();
        dst.set(o.select(test(o), v, dst.get()));
      },
    }),
  ),
  ...each(
    CONDITIONS.map((c, n) => ({ ...c, n })),
    ({ name, test, n }) => ({
      mnemonic: `set${name}`,
      doc: 'SDM 2B SETcc: ModRM.reg is ignored',
      encodings: [`0f ${(0x90 + n).toString(16)} /r rm8`],
      semantics(o, _c, dst) {
        dst.set(test(o));
      },
    }),
  ),
];
