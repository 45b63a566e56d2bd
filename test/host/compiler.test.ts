/** Regions compiled in a thread beside the machine's: they come, are the interpreter's equals, and are taken up by several machines. */
import assert from 'node:assert/strict';
import { EXIT } from '../../src/cpu/exits';
import { threadedCompiler } from '../../src/host/compiler';
import { CODE, DATA, flatMachine, type FlatMachine } from '../cpu/flat-machine';

/** 0: add [rbx],rax; inc rax; dec rcx; jnz 0 */
const LOOP = [0x48, 0x01, 0x03, 0x48, 0xff, 0xc0, 0x48, 0xff, 0xc9, 0x75, 0xf5];
const turn = (): Promise<void> => new Promise((turned) => setImmediate(turned));

function machine(options?: Parameters<typeof flatMachine>[2]): FlatMachine {
  const m = flatMachine({}, 512, options);
  m.put(Number(CODE), LOOP);
  m.v.set('rbx', DATA);
  m.v.set('rcx', 1n << 40n);
  m.v.set('rip', CODE);
  return m;
}
const threaded = (): FlatMachine =>
  machine({ tier: 'compile', compile: { heat: 5, batch: 1, compiler: threadedCompiler() } });

describe('compiling beside the machine', function () {
  this.timeout(60_000);

  it('the guest goes on meanwhile, and its states are the same before and after', async () => {
    const reference = machine();
    const machines = [threaded(), threaded()];
    const compiled = (m: FlatMachine): number => m.cpu.regions?.statistics.regions ?? 0;
    for (let after = 0; after < 50;) {
      for (const m of [reference, ...machines]) assert.equal(m.step(undefined, 1003n), EXIT.LIMIT);
      for (const m of machines) assert.deepEqual(m.v.saveState(), reference.v.saveState());
      if (machines.every((m) => compiled(m) > 0)) after++;
      await turn();
    }
    for (const m of machines) assert.equal(m.u64(Number(DATA)), reference.u64(Number(DATA)));
  });

  it('what changed meanwhile is not run as it was', async () => {
    const m = threaded();
    assert.equal(m.step(undefined, 1000n), EXIT.LIMIT);
    // inc rax becomes dec rax, before the region is there.
    m.cpu.beforeStore(Number(CODE) >> 12);
    m.put(Number(CODE) + 5, [0xc8]);
    for (let after = 0; after < 20;) {
      const rax = m.v.get('rax');
      assert.equal(m.step(undefined, 1000n), EXIT.LIMIT);
      assert.equal(BigInt.asIntN(64, m.v.get('rax') - rax), -250n);
      if ((m.cpu.regions?.statistics.regions ?? 0) > 1) after++;
      await turn();
    }
  });
});
