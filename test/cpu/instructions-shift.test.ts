import type { Width } from '../../src/cpu/ops';
import { forEachBackend } from '../support/cpu';

/** Shifts and rotates one step at a time: what the manual's pseudo-code does, and nothing cleverer. */
interface Bits {
  v: bigint;
  cf: bigint;
}
const STEPS: Readonly<Record<string, (w: bigint, b: Bits) => Bits>> = {
  rol: (w, { v }) => ({ v: (v << 1n) | (v >> (w - 1n)), cf: v >> (w - 1n) }),
  ror: (w, { v }) => ({ v: (v >> 1n) | ((v & 1n) << (w - 1n)), cf: v & 1n }),
  rcl: (w, { v, cf }) => ({ v: (v << 1n) | cf, cf: v >> (w - 1n) }),
  rcr: (w, { v, cf }) => ({ v: (v >> 1n) | (cf << (w - 1n)), cf: v & 1n }),
  shl: (w, { v }) => ({ v: v << 1n, cf: v >> (w - 1n) }),
  shr: (_w, { v }) => ({ v: v >> 1n, cf: v & 1n }),
  sar: (w, { v }) => ({ v: (v >> 1n) | (v & (1n << (w - 1n))), cf: v & 1n }),
};
const DIGIT: Readonly<Record<string, number>> = { rol: 0, ror: 1, rcl: 2, rcr: 3, shl: 4, shr: 5, sar: 7 };
const REGISTER: Readonly<Record<Width, string>> = { 8: 'bl', 16: 'bx', 32: 'ebx', 64: 'rbx' };
const PREFIX: Readonly<Record<Width, string>> = { 8: 'd2', 16: '66 d3', 32: 'd3', 64: '48 d3' };

const mask = (w: Width): bigint => (1n << BigInt(w)) - 1n;
const VALUES = [0n, 0x0123_4567_89ab_cdefn, 0xfedc_ba98_8181_8181n];

const parity = (v: bigint): number => ((v & 0xffn).toString(2).replaceAll('0', '').length + 1) % 2;

describe('shifts and rotates against a one-step model', () => {
  forEachBackend((cpu) => {
    for (const [name, step] of Object.entries(STEPS)) {
      for (const w of [8, 16, 32, 64] as const) {
        it(`${name} at ${w} bits, every count`, () => {
          const modrm = (0xc0 | ((DIGIT[name] ?? 0) << 3) | 3).toString(16);
          for (const whole of VALUES) {
            for (let n = 0; n < 256; n += n < 34 ? 1 : 31) {
              for (const cf of [0n, 1n]) {
                const a = whole & mask(w);
                const count = n & (w === 64 ? 63 : 31);
                let b: Bits = { v: a, cf };
                for (let i = 0; i < count; i++) {
                  const next = step(BigInt(w), b);
                  b = { v: next.v & mask(w), cf: next.cf };
                }
                const top = (v: bigint): number => Number((v >> BigInt(w - 1)) & 1n);
                const isShift = name.startsWith('s');
                // OF is defined for counts of 1, where it says that the sign changed (RCR, ROR, SHR: the same).
                const of = name === 'sar' ? 0 : top(a) ^ top(b.v);
                const rest = w <= 16 ? whole & ~mask(w) : 0n;
                const trial = cpu(`${name} ${REGISTER[w]},cl`, `${PREFIX[w]} ${modrm}`).given({
                  rbx: whole, rcx: n, cf, of: 1, sf: 1, zf: 0, pf: 0, af: 1,
                }); // prettier-ignore
                const changed = count > 0;
                const beyond = changed && name !== 'sar' && isShift && count > w;
                trial.expect({
                  rbx: rest | b.v,
                  cf: b.cf,
                  of: changed ? of : 1,
                  ...(changed && isShift ? { sf: top(b.v), zf: b.v === 0n ? 1 : 0, pf: parity(b.v) } : {}),
                  undefined: [
                    ...(count > 1 ? (['of'] as const) : []),
                    ...(changed && isShift ? (['af'] as const) : []),
                    ...(beyond ? (['cf'] as const) : []),
                  ],
                });
              }
            }
          }
        }).timeout(20_000);
      }
    }

    for (const [name, opcode, left] of [
      ['shld', '0f a5', true],
      ['shrd', '0f ad', false],
    ] as const) {
      for (const w of [16, 32, 64] as const) {
        it(`${name} at ${w} bits, every defined count`, () => {
          const prefix = { 16: '66 ', 32: '', 64: '48 ' }[w];
          const source = { 16: 'dx', 32: 'edx', 64: 'rdx' }[w];
          for (const a of VALUES) {
            for (let n = 0; n < 70; n++) {
              const count = n & (w === 64 ? 63 : 31);
              if (count > w) continue;
              const b = 0x9669_1234_0ff1_7ee7n & mask(w);
              const W = BigInt(w);
              const c = BigInt(count);
              const low = a & mask(w);
              const both = left ? (low << W) | b : (b << W) | low;
              const r = left ? ((both << c) >> W) & mask(w) : (both >> c) & mask(w);
              const cf = count === 0 ? 1n : left ? (low >> (W - c)) & 1n : (low >> (c - 1n)) & 1n;
              const top = (v: bigint): number => Number((v >> (W - 1n)) & 1n);
              cpu(`${name} ${REGISTER[w]},${source},cl`, `${prefix}${opcode} d3`)
                .given({ rbx: a, rdx: b, rcx: n, cf: 1, of: 1, sf: 1, zf: 1, pf: 1, af: 1 })
                .expect({
                  rbx: w === 16 ? (a & ~0xffffn) | r : r,
                  cf,
                  ...(count > 0
                    ? { sf: top(r), zf: r === 0n ? 1 : 0, pf: parity(r), of: top(r) ^ top(low) }
                    : {}),
                  undefined: count === 0 ? [] : count === 1 ? ['af'] : ['af', 'of'],
                });
            }
          }
        }).timeout(20_000);
      }
    }
  });
});
