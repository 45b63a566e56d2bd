import type { Instruction } from '../instruction';
import { each } from '../instruction';
import type { Ops, Value } from '../ops';
import { VECTOR } from '../ops';
import { CONDITIONS, flag } from './flags';
import { pushValue } from './stack';

/**
 * Near branches. A non-canonical target raises #GP(0) at the branch, before anything is pushed or popped
 * (SDM Vol. 2 JMP, CALL, RET in 64-bit mode).
 * Operand size: 66 is ignored as on Intel. (AMD truncates RIP to 16 bits, APM 3 §1.2.2; no compiler emits it.)
 */
export function branchTo(o: Ops, target: Value): void {
  checkCanonical(o, target);
  o.set('next', target);
}

/** 48-bit linear addresses: bits 63–47 all equal. `first` is what may fault before the target does. */
export function checkCanonical(o: Ops, target: Value, first?: () => void): void {
  o.if(o.xor(o.sar(o.shl(target, o.k(16)), o.k(16)), target), () => {
    first?.();
    o.raise(VECTOR.GP, o.k(0));
  });
}

export const branch: readonly Instruction[] = [
  ...each(
    CONDITIONS.map((c, n) => ({ ...c, n })),
    ({ name, test, n }) => ({
      mnemonic: `j${name}`,
      doc: 'SDM 2A Jcc',
      encodings: [
        `${(0x70 + n).toString(16)} rel8; f64 branch`,
        `0f ${(0x80 + n).toString(16)} relz; f64 branch`,
      ],
      semantics(o, _c, target) {
        o.if(test(o), () => branchTo(o, target.get()));
      },
    }),
  ),
  {
    mnemonic: 'jmp',
    doc: 'SDM 2A JMP',
    encodings: ['eb rel8; f64 branch', 'e9 relz; f64 branch', 'ff /4 rm64; f64 branch'],
    semantics(o, _c, target) {
      branchTo(o, target.get());
    },
  },
  {
    mnemonic: 'call',
    doc: 'SDM 2A CALL',
    encodings: ['e8 relz; f64 branch', 'ff /2 rm64; f64 branch'],
    semantics(o, _c, target) {
      const to = target.get();
      // A fault of the push comes before that of the target, as on AMD processors (measured).
      checkCanonical(o, to, () => o.probeWrite(8, o.sub(o.get('rsp'), o.k(8)), 'ss'));
      pushValue(o, 64, o.get('next'));
      o.set('next', to);
    },
  },
  {
    mnemonic: 'ret',
    doc: 'SDM 2B RET (near)',
    encodings: ['c3 ; f64 branch', 'c2 imm16; f64 branch'],
    semantics(o, _c, ...bytes) {
      const [extra] = bytes;
      const sp = o.get('rsp');
      const to = o.load(64, sp, 'ss');
      branchTo(o, to);
      const after = o.add(sp, o.k(8));
      o.set('rsp', extra ? o.add(after, extra.get()) : after);
    },
  },
  ...each(
    [
      { name: 'loopne', opcode: 'e0', when: (o: Ops) => o.eqz(flag.zf(o)) },
      { name: 'loope', opcode: 'e1', when: (o: Ops) => flag.zf(o) },
      { name: 'loop', opcode: 'e2', when: undefined },
    ],
    ({ name, opcode, when }) => ({
      mnemonic: name,
      doc: 'SDM 2A LOOP/LOOPcc: the counter is RCX, or ECX under 67',
      encodings: [`${opcode} rel8; f64 aw branch`],
      semantics(o, { aw }, target) {
        const count = o.sub(o.get('rcx'), o.k(1));
        const left = aw === 32 ? o.zx(32, count) : count;
        const more = o.cmp('ne', left, o.k(0));
        o.if(when ? o.and(more, when(o)) : more, () => branchTo(o, target.get()));
        o.set('rcx', left);
      },
    }),
  ),
  ...each(
    [
      { name: 'jecxz', only: 32 },
      { name: 'jrcxz', only: 64 },
    ] as const,
    ({ name, only }) => ({
      mnemonic: name,
      doc: 'SDM 2A Jcc: JECXZ under 67',
      encodings: [`e3 rel8; f64 a${only} branch`],
      semantics(o, _c, target) {
        const rcx = o.get('rcx');
        o.if(o.eqz(only === 32 ? o.zx(32, rcx) : rcx), () => branchTo(o, target.get()));
      },
    }),
  ),
];
