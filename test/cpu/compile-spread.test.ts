import assert from 'node:assert/strict';
import { spreading } from '../../src/cpu/compile/spread';

/** Where a target's word leads, as the region computes it. */
const place = (factor: number, shift: number, rip: bigint): number =>
  Math.imul(Number(BigInt.asUintN(32, rip)), factor) >>> shift;

describe('targets of a computed jump in a table', () => {
  it('few are compared one after another', () => {
    assert.equal(spreading([0x1000n, 0x1010n, 0x1020n]), undefined);
  });

  it('each has a place of its own, the others are none of them', () => {
    for (const [count, stride, base] of [
      [4, 16n, 0x401900n],
      [8, 13n, 0xffff_ffff_8100_0ff3n],
      [37, 7n, 0x7fff_0000_1234n],
    ] as const) {
      const targets = Array.from({ length: count }, (_, i) => base + BigInt(i * i) * stride);
      const found = spreading(targets);
      assert.ok(found !== undefined, `${count.toString()} targets`);
      const { factor, shift, table } = found;
      assert.equal(table.length, 2 ** (32 - shift));
      targets.forEach((rip, i) => assert.equal(table[place(factor, shift, rip)], i));
      assert.equal(table.filter((which) => which < count).length, count);
      assert.ok(table.every((which) => which <= count));
    }
  });

  it('two that differ above 32 bits only have no table', () => {
    assert.equal(spreading([0x1000n, 0x1_0000_1000n, 0x2000n, 0x3000n]), undefined);
  });
});
