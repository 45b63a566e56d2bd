import type { Instruction } from '../instruction';
import type { Ops, Value, Width } from '../ops';

/**
 * The stack. In 64-bit mode the stack address size is 64, and pushes are 64 bits, or 16 under 66
 * (SDM Vol. 1 §6.2.2, §6.2.4). rsp moves only after the access that may fault.
 */
export function pushValue(o: Ops, w: Width, v: Value): void {
  const sp = o.sub(o.get('rsp'), o.k(w / 8));
  o.store(w, sp, v, 'ss');
  o.set('rsp', sp);
}

/** Loads the top of the stack and moves rsp. What is done with the value must not fault. */
export function popValue(o: Ops, w: Width): Value {
  const sp = o.get('rsp');
  const v = o.load(w, sp, 'ss');
  o.set('rsp', o.add(sp, o.k(w / 8)));
  return v;
}

export const stack: readonly Instruction[] = [
  {
    mnemonic: 'push',
    doc: 'SDM 2B PUSH: PUSH rSP pushes the old value; a selector is zero-extended',
    encodings: ['50+ ov; d64', 'ff /6 rmv; d64', '6a imm8s; d64', '68 immz; d64'],
    semantics(o, { w }, src) {
      pushValue(o, w, src.get());
    },
  },
  {
    mnemonic: 'pop',
    doc: 'SDM 2B POP: POP rSP keeps the popped value; an rSP-based address is formed after the increment',
    encodings: ['58+ ov; d64', '8f /0 rmv; d64'],
    semantics(o, { w }, dst) {
      if (dst.kind !== 'mem') {
        dst.set(popValue(o, w));
        return;
      }
      const sp = o.get('rsp');
      const after = o.add(sp, o.k(w / 8));
      const v = o.load(w, sp, 'ss');
      // The address wants the moved rsp, and the store may fault, when rsp must not have moved.
      o.set('rsp', after);
      const at = dst.address();
      o.set('rsp', sp);
      o.store(w, at, v, dst.seg);
      o.set('rsp', after);
    },
  },
  {
    mnemonic: 'leave',
    doc: 'SDM 2A LEAVE',
    encodings: ['c9 ; d64 v'],
    semantics(o, { w }) {
      const rbp = o.get('rbp');
      const v = o.load(w, rbp, 'ss');
      o.set('rsp', o.add(rbp, o.k(w / 8)));
      o.set('rbp', w === 16 ? o.or(o.and(rbp, o.k(~0xffffn)), v) : v);
    },
  },
  {
    mnemonic: 'enter',
    doc: 'SDM 2A ENTER; the byte at the final rsp is probed for a write before anything is committed',
    encodings: ['c8 imm16,imm8; d64 v'],
    semantics(o, { w }, size, nesting) {
      const bytes = o.k(w / 8);
      const level = o.and(nesting.get(), o.k(31));
      const rbp = o.get('rbp');
      const sp = o.var(o.sub(o.get('rsp'), bytes));
      o.store(w, sp.get(), rbp, 'ss');
      const frame = sp.get();
      const push = (v: Value): void => {
        sp.set(o.sub(sp.get(), bytes));
        o.store(w, sp.get(), v, 'ss');
      };
      o.if(level, () => {
        const left = o.var(o.sub(level, o.k(1)));
        const from = o.var(rbp);
        o.while(
          () => o.cmp('ne', left.get(), o.k(0)),
          () => {
            from.set(o.sub(from.get(), bytes));
            push(o.load(w, from.get(), 'ss'));
            left.set(o.sub(left.get(), o.k(1)));
          },
        );
        push(frame);
      });
      const end = o.sub(sp.get(), size.get());
      o.probeWrite(1, end, 'ss');
      o.set('rbp', w === 16 ? o.or(o.and(rbp, o.k(~0xffffn)), o.zx(16, frame)) : frame);
      o.set('rsp', end);
    },
  },
];
