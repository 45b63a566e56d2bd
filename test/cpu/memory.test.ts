import assert from 'node:assert/strict';
import { createMemory, layoutMemory } from '../../src/cpu/memory';
import { STATE_SIZE } from '../../src/cpu/state';
import { TLB_SET_BYTES } from '../../src/cpu/wasm/abi';

describe('machine memory', () => {
  it('keeps its regions apart and aligned', () => {
    const { layout, bytes } = layoutMemory({ frames: 1000, vcpus: 3, reserve: 5000 });
    const regions: [number, number][] = [
      [0, 3 * 4096],
      ...layout.vcpus.map((a): [number, number] => [a, STATE_SIZE]),
      ...layout.tlbs.map((a): [number, number] => [a, 2 * TLB_SET_BYTES]),
      [layout.records, layout.recordsSize],
      [layout.reserve, layout.reserveSize],
      [layout.attention, 1000],
      [layout.codeLines, 8000],
      [layout.frames, 1000 * 4096],
    ];
    regions.sort((a, b) => a[0] - b[0]);
    regions.reduce((end, [from, size]) => {
      assert.ok(from >= end, `0x${from.toString(16)} begins before 0x${end.toString(16)}`);
      return from + size;
    }, 0);
    assert.equal(bytes, layout.frames + 1000 * 4096);
    assert.equal(layout.reserveSize, 8192);
    assert.equal(layout.frames % 65536, 0);
    for (const v of layout.vcpus) assert.equal(v % 16, 0);
  });

  it('refuses sizes that cannot be, and says why', () => {
    assert.throws(() => createMemory({ frames: 0, vcpus: 1 }), /frame count 0 is not an integer from 1/);
    assert.throws(() => createMemory({ frames: 1.5, vcpus: 1 }), /frame count 1.5/);
    assert.throws(() => createMemory({ frames: 16, vcpus: 0 }), /vCPU count 0/);
    assert.throws(() => createMemory({ frames: 16, vcpus: 1, reserve: -1 }), /reserved size -1/);
    assert.throws(
      () => createMemory({ frames: 1 << 20, vcpus: 1 }),
      /1048576 frames \(4096 MiB\) needs \d+ MiB in all, of 4096 MiB/,
    );
    assert.throws(() => createMemory({ frames: 2 ** 39, vcpus: 1 }), RangeError);
  });

  it('frames are zero, the page of ones is not', () => {
    const mem = createMemory({ frames: 16, vcpus: 1 });
    assert.equal(mem.bytes[4096], 0xff);
    assert.ok(mem.bytes.subarray(mem.framesBase).every((b) => b === 0));
    assert.equal(mem.attention.length, 16);
  });
});
