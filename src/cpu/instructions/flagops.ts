import type { Instruction } from '../instruction';
import { each } from '../instruction';
import type { Ops, Value } from '../ops';
import { flag, setStatusFlags, statusFlags } from './flags';
import { pushValue } from './stack';

/** Instructions on RFLAGS itself. */
const F = { IF: 1n << 9n, DF: 1n << 10n, IOPL: 3n << 12n, TF: 1n << 8n, NT: 1n << 14n, RF: 1n << 16n, VM: 1n << 17n, AC: 1n << 18n, ID: 1n << 21n }; // prettier-ignore
const STATUS = 0x8d5n;

const setBits = (o: Ops, bits: bigint, on: boolean): void =>
  o.set('rflags', on ? o.or(o.get('rflags'), o.k(bits)) : o.and(o.get('rflags'), o.k(~bits)));

/** RFLAGS as PUSHF shows it: RF and VM read as zero (SDM Vol. 2 PUSHF). */
const shown = (o: Ops): Value =>
  o.or(statusFlags(o), o.and(o.get('rflags'), o.k(~(F.RF | F.VM | STATUS) & 0xffffffffn)));

/**
 * POPF at CPL 3 or 0 (SDM Vol. 2 POPF, table 4-19): IOPL changes at CPL 0 only, IF if CPL ≤ IOPL; RF is cleared, VM, VIF
 * and VIP stay. 16-bit POPF leaves the upper bits alone.
 */
function restore(o: Ops, w: number, v: Value): void {
  const old = o.get('rflags');
  const cpl = o.get('cpl');
  const always = F.TF | F.DF | F.NT | (w === 16 ? 0n : F.AC | F.ID);
  const iopl = o.and(o.shr(old, o.k(12)), o.k(3));
  const change = o.or(
    o.k(always),
    o.or(o.select(cpl, o.k(0), o.k(F.IOPL)), o.select(o.cmp('leu', cpl, iopl), o.k(F.IF), o.k(0))),
  );
  const kept = o.and(old, o.not(change));
  o.set('rflags', o.or(w === 16 ? kept : o.and(kept, o.k(~F.RF)), o.and(v, change)));
  setStatusFlags(o, v);
}

export const flagops: readonly Instruction[] = [
  { mnemonic: 'cmc', doc: 'SDM 2A CMC', encodings: ['f5'], semantics: (o) => o.set('cf', o.eqz(flag.cf(o))) },
  { mnemonic: 'clc', doc: 'SDM 2A CLC', encodings: ['f8'], semantics: (o) => o.set('cf', o.k(0)) },
  { mnemonic: 'stc', doc: 'SDM 2B STC', encodings: ['f9'], semantics: (o) => o.set('cf', o.k(1)) },
  {
    mnemonic: 'cli',
    doc: 'SDM 2A CLI: #GP(0) if CPL > IOPL',
    encodings: ['fa ; ends'],
    privileged: 'iopl',
    semantics: (o) => setBits(o, F.IF, false),
  },
  {
    mnemonic: 'sti',
    doc: 'SDM 2B STI: #GP(0) if CPL > IOPL',
    encodings: ['fb ; ends'],
    privileged: 'iopl',
    semantics: (o) => setBits(o, F.IF, true),
  },
  { mnemonic: 'cld', doc: 'SDM 2A CLD', encodings: ['fc'], semantics: (o) => setBits(o, F.DF, false) },
  { mnemonic: 'std', doc: 'SDM 2B STD', encodings: ['fd'], semantics: (o) => setBits(o, F.DF, true) },
  {
    mnemonic: 'sahf',
    doc: 'SDM 2B SAHF: announced for 64-bit mode by CPUID 80000001h ECX[0]',
    encodings: ['9e'],
    semantics: (o) => setStatusFlags(o, o.shr(o.get('rax'), o.k(8)), false),
  },
  {
    mnemonic: 'lahf',
    doc: 'SDM 2A LAHF',
    encodings: ['9f'],
    semantics(o) {
      const ah = o.or(o.zx(8, statusFlags(o)), o.k(2));
      o.set('rax', o.or(o.and(o.get('rax'), o.k(~0xff00n)), o.shl(ah, o.k(8))));
    },
  },
  ...each(
    [
      { name: 'pushf', w: 16 },
      { name: 'pushfq', w: 64 },
    ] as const,
    ({ name, w }) => ({
      mnemonic: name,
      doc: 'SDM 2B PUSHF',
      encodings: [`9c ; d64 w${w}`],
      semantics: (o) => pushValue(o, w, o.zx(w, shown(o))),
    }),
  ),
  ...each(
    [
      { name: 'popf', w: 16 },
      { name: 'popfq', w: 64 },
    ] as const,
    ({ name, w }) => ({
      mnemonic: name,
      doc: 'SDM 2B POPF',
      encodings: [`9d ; d64 w${w} ends`],
      semantics(o) {
        const sp = o.get('rsp');
        const v = o.load(w, sp, 'ss');
        o.set('rsp', o.add(sp, o.k(w / 8)));
        restore(o, w, v);
      },
    }),
  ),
];
