import assert from 'node:assert/strict';
import { EXIT } from '../../src/cpu/exits';
import { ATTENTION } from '../../src/cpu/types';
import { CODE, DATA, D, flatMachine, type FlatMachine, NX, P, STACK_TOP, U, W } from './flat-machine';

const code = Number(CODE);
const data = Number(DATA);

describe('interpreter: instructions with faults in the middle', () => {
  it('add [mem],reg on a read-only page faults as a write and changes nothing', () => {
    const m = flatMachine();
    m.put(code, [0x48, 0x01, 0x03]); // add [rbx],rax
    m.map(DATA, DATA, P | U);
    m.setU64(data + 8, 5n);
    m.v.set('rbx', DATA + 8n);
    m.v.set('rax', 7n);
    m.v.rflags = 0x8d7n;
    assert.equal(m.step(CODE), EXIT.EXCEPTION);
    assert.equal(m.v.getInt('exit_vector'), 14);
    assert.equal(m.v.getInt('exit_error'), 7);
    assert.equal(m.v.get('exit_address'), DATA + 8n);
    assert.equal(m.v.get('rip'), CODE);
    assert.equal(m.v.get('icount'), 0n);
    assert.equal(m.v.rflags, 0x8d7n);
    assert.equal(m.u64(data + 8), 5n);
  });

  it('rep movsb across a page whose successor is missing commits what it did', () => {
    const m = flatMachine();
    m.put(code, [0xf3, 0xa4]);
    m.put(
      data,
      Array.from({ length: 64 }, (_, i) => i + 1),
    );
    m.v.set('rsi', DATA);
    m.v.set('rdi', STACK_TOP - 16n);
    m.v.set('rcx', 40n);
    assert.equal(m.step(CODE), EXIT.EXCEPTION);
    assert.equal(m.v.getInt('exit_vector'), 14);
    assert.equal(m.v.getInt('exit_error'), 6);
    assert.equal(m.v.get('exit_address'), STACK_TOP);
    assert.equal(m.v.get('rcx'), 24n);
    assert.equal(m.v.get('rsi'), DATA + 16n);
    assert.equal(m.v.get('rdi'), STACK_TOP);
    assert.equal(m.v.get('rip'), CODE);
    assert.equal(m.v.get('icount'), 0n);
    // With the page there, the rest is one retired instruction.
    m.map(STACK_TOP, DATA + 0x1000n, P | W | U | NX);
    assert.equal(m.step(), EXIT.LIMIT);
    assert.equal(m.v.get('icount'), 1n);
    assert.equal(m.v.get('rcx'), 0n);
    assert.deepEqual(
      m.get(data + 0x1000, 24),
      Array.from({ length: 24 }, (_, i) => i + 17),
    );
  });

  it('a store across two pages writes nothing when the second is missing', () => {
    const m = flatMachine();
    m.put(code, [0x48, 0x89, 0x03]); // mov [rbx],rax
    m.v.set('rbx', STACK_TOP - 4n);
    m.v.set('rax', 0x1122334455667788n);
    assert.equal(m.step(CODE), EXIT.EXCEPTION);
    assert.equal(m.v.get('exit_address'), STACK_TOP);
    assert.deepEqual(m.get(Number(STACK_TOP) - 4, 4), [0, 0, 0, 0]);
  });

  it('loads and stores across pages that are not neighbours in memory', () => {
    const m = flatMachine();
    m.put(code, [0x48, 0x89, 0x03, 0x48, 0x8b, 0x0b]); // mov [rbx],rax; mov rcx,[rbx]
    m.map(0x50000n, DATA + 0x1000n, P | W | U);
    m.map(0x51000n, DATA, P | W | U);
    m.v.set('rbx', 0x50ffdn);
    m.v.set('rax', 0x8877665544332211n);
    assert.equal(m.step(CODE, 2n), EXIT.LIMIT);
    assert.equal(m.v.get('rcx'), 0x8877665544332211n);
    assert.deepEqual(m.get(data + 0x1ffd, 3), [0x11, 0x22, 0x33]);
    assert.deepEqual(m.get(data, 5), [0x44, 0x55, 0x66, 0x77, 0x88]);
  });

  it('sub-width registers: ah, ax, eax', () => {
    const m = flatMachine();
    // mov ah,0x12; add ax,1; mov cl,ah; mov edx,eax
    m.put(code, [0xb4, 0x12, 0x66, 0x83, 0xc0, 0x01, 0x88, 0xe1, 0x89, 0xc2]);
    m.v.set('rax', 0xaaaabbbbcccc00ffn);
    m.v.set('rdx', -1n);
    m.v.set('rcx', 0x1111111111111111n);
    assert.equal(m.step(CODE, 4n), EXIT.LIMIT);
    assert.equal(m.v.get('rax'), 0xaaaabbbbcccc1300n);
    assert.equal(m.v.get('rcx'), 0x1111111111111113n);
    assert.equal(m.v.get('rdx'), 0xcccc1300n);
  });

  it('non-canonical addresses: #GP(0), and #SS(0) by rsp', () => {
    const m = flatMachine();
    m.put(code, [0x48, 0x8b, 0x03, 0x48, 0x8b, 0x04, 0x24]); // mov rax,[rbx]; mov rax,[rsp]
    m.v.set('rbx', 0x0000_8000_0000_0000n);
    assert.equal(m.step(CODE), EXIT.EXCEPTION);
    assert.equal(m.v.getInt('exit_vector'), 13);
    m.v.set('rsp', 0xffff_7fff_ffff_fff8n);
    assert.equal(m.step(CODE + 3n), EXIT.EXCEPTION);
    assert.equal(m.v.getInt('exit_vector'), 12);
    assert.equal(m.v.getInt('exit_error'), 0);
  });

  it('undefined opcodes raise #UD at their own address', () => {
    const m = flatMachine();
    m.put(code, [0x90, 0x0f, 0xff]);
    assert.equal(m.step(CODE, 5n), EXIT.EXCEPTION);
    assert.equal(m.v.getInt('exit_vector'), 6);
    assert.equal(m.v.get('rip'), CODE + 1n);
    assert.equal(m.v.get('icount'), 1n);
  });

  it('addsd and paddb', () => {
    const m = flatMachine();
    m.put(code, [0xf2, 0x0f, 0x58, 0xc1, 0x66, 0x0f, 0xfc, 0x13]); // addsd xmm0,xmm1; paddb xmm2,[rbx]
    const f = new DataView(m.v.bytes('xmm0').buffer);
    f.setFloat64(m.v.bytes('xmm0').byteOffset, 1.5, true);
    f.setFloat64(m.v.bytes('xmm1').byteOffset, 0.1, true);
    m.v.bytes('xmm2').fill(200);
    m.put(
      data,
      Array.from({ length: 16 }, (_, i) => i * 10),
    );
    m.v.set('rbx', DATA);
    assert.equal(m.step(CODE, 2n), EXIT.LIMIT);
    assert.equal(f.getFloat64(m.v.bytes('xmm0').byteOffset, true), 1.6);
    assert.equal(m.v.getInt('mxcsr'), 0x1fa0, 'inexact is sticky');
    assert.deepEqual(
      [...m.v.bytes('xmm2')],
      Array.from({ length: 16 }, (_, i) => (200 + i * 10) & 255),
    );
  });

  it('an unmasked floating-point exception raises #XM and writes nothing but MXCSR', () => {
    const m = flatMachine();
    m.put(code, [0xf2, 0x0f, 0x5e, 0xc1]); // divsd xmm0,xmm1
    new DataView(m.v.bytes('xmm0').buffer).setFloat64(m.v.bytes('xmm0').byteOffset, 1, true);
    m.v.setInt('mxcsr', 0x1f80 & ~0x200);
    assert.equal(m.step(CODE), EXIT.EXCEPTION);
    assert.equal(m.v.getInt('exit_vector'), 19);
    assert.equal(m.v.getInt('mxcsr'), (0x1f80 & ~0x200) | 4);
    assert.equal(m.v.get('rip'), CODE);
  });
});

describe('interpreter: counting and blocks', () => {
  /** inc rax; inc rbx; inc rcx; jmp back */
  const LOOP = [0x48, 0xff, 0xc0, 0x48, 0xff, 0xc3, 0x48, 0xff, 0xc1, 0xeb, 0xf5];

  it('stops exactly at the limit, inside a block too', () => {
    const m = flatMachine();
    m.put(code, LOOP);
    m.v.set('rip', CODE);
    const rips = [0, 3, 6, 9];
    for (const limit of [1n, 2n, 3n, 5n, 100n, 101n, 1003n]) {
      assert.equal(m.v.run(limit), EXIT.LIMIT);
      assert.equal(m.v.get('icount'), limit);
      assert.equal(m.v.get('rip'), CODE + BigInt(rips[Number(limit % 4n)] ?? 0));
      assert.equal(m.v.get('rax'), (limit + 3n) / 4n);
    }
  });

  it('a breakpoint stops before its instruction, wherever blocks begin; skipping it runs on', () => {
    const m = flatMachine();
    m.put(code, LOOP);
    assert.equal(m.step(CODE, 9n), EXIT.LIMIT);
    m.cpu.setBreakpoints([CODE + 6n]);
    m.v.set('rip', CODE);
    assert.equal(m.v.run(1000n), EXIT.BREAK);
    assert.equal(m.v.get('rip'), CODE + 6n);
    assert.equal(m.v.get('icount'), 11n);
    assert.equal(m.v.run(1000n), EXIT.BREAK, 'still there');
    assert.equal(m.v.get('icount'), 11n);
    m.cpu.skipBreakpoint(m.v);
    assert.equal(m.v.run(1000n), EXIT.BREAK);
    assert.equal(m.v.get('icount'), 15n);
    m.cpu.setBreakpoints([]);
    assert.equal(m.v.run(1000n), EXIT.LIMIT);
    assert.equal(m.v.get('icount'), 1000n);
  });

  it('a breakpoint stops among many others, on all sides of it and in the other half of the address space', () => {
    const around = [-0x3000n, -1n, 0x40n, 0x5000n].flatMap((from) =>
      Array.from({ length: 500 }, (_, i) => CODE + from + (from < 0n ? BigInt(-i) : BigInt(i))),
    );
    const far = Array.from({ length: 500 }, (_, i) => BigInt.asUintN(64, -1n - BigInt(i)));
    const m = flatMachine();
    m.put(code, LOOP);
    assert.equal(m.step(CODE, 9n), EXIT.LIMIT);
    m.cpu.setBreakpoints([...far, ...around, CODE + 6n, 0n]);
    m.v.set('rip', CODE);
    assert.equal(m.v.run(1000n), EXIT.BREAK);
    assert.equal(m.v.get('rip'), CODE + 6n);
    m.cpu.setBreakpoints([...far, ...around]);
    assert.equal(m.v.run(1000n), EXIT.LIMIT);
  });

  it('a kick leaves at a block boundary', () => {
    const m = flatMachine();
    m.put(code, LOOP);
    m.v.setInt('kick', 1);
    assert.equal(m.step(CODE, 10n), EXIT.KICK);
    m.v.setInt('kick', 0);
    assert.equal(m.step(CODE, 10n), EXIT.LIMIT);
  });

  it('TF traps after each instruction', () => {
    const m = flatMachine();
    m.put(code, LOOP);
    m.v.rflags = 0x102n;
    assert.equal(m.step(CODE, 10n), EXIT.EXCEPTION);
    assert.equal(m.v.getInt('exit_vector'), 1);
    assert.equal(m.v.get('rip'), CODE + 3n);
    assert.equal(m.v.get('icount'), 1n);
    assert.equal(m.v.get('dr6') & 0x4000n, 0x4000n);
  });

  it('an instruction across two pages; its second page missing, then changed', () => {
    const m = flatMachine();
    m.map(CODE + 0x1000n, 0x40000n, P | U);
    m.put(code + 0xffe, [0x48, 0xc7]); // mov rax,imm32 …
    m.put(0x40000, [0xc0, 0x78, 0x56, 0x34, 0x12]);
    assert.equal(m.step(CODE + 0xffen), EXIT.LIMIT);
    assert.equal(m.v.get('rax'), 0x12345678n);
    assert.equal(m.v.get('rip'), CODE + 0x1005n);
    m.map(CODE + 0x1000n, 0x41000n, P | U);
    m.put(0x41000, [0xc0, 0x01, 0, 0, 0]);
    m.v.flushPage(CODE + 0x1000n);
    assert.equal(m.step(CODE + 0xffen), EXIT.LIMIT);
    assert.equal(m.v.get('rax'), 1n);
    m.map(CODE + 0x1000n, 0n, 0n);
    m.v.flushPage(CODE + 0x1000n);
    assert.equal(m.step(CODE + 0xffen), EXIT.EXCEPTION);
    assert.equal(m.v.get('exit_address'), CODE + 0x1000n);
    assert.equal(m.v.getInt('exit_error'), 0x14);
    assert.equal(m.v.get('rip'), CODE + 0xffen);
  });
});

describe('interpreter: links between blocks', () => {
  /** CODE: inc rax; jmp CODE+0x1000. There: inc rbx; jmp CODE. */
  const HERE = [0x48, 0xff, 0xc0, 0xe9, 0xf8, 0x0f, 0, 0];
  const THERE = [0x48, 0xff, 0xc3, 0xe9, 0xf8, 0xef, 0xff, 0xff];
  const OTHER = 0x40000;

  function pair(): FlatMachine {
    const m = flatMachine();
    m.put(code, HERE);
    m.map(CODE + 0x1000n, BigInt(OTHER), P | W | U);
    m.put(OTHER, THERE);
    // inc rdx instead of inc rbx, in a frame of its own.
    m.put(OTHER + 0x1000, [0x48, 0xff, 0xc2, ...THERE.slice(3)]);
    assert.equal(m.step(CODE, 40n), EXIT.LIMIT);
    return m;
  }

  it('hold: nothing is decoded twice', () => {
    const m = pair();
    assert.equal(m.cpu.code.statistics.decoded, 4);
    assert.equal(m.v.get('rax'), 10n);
    assert.equal(m.v.get('rbx'), 10n);
  });

  it('end when the target is overwritten, by the guest or from outside', () => {
    const m = pair();
    m.cpu.beforeStore(OTHER >> 12);
    m.put(OTHER, [0x48, 0xff, 0xc2]);
    assert.equal(m.step(undefined, 40n), EXIT.LIMIT);
    assert.equal(m.v.get('rbx'), 10n);
    assert.equal(m.v.get('rdx'), 10n);
    // mov byte [rsi],0xc3 in a third place patches it back.
    m.put(code + 0x100, [0xc6, 0x06, 0xc3, 0xe9, 0xf8, 0xfe, 0xff, 0xff]);
    m.v.set('rsi', CODE + 0x1002n);
    assert.equal(m.step(CODE + 0x100n, 42n), EXIT.LIMIT);
    assert.equal(m.v.get('rbx'), 20n);
  });

  it('end when the target is mapped elsewhere and flushed; and come back with it', () => {
    const m = pair();
    m.map(CODE + 0x1000n, BigInt(OTHER + 0x1000), P | U);
    assert.equal(m.step(undefined, 4n), EXIT.LIMIT);
    assert.equal(m.v.get('rdx'), 0n, 'not flushed yet');
    m.v.flushPage(CODE + 0x1000n);
    assert.equal(m.step(undefined, 40n), EXIT.LIMIT);
    assert.equal(m.v.get('rdx'), 10n);
    m.map(CODE + 0x1000n, 0n, 0n);
    m.v.flushTlb();
    assert.equal(m.step(undefined, 40n), EXIT.EXCEPTION);
    assert.equal(m.v.get('rip'), CODE + 0x1000n);
    assert.equal(m.v.getInt('exit_error'), 0x14);
  });

  it('stop for a breakpoint on the target', () => {
    const m = pair();
    m.cpu.setBreakpoints([CODE + 0x1000n]);
    assert.equal(m.step(undefined, 40n), EXIT.BREAK);
    assert.equal(m.v.get('icount'), 42n);
    m.cpu.setBreakpoints([]);
    assert.equal(m.step(undefined, 40n), EXIT.LIMIT);
  });

  it('do not show in the state: cut anywhere, a run ends the same', () => {
    const finish = (cuts: readonly bigint[]): { state: Uint8Array; memory: string } => {
      const m = pair();
      // The guest looks at its own A bits: clears the code page's, without a flush.
      m.setU64(m.pteAt(CODE), CODE | P | U);
      for (const cut of cuts) assert.equal(m.v.run(40n + cut), EXIT.LIMIT);
      return { state: m.v.saveState(), memory: m.u64(m.pteAt(CODE)).toString(16) };
    };
    const whole = finish([1000n]);
    assert.deepEqual(finish(Array.from({ length: 1000 }, (_, i) => BigInt(i + 1))), whole);
    assert.deepEqual(finish([3n, 17n, 501n, 1000n]), whole);
  });
});

describe('interpreter: flushing the soft TLB', () => {
  it('forgets few entries and very many', () => {
    for (const pages of [3, 239, 240, 241, 1500]) {
      const m = flatMachine();
      // mov [rbx],rax; add rbx,0x1000; dec rcx; jne
      m.put(code, [0x48, 0x89, 0x03, 0x48, 0x81, 0xc3, 0, 0x10, 0, 0, 0x48, 0xff, 0xc9, 0x75, 0xf1]);
      const base = 0x1000_0000n;
      for (let i = 0; i < pages; i++) m.map(base + BigInt(i) * 0x1000n, DATA, P | W | U);
      m.v.set('rbx', base);
      m.v.set('rcx', BigInt(pages));
      assert.equal(m.step(CODE, BigInt(pages) * 4n), EXIT.LIMIT);
      m.v.flushTlb();
      for (let i = 0; i < pages; i++) {
        const page = base + BigInt(i) * 0x1000n;
        m.map(page, 0n, 0n);
        m.v.set('rbx', page);
        assert.equal(m.step(CODE), EXIT.EXCEPTION, `page ${i} of ${pages}`);
      }
    }
  });
});

describe('interpreter: pages that need attention', () => {
  it('code that changes itself, even in its own block', () => {
    const m = flatMachine();
    m.map(CODE, CODE, P | W | U);
    // mov byte [rip+3],0xc3(=inc ebx modrm) ; patches the following inc eax → inc ebx
    m.put(code, [0xc6, 0x05, 0x01, 0, 0, 0, 0xc3, 0xff, 0xc0]);
    assert.equal(m.step(CODE, 2n), EXIT.LIMIT);
    assert.equal(m.v.get('rax'), 0n);
    assert.equal(m.v.get('rbx'), 1n);
    assert.equal(m.v.get('rip'), CODE + 9n);
    assert.equal(m.v.get('icount'), 2n);
  });

  it('stores to other lines of a code page do not drop its blocks', () => {
    const m = flatMachine();
    m.map(CODE, CODE, P | W | U);
    m.put(code, [0x48, 0x89, 0x03, 0xeb, 0xfb]); // mov [rbx],rax; jmp
    m.v.set('rbx', CODE + 0x800n);
    assert.equal(m.step(CODE, 2n), EXIT.LIMIT);
    const before = m.cpu.code.statistics.decoded;
    assert.equal(m.step(undefined, 100n), EXIT.LIMIT);
    assert.equal(m.cpu.code.statistics.decoded, before);
  });

  it('announced stores from outside drop code', () => {
    const m = flatMachine();
    m.put(code, [0xff, 0xc0]);
    m.step(CODE);
    m.cpu.beforeStore(code >> 12);
    m.put(code, [0xff, 0xc3]);
    m.step(CODE);
    assert.equal(m.v.get('rax'), 1n);
    assert.equal(m.v.get('rbx'), 1n);
  });

  it('copy-on-write is asked for once, before the store', () => {
    const seen: [number, bigint][] = [];
    const m = flatMachine({ cow: (frame) => void seen.push([frame, m.u64(data)]) });
    m.put(code, [0x48, 0x89, 0x03, 0x48, 0xff, 0xc0, 0xeb, 0xf8]);
    m.v.set('rbx', DATA);
    m.v.set('rax', 9n);
    m.cpu.mem.attention[data >> 12] = ATTENTION.COW;
    assert.equal(m.step(CODE, 20n), EXIT.LIMIT);
    assert.deepEqual(seen, [[data >> 12, 0n]]);
    assert.equal(m.cpu.mem.attention[data >> 12], 0);
  });

  it('watched frames stop after the instruction, for writes and reads', () => {
    const asked: unknown[] = [];
    const m = flatMachine({
      watch: (_, machine, linear, size, write) => {
        asked.push([machine, linear, size, write]);
        return true;
      },
    });
    m.put(code, [0x48, 0x89, 0x03, 0x8b, 0x0b, 0x90]);
    m.v.set('rbx', DATA + 16n);
    m.cpu.mem.attention[data >> 12] = ATTENTION.WATCH_WRITE | ATTENTION.WATCH_READ;
    assert.equal(m.step(CODE, 3n), EXIT.WATCH);
    assert.equal(m.v.get('rip'), CODE + 3n);
    assert.equal(m.v.get('exit_info'), 8n | 256n);
    assert.equal(m.v.run(3n), EXIT.WATCH);
    assert.equal(m.v.get('rip'), CODE + 5n);
    assert.equal(m.v.get('exit_address'), DATA + 16n);
    assert.equal(m.v.run(3n), EXIT.LIMIT);
    assert.deepEqual(asked, [[data + 16, DATA + 16n, 8, true], [data + 16, DATA + 16n, 4, false]]); // prettier-ignore
  });

  it('helpers’ accesses are watched, too', () => {
    const asked: unknown[] = [];
    const m = flatMachine({
      watch: (_, _machine, linear, size, write) => {
        asked.push([linear, size, write]);
        return false;
      },
    });
    m.put(code, [0x48, 0xcf]); // iretq: a helper pops the frame
    m.cpu.mem.attention[Number(STACK_TOP) / 4096 - 1] = ATTENTION.WATCH_READ;
    m.step(CODE);
    assert.deepEqual(asked[0], [m.v.get('rsp'), 8, false]);
  });

  it('frames beyond memory read as ones; stores to them vanish', () => {
    const m = flatMachine();
    m.map(0x50000n, 0x4000_0000n, P | W | U);
    m.put(code, [0x48, 0x89, 0x03, 0x48, 0x8b, 0x0b, 0x48, 0x01, 0x03]);
    m.v.set('rbx', 0x50000n);
    assert.equal(m.step(CODE, 3n), EXIT.LIMIT);
    assert.equal(m.v.get('rcx'), (1n << 64n) - 1n);
    assert.equal((m.u64(m.pteAt(0x50000n)) & D) !== 0n, true);
  });
});

describe('vCPU state', () => {
  it('saves and restores canonically', () => {
    const a = flatMachine();
    const b = flatMachine();
    a.v.rflags = 0x8d7n;
    b.v.rflags = 0x8d7n;
    b.v.set('sf', (1n << 63n) | 5n);
    b.v.set('pf', 0x300n);
    assert.deepEqual(a.v.saveState(), b.v.saveState());
    a.v.set('rax', 77n);
    b.v.restoreState(a.v.saveState());
    assert.equal(b.v.get('rax'), 77n);
    assert.equal(b.v.rflags, 0x8d7n);
    assert.throws(() => b.v.restoreState(new Uint8Array(3)), /3 bytes is not version/);
  });
});
