import assert from 'node:assert/strict';
import { decode, formOf, newDecoded } from '../../src/cpu/decode';
import { evaluateOne } from '../../src/cpu/evaluate/index';
import { EXIT } from '../../src/cpu/exits';
import { GPR, offsetOf, STATE_FIELDS } from '../../src/cpu/state';
import { CODE, DATA, flatMachine, STACK_TOP, type FlatMachine } from './flat-machine';

/**
 * The tiers against one another, where the host's processor cannot be asked: random instructions, whatever they
 * are (descriptor loads, far transfers, privileged ones, undefined bytes), from the same random state.
 */
const HOOKS = { tsc: () => 0x1234_5678_9abcn, cow: () => undefined, watch: () => false };
const INSTRUCTIONS = 6_000;
const MEMORY = Number(STACK_TOP - CODE);

describe('evaluate and interpret', () => {
  let seed = 0x1234567;
  const random = (): number => {
    seed = (Math.imul(seed, 1664525) + 1013904223) | 0;
    return seed >>> 8;
  };
  const below = (n: number): number => random() % n;
  const random64 = (): bigint =>
    BigInt.asUintN(64, (BigInt(random()) << 44n) ^ (BigInt(random()) << 22n) ^ BigInt(random()));

  /** Registers mostly point into mapped memory, so that most instructions get somewhere. */
  const value = (): bigint => {
    switch (below(8)) {
      case 0:
        return random64();
      case 1:
        return BigInt(below(64));
      case 2:
        return BigInt.asUintN(64, BigInt(-below(64)));
      case 3:
        return DATA + 0x1000n - BigInt(below(16));
      default:
        return DATA + BigInt(below(0x1e00));
    }
  };

  const PREFIXES = [0x66, 0xf2, 0xf3, 0x67, 0x64, 0x65, 0xf0];
  const instruction = (): Uint8Array => {
    const b = Uint8Array.from({ length: 16 }, () => below(256));
    let p = 0;
    while (below(4) === 0) b[p++] = PREFIXES[below(PREFIXES.length)] ?? 0;
    if (below(3) === 0) b[p++] = 0x40 | below(16);
    if (below(2) === 0) b[p] = 0x0f;
    return b;
  };

  const GDT = [
    0n,
    0x00af_fb00_0000_ffffn,
    0x00cf_f300_0000_ffffn,
    0x00cf_7300_0000_ffffn,
    0x12cf_f234_5678_ffffn,
  ];

  function prepare(m: FlatMachine, code: Uint8Array, state: Map<string, bigint>, data: Uint8Array): void {
    const { v, cpu } = m;
    const { bytes, framesBase } = cpu.mem;
    for (let frame = Number(CODE) >> 12; frame < Number(STACK_TOP) >> 12; frame++) cpu.beforeStore(frame);
    bytes.set(data, framesBase + Number(DATA));
    bytes.fill(0, framesBase + Number(STACK_TOP) - 0x1000, framesBase + Number(STACK_TOP));
    m.put(Number(CODE), [...code]);
    GDT.forEach((d, i) => m.setU64(Number(DATA) + 0x1f00 + 8 * i, d));
    for (const f of STATE_FIELDS) {
      const wanted = state.get(f.name);
      if (wanted === undefined) continue;
      const at = v.address + offsetOf(f.name as never);
      if (f.size === 4) cpu.mem.view.setUint32(at, Number(wanted & 0xffffffffn), true);
      else cpu.mem.view.setBigUint64(at, wanted, true);
      if (f.size === 16)
        cpu.mem.view.setBigUint64(at + 8, f.type === 'f80' ? wanted & 0xffffn : ~wanted, true);
    }
    v.rflags = 0x202n | (state.get('flags') ?? 0n);
  }

  function randomState(): Map<string, bigint> {
    const s = new Map<string, bigint>();
    for (const r of GPR) s.set(r, value());
    s.set('rsp', STACK_TOP - 0x200n + BigInt(below(0x100)) * (below(8) === 0 ? 1n : 0n));
    for (let i = 0; i < 16; i++) s.set(`xmm${i}`, below(2) ? random64() : 0x3ff0_0000_4000_0000n);
    for (let i = 0; i < 8; i++) s.set(`fpr${i}`, random64() | (1n << 63n));
    s.set('rip', CODE);
    s.set('fs_base', BigInt(below(2) * 8));
    s.set('gs_base', 0n);
    s.set('gdt_base', DATA + 0x1f00n);
    s.set('gdt_limit', 0x27n);
    s.set('ldt_limit', 0n);
    s.set('ldt', 0n);
    s.set('cs', 0x0bn);
    s.set('ss', 0x13n);
    for (const name of ['ds', 'es', 'fs', 'gs']) s.set(name, 0n);
    s.set('cpl', 3n);
    s.set('efer', 0xd01n);
    s.set('cr2', 0n);
    s.set('mxcsr', below(4) === 0 ? 0x1f00n & ~(1n << BigInt(7 + below(6))) : 0x1f80n);
    s.set('fcw', 0x37fn);
    s.set('fsw', 0n);
    s.set('ftw', BigInt(below(256)));
    s.set('fop', 0n);
    s.set('fip', 0n);
    s.set('fdp', 0n);
    s.set('flags', BigInt(random()) & (below(8) ? 0xcd5n : 0xdd5n));
    s.set('dr6', 0xffff_0ff0n);
    s.set('icount', 7n);
    for (const name of ['exit_reason', 'exit_vector', 'exit_error', 'exit_info', 'exit_address'])
      s.set(name, 0n);
    return s;
  }

  it(`leave ${INSTRUCTIONS} random instructions with the same state, memory and exit`, function () {
    this.timeout(60_000);
    const oracle = flatMachine(HOOKS);
    const fast = flatMachine(HOOKS);
    const machine = {
      mem: oracle.cpu.mem,
      hooks: { ...HOOKS, cpuid: () => ({ eax: 0, ebx: 0, ecx: 0, edx: 0 }) },
      beforeStore: (mfn: number) => oracle.cpu.beforeStore(mfn),
    };
    const noise = Uint8Array.from({ length: 0x4000 }, () => below(256));
    const d = newDecoded();
    const exits = new Map<number, number>();
    const names = new Set<string>();
    const EXIT_FIELDS = ['exit_vector', 'exit_error', 'exit_address'] as const;
    for (let n = 0; n < INSTRUCTIONS; n++) {
      const code = instruction();
      const length = decode(code, 0, code.length, d);
      const name = length > 0 ? formOf(d).mnemonic : '(bad)';
      if (name === 'cpuid') continue;
      names.add(name);
      const state = randomState();
      const from = below(0x2000);
      const data = noise.subarray(from, from + 0x2000);
      for (const m of [oracle, fast]) prepare(m, code, state, data);
      const a = evaluateOne(machine, oracle.v);
      const b = fast.step();
      exits.set(a, (exits.get(a) ?? 0) + 1);
      const what = `${name}: ${Array.from(code, (x) => x.toString(16).padStart(2, '0')).join(' ')}`;
      assert.equal(a, b, `exit of ${what}`);
      if (a === EXIT.EXCEPTION)
        for (const f of EXIT_FIELDS) assert.equal(oracle.v.get(f), fast.v.get(f), `${f} of ${what}`);
      if (!Buffer.from(oracle.v.saveState()).equals(fast.v.saveState()))
        for (const f of STATE_FIELDS.filter((x) => x.architectural))
          assert.deepEqual(
            oracle.v.bytes(f.name as never),
            fast.v.bytes(f.name as never),
            `${f.name} after ${what}`,
          );
      const memory = (m: FlatMachine): Uint8Array =>
        m.cpu.mem.bytes.subarray(
          m.cpu.mem.framesBase + Number(CODE),
          m.cpu.mem.framesBase + Number(CODE) + MEMORY,
        );
      if (!Buffer.from(memory(oracle)).equals(memory(fast)))
        assert.deepEqual(memory(oracle), memory(fast), what);
    }
    // It must have been about something: most instructions seen, and most of them retired.
    assert.ok(names.size > 280, `${names.size} mnemonics`);
    assert.ok((exits.get(EXIT.LIMIT) ?? 0) > INSTRUCTIONS / 4, JSON.stringify([...exits]));
  });
});
