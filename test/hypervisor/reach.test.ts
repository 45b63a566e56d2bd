/** What is read and written through the vCPU's soft TLB, and flags by words: the same as by walks and bigints. */
import assert from 'node:assert/strict';
import { composeFlags, composeRflags, splitFlags, splitRflags } from '../../src/cpu/flags';
import { FLAG_SLOTS, halfOf, wordOf, type FieldName } from '../../src/cpu/state';
import type { GuestVcpu } from '../../src/hypervisor/types';
import { seeded } from '../support/random';
import { LOAD, STORE, access, realCpu } from './real-cpu';
import { VIRT_BASE, testMachine, type TestMachine } from './machine';

const PAGE = VIRT_BASE + 0x20_0000n;

function machine(code: readonly number[]): { m: TestMachine; v: GuestVcpu; touch: (at: bigint) => boolean } {
  const m = testMachine({ processor: realCpu });
  const { v } = m;
  v.cpu.writeLinear(VIRT_BASE, Uint8Array.from([...code, 0xeb, 0xfe]), 0);
  return { m, v, touch: (at) => access(v, VIRT_BASE, at) };
}

const halves = (at: bigint): [number, number] => [Number(at & 0xffff_ffffn), Number(at >> 32n)];
const reach = (v: GuestVcpu, at: bigint, bytes: number, write: boolean): number =>
  v.cpu.reach(...halves(at), bytes, write);

describe('reach', () => {
  it('finds what the guest has read, to read it; not to write it', () => {
    const { m, v, touch } = machine(LOAD);
    m.core.memory.write(m.frameOf(PAGE), 8, Uint8Array.of(1, 2, 3, 4));
    assert.equal(reach(v, PAGE, 8, false), 0, 'nothing was read yet');
    assert.ok(touch(PAGE));
    const host = reach(v, PAGE + 8n, 4, false);
    assert.notEqual(host, 0);
    assert.deepEqual([...m.core.cpu.mem.bytes.subarray(host, host + 4)], [1, 2, 3, 4]);
    assert.equal(reach(v, PAGE + 8n, 4, true), 0);
  });

  it('finds what the guest has written, and lands in the frame', () => {
    const { m, v, touch } = machine(STORE);
    assert.ok(touch(PAGE));
    const host = reach(v, PAGE + 24n, 8, true);
    assert.equal(host, m.core.cpu.mem.framesBase + m.frameOf(PAGE) * 4096 + 24);
    assert.equal(v.cpu.writeLinear(PAGE + 24n, Uint8Array.of(9, 8), 3), 2);
    assert.deepEqual([...m.core.memory.bytes(m.frameOf(PAGE)).subarray(24, 26)], [9, 8]);
  });

  it('leaves to a walk what crosses a page, what was flushed, and the other set', () => {
    const { v, touch } = machine(STORE);
    assert.ok(touch(PAGE));
    assert.notEqual(reach(v, PAGE + 4092n, 4, false), 0);
    assert.equal(reach(v, PAGE + 4093n, 4, false), 0);
    v.cpu.selectTlb(1);
    assert.equal(reach(v, PAGE, 4, false), 0);
    v.cpu.selectTlb(0);
    assert.notEqual(reach(v, PAGE, 4, false), 0);
    v.cpu.flushPage(PAGE);
    assert.equal(reach(v, PAGE, 4, false), 0);
  });

  it('does not take one address for another that shares its place', () => {
    const { v, touch } = machine(LOAD);
    assert.ok(touch(PAGE));
    assert.equal(reach(v, PAGE + 0x40_0000n, 4, false), 0);
    assert.equal(reach(v, PAGE & 0xffff_ffffn, 4, false), 0);
  });
});

describe('flags by words', () => {
  it('are composed and split as by bigints', () => {
    const random = seeded(11);
    const words = new BigUint64Array(256);
    const all = new Uint32Array(words.buffer);
    const slots = {
      get: (name: FieldName): bigint => words[wordOf(name)] ?? 0n,
      set: (name: FieldName, value: bigint): void => {
        words[wordOf(name)] = value;
      },
    };
    const names = [...FLAG_SLOTS, 'rflags'] as const;
    const some = (): bigint =>
      [0n, 1n, 1n << 63n, BigInt(random.below(2 ** 32)), BigInt(random.below(2 ** 32)) << 32n][
        random.below(5)
      ] ?? 0n;
    for (let i = 0; i < 2000; i++) {
      for (const name of names) slots.set(name, name === 'rflags' ? some() & 0xffff_ffffn : some());
      assert.equal(BigInt(composeFlags(all)), composeRflags(slots));
      const value = random.below(2 ** 22);
      splitFlags(all, value);
      const byWords = names.map((name) => slots.get(name));
      for (const name of names) all[halfOf(name) + 1] = 0xdead;
      splitRflags(slots, BigInt(value));
      assert.deepEqual(
        byWords,
        names.map((name) => slots.get(name)),
      );
    }
  });
});
