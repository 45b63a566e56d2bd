import assert from 'node:assert/strict';
import type { FpOp } from '../../src/cpu/ir/nodes';
import { EXIT } from '../../src/cpu/exits';
import { fpExact, settle } from '../../src/cpu/sse-exact';
import { CODE, flatMachine } from './flat-machine';

/** xorshift64*: the same operands every time. */
function generator(seed: bigint): () => bigint {
  let x = seed;
  return () => {
    x ^= BigInt.asUintN(64, x << 13n);
    x ^= x >> 7n;
    x ^= BigInt.asUintN(64, x << 17n);
    return x;
  };
}

/** Values on the edges of what the fast paths accept, and ordinary ones. */
function operand(random: () => bigint, fmt: 32 | 64): bigint {
  const mantissa = fmt === 64 ? 52n : 23n;
  const top = fmt === 64 ? 0x7ffn : 0xffn;
  const sign = (random() & 1n) << (fmt === 64 ? 63n : 31n);
  const pick = Number(random() % 16n);
  const fraction = random() & ((1n << mantissa) - 1n);
  const near = (e: bigint): bigint => e << mantissa;
  const bias = top >> 1n;
  const table: readonly (() => bigint)[] = [
    () => 0n,
    () => near(1n),
    () => near(1n) | 1n,
    () => near(top),
    () => near(top) | (1n << (mantissa - 1n)),
    () => near(top) | 1n,
    () => fraction,
    () => near(bias),
    () => near(top - 1n) | fraction,
    () => near(1n + (random() % 4n)) | fraction,
    () => near(bias / 2n + (random() % 8n)) | fraction,
    () => near(bias + 31n) | (random() & 1n ? 0n : fraction),
    () => near(bias + 63n) | (random() & 1n ? 0n : fraction),
  ];
  const make = table[pick] ?? (() => near(bias - 8n + (random() % 40n)) | (random() & 3n ? fraction : 0n));
  return make() | sign;
}

/** Scalar operations xmm0 ← op(xmm0, xmm1), by opcode byte and prefix. */
const OPCODES: readonly { op: 'add' | 'sub' | 'mul' | 'div' | 'min' | 'max' | 'sqrt'; byte: number }[] = [
  { op: 'add', byte: 0x58 },
  { op: 'mul', byte: 0x59 },
  { op: 'sub', byte: 0x5c },
  { op: 'min', byte: 0x5d },
  { op: 'div', byte: 0x5e },
  { op: 'max', byte: 0x5f },
  { op: 'sqrt', byte: 0x51 },
];
const CHAINED = OPCODES.filter(({ op }) => ['add', 'sub', 'mul', 'div'].includes(op));
/** All masked with PE flagged (the fast path), without PE, each rounding, DAZ, FTZ, unmasked. */
const MXCSRS = [0x1fa0, 0x1f80, 0x3fa0, 0x5fa0, 0x7fa0, 0x1fe0, 0x9fa0, 0x1f20, 0x0fa0];
const ROUNDS = 400;

/** In regions each operation stands in a loop of its own, a round of which is run at a time. */
const TIERS = [
  { tier: 'interpret', options: undefined, steps: 1n },
  { tier: 'compile', options: { tier: 'compile', compile: { heat: 2, batch: 1 } }, steps: 2n },
] as const;

for (const { tier, options, steps } of TIERS)
  describe(`floating-point fast paths agree with exact arithmetic: ${tier}`, () => {
    const m = flatMachine({}, 512, options);
    const put = (field: 'xmm0' | 'xmm1', v: bigint): void => {
      const b = m.v.bytes(field);
      new DataView(b.buffer, b.byteOffset, 16).setBigUint64(0, v, true);
    };
    const putAll = (field: 'xmm0' | 'xmm1', fmt: 32 | 64, lanes: readonly bigint[]): void => {
      const b = m.v.bytes(field);
      const view = new DataView(b.buffer, b.byteOffset, 16);
      lanes.forEach((v, i) =>
        fmt === 64 ? view.setBigUint64(8 * i, v, true) : view.setUint32(4 * i, Number(v), true),
      );
    };
    const lane = (fmt: 32 | 64, i: number): bigint => {
      const b = m.v.bytes('xmm0');
      const view = new DataView(b.buffer, b.byteOffset, 16);
      return fmt === 64 ? view.getBigUint64(8 * i, true) : BigInt(view.getUint32(4 * i, true));
    };
    const low = (): bigint => {
      const b = m.v.bytes('xmm0');
      return new DataView(b.buffer, b.byteOffset, 16).getBigUint64(0, true);
    };
    let at = CODE;
    const place = (bytes: readonly number[]): bigint => {
      at += 8n;
      // … and jmp back to it
      m.put(Number(at), [...bytes, 0xeb, 256 - bytes.length - 2]);
      return at;
    };

    function check(
      op: FpOp,
      mxcsr: number,
      rip: bigint,
      operands: readonly bigint[],
      read: () => bigint,
    ): void {
      m.v.setInt('mxcsr', mxcsr);
      const exit = m.step(rip, steps);
      const [a = 0n, b = 0n, c = 0n] = operands;
      const exact = fpExact(op, mxcsr, a, b, c);
      const end = settle(mxcsr, exact.flags);
      const what = `${op} mxcsr ${mxcsr.toString(16)} ${operands.map((o) => o.toString(16)).join(' ')}`;
      assert.equal(exit, end.fault ? EXIT.EXCEPTION : EXIT.LIMIT, what);
      assert.equal(m.v.getInt('mxcsr').toString(16), end.mxcsr.toString(16), `${what}: flags`);
      if (!end.fault) assert.equal(read().toString(16), exact.value.toString(16), what);
    }

    for (const fmt of [32, 64] as const) {
      const prefix = fmt === 32 ? 0xf3 : 0xf2;
      const mask = (1n << BigInt(fmt)) - 1n;
      for (const { op, byte } of OPCODES) {
        it(`${op}${fmt}`, () => {
          const rip = place([prefix, 0x0f, byte, 0xc1]);
          const random = generator(BigInt(byte * 977 + fmt));
          for (const mxcsr of MXCSRS) {
            for (let i = 0; i < ROUNDS; i++) {
              const a = operand(random, fmt);
              const b = operand(random, fmt);
              put('xmm0', a);
              put('xmm1', b);
              check(`${op}${fmt}`, mxcsr, rip, op === 'sqrt' ? [b] : [a, b], () => low() & mask);
            }
          }
        });
      }

      for (const [op, byte] of [['add', 0x58], ['mul', 0x59], ['sub', 0x5c], ['div', 0x5e]] as const) {
      it(`${op}${fmt}, all lanes at once`, () => {
        const rip = place(fmt === 32 ? [0x0f, byte, 0xc1] : [0x66, 0x0f, byte, 0xc1]);
        const random = generator(BigInt(byte * 31 + fmt));
        // Mostly plain lanes with one odd one among them: all odd would never take the fast path.
        const plain = (): bigint => (fmt === 32 ? 0x3f80_0000n + (random() & 0xff_ffffn) : (0x3ffn << 52n) + (random() & ((1n << 54n) - 1n))); // prettier-ignore
        const vector = (): bigint[] => Array.from({ length: 128 / fmt }, () => (random() % 5n === 0n ? operand(random, fmt) : plain())); // prettier-ignore
        for (const mxcsr of MXCSRS) {
          for (let i = 0; i < ROUNDS; i++) {
            const [a, b] = [vector(), vector()];
            putAll('xmm0', fmt, a);
            putAll('xmm1', fmt, b);
            m.v.setInt('mxcsr', mxcsr);
            const exit = m.step(rip, steps);
            const exact = a.map((x, n) => fpExact(`${op}${fmt}`, mxcsr, x, b[n] ?? 0n, 0n));
            const end = settle(mxcsr, exact.reduce((flags, e) => flags | e.flags, 0));
            const what = `${op} mxcsr ${mxcsr.toString(16)} ${[...a, ...b].map((o) => o.toString(16)).join(' ')}`;
            assert.equal(exit, end.fault ? EXIT.EXCEPTION : EXIT.LIMIT, what);
            assert.equal(m.v.getInt('mxcsr').toString(16), end.mxcsr.toString(16), `${what}: flags`);
            if (end.fault) continue;
            exact.forEach((e, n) => assert.equal(lane(fmt, n).toString(16), e.value.toString(16), what));
          }
        }
      });
    } // prettier-ignore

      it(`compare${fmt}, by every predicate`, () => {
        const random = generator(BigInt(fmt));
        for (let predicate = 0; predicate < 8; predicate++) {
          const rip = place([prefix, 0x0f, 0xc2, 0xc1, predicate]);
          for (const mxcsr of [0x1f80, 0x1fc0]) {
            for (let i = 0; i < ROUNDS; i++) {
              const a = operand(random, fmt);
              const b = random() & 7n ? operand(random, fmt) : a;
              put('xmm0', a);
              put('xmm1', b);
              check(`compare${fmt}`, mxcsr, rip, [BigInt(predicate), a, b], () => low() & mask);
            }
          }
        }
      });

      it(`comi${fmt} and ucomi${fmt}`, () => {
      const random = generator(BigInt(fmt + 1));
      for (const [op, byte] of [['comi', 0x2f], ['ucomi', 0x2e]] as const) {
        const rip = place(fmt === 32 ? [0x0f, byte, 0xc1] : [0x66, 0x0f, byte, 0xc1]);
        for (let i = 0; i < ROUNDS; i++) {
          const a = operand(random, fmt);
          const b = random() & 7n ? operand(random, fmt) : a;
          put('xmm0', a);
          put('xmm1', b);
          check(`${op}${fmt}`, 0x1f80, rip, [a, b], () => m.v.rflags & 0x8d5n);
        }
      }
    }); // prettier-ignore

      it(`to and from integers, ${fmt}`, () => {
        const random = generator(BigInt(fmt + 2));
        for (const w of [32, 64] as const) {
          const rex = w === 64 ? [0x48] : [];
          const to = place([prefix, ...rex, 0x0f, 0x2d, 0xc1]);
          const cut = place([prefix, ...rex, 0x0f, 0x2c, 0xc1]);
          const from = place([prefix, ...rex, 0x0f, 0x2a, 0xc1]);
          for (const mxcsr of MXCSRS) {
            for (let i = 0; i < ROUNDS; i++) {
              const a = operand(random, fmt);
              put('xmm1', a);
              check(`toInt${fmt}_${w}`, mxcsr, to, [a], () => m.v.get('rax'));
              check(`toInt${fmt}_${w}_truncate`, mxcsr, cut, [a], () => m.v.get('rax'));
              const n = BigInt.asUintN(w, random() >> (random() & 63n));
              m.v.set('rcx', n);
              check(`fromInt${w}_${fmt}`, mxcsr, from, [n], () => low() & mask);
            }
          }
        }
      });
    }

    // What one operation found out of its result the next does not ask again.
    for (const fmt of [32, 64] as const)
      for (const packed of [false, true])
        it(`operations on results of others, ${packed ? 'all lanes' : 'one lane'}, ${fmt}`, () => {
          const random = generator(BigInt(fmt + (packed ? 7 : 5)));
          const prefixes = packed ? (fmt === 64 ? [0x66] : []) : [fmt === 32 ? 0xf3 : 0xf2];
          const lanes = packed ? 128 / fmt : 1;
          const vector = (): bigint[] => Array.from({ length: lanes }, () => operand(random, fmt));
          for (const first of CHAINED)
            for (const second of CHAINED) {
              const code = [first, second].flatMap(({ byte }) => [...prefixes, 0x0f, byte, 0xc1]);
              const rip = place(code);
              for (const mxcsr of [0x1fa0, 0x1f80, 0x5fa0])
                for (let i = 0; i < ROUNDS / 8; i++) {
                  const [a, b] = [vector(), vector()];
                  putAll('xmm0', fmt, a);
                  putAll('xmm1', fmt, b);
                  m.v.setInt('mxcsr', mxcsr);
                  assert.equal(m.step(rip, 1n + steps), EXIT.LIMIT);
                  let [values, state] = [a, mxcsr];
                  for (const { op } of [first, second]) {
                    const exact = values.map((x, n) => fpExact(`${op}${fmt}`, state, x, b[n] ?? 0n, 0n));
                    state = settle(
                      state,
                      exact.reduce((flags, e) => flags | e.flags, 0),
                    ).mxcsr;
                    values = exact.map((e) => e.value);
                  }
                  const what = `${first.op} ${second.op} mxcsr ${mxcsr.toString(16)} ${[...a, ...b].map((o) => o.toString(16)).join(' ')}`;
                  assert.equal(m.v.getInt('mxcsr').toString(16), state.toString(16), `${what}: flags`);
                  values.forEach((v, n) => assert.equal(lane(fmt, n).toString(16), v.toString(16), what));
                }
            }
        });

    it('between the formats', () => {
      const random = generator(99n);
      const narrow = place([0xf2, 0x0f, 0x5a, 0xc1]);
      const widen = place([0xf3, 0x0f, 0x5a, 0xc1]);
      for (const mxcsr of MXCSRS) {
        for (let i = 0; i < ROUNDS; i++) {
          const d = random() & 1n ? operand(random, 64) : BigInt.asUintN(64, (operand(random, 64) & ~(0x7ffn << 52n)) | ((1023n - 130n + (random() % 260n)) << 52n)); // prettier-ignore
          put('xmm1', d);
          check('convert64_32', mxcsr, narrow, [d], () => low() & 0xffffffffn);
          const s = operand(random, 32);
          put('xmm1', s);
          check('convert32_64', mxcsr, widen, [s], low);
        }
      }
    });

    if (tier === 'compile')
      after('regions were compiled', () => {
        assert.ok((m.cpu.regions?.statistics.regions ?? 0) > 30);
      });
  });
