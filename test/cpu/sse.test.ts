import assert from 'node:assert/strict';
import { evaluateOne } from '../../src/cpu/evaluate/index';
import { EXIT } from '../../src/cpu/exits';
import { FORMS } from '../../src/cpu/instructions/index';
import { VECTOR } from '../../src/cpu/ops';
import type { FieldName } from '../../src/cpu/state';
import { CODE, DATA, flatMachine } from './flat-machine';

/**
 * What a process on the host cannot show of SSE and MMX: control registers, and who sees which fault first. What
 * the instructions compute is held to recorded hardware in vectors.test.ts.
 */
const CR0 = 0x8001_0033n;
const CR0_EM = CR0 | 4n;
const CR0_TS = CR0 | 8n;
const CR4 = 0x620n;
const OSFXSR = 0x200n;
const OSXMMEXCPT = 0x400n;
const ES = 0x8080;

const machine = flatMachine();
const { v } = machine;
const HOOKS = {
  cpuid: () => ({ eax: 0, ebx: 0, ecx: 0, edx: 0 }),
  tsc: () => 0n,
  cow: () => undefined,
  watch: () => false,
};
const TIERS = {
  evaluate: () =>
    evaluateOne(
      { mem: machine.cpu.mem, hooks: HOOKS, beforeStore: (mfn) => machine.cpu.beforeStore(mfn) },
      v,
    ),
  interpret: () => machine.step(),
} as const;

const bytesOf = (hex: string): number[] => (hex.match(/../g) ?? []).map((b) => parseInt(b, 16));
const u128 = (field: FieldName): bigint =>
  v.bytes(field).reduceRight((all, b) => (all << 8n) | BigInt(b), 0n);
function setU128(field: FieldName, value: bigint): void {
  v.bytes(field).set(Array.from({ length: 16 }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn)));
}

for (const [name, step] of Object.entries(TIERS)) {
  describe(`SSE and MMX: ${name}`, () => {
    beforeEach(() => {
      v.set('cr0', CR0);
      v.set('cr4', CR4);
      v.setInt('mxcsr', 0x1f80);
      v.setInt('fsw', 0);
      v.setInt('ftw', 0);
      v.set('rdi', DATA);
      for (let n = 0; n < 16; n++) setU128(`xmm${n}` as FieldName, 0n);
      for (let n = 0; n < 8; n++) setU128(`fpr${n}` as FieldName, 0n);
      machine.put(Number(DATA), new Array<number>(64).fill(0));
    });

    /** Exception vector, or −1 when the instruction retires. */
    const run = (hex: string): number => {
      machine.cpu.beforeStore(Number(CODE) >> 12);
      machine.put(Number(CODE), [...bytesOf(hex), 0xcc]);
      v.set('rip', CODE);
      const exit = step();
      return exit === EXIT.EXCEPTION ? v.getInt('exit_vector') : -1;
    };

    const ADDPS = '0f58c1';
    const PADDB = '0ffcc1';
    const PMAXUB = '0fdec1';
    const MOVNTI = '0fc307';
    const SFENCE = '0faef8';
    const CVTPI2PS = '0f2ac1';
    const CVTPI2PS_MEMORY = '0f2a07';
    const MOVQ2DQ = 'f30fd6c1';

    it('asks CR0 and CR4 by unit', () => {
      const vectors = (): number[] => [ADDPS, PADDB, PMAXUB, MOVNTI, SFENCE].map(run);
      assert.deepEqual(vectors(), [-1, -1, -1, -1, -1]);
      v.set('cr0', CR0_EM);
      assert.deepEqual(vectors(), [VECTOR.UD, VECTOR.UD, VECTOR.UD, -1, -1]);
      v.set('cr0', CR0_TS);
      assert.deepEqual(vectors(), [VECTOR.NM, VECTOR.NM, VECTOR.NM, -1, -1]);
      v.set('cr0', CR0);
      v.set('cr4', CR4 & ~OSFXSR);
      assert.deepEqual(vectors(), [VECTOR.UD, -1, -1, -1, -1]);
    });

    it('delivers a pending x87 exception before whatever touches an mm register', () => {
      v.setInt('fsw', ES | 1);
      const vectors = [PADDB, CVTPI2PS, MOVQ2DQ, '0f77', CVTPI2PS_MEMORY, ADDPS].map(run);
      assert.deepEqual(vectors, [VECTOR.MF, VECTOR.MF, VECTOR.MF, VECTOR.MF, -1, -1]);
    });

    it('enters MMX with valid tags and TOP 0, and leaves it by EMMS', () => {
      v.setInt('fsw', 0x3800);
      setU128('fpr1', 0x4000_0102030405060708n);
      assert.equal(run(PADDB), -1);
      assert.deepEqual([v.getInt('fsw'), v.getInt('ftw')], [0, 0xff]);
      assert.equal(u128('fpr0'), 0xffff_0102030405060708n, 'exponent of what is written: ones');
      assert.equal(u128('fpr1'), 0x4000_0102030405060708n, 'of what is read: unchanged');
      assert.equal(run('0f77'), -1);
      assert.deepEqual([v.getInt('fsw'), v.getInt('ftw')], [0, 0]);
    });

    it('makes no transition where a load faults', () => {
      v.setInt('fsw', 0x3800);
      v.set('rdi', 0n);
      assert.equal(run('0ffc07'), VECTOR.PF);
      assert.deepEqual([v.getInt('fsw'), v.getInt('ftw')], [0x3800, 0]);
    });

    it('raises #XM, or #UD where the system does not know it, after setting the flags and before the result', () => {
      // Divide by zero, unmasked.
      v.setInt('mxcsr', 0x1d80);
      setU128('xmm0', 0x3f800000n);
      assert.equal(run('f30f5ec1'), VECTOR.XM);
      assert.equal(v.getInt('mxcsr'), 0x1d84);
      assert.equal(u128('xmm0'), 0x3f800000n);
      v.set('cr4', CR4 & ~OSXMMEXCPT);
      assert.equal(run('f30f5ec1'), VECTOR.UD);
    });

    it('gathers the exceptions of all lanes before it raises', () => {
      // Lane 0: 1/0, unmasked; lane 1: 0/0, masked; lane 2: inexact, which the others hide.
      v.setInt('mxcsr', 0x1d80);
      setU128('xmm0', 0x3f800000_3f800000_00000000_3f800000n);
      setU128('xmm1', 0x3f800000_40400000_00000000_00000000n);
      assert.equal(run('0f5ec1'), VECTOR.XM);
      assert.equal(v.getInt('mxcsr'), 0x1d85);
      assert.equal(u128('xmm0'), 0x3f800000_3f800000_00000000_3f800000n);
    });

    it('stores nothing for a conversion that raises', () => {
      v.setInt('mxcsr', 0x1f00);
      v.set('rax', 7n);
      setU128('xmm1', 0x7fc00000n);
      assert.equal(run('f3480f2dc1'), VECTOR.XM);
      assert.equal(v.get('rax'), 7n);
    });

    it('refuses reserved bits of MXCSR', () => {
      machine.put(Number(DATA), [0x80, 0x1f, 1, 0]);
      assert.equal(run('0fae17'), VECTOR.GP);
      assert.equal(v.getInt('mxcsr'), 0x1f80);
      machine.put(Number(DATA), [0xc0, 0xff, 0, 0]);
      assert.equal(run('0fae17'), -1);
      assert.equal(v.getInt('mxcsr'), 0xffc0);
      machine.put(Number(DATA), [0, 0, 0, 0]);
      assert.equal(run('0fae1f'), -1);
      assert.deepEqual(machine.get(Number(DATA), 4), [0xc0, 0xff, 0, 0]);
    });

    it('wants 128-bit operands aligned, except where the name says otherwise', () => {
      v.set('rdi', DATA + 8n);
      const [MOVAPS, MOVUPS, MOVNTDQ, ADDPS_MEMORY, MOVQ] = [
        '0f2807',
        '0f1007',
        '660fe707',
        '0f5807',
        'f30f7e07',
      ];
      assert.deepEqual([MOVAPS, MOVUPS, MOVNTDQ, ADDPS_MEMORY, MOVQ].map(run), [VECTOR.GP, -1, VECTOR.GP, VECTOR.GP, -1]); // prettier-ignore
    });

    it('keeps or clears the rest of the register as the form of the move says', () => {
      const all = 0x1111111122222222_3333333344444444n;
      const results = ['f30f1007', 'f30f10c1', 'f20f1007', 'f20f10c1', '0f1207', '0f1607'].map((hex) => {
        setU128('xmm0', all);
        setU128('xmm1', 0xaaaaaaaabbbbbbbb_ccccccccddddddddn);
        machine.put(Number(DATA), bytesOf('0102030405060708'));
        assert.equal(run(hex), -1);
        return u128('xmm0');
      });
      assert.deepEqual(results, [
        0x04030201n,
        0x1111111122222222_33333333ddddddddn,
        0x0807060504030201n,
        0x1111111122222222_ccccccccddddddddn,
        0x1111111122222222_0807060504030201n,
        0x0807060504030201_3333333344444444n,
      ]);
    });

    it('writes only selected bytes by MASKMOVDQU, but checks them all', () => {
      const last = DATA + 0x2000n - 8n;
      v.set('rdi', DATA);
      setU128('xmm0', 0x0f0e0d0c0b0a0908_0706050403020100n);
      setU128('xmm1', 0x8000000000000000_00000000000000ffn);
      machine.put(Number(DATA), new Array<number>(16).fill(0xee));
      assert.equal(run('660ff7c1'), -1);
      assert.deepEqual(machine.get(Number(DATA), 16), [0, ...new Array<number>(14).fill(0xee), 0x0f]);
      v.set('rdi', last);
      setU128('xmm1', 0xffn);
      assert.equal(run('660ff7c1'), VECTOR.PF);
      assert.equal(v.get('exit_address'), DATA + 0x2000n);
    });
  });
}

describe('SSE and MMX: declarations', () => {
  it('name a unit whenever an operand is a vector register', () => {
    const bare = FORMS.filter(
      (f) => f.instruction.unit === undefined && f.operands.some((o) => o.kind === 'xmm' || o.kind === 'mm'),
    );
    assert.deepEqual(
      bare.map((f) => f.mnemonic),
      [],
    );
  });
});
