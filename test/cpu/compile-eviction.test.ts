/** The regions' code has a bound: with more hot code than fits the oldest go, and the guest notices nothing. */
import assert from 'node:assert/strict';
import { EXIT } from '../../src/cpu/exits';
import { GPR } from '../../src/cpu/state';
import { CODE, DATA, flatMachine, type FlatMachine } from './flat-machine';

const LOOPS = 60;
const ROUNDS = 60;
const BOUND = 6_000;
const OPCODES = [0x01, 0x29, 0x31, 0x09];

/** LOOPS loops one after another, each different and with a load and a store, and back to the first of them. */
function program(): number[] {
  const bytes: number[] = [];
  for (let n = 0; n < LOOPS; n++) {
    // mov ecx, ROUNDS
    bytes.push(0xb9, ROUNDS, 0, 0, 0);
    const from = bytes.length;
    // OP rax,rdx; add [rbx+disp],rax; inc rdx; dec ecx; jnz
    bytes.push(
      0x48,
      OPCODES[n % OPCODES.length] ?? 0,
      0xd0,
      0x48,
      0x01,
      0x83,
      (8 * n) & 255,
      (8 * n) >> 8,
      0,
      0,
    );
    bytes.push(0x48, 0xff, 0xc2, 0xff, 0xc9, 0x75, 0);
    bytes[bytes.length - 1] = (from - bytes.length) & 255;
  }
  const back = -(bytes.length + 5);
  bytes.push(0xe9, back & 255, (back >> 8) & 255, 255, 255);
  return bytes;
}

function machine(maxBytes: number | undefined): FlatMachine {
  const tier = maxBytes === undefined ? undefined : ({ tier: 'compile', compile: { heat: 8, batch: 4, maxBytes } } as const); // prettier-ignore
  const m = flatMachine({}, 512, tier);
  m.put(Number(CODE), program());
  m.v.set('rbx', DATA);
  m.v.set('rdx', 12345n);
  m.v.set('rip', CODE);
  return m;
}

describe('region compiler: bounded code', () => {
  it('keeps to its bound, with the same states at the same counts', () => {
    const reference = machine(undefined);
    const bounded = machine(BOUND);
    const roomy = machine(1 << 24);
    for (let part = 0; part < 160; part++) {
      for (const m of [reference, bounded, roomy]) assert.equal(m.step(undefined, 997n), EXIT.LIMIT);
      for (const m of [bounded, roomy]) {
        for (const f of [...GPR, 'rip', 'icount'] as const) assert.equal(m.v.get(f), reference.v.get(f), f);
        assert.equal(m.v.rflags, reference.v.rflags);
      }
      const live = bounded.cpu.regions?.statistics.live ?? Infinity;
      assert.ok(live <= BOUND, `${live} bytes of regions after part ${part}`);
    }
    const memory = (m: FlatMachine): number[] => m.get(Number(DATA), 4096);
    assert.deepEqual(memory(bounded), memory(reference));
    assert.deepEqual(memory(roomy), memory(reference));

    const statistics = bounded.cpu.regions?.statistics;
    const whole = roomy.cpu.regions?.statistics;
    assert.ok(statistics !== undefined && whole !== undefined);
    assert.ok(whole.live > 3 * BOUND, 'it would have fitted');
    assert.equal(whole.evicted, 0);
    // Loops get hot one soon after another: a module has several.
    assert.ok(whole.regions >= 2 * whole.modules, `${whole.regions} regions in ${whole.modules} modules`);
    assert.ok(statistics.evicted > LOOPS, `${statistics.evicted} regions were evicted`);
    // What was evicted and is hot again is compiled again.
    assert.ok(statistics.regions > whole.regions);
  });
});
