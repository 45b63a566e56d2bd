/** Compiled regions and what they have to make way for: breakpoints, watched and copy-on-write frames, stores to code, faults. */
import assert from 'node:assert/strict';
import { EXIT } from '../../src/cpu/exits';
import { GPR } from '../../src/cpu/state';
import { ATTENTION, type Hooks } from '../../src/cpu/types';
import { CODE, D, DATA, flatMachine, P, U, W, type FlatMachine } from './flat-machine';

const COUNT = 1000n;
/** 0: add [rbx],rax; inc rax; dec rcx; jnz 0 */
const LOOP = [0x48, 0x01, 0x03, 0x48, 0xff, 0xc0, 0x48, 0xff, 0xc9, 0x75, 0xf5];
const PER_ROUND = 4n;

/** A machine whose loop has been compiled; it stands at the loop's first instruction. */
function compiledLoop(hooks: Partial<Hooks> = {}): FlatMachine {
  const m = flatMachine(hooks, 512, { tier: 'compile', compile: { heat: 5, batch: 1 } });
  m.put(Number(CODE), LOOP);
  m.v.set('rbx', DATA);
  m.v.set('rcx', 1n << 40n);
  assert.equal(m.step(CODE, COUNT), EXIT.LIMIT);
  assert.ok((m.cpu.regions?.statistics.regions ?? 0) > 0, 'nothing was compiled');
  assert.equal(m.v.get('rip'), CODE);
  return m;
}

describe('region compiler: makes way', () => {
  it('a limit is met to the instruction, wherever it falls', () => {
    const m = compiledLoop();
    for (let n = 1n; n < 40n; n++) {
      const from = m.v.get('icount');
      assert.equal(m.step(undefined, n), EXIT.LIMIT);
      assert.equal(m.v.get('icount'), from + n);
      assert.equal(m.v.get('rip'), CODE + ([0n, 3n, 6n, 9n][Number((from + n) % PER_ROUND)] ?? 0n));
    }
  });

  it('a breakpoint set inside it stops there; without it, it runs on compiled', () => {
    const m = compiledLoop();
    const dropped = m.cpu.regions?.statistics.dropped ?? 0;
    m.cpu.setBreakpoints([CODE + 6n]);
    assert.ok((m.cpu.regions?.statistics.dropped ?? 0) > dropped);
    const from = m.v.get('icount');
    assert.equal(m.step(undefined, COUNT), EXIT.BREAK);
    assert.equal(m.v.get('rip'), CODE + 6n);
    assert.equal(m.v.get('icount'), from + 2n);
    m.cpu.skipBreakpoint(m.v);
    assert.equal(m.step(undefined, COUNT), EXIT.BREAK);
    assert.equal(m.v.get('icount'), from + 2n + PER_ROUND);
    m.cpu.setBreakpoints([]);
    const rax = m.v.get('rax');
    assert.equal(m.step(undefined, COUNT), EXIT.LIMIT);
    assert.equal(m.v.get('rax'), rax + COUNT / PER_ROUND);
  });

  it('a watched frame is asked about once, and the run ends behind the instruction', () => {
    const asked: boolean[] = [];
    const m = compiledLoop({
      watch: (_v, _machine, _linear, _size, write) => {
        asked.push(write);
        return write;
      },
    });
    m.cpu.mem.attention[Number(DATA) >> 12] = ATTENTION.WATCH_WRITE;
    m.v.flushTlb();
    const from = m.v.get('icount');
    assert.equal(m.step(undefined, COUNT), EXIT.WATCH);
    assert.deepEqual(asked, [true]);
    assert.equal(m.v.get('icount'), from + 1n);
    assert.equal(m.v.get('rip'), CODE + 3n);
    assert.equal(m.v.get('exit_address'), DATA);
  });

  it('copy-on-write is asked for before the first store of many', () => {
    const seen: bigint[] = [];
    const m: FlatMachine = compiledLoop({ cow: () => void seen.push(m.u64(Number(DATA))) });
    m.cpu.mem.attention[Number(DATA) >> 12] = ATTENTION.COW;
    m.v.flushTlb();
    const before = m.u64(Number(DATA));
    assert.equal(m.step(undefined, COUNT), EXIT.LIMIT);
    assert.deepEqual(seen, [before]);
  });

  it('a page fault is at its instruction, with A and D as the walk leaves them', () => {
    const m = compiledLoop();
    m.map(DATA, DATA, P | U);
    m.v.flushTlb();
    const from = m.v.get('icount');
    assert.equal(m.step(undefined, COUNT), EXIT.EXCEPTION);
    assert.equal(m.v.getInt('exit_vector'), 14);
    assert.equal(m.v.getInt('exit_error'), 7);
    assert.equal(m.v.get('exit_address'), DATA);
    assert.equal(m.v.get('rip'), CODE);
    assert.equal(m.v.get('icount'), from);
    m.map(DATA, DATA, P | U | W);
    m.v.flushTlb();
    assert.equal(m.step(undefined, COUNT), EXIT.LIMIT);
    assert.equal(m.u64(m.pteAt(DATA)) & D, D);
  });

  it('code that changes under it is not run any more', () => {
    const m = compiledLoop();
    // inc rax becomes dec rax
    m.cpu.beforeStore(Number(CODE) >> 12);
    m.put(Number(CODE) + 5, [0xc8]);
    const rax = m.v.get('rax');
    assert.equal(m.step(undefined, COUNT), EXIT.LIMIT);
    assert.equal(m.v.get('rax'), rax - COUNT / PER_ROUND);
  });

  it('a single step under TF runs one instruction', () => {
    const m = compiledLoop();
    m.v.rflags |= 0x100n;
    const from = m.v.get('icount');
    assert.equal(m.step(undefined, COUNT), EXIT.EXCEPTION);
    assert.equal(m.v.getInt('exit_vector'), 1);
    assert.equal(m.v.get('icount'), from + 1n);
  });

  it('code mapped elsewhere is other code', () => {
    const m = compiledLoop();
    // The same linear page, other bytes: inc rax three times, and back.
    m.put(0x50000, [0x48, 0xff, 0xc0, 0x48, 0xff, 0xc0, 0x48, 0xff, 0xc0, 0xeb, 0xf5]);
    m.map(CODE, 0x50000n, P | U);
    m.v.flushTlb();
    const rax = m.v.get('rax');
    assert.equal(m.step(undefined, 400n), EXIT.LIMIT);
    assert.equal(m.v.get('rax'), rax + 300n);
    m.map(CODE, CODE, P | U);
    m.v.flushTlb();
    assert.equal(m.step(undefined, 400n), EXIT.LIMIT);
    assert.equal(m.v.get('rax'), rax + 400n);
  });

  it('code that is changed and put back is taken up again, not compiled again', () => {
    const m = compiledLoop();
    const { statistics } = m.cpu.regions ?? assert.fail('no region compiler');
    const { regions } = statistics;
    for (const byte of [0xc8, 0xc0]) {
      m.cpu.beforeStore(Number(CODE) >> 12);
      m.put(Number(CODE) + 5, [byte]);
    }
    const rax = m.v.get('rax');
    assert.equal(m.step(undefined, COUNT), EXIT.LIMIT);
    assert.equal(m.v.get('rax'), rax + COUNT / PER_ROUND);
    assert.equal(statistics.revived, 1);
    assert.equal(statistics.regions, regions);
    m.cpu.code.flush();
    assert.equal(m.step(undefined, COUNT), EXIT.LIMIT);
    assert.equal(statistics.revived, 2);
    assert.equal(statistics.regions, regions);
    // What was taken up again is dropped like what was new.
    m.cpu.beforeStore(Number(CODE) >> 12);
    m.put(Number(CODE) + 5, [0xc8]);
    const now = m.v.get('rax');
    assert.equal(m.step(undefined, COUNT), EXIT.LIMIT);
    assert.equal(m.v.get('rax'), now - COUNT / PER_ROUND);
  });

  it('an instruction across two pages is part of a region; with another second page it is another', () => {
    const m = flatMachine({}, 512, { tier: 'compile', compile: { heat: 5, batch: 1 } });
    // The loop with its third byte in the next page; the instruction there is add rax, imm8.
    const at = CODE + 0x1000n - 2n;
    const loop = (by: number): number[] => [0x48, 0x83, 0xc0, by, 0x48, 0xff, 0xc9, 0x75, 0xf7];
    m.put(Number(at), loop(1));
    m.map(CODE + 0x1000n, CODE + 0x1000n, P | U);
    m.put(0x50000, loop(3).slice(2));
    m.v.set('rcx', 1n << 40n);
    assert.equal(m.step(at, 300n), EXIT.LIMIT);
    assert.equal(m.v.get('rax'), 100n);
    const { statistics } = m.cpu.regions ?? assert.fail('no region compiler');
    assert.ok(statistics.instructions >= 3, `${statistics.instructions} instructions were compiled`);
    const lines: string[] = [];
    for (let n = 1n; n <= 7n; n++) {
      assert.equal(m.step(undefined, n), EXIT.LIMIT);
      lines.push(`${m.v.get('rip') - at} ${m.v.get('rax')}`);
    }
    assert.deepEqual(lines, ['4 101', '0 101', '0 102', '4 104', '0 105', '0 107', '4 110']);
    assert.equal(m.step(at, 300n), EXIT.LIMIT);
    const rax = m.v.get('rax');
    m.map(CODE + 0x1000n, 0x50000n, P | U);
    m.v.flushTlb();
    assert.equal(m.step(at, 300n), EXIT.LIMIT);
    assert.equal(m.v.get('rax'), rax + 300n);
  });

  it('a jump by a table is followed to all that is hot, and goes where the interpreter goes', () => {
    // 0: mov rax,[rbx+rcx*8]; inc ecx; and ecx,7; jmp rax     12 + 10 n: add rdx,n+1; imul rdx,rdx,3; jmp 0
    const code = [0x48, 0x8b, 0x04, 0xcb, 0xff, 0xc1, 0x83, 0xe1, 0x07, 0xff, 0xe0];
    code.push(0x90);
    for (let n = 0; n < 8; n++) {
      const arm = [0x48, 0x83, 0xc2, n + 1, 0x48, 0x6b, 0xd2, 0x03];
      code.push(...arm, 0xeb, 256 - (12 + 10 * (n + 1)));
    }
    const ORDER = [0, 5, 2, 2, 7, 1, 6, 3];
    const make = (options?: Parameters<typeof flatMachine>[2]): FlatMachine => {
      const m = flatMachine({}, 512, options);
      m.put(Number(CODE), code);
      ORDER.forEach((n, i) => m.setU64(Number(DATA) + 8 * i, CODE + 12n + 10n * BigInt(n)));
      m.v.set('rbx', DATA);
      m.v.set('rip', CODE);
      return m;
    };
    const [a, b] = [make(), make({ tier: 'compile', compile: { heat: 40, batch: 1 } })];
    for (let n = 1n; n < 400n; n += 7n) {
      for (const m of [a, b]) assert.equal(m.step(undefined, n), EXIT.LIMIT);
      assert.deepEqual(b.v.saveState(), a.v.saveState(), `after ${a.v.get('icount')} instructions`);
    }
    // One that was never seen, by the way of those that were.
    for (const m of [a, b]) m.setU64(Number(DATA) + 16, CODE + 12n + 10n * 4n);
    for (let n = 1n; n < 100n; n += 9n) {
      for (const m of [a, b]) assert.equal(m.step(undefined, n), EXIT.LIMIT);
      assert.deepEqual(b.v.saveState(), a.v.saveState(), `after ${a.v.get('icount')} instructions`);
    }
    // An arm is 3 instructions, and each of the 7 that are hot is in one region with the jump.
    assert.ok((b.cpu.regions?.statistics.instructions ?? 0) >= 4 + 7 * 3);
  });

  it('a loop that remembers its pages goes from one to the next, across their border, and faults where they end', () => {
    /*
     * 0: mov rax,[rsi]; add rax,rbx; mov [rdi],rax; movzx ebx,byte [rsi+7]; mov dl,[r8+rbx]; add rsi,13; sub rdi,-13;
     *    inc r9; dec rcx; jnz 0; then from the beginning of both pages again
     */
    const bytes = '488b064801d84889070fb65e07418a14184883c60d4883eff349ffc148ffc975df';
    const run = (tier: 'interpret' | 'compile'): string[] => {
      const m = flatMachine({}, 512, { tier, compile: { heat: 5, batch: 1 } });
      m.put(Number(CODE), [...Buffer.from(bytes, 'hex')]);
      // Neighbours in linear memory only.
      m.map(DATA + 0x1000n, DATA + 0x4000n, P | W | U);
      for (const page of [0, 0x4000])
        for (let i = 0; i < 4096; i++) m.put(Number(DATA) + page + i, [(i * 7 + (i >> 8) + page) & 255]);
      const seen: string[] = [];
      for (const start of [3n, 5n, 0n, 8n]) {
        m.v.set('rsi', DATA + start);
        m.v.set('rdi', DATA + start + 1n);
        m.v.set('r8', DATA + 0xf80n);
        m.v.set('rcx', 1n << 40n);
        m.v.set('rip', CODE);
        for (let exit: number = EXIT.LIMIT; exit === EXIT.LIMIT;) {
          exit = m.step(undefined, 997n);
          const registers = GPR.map((r) => m.v.get(r).toString(16));
          seen.push([exit, m.v.get('rip'), m.v.get('icount'), m.v.rflags, ...registers].join());
        }
        seen.push([m.v.getInt('exit_error'), m.v.get('exit_address'), m.u64(m.pteAt(DATA))].join());
      }
      seen.push(m.get(Number(DATA), 0x5000).join());
      if (tier === 'compile') assert.ok((m.cpu.regions?.statistics.regions ?? 0) > 0, 'nothing was compiled');
      return seen;
    };
    assert.deepEqual(run('compile'), run('interpret'));
  });

  it('two vCPUs in turn run the same region, each with its own state, and one changes the code of both', () => {
    // 0: lock add [rbx],rax; inc rax; dec rcx; jnz 0
    const code = [0xf0, 0x48, 0x01, 0x03, 0x48, 0xff, 0xc0, 0x48, 0xff, 0xc9, 0x75, 0xf4];
    const run = (tier: 'interpret' | 'compile'): string[] => {
      const m = flatMachine({}, 512, { tier, vcpus: 2, compile: { heat: 5, batch: 1 } });
      m.put(Number(CODE), code);
      const { v: a } = m;
      const b = m.cpu.vcpus[1] ?? assert.fail('there is one vCPU');
      for (const f of ['cr0', 'cr3', 'cr4', 'efer', 'rsp'] as const) b.set(f, a.get(f));
      b.setInt('cpl', 3);
      const seen: string[] = [];
      for (const [n, v] of [a, b].entries()) {
        v.set('rbx', DATA + BigInt(64 * n));
        v.set('rax', BigInt(1000 * n));
        v.set('rcx', 1n << 40n);
        v.set('rip', CODE);
      }
      for (let turn = 0; turn < 60; turn++) {
        for (const v of [a, b]) {
          assert.equal(v.run(v.get('icount') + 37n + BigInt(turn)), EXIT.LIMIT);
          seen.push(Buffer.from(v.saveState()).toString('hex'));
        }
        // Between two of their turns, as another vCPU's store would: inc rax becomes dec rax, and back.
        if (turn % 10 === 9) {
          m.cpu.beforeStore(Number(CODE) >> 12);
          m.put(Number(CODE) + 6, [turn % 20 === 9 ? 0xc8 : 0xc0]);
        }
        seen.push(m.get(Number(DATA), 128).join());
      }
      if (tier === 'compile') {
        const { regions = 0, dropped = 0 } = m.cpu.regions?.statistics ?? {};
        assert.ok(regions > 0 && dropped >= 5, `${regions} regions, ${dropped} dropped`);
      }
      return seen;
    };
    assert.deepEqual(run('compile'), run('interpret'));
  });
});
