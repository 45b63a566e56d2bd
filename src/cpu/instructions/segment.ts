import type { Context, Instruction } from '../instruction';
import { each } from '../instruction';
import type { Operand, Ops, Value } from '../ops';
import { VECTOR } from '../ops';
import { pushValue } from './stack';

/** Segment registers, descriptor tables and far transfers. What reads descriptors is a helper (helpers/). */
const loadSegment = (o: Ops, n: Value, selector: Value): void => {
  o.helper('load_segment', n, selector);
};

/** m16:16, m16:32, m16:64: the offset, then the selector (SDM Vol. 2 §3.1.1.3). */
function farPointer(o: Ops, { w }: Context, m: Operand): { offset: Value; selector: Value } {
  const at = m.address();
  const offset = o.load(w, at, m.seg);
  return { offset, selector: o.load(16, o.add(at, o.k(w / 8)), m.seg) };
}

const storeSelector =
  (value: (o: Ops) => Value): Instruction['semantics'] =>
  (o, _c, dst) => {
    dst.set(value(o));
  };

const VALID = 1n << 63n;
/** LAR and LSL: the helper answers with bit 63 set, or zero when the descriptor is not to be seen. */
const queryDescriptor =
  (helper: string): Instruction['semantics'] =>
  (o, { w }, dst, src) => {
    const v = o.helper(helper, src.get());
    const valid = o.and(v, o.k(VALID));
    o.if(valid, () => dst.set(o.zx(w, o.and(v, o.k(VALID - 1n)))));
    o.set('zf', o.eqz(valid));
  };

const verify =
  (helper: string): Instruction['semantics'] =>
  (o, _c, src) => {
    o.set('zf', o.eqz(o.helper(helper, src.get())));
  };

/** SGDT, SIDT: 16-bit limit, 64-bit base. */
const storeTable =
  (limit: (o: Ops) => Value, base: (o: Ops) => Value): Instruction['semantics'] =>
  (o, _c, dst) => {
    const at = dst.address();
    o.probeWrite(10, at, dst.seg);
    o.store(16, at, o.zx(16, limit(o)), dst.seg);
    o.store(64, o.add(at, o.k(2)), base(o), dst.seg);
  };

export const segment: readonly Instruction[] = [
  {
    mnemonic: 'mov',
    doc: 'SDM 2B MOV to a segment register: #UD for CS',
    encodings: ['8e /r sreg,rm16; ends'],
    semantics: (o, _c, dst, src) => loadSegment(o, dst.index(), src.get()),
  },
  ...each(
    [
      { name: 'fs', n: 4, opcodes: ['a0', 'a1'] },
      { name: 'gs', n: 5, opcodes: ['a8', 'a9'] },
    ] as const,
    ({ name, opcodes }) => ({
      mnemonic: 'push',
      doc: 'SDM 2B PUSH FS/GS: zero-extended',
      encodings: [`0f ${opcodes[0]} ; d64 v`],
      semantics: (o, { w }) => pushValue(o, w, o.get(name)),
    }),
  ),
  ...each(
    [
      { n: 4, opcode: 'a1' },
      { n: 5, opcode: 'a9' },
    ],
    ({ n, opcode }) => ({
      mnemonic: 'pop',
      doc: 'SDM 2B POP FS/GS',
      encodings: [`0f ${opcode} ; d64 v ends`],
      semantics(o, { w }) {
        const sp = o.get('rsp');
        loadSegment(o, o.k(n), o.zx(16, o.load(w, sp, 'ss')));
        o.set('rsp', o.add(sp, o.k(w / 8)));
      },
    }),
  ),
  ...each(
    [
      { name: 'lss', n: 2, opcode: 'b2' },
      { name: 'lfs', n: 4, opcode: 'b4' },
      { name: 'lgs', n: 5, opcode: 'b5' },
    ],
    ({ name, n, opcode }) => ({
      mnemonic: name,
      doc: 'SDM 2A LDS/LES/LFS/LGS/LSS: REX.W makes it m16:64 as on Intel (AMD ignores it here)',
      encodings: [`0f ${opcode} /r rv,m; ends`],
      semantics(o, c, dst, m) {
        const { offset, selector } = farPointer(o, c, m);
        loadSegment(o, o.k(n), selector);
        dst.set(offset);
      },
    }),
  ),
  {
    mnemonic: 'sldt',
    doc: 'SDM 2B SLDT',
    encodings: ['0f 00 /0 rrv', '0f 00 /0 m16'],
    semantics: storeSelector((o) => o.zx(16, o.get('ldt'))),
  },
  {
    mnemonic: 'str',
    doc: 'SDM 2B STR: there is no task register, its selector reads as null',
    encodings: ['0f 00 /1 rrv', '0f 00 /1 m16'],
    semantics: storeSelector((o) => o.k(0)),
  },
  {
    mnemonic: 'smsw',
    doc: 'SDM 2B SMSW: CR0, of which memory gets 16 bits',
    encodings: ['0f 01 /4 rrv', '0f 01 /4 m16'],
    semantics(o, { w }, dst) {
      dst.set(o.zx(w, o.get('cr0')));
    },
  },
  {
    mnemonic: 'sgdt',
    doc: 'SDM 2B SGDT (no UMIP)',
    encodings: ['0f 01 /0 m'],
    semantics: storeTable(
      (o) => o.get('gdt_limit'),
      (o) => o.get('gdt_base'),
    ),
  },
  {
    mnemonic: 'sidt',
    doc: 'SDM 2B SIDT: no interrupt table is modelled (exits.ts), it reads as empty',
    encodings: ['0f 01 /1 m'],
    semantics: storeTable(
      (o) => o.k(0),
      (o) => o.k(0),
    ),
  },
  { mnemonic: 'lar', doc: 'SDM 2A LAR', encodings: ['0f 02 /r rv,rm16'], semantics: queryDescriptor('lar') },
  { mnemonic: 'lsl', doc: 'SDM 2A LSL', encodings: ['0f 03 /r rv,rm16'], semantics: queryDescriptor('lsl') },
  { mnemonic: 'verr', doc: 'SDM 2B VERR', encodings: ['0f 00 /4 rm16'], semantics: verify('verr') },
  { mnemonic: 'verw', doc: 'SDM 2B VERW', encodings: ['0f 00 /5 rm16'], semantics: verify('verw') },
  {
    mnemonic: 'jmp',
    doc: 'SDM 2A JMP (far)',
    encodings: ['ff /5 m; v branch'],
    semantics(o, c, m) {
      const { offset, selector } = farPointer(o, c, m);
      o.helper('far_jump', selector, offset);
    },
  },
  {
    mnemonic: 'call',
    doc: 'SDM 2A CALL (far)',
    encodings: ['ff /3 m; v branch'],
    semantics(o, c, m) {
      const { offset, selector } = farPointer(o, c, m);
      o.helper('far_call', o.k(c.w), selector, offset, o.get('next'));
    },
  },
  {
    mnemonic: 'retf',
    doc: 'SDM 2B RET (far)',
    encodings: ['cb ; v branch', 'ca imm16; v branch'],
    semantics(o, { w }, ...bytes) {
      const [extra] = bytes;
      o.helper('far_return', o.k(w), extra ? extra.get() : o.k(0));
    },
  },
  ...each(
    [
      { name: 'iret', w: 16 },
      { name: 'iretd', w: 32 },
      { name: 'iretq', w: 64 },
    ] as const,
    ({ name, w }) => ({
      mnemonic: name,
      doc: 'SDM 2A IRET: #GP(0) with NT set, as there is no task to return to',
      encodings: [`cf ; w${w} branch`],
      semantics(o) {
        const NT = 1 << 14;
        o.if(o.and(o.get('rflags'), o.k(NT)), () => o.raise(VECTOR.GP, o.k(0)));
        o.helper('iret', o.k(w));
      },
    }),
  ),
];
