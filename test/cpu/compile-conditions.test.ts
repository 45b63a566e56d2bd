/** Conditions as compiled regions compute them, of comparisons that are folded into one: against the manual's definition. */
import assert from 'node:assert/strict';
import { EXIT } from '../../src/cpu/exits';
import { CODE, DATA, flatMachine } from './flat-machine';

const VALUES = [0n, 1n, 2n, 0x7fn, 0x80n, 0xffn, 0x7fffn, 0x8000n, 0xffffn, 0x7fff_ffffn, 0x8000_0000n, 0xffff_ffffn, (1n << 63n) - 1n, 1n << 63n, (1n << 64n) - 1n]; // prettier-ignore
const PAIRS = VALUES.flatMap((a) => VALUES.map((b) => [a, b] as const));
const OUT = Number(DATA) + 0x1000;
/** Pairs at a time: the results of each take 16 bytes. */
const BATCH = 225;

const WIDTHS = [8, 16, 32, 64] as const;
const prefix = { 8: [], 16: [0x66], 32: [], 64: [0x48] } as const;

/** SDM Vol. 1 App. B: the conditions 0–15 after CF, OF, ZF, SF and PF. */
function conditions(f: { cf: boolean; of: boolean; zf: boolean; sf: boolean; pf: boolean }): number[] {
  const yes = [f.of, f.cf, f.zf, f.cf || f.zf, f.sf, f.pf, f.sf !== f.of, f.zf || f.sf !== f.of];
  return yes.flatMap((c) => [c ? 1 : 0, c ? 0 : 1]);
}

const parity = (v: bigint): boolean => ((v & 0xffn).toString(2).split('1').length - 1) % 2 === 0;

function subtracted(w: number, x: bigint, y: bigint): number[] {
  const [a, b] = [BigInt.asUintN(w, x), BigInt.asUintN(w, y)];
  const r = BigInt.asUintN(w, a - b);
  const difference = BigInt.asIntN(w, a) - BigInt.asIntN(w, b);
  const of = difference !== BigInt.asIntN(w, difference);
  return conditions({ cf: a < b, of, zf: r === 0n, sf: BigInt.asIntN(w, r) < 0n, pf: parity(r) });
}

function anded(w: number, x: bigint, y: bigint): number[] {
  const r = BigInt.asUintN(w, x & y);
  return conditions({ cf: false, of: false, zf: r === 0n, sf: BigInt.asIntN(w, r) < 0n, pf: parity(r) });
}

/** For every pair: mov rax,[rsi]; mov rbx,[rsi+8]; `compare`; setCC [rdi+n], all of them. */
function results(compare: readonly number[]): number[][] {
  const m = flatMachine({}, 512, { tier: 'compile', compile: { heat: 3, batch: 1 } });
  const body = [
    ...[0x48, 0x8b, 0x06, 0x48, 0x8b, 0x5e, 0x08, ...compare],
    ...Array.from({ length: 16 }, (_, n) => [0x0f, 0x90 + n, 0x47, n]).flat(),
    ...[0x48, 0x83, 0xc6, 0x10, 0x48, 0x83, 0xc7, 0x10, 0x48, 0xff, 0xc9],
  ];
  m.put(Number(CODE), [...body, 0x75, (-body.length - 2) & 255]);
  PAIRS.forEach(([a, b], i) => {
    m.setU64(Number(DATA) + 16 * i, a);
    m.setU64(Number(DATA) + 16 * i + 8, b);
  });
  m.v.set('rsi', DATA);
  m.v.set('rdi', BigInt(OUT));
  m.v.set('rcx', BigInt(BATCH));
  const each = 23n;
  assert.equal(m.step(CODE, each * BigInt(BATCH)), EXIT.LIMIT);
  assert.ok((m.cpu.regions?.statistics.regions ?? 0) > 0, 'nothing was compiled');
  assert.equal(m.v.get('rcx'), 0n);
  return PAIRS.map((_, i) => m.get(OUT + 16 * i, 16));
}

describe('region compiler: conditions', () => {
  for (const w of WIDTHS) {
    const opcode = (byte: number): number => (w === 8 ? byte - 1 : byte);
    it(`of CMP and TEST of ${w} bits`, () => {
      const rows = [
        { compare: [0x39], expected: subtracted },
        { compare: [0x85], expected: anded },
      ];
      for (const { compare, expected } of rows) {
        const found = results([...prefix[w], ...compare.map(opcode), 0xd8]);
        PAIRS.forEach(([a, b], i) => {
          assert.deepEqual(found[i], expected(w, a, b), `0x${compare[0]?.toString(16) ?? ''}: ${a}, ${b}`);
        });
      }
    });

    it(`of CMP of ${w} bits with an immediate`, () => {
      for (const immediate of [0, 1, 0x7f, 0x80, 0xff]) {
        const found = results([...prefix[w], w === 8 ? 0x80 : 0x83, 0xf8, immediate]);
        const y = BigInt.asIntN(8, BigInt(immediate));
        PAIRS.forEach(([a], i) => {
          assert.deepEqual(found[i], subtracted(w, a, y), `${a} with ${y}`);
        });
      }
    });
  }
});
