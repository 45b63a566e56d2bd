import assert from 'node:assert/strict';
import { ATTENTION, PAGE_SIZE, type PhysicalMemory } from '../../src/cpu/types';
import { createMarks } from '../../src/machine/marks';

const FRAMES = 8;

function memory(): PhysicalMemory {
  const bytes = new Uint8Array(FRAMES * PAGE_SIZE);
  return {
    memory: new WebAssembly.Memory({ initial: 1 }),
    bytes,
    view: new DataView(bytes.buffer),
    u64: new BigUint64Array(bytes.buffer),
    u32: new Uint32Array(bytes.buffer),
    framesBase: 0,
    frameCount: FRAMES,
    attention: new Uint8Array(FRAMES),
  };
}

function setup(): {
  store(mfn: number, value: number): void;
  at(mfn: number): number;
  told: number[];
  marks: ReturnType<typeof createMarks>;
  mem: PhysicalMemory;
} {
  const mem = memory();
  const told: number[] = [];
  const marks = createMarks(mem, (mfn) => told.push(mfn));
  return {
    mem,
    marks,
    told,
    store(mfn, value) {
      marks.beforeStore(mfn);
      mem.bytes[mfn * PAGE_SIZE] = value;
    },
    at: (mfn) => mem.bytes[mfn * PAGE_SIZE] ?? -1,
  };
}

describe('marks', () => {
  it('bring back what a frame held, and only tell of frames that change', () => {
    const m = setup();
    m.store(1, 10);
    const mark = m.marks.take();
    m.store(1, 11);
    m.store(1, 12);
    m.store(2, 20);
    m.marks.restore(mark);
    assert.deepEqual([m.at(1), m.at(2)], [10, 0]);
    assert.deepEqual(m.told, [1, 2]);
  });

  it('go forward again after going back, and branch', () => {
    const m = setup();
    const a = m.marks.take();
    m.store(3, 1);
    const b = m.marks.take();
    m.store(3, 2);
    const c = m.marks.take();
    m.marks.restore(a);
    assert.equal(m.at(3), 0);
    m.store(3, 99);
    const d = m.marks.take();
    for (const [mark, value] of [
      [c, 2],
      [a, 0],
      [b, 1],
      [d, 99],
      [c, 2],
    ] as const) {
      // prettier-ignore
      m.marks.restore(mark);
      assert.equal(m.at(3), value);
    }
  });

  it('copy a frame once for each change between marks, and free what no mark needs', () => {
    const m = setup();
    m.store(4, 9);
    const a = m.marks.take();
    m.store(4, 1);
    m.store(4, 2);
    assert.equal(m.marks.savedBytes(), PAGE_SIZE);
    m.store(5, 1);
    assert.equal(m.marks.savedBytes(), PAGE_SIZE, 'zeroes are kept once for all');
    const b = m.marks.take();
    m.store(4, 3);
    assert.equal(m.marks.savedBytes(), 2 * PAGE_SIZE);
    m.marks.drop(a);
    assert.equal(m.marks.savedBytes(), PAGE_SIZE);
    m.marks.restore(b);
    assert.deepEqual([m.at(4), m.at(5)], [2, 1]);
    m.marks.drop(b);
    assert.equal(m.marks.savedBytes(), 0);
    assert.throws(() => {
      m.marks.restore(b);
    }, /dropped mark/);
  });

  it('bar every frame from the write TLB until its first store', () => {
    const m = setup();
    m.marks.take();
    assert.ok(m.mem.attention.every((a) => (a & ATTENTION.COW) !== 0));
    m.store(5, 1);
    assert.equal((m.mem.attention[5] ?? 0) & ATTENTION.COW, 0);
  });
});
