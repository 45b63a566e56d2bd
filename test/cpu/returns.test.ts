/** The shadow return cache: returns go where the stack says, whatever the cache knew before. Oracle: one instruction at a time. */
import assert from 'node:assert/strict';
import { EXIT } from '../../src/cpu/exits';
import { GPR } from '../../src/cpu/state';
import { RETURN, RETURN_COUNT, RETURN_SHIFT } from '../../src/cpu/wasm/abi';
import { CODE, DATA, flatMachine, P, STACK_TOP, U, type FlatMachine } from './flat-machine';

const CALLERS = 40;
/** The function that all of them call, and a call's length with what is behind it. */
const FUNCTION = CODE + 0x800n;
const CALL = 5n;
const STRIDE = 12n;
const behind = (n: number): bigint => CODE + BigInt(n) * STRIDE + CALL;
const TIERS = [{ tier: 'interpret' }, { tier: 'compile', compile: { heat: 3, batch: 1 } }] as const;

/** CALLERS times: call FUNCTION; add rax, n; imul rax, rax, 3. Then from the first again. FUNCTION: inc rbx; ret */
function callers(): number[] {
  const bytes: number[] = [];
  const relative = (to: bigint): number[] => {
    const by = Number(to - CODE) - (bytes.length + 5);
    return [by & 255, (by >> 8) & 255, (by >> 16) & 255, (by >> 24) & 255];
  };
  for (let n = 0; n < CALLERS; n++) {
    bytes.push(0xe8, ...relative(FUNCTION));
    bytes.push(0x48, 0x83, 0xc0, n, 0x6b, 0xc0, 0x03);
  }
  bytes.push(0xe9, ...relative(CODE));
  return bytes;
}
const PER_ROUND = BigInt(5 * CALLERS + 1);

function machine(options: Parameters<typeof flatMachine>[2]): FlatMachine {
  const m = flatMachine({}, 512, options);
  m.put(Number(CODE), callers());
  m.put(Number(FUNCTION), [0x48, 0xff, 0xc3, 0xc3]);
  m.v.set('rip', CODE);
  return m;
}

const state = (m: FlatMachine): string =>
  [...GPR, 'rip' as const, 'icount' as const].map((r) => m.v.get(r).toString(16)).join() +
  m.v.rflags.toString(16);

/** Addresses that the cache knows a block for. */
function remembered(m: FlatMachine): bigint[] {
  const { view, layout } = m.cpu.mem;
  const generation = m.v.getInt('generation');
  return Array.from({ length: RETURN_COUNT }, (_, n) => layout.returns + (n << RETURN_SHIFT))
    .filter((at) => view.getUint32(at + RETURN.generation, true) === generation)
    .map((at) => view.getBigUint64(at + RETURN.rip, true));
}

for (const options of TIERS) {
  describe(`shadow return cache, tier '${options.tier}'`, () => {
    /** A machine that has returned to each caller some times, and one that goes step by step, at the same instruction. */
    const pair = (): { m: FlatMachine; oracle: FlatMachine; readonly both: (n: bigint) => void } => {
      const [m, oracle] = [machine(options), machine({ tier: 'interpret' })];
      const both = (n: bigint): void => {
        assert.equal(m.step(undefined, n), EXIT.LIMIT);
        for (let i = 0n; i < n; i++) assert.equal(oracle.step(), EXIT.LIMIT);
        assert.equal(state(m), state(oracle));
      };
      both(6n * PER_ROUND);
      return { m, oracle, both };
    };

    it('remembers where each of many callers goes on, and returns there', () => {
      const { m, both } = pair();
      const known = new Set(remembered(m));
      const here = Array.from({ length: CALLERS }, (_, n) => behind(n)).filter((rip) => known.has(rip));
      // A region follows the calls it contains by itself.
      assert.ok(
        here.length >= (options.tier === 'interpret' ? CALLERS : 1),
        `${here.length} callers are known`,
      );
      for (let n = 1n; n < 60n; n++) both(n);
    });

    it('goes where the stack says, not where the call was', () => {
      const { m, oracle, both } = pair();
      // pop rcx; push rdx; ret: back to where rdx says.
      for (const it of [m, oracle]) {
        it.cpu.beforeStore(Number(FUNCTION) >> 12);
        it.put(Number(FUNCTION), [0x59, 0x52, 0xc3]);
      }
      for (const n of [7, 3, 21, 3, 39]) {
        for (const it of [m, oracle]) it.v.set('rdx', behind(n));
        both(31n);
      }
    });

    it('runs what the code behind a call has become', () => {
      const { m, oracle, both } = pair();
      for (const n of [0, 5, 17])
        for (const it of [m, oracle]) {
          it.cpu.beforeStore(Number(CODE) >> 12);
          it.put(Number(behind(n)) + 3, [0x77]);
        }
      assert.deepEqual(remembered(m), []);
      both(3n * PER_ROUND);
    });

    it('stops at a breakpoint behind a call', () => {
      const { m, oracle, both } = pair();
      m.cpu.setBreakpoints([behind(9)]);
      for (let round = 0; round < 3; round++) {
        assert.equal(m.step(undefined, 5n * PER_ROUND), EXIT.BREAK);
        assert.equal(m.v.get('rip'), behind(9));
        m.cpu.skipBreakpoint(m.v);
      }
      assert.ok(!remembered(m).includes(behind(9)));
      m.cpu.setBreakpoints([]);
      while (oracle.v.get('icount') < m.v.get('icount')) oracle.step();
      both(2n * PER_ROUND);
    });

    it('asks which bytes are at the address: two address spaces return to the same one', () => {
      const { m, oracle } = pair();
      // The same code elsewhere, but for what it adds behind each call.
      const other = 0x50000;
      const bytes = callers();
      for (let n = 0; n < CALLERS; n++) bytes[n * Number(STRIDE) + 8] = 100 - n;
      for (const it of [m, oracle]) {
        it.put(other, bytes);
        it.put(other + 0x800, [0x48, 0xff, 0xc3, 0xc3]);
      }
      for (let turn = 0; turn < 6; turn++) {
        for (const it of [m, oracle]) {
          it.map(CODE, turn % 2 === 0 ? BigInt(other) : CODE, P | U);
          it.v.flushTlb();
        }
        assert.equal(m.step(undefined, 3n * PER_ROUND + 7n), EXIT.LIMIT);
        for (let n = 0n; n < 3n * PER_ROUND + 7n; n++) oracle.step();
        assert.equal(state(m), state(oracle));
      }
    });

    it('has no say in a fault of the return', () => {
      const { m, oracle } = pair();
      for (const it of [m, oracle]) {
        it.map(STACK_TOP - 0x1000n, STACK_TOP - 0x1000n, 0n);
        it.v.flushTlb();
        it.v.set('rip', FUNCTION);
      }
      assert.equal(m.step(undefined, 5n), EXIT.EXCEPTION);
      oracle.step();
      assert.equal(oracle.step(), EXIT.EXCEPTION);
      assert.equal(state(m), state(oracle));
      // To data, which may not be executed: the fault is the next instruction's.
      for (const it of [m, oracle]) {
        it.map(STACK_TOP - 0x1000n, STACK_TOP - 0x1000n, P | U);
        it.v.flushTlb();
        it.setU64(Number(it.v.get('rsp')), DATA);
      }
      assert.equal(m.step(undefined, 5n), EXIT.EXCEPTION);
      for (let exit: number = EXIT.LIMIT; exit === EXIT.LIMIT;) exit = oracle.step();
      assert.equal(state(m), state(oracle));
      assert.equal(m.v.get('rip'), DATA);
    });
  });
}
