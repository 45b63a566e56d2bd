import assert from 'node:assert/strict';
import { EXIT } from '../../src/cpu/exits';
import { VECTOR } from '../../src/cpu/ops';
import { CODE, DATA, type FlatMachine, flatMachine } from './flat-machine';

/**
 * x87 instructions as they run, where the register stack, pending exceptions and memory meet. What the
 * operations compute is held to recorded hardware in softfloat/; each opcode to the host in the differential runs.
 */
const [ONE, TWO] = [0x3fff8000000000000000n, 0x40008000000000000000n];
const INDEFINITE = 0xffffc000000000000000n;

describe('x87', () => {
  let m: FlatMachine;
  beforeEach(() => {
    m = flatMachine();
    m.v.setInt('fcw', 0x37f);
    m.v.setInt('mxcsr', 0x1f80);
    m.v.set('rdi', DATA);
  });

  /** Run code of `n` instructions from the start; [rdi] is DATA. */
  const run = (n: number, ...code: number[]): number => {
    m.put(Number(CODE), code);
    m.v.flushTlb();
    m.cpu.beforeStore(Number(CODE) >> 12);
    return m.step(CODE, BigInt(n));
  };
  const st = (i: number): bigint => {
    const bytes = m.v.bytes(`fpr${((top() + i) & 7) as 0}`);
    return bytes.subarray(0, 10).reduceRight((all, b) => (all << 8n) | BigInt(b), 0n);
  };
  const top = (): number => (m.v.getInt('fsw') >> 11) & 7;
  const fault = (reason: number): number => (reason === EXIT.EXCEPTION ? m.v.getInt('exit_vector') : -1);

  it('loads, adds and stores: fld1; fadd st0,st0; fstp m80', () => {
    assert.equal(run(3, 0xd9, 0xe8, 0xd8, 0xc0, 0xdb, 0x3f), EXIT.LIMIT);
    const stored = m.get(Number(DATA), 10).reduceRight((all, b) => (all << 8n) | BigInt(b), 0n);
    assert.equal(stored, TWO);
    assert.equal(m.v.getInt('ftw'), 0);
    assert.equal(top(), 0);
  });

  it('answers a masked stack underflow with the indefinite, and overflow with C1', () => {
    run(1, 0xd8, 0xc1); // fadd st0,st1 of an empty stack
    assert.equal(st(0), INDEFINITE);
    assert.equal(m.v.getInt('fsw') & 0x2ff, 0x41);
    run(9, 0xdb, 0xe3, ...Array.from({ length: 8 }, () => [0xd9, 0xe8]).flat()); // fninit, 8 x fld1
    assert.equal(m.v.getInt('ftw'), 0xff);
    run(1, 0xd9, 0xe8);
    assert.equal(st(0), INDEFINITE);
    assert.equal(m.v.getInt('fsw') & 0x2ff, 0x241);
  });

  it('raises #MF at the next waiting instruction, and says where the exception came from', () => {
    m.v.setInt('fcw', 0x37b); // zero divide unmasked
    // fldz; fld1; fdiv st0,st1; fnstsw ax; fld1
    const reason = run(5, 0xd9, 0xee, 0xd9, 0xe8, 0xd8, 0xf1, 0xdf, 0xe0, 0xd9, 0xe8);
    assert.equal(fault(reason), VECTOR.MF);
    assert.equal(m.v.get('rip'), CODE + 8n);
    assert.equal(m.v.get('fip'), CODE + 4n);
    assert.equal(Number(m.v.get('rax') & 0xffffn) & 0x80ff, 0x8084);
    assert.equal(st(0), ONE, 'an unmasked zero divide leaves the destination');
    assert.equal(run(1, 0xdb, 0xe2), EXIT.LIMIT); // fnclex
    assert.equal(m.v.getInt('fsw') & 0x80ff, 0);
  });

  it('delivers an unmasked denormal operand of a memory load, with its address', () => {
    m.v.setInt('fcw', 0x37d);
    m.put(Number(DATA), [1, 0, 0, 0]);
    assert.equal(fault(run(2, 0xd9, 0x07, 0x9b)), VECTOR.MF); // fld m32; fwait
    assert.equal(m.v.get('fdp'), DATA);
    assert.equal(top(), 7);
  });

  it('keeps the stack when a store faults', () => {
    m.v.set('rdi', DATA + 0x1ffcn); // the last four bytes of the mapped data
    const reason = run(2, 0xd9, 0xe8, 0xdb, 0x3f); // fld1; fstp m80
    assert.equal(fault(reason), VECTOR.PF);
    assert.equal(m.v.getInt('ftw'), 0x80);
    assert.equal(top(), 7);
    assert.deepEqual(m.get(Number(DATA) + 0x1ffc, 4), [0, 0, 0, 0]);
  });

  it('holds back a store that raises an unmasked invalid', () => {
    m.v.setInt('fcw', 0x37e);
    m.put(Number(DATA), [0x55, 0x55]);
    run(1, 0xd9, 0xeb);
    m.v.bytes('fpr7').set([0, 0, 0, 0, 0, 0, 0, 0x80, 0x3e, 0x40]); // 2^63
    assert.equal(run(1, 0xdf, 0x1f), EXIT.LIMIT);
    assert.deepEqual(m.get(Number(DATA), 2), [0x55, 0x55]);
    assert.equal(m.v.getInt('fsw') & 0x80ff, 0x8081);
    assert.equal(m.v.getInt('ftw'), 0x80, 'not popped');
  });

  it('saves and restores everything by FNSAVE and FRSTOR, and by FXSAVE64 and FXRSTOR64', () => {
    for (const [save, restore] of [
      [
        [0xdd, 0x37],
        [0xdd, 0x27],
      ],
      [
        [0x48, 0x0f, 0xae, 0x07],
        [0x48, 0x0f, 0xae, 0x0f],
      ],
    ] as const) {
      run(4, 0xdb, 0xe3, 0xd9, 0xeb, 0xd9, 0xe8, 0xd9, 0xee); // fninit; fldpi; fld1; fldz
      m.v.setInt('fcw', 0x27f);
      m.v.bytes('xmm15').fill(0xa5);
      const before = [m.v.getInt('fcw'), m.v.getInt('fsw'), m.v.getInt('ftw'), st(0), st(1), st(2)];
      run(2, ...save, 0xdb, 0xe3);
      assert.equal(m.v.getInt('ftw'), 0);
      m.v.bytes('fpr7').fill(0);
      assert.equal(run(1, ...restore), EXIT.LIMIT);
      assert.deepEqual(
        [m.v.getInt('fcw'), m.v.getInt('fsw'), m.v.getInt('ftw'), st(0), st(1), st(2)],
        before,
      );
      assert.deepEqual(
        [...m.v.bytes('xmm15')],
        Array.from({ length: 16 }, () => 0xa5),
      );
    }
  });

  it('writes full tags by FNSTENV and masks everything', () => {
    m.v.setInt('fcw', 0x340);
    run(4, 0xd9, 0xe8, 0xd9, 0xee, 0xdd, 0xc1, 0xd9, 0x37); // fld1; fldz; ffree st1; fnstenv
    const word = (at: number): number =>
      (m.get(Number(DATA) + at, 2)[0] ?? 0) | ((m.get(Number(DATA) + at, 2)[1] ?? 0) << 8);
    assert.equal(word(0), 0x340);
    assert.equal(word(8), 0xdfff, 'R6 holds zero, the others are empty');
    assert.equal(m.v.getInt('fcw'), 0x37f);
  });

  it('refuses FXSAVE at an unaligned address and FXRSTOR of a reserved MXCSR bit', () => {
    m.v.set('rdi', DATA + 8n);
    assert.equal(fault(run(1, 0x0f, 0xae, 0x07)), VECTOR.GP);
    m.v.set('rdi', DATA);
    run(1, 0x0f, 0xae, 0x07);
    m.put(Number(DATA) + 26, [1]);
    assert.equal(fault(run(1, 0x0f, 0xae, 0x0f)), VECTOR.GP);
  });

  it('asks CR0: TS and EM', () => {
    m.v.set('cr0', 0x8001_003bn);
    assert.equal(fault(run(1, 0xd9, 0xe8)), VECTOR.NM);
    assert.equal(fault(run(1, 0x9b)), VECTOR.NM, 'FWAIT under MP and TS');
    m.v.set('cr0', 0x8001_0037n);
    assert.equal(fault(run(1, 0xd9, 0xe8)), VECTOR.NM);
    assert.equal(run(1, 0x9b), EXIT.LIMIT, 'FWAIT ignores EM');
    assert.equal(fault(run(1, 0x0f, 0xae, 0x07)), VECTOR.UD);
  });

  it('saves and restores all of it wherever the top is: fxsave64, fninit, fxrstor64', () => {
    for (const [fsw, ftw] of [
      [0, 0],
      [3 << 11, 0b0011_1000],
      [7 << 11, 0x80],
    ] as const) {
      const image = (): readonly number[] => m.get(Number(DATA), 416);
      const registers = (): string[] =>
        ([0, 1, 2, 3, 4, 5, 6, 7] as const).map((n) => m.v.bytes(`fpr${n}`).join());
      for (let n = 0; n < 8; n++) {
        const bytes = m.v.bytes(`fpr${n as 0}`);
        for (let i = 0; i < 10; i++) bytes[i] = 16 * n + i;
      }
      m.v.setInt('fsw', fsw);
      m.v.setInt('ftw', ftw);
      const before = registers();
      // fxsave64 [rdi]; fninit; fldz; fxrstor64 [rdi]
      assert.equal(
        run(4, 0x48, 0x0f, 0xae, 0x07, 0xdb, 0xe3, 0xd9, 0xee, 0x48, 0x0f, 0xae, 0x0f),
        EXIT.LIMIT,
      );
      const top = (fsw >> 11) & 7;
      for (let i = 0; i < 8; i++)
        assert.equal(image()[32 + 16 * i], 16 * ((top + i) & 7), `st(${i}) of the image`);
      assert.deepEqual(registers(), before);
      assert.deepEqual([m.v.getInt('fsw'), m.v.getInt('ftw')], [fsw, ftw]);
    }
  });

  it('fxrstor raises the summary for what the control word does not mask', () => {
    m.v.setInt('fcw', 0x37e);
    m.v.setInt('fsw', 1);
    // fxsave64 [rdi]; fxrstor64 [rdi]
    assert.equal(run(2, 0x48, 0x0f, 0xae, 0x07, 0x48, 0x0f, 0xae, 0x0f), EXIT.LIMIT);
    assert.equal(m.v.getInt('fsw'), 0x8081);
  });
});
