import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as s from '../../../src/cpu/softfloat';
import { type Case, differences } from './cases';
import { models } from './models';
import { parseVectors } from './vectors';

/** Recorded by scripts/native/softfloat-check.ts --record on an AMD Zen 4. */
const recorded = readFileSync(join(__dirname, 'vectors.txt'), 'utf8');

describe('softfloat against recorded hardware', () => {
  const groups = new Map<string, Case[]>();
  for (const { name, c } of parseVectors(recorded)) {
    const cases = groups.get(name) ?? [];
    cases.push(c);
    groups.set(name, cases);
  }

  it('has vectors for every operation', () => {
    assert.deepEqual([...groups.keys()].sort(), [...models.keys()].sort());
  });

  for (const [name, cases] of groups) {
    it(`${name}: ${String(cases.length)} cases`, () => {
      const model = models.get(name);
      assert.ok(model, `no model for ${name}`);
      for (const c of cases) {
        const { problem } = differences(model, c);
        assert.equal(
          problem,
          undefined,
          `${name} a=${c.a.toString(16)} b=${c.b.toString(16)} control=${c.control.toString(16)}`,
        );
      }
    });
  }
});

describe('softfloat rules that need words', () => {
  const f64 = (x: number): bigint => new BigUint64Array(new Float64Array([x]).buffer)[0] ?? 0n;

  it('rounds pi by RC', () => {
    const at = (rc: 0 | 1 | 2 | 3): bigint => s.constant('fldpi', { ...s.defaultEnv(), rc });
    assert.deepEqual(
      [at(0), at(1), at(2), at(3)].map((v) => v & 0xffn),
      [0x35n, 0x34n, 0x35n, 0x34n],
    );
  });

  it('detects tininess after rounding', () => {
    // (1 - 2^-53) * 2^-1022 as an f80 rounds up to the least normal f64: inexact, but not an underflow.
    const env = s.defaultEnv();
    const almost = (BigInt(16383 - 1023) << 64n) | ((1n << 64n) - 1n);
    assert.equal(s.convert(s.f80, s.f64, almost, env), 1n << 52n);
    assert.equal(env.flags, s.INEXACT);
  });

  it('reports underflow of an exact denormal only when it is unmasked', () => {
    const masked = s.defaultEnv();
    const tiny = f64(2 ** -1022),
      half = f64(0.5);
    assert.equal(s.mul(s.f64, tiny, half, masked), 1n << 51n);
    assert.equal(masked.flags, 0);
    const unmasked = { ...s.defaultEnv(), masks: 0x3f & ~s.UNDERFLOW };
    s.mul(s.f64, tiny, half, unmasked);
    assert.equal(s.unmaskedPending(unmasked), s.UNDERFLOW);
  });

  it('keeps post-computation flags of a packed operation back when an element is invalid and unmasked', () => {
    const env = { ...s.defaultEnv(), masks: 0x3f & ~s.INVALID };
    s.div(s.f64, f64(1), f64(3), env);
    s.div(s.f64, 0n, 0n, env);
    s.settlePacked(env);
    assert.equal(env.flags, s.INVALID);
  });

  it('gives the fast path and the general path the same answers', () => {
    // Directed rounding takes the general path; toward zero and away bracket the fast path's answer.
    for (const [x, y] of [
      [1.1, 3.3],
      [1e100, -1e99],
      [7, 0.1],
      [2, 3],
    ] as const) {
      for (const op of [s.add, s.sub, s.mul, s.div]) {
        const near = s.defaultEnv(),
          down = { ...s.defaultEnv(), rc: 1 as const },
          up = { ...s.defaultEnv(), rc: 2 as const };
        const [n, d, u] = [near, down, up].map((env) => op(s.f64, f64(x), f64(y), env));
        assert.ok(n === d || n === u);
        assert.equal(near.flags, down.flags);
        assert.equal(d === u, (near.flags & s.INEXACT) === 0);
      }
    }
  });

  it('asks for another FPREM while the exponents are 64 or more apart, and converges', () => {
    const env = s.defaultEnv();
    let value = s.convert(s.f64, s.f80, f64(2 ** 1000 * 1.5), env);
    const seven = s.fromInteger(s.f80, 7n, env);
    let rounds = 0;
    for (; ; rounds++) {
      const step = s.prem(value, seven, env);
      value = step.result;
      if (!step.partial) break;
    }
    // 3 * 2^999 mod 7, 2^3 = 1 mod 7.
    assert.equal(s.toInteger(s.f80, value, 32, env), 3n);
    assert.ok(rounds > 10);
    assert.equal(env.flags, 0);
  });
});
