import type { Instruction } from '../instruction';
import { each } from '../instruction';
import type { FpArithmetic, FpFmt, Operand, Ops, Value, Vector } from '../ops';

/**
 * SSE and SSE2 floating-point arithmetic and comparison: one row of the opcode map has a packed and a scalar form
 * in either precision, told apart by the mandatory prefix (SDM Vol. 2 appendix A, table A-3).
 */
export const PRECISIONS = [
  { fmt: 32, packed: 'ps', scalar: 'ss', packedPrefix: 'np', scalarPrefix: 'f3' },
  { fmt: 64, packed: 'pd', scalar: 'sd', packedPrefix: '66', scalarPrefix: 'f2' },
] as const satisfies readonly { fmt: FpFmt; packed: string; scalar: string; packedPrefix: string; scalarPrefix: string }[]; // prettier-ignore

/** Lane by lane into `a`, with the exceptions of all lanes gathered. */
export function mapLanes(
  o: Ops,
  fmt: FpFmt,
  a: Vector,
  f: (lane: (x: Vector) => Value, i: number) => Value,
): Vector {
  return o.fpLanes(() => {
    let r = a;
    for (let i = 0; i < 128 / fmt; i++) r = o.withLane(fmt, r, i, f((x) => o.lane(fmt, x, i), i)); // prettier-ignore
    return r;
  });
}

interface Operation {
  readonly name: string;
  readonly opcode: string;
  /** Operands besides destination and source: CMPPS' predicate. */
  readonly immediate?: true;
  readonly only32?: true;
  readonly packed?: FpArithmetic;
  run(o: Ops, fmt: FpFmt, a: Value, b: Value, imm: () => Value): Value;
}

const binary = (name: 'add' | 'sub' | 'mul' | 'div' | 'min' | 'max', opcode: string): Operation => ({
  name,
  opcode,
  run: (o, fmt, a, b) => o.fp(name, fmt, a, b),
});
const packed = (name: FpArithmetic, opcode: string): Operation => ({ ...binary(name, opcode), packed: name });

const OPERATIONS: readonly Operation[] = [
  { name: 'sqrt', opcode: '51', run: (o, fmt, _a, b) => o.fpSqrt(fmt, b) },
  // Approximations that read no MXCSR and raise nothing; their bits are softfloat/estimate.ts' business.
  { name: 'rsqrt', opcode: '52', only32: true, run: (o, _fmt, _a, b) => o.helper('rsqrt', b) },
  { name: 'rcp', opcode: '53', only32: true, run: (o, _fmt, _a, b) => o.helper('rcp', b) },
  packed('add', '58'),
  packed('mul', '59'),
  packed('sub', '5c'),
  binary('min', '5d'),
  packed('div', '5e'),
  binary('max', '5f'),
  {
    name: 'cmp',
    opcode: 'c2',
    immediate: true,
    // Only the three low bits of the predicate are looked at (SDM Vol. 2 CMPPD: the others are reserved).
    run: (o, fmt, a, b, imm) => o.fpCompare(fmt, o.and(imm(), o.k(7)), a, b),
  },
];

const arithmetic: readonly Instruction[] = OPERATIONS.flatMap((op) =>
  PRECISIONS.filter((p) => p.fmt === 32 || !op.only32).flatMap((p): Instruction[] => {
    const imm8 = op.immediate ? ',imm8' : '';
    const doc = `SDM 2 ${op.name.toUpperCase()}`;
    const imm = (o: Ops, x: Operand | undefined) => (): Value => x?.get() ?? o.k(0);
    return [
      {
        mnemonic: op.name + p.packed,
        doc: doc + p.packed.toUpperCase(),
        encodings: [`${p.packedPrefix} 0f ${op.opcode} /r x,xm128${imm8}`],
        unit: 'sse',
        semantics(o, _c, dst, src, x) {
          const a = dst.getx();
          const b = src.getx();
          const lanes = (): Vector =>
            mapLanes(o, p.fmt, a, (lane) => op.run(o, p.fmt, lane(a), lane(b), imm(o, x)));
          dst.setx(op.packed === undefined ? lanes() : o.fpPacked(op.packed, p.fmt, a, b, lanes));
        },
      },
      {
        mnemonic: op.name + p.scalar,
        doc: doc + p.scalar.toUpperCase(),
        encodings: [`${p.scalarPrefix} 0f ${op.opcode} /r x${p.fmt},xm${p.fmt}${imm8}`],
        unit: 'sse',
        semantics(o, _c, dst, src, x) {
          dst.set(op.run(o, p.fmt, dst.get(), src.get(), imm(o, x)));
        },
      },
    ];
  }),
);

const comparisons: readonly Instruction[] = each(
  PRECISIONS.flatMap((p) => [
    { ...p, name: 'ucomi', opcode: '2e', quiet: true },
    { ...p, name: 'comi', opcode: '2f', quiet: false },
  ]),
  ({ fmt, scalar, packedPrefix, name, opcode, quiet }) => ({
    mnemonic: name + scalar,
    doc: `SDM 2 ${name.toUpperCase()}${scalar.toUpperCase()}`,
    encodings: [`${packedPrefix} 0f ${opcode} /r x${fmt},xm${fmt}`],
    unit: 'sse',
    semantics(o, _c, a, b) {
      o.fpComi(fmt, quiet, a.get(), b.get());
    },
  }),
);

export const sseArithmetic: readonly Instruction[] = [...arithmetic, ...comparisons];
