/**
 * The region compiler against the interpreter: random programs, cut into random pieces, must leave the same state, memory,
 * page tables and exits at the same counts.
 */
import assert from 'node:assert/strict';
import { compileHere, type BatchCompiler } from '../../src/cpu/compile/batch';
import { Random } from '../../scripts/differential/random';
import { EXIT } from '../../src/cpu/exits';
import { GPR } from '../../src/cpu/state';
import { CODE, DATA, flatMachine, P, STACK_TOP, U, W, type FlatMachine } from './flat-machine';

const EAGER = { tier: 'compile', compile: { heat: 2, batch: 1 } } as const;
/** Pages of the program. */
const CODE_PAGES = 3;
const CODE_BYTES = CODE_PAGES * 4096;

/** r12–r15 and rsp stay pointers; the others hold anything. */
const FREE = [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11] as const;
const POINTERS = [12, 13, 14, 15] as const;

/** Writes random instructions; branches go to starts of instructions. */
class Program {
  readonly bytes: number[] = [];
  private readonly starts: number[] = [];
  private readonly patches: { readonly at: number; readonly size: 1 | 4 }[] = [];
  constructor(
    private readonly r: Random,
    private readonly vectors: boolean,
  ) {
    while (this.bytes.length < CODE_BYTES - 64) {
      this.starts.push(this.bytes.length);
      this.instruction();
    }
    this.starts.push(this.bytes.length);
    // jmp to the beginning
    const back = -(this.bytes.length + 5);
    this.bytes.push(0xe9, back & 255, (back >> 8) & 255, (back >> 16) & 255, (back >> 24) & 255);
    for (const { at, size } of this.patches) this.patch(at, size);
  }

  private patch(at: number, size: 1 | 4): void {
    const near = this.starts.filter((s) => Math.abs(s - at - size) < (size === 1 ? 120 : 3000));
    const to = this.r.pick(near) - (at + size);
    for (let i = 0; i < size; i++) this.bytes[at + i] = (to >> (8 * i)) & 255;
  }

  /** ModRM and what follows: a register, or memory by a pointer. */
  private operand(reg: number, forceMemory = false, forceRegister = false): { rex: number; tail: number[] } {
    const { r } = this;
    const rexR = reg & 8 ? 4 : 0;
    if (forceRegister || (!forceMemory && r.chance(0.5))) {
      const rm = r.pick(FREE);
      return { rex: rexR | (rm & 8 ? 1 : 0), tail: [0xc0 | ((reg & 7) << 3) | (rm & 7)] };
    }
    const base = r.pick(POINTERS);
    const disp = r.below(256);
    if (base === 12) return { rex: rexR | 1, tail: [0x44 | ((reg & 7) << 3), 0x24, disp] };
    if (r.chance(0.1)) {
      // [base + index]: mostly somewhere else
      const index = r.pick(FREE);
      return {
        rex: rexR | 1 | (index & 8 ? 2 : 0),
        tail: [0x44 | ((reg & 7) << 3), (r.below(4) << 6) | ((index & 7) << 3) | (base & 7), disp],
      };
    }
    return { rex: rexR | 1, tail: [0x40 | ((reg & 7) << 3) | (base & 7), disp] };
  }

  private emit(prefix: number[], rex: number, opcode: number[], tail: number[], immediate = 0): void {
    const bytes = [...prefix, ...(rex !== 0 ? [0x40 | rex] : []), ...opcode, ...tail];
    for (let i = 0; i < immediate; i++) bytes.push(this.r.below(256));
    this.bytes.push(...bytes);
  }

  private instruction(): void {
    const { r } = this;
    const reg = r.pick(FREE);
    const w = r.chance(0.5) ? 8 : 0;
    const o16 = w === 0 && r.chance(0.2) ? [0x66] : [];
    const general = (opcode: number[], immediate = 0, prefix = o16): void => {
      const { rex, tail } = this.operand(reg);
      this.emit(prefix, rex | w, opcode, tail, immediate);
    };
    const group = (opcode: number[], digit: number, immediate = 0): void => {
      const { rex, tail } = this.operand(digit);
      this.emit(o16, rex | w, opcode, tail, immediate);
    };
    const rows: readonly (() => void)[] = [
      () => general([r.pick([0x01, 0x03, 0x09, 0x0b, 0x11, 0x13, 0x19, 0x1b, 0x21, 0x23, 0x29, 0x2b, 0x31, 0x33, 0x39, 0x3b, 0x85])]), // prettier-ignore
      () => general([r.pick([0x00, 0x02, 0x08, 0x0a, 0x10, 0x12, 0x18, 0x1a, 0x20, 0x22, 0x28, 0x2a, 0x30, 0x32, 0x38, 0x3a, 0x84])]), // prettier-ignore
      () => general([r.pick([0x8b, 0x89, 0x8b, 0x89, 0x88, 0x8a])]),
      () => general([0x0f, r.pick([0xb6, 0xb7, 0xbe, 0xbf, 0xaf, 0xbc, 0xbd])]),
      () => general([0x0f, 0x40 + r.below(16)]),
      () => group([0x0f, 0x90 + r.below(16)], 0),
      () => group([0x83], r.below(8), 1),
      () => group([0xc1], r.pick([0, 1, 2, 3, 4, 5, 7]), 1),
      () => group([r.pick([0xd1, 0xd3])], r.pick([0, 1, 2, 3, 4, 5, 7])),
      () => group([0xf7], r.pick([2, 3, 4, 5, 6, 7])),
      () => group([0xff], r.below(2)),
      () => group([0x0f, 0xba], 4 + r.below(4), 1),
      () => general([0x0f, r.pick([0xa4, 0xac])], 1),
      () => general([0x0f, r.pick([0xb1, 0xc1, 0xb0, 0xc0])]),
      () => general([r.pick([0x86, 0x87])]),
      () => {
        const { rex, tail } = this.operand(reg, true);
        this.emit(o16, rex | w, [0x8d], tail);
      },
      () => this.emit([], (reg & 8 ? 1 : 0) | 8, [0xc7], [0xc0 | (reg & 7)], 4),
      () => this.emit([], reg & 8 ? 1 : 0, [r.pick([0x50, 0x58]) + (reg & 7)], []),
      () => this.emit([], 0, [r.pick([0xf5, 0xf8, 0xf9, 0xfc, 0x98, 0x99, 0x9e, 0x9f, 0x90])], []),
      () => this.branch(),
      () => this.branch(),
      () => this.branch(),
      () => this.emit([], 0, [r.pick([0xa4, 0xa5, 0xaa, 0xab, 0xac, 0x9c])], []),
      () => (r.chance(0.1) ? this.emit([], 0, [r.pick([0xc3, 0xcc, 0xf4, 0x0f])], [0x0b]) : general([0x8b])),
      () => this.vector(),
      () => this.vector(),
    ];
    r.pick(rows)();
  }

  private branch(): void {
    const { r } = this;
    const kind = r.below(10);
    if (kind < 6) this.bytes.push(0x70 + r.below(16));
    else if (kind < 7) this.bytes.push(r.pick([0xe2, 0xe3, 0xeb]));
    else if (kind < 9) this.bytes.push(0x0f, 0x80 + r.below(16));
    else this.bytes.push(r.pick([0xe8, 0xe9]));
    const size = kind < 7 ? 1 : 4;
    this.patches.push({ at: this.bytes.length, size });
    this.bytes.push(...Array<number>(size).fill(0));
  }

  private vector(): void {
    if (!this.vectors) return;
    const { r } = this;
    const { rex, tail } = this.operand(r.below(16));
    const kind = r.below(4);
    if (kind === 0)
      this.emit([r.pick([0xf2, 0xf3])], rex, [0x0f, r.pick([0x58, 0x59, 0x5c, 0x5e, 0x5d, 0x5f, 0x51, 0x10, 0x2a, 0x2c])], tail); // prettier-ignore
    else if (kind === 1)
      this.emit([0x66], rex, [0x0f, r.pick([0xef, 0xeb, 0xdb, 0xd4, 0xfe, 0x6f, 0x7f, 0x60, 0x74, 0x2e])], tail); // prettier-ignore
    else if (kind === 2) this.emit([r.pick([0xf3])], rex, [0x0f, r.pick([0x6f, 0x7f])], tail);
    else this.emit([0x66], rex | 8, [0x0f, r.pick([0x6e, 0x7e])], tail);
  }
}

function prepare(
  seed: number,
  tier: Parameters<typeof flatMachine>[2] | undefined,
  options: { vectors: boolean; selfModifying: boolean },
): FlatMachine {
  const r = new Random(seed);
  const m = flatMachine({ watch: () => false }, 512, tier);
  for (let i = 0; i < CODE_PAGES; i++) {
    const at = CODE + BigInt(i) * 0x1000n;
    m.map(at, at, P | U | (options.selfModifying ? W : 0n));
  }
  m.put(Number(CODE), new Program(r, options.vectors).bytes);
  m.put(
    Number(DATA),
    Array.from({ length: 8192 }, () => r.below(256)),
  );
  for (const n of FREE) m.v.set(GPR[n], r.u64());
  for (const n of POINTERS) m.v.set(GPR[n], DATA + BigInt(r.below(0x1f00)));
  if (options.selfModifying) m.v.set('r15', CODE + BigInt(r.below(CODE_BYTES - 512)));
  m.v.set('rsp', STACK_TOP - 0x800n);
  m.v.set('rsi', DATA + 0x100n);
  m.v.set('rdi', DATA + 0x900n);
  m.v.set('rip', CODE);
  return m;
}

/** What a supervisor would do: goes on somewhere, with pointers where they belong. */
function recover(m: FlatMachine, r: Random, selfModifying: boolean): void {
  m.v.set('rip', CODE + BigInt((r.below(24) * 509) % CODE_BYTES));
  m.v.set('rsp', STACK_TOP - 0x800n);
  m.v.set('rsi', DATA + BigInt(r.below(0x1000)));
  m.v.set('rdi', DATA + BigInt(r.below(0x1000)));
  if (selfModifying) m.v.set('r15', CODE + BigInt(r.below(CODE_BYTES - 512)));
  if (r.chance(0.1)) m.v.flushTlb();
  if (r.chance(0.05)) m.v.flushPage(DATA);
}

function picture(m: FlatMachine): string {
  const fields = [...GPR, 'rip', 'icount', 'mxcsr'] as const;
  return `${fields.map((f) => `${f}=${m.v.get(f).toString(16)}`).join(' ')} rflags=${m.v.rflags.toString(16)}`;
}

/** As a thread beside the guest's: a batch is done only after it has been asked for some times. */
function late(r: Random): BatchCompiler {
  const here = compileHere();
  let asks = 0;
  return {
    begin(jobs) {
      // As another thread gets them.
      here.begin(structuredClone(jobs));
    },
    done: () => (++asks % (1 + r.below(6)) === 0 ? here.done() : undefined),
  };
}

function lockstep(
  seed: number,
  rounds: number,
  options: { vectors: boolean; selfModifying: boolean; late: boolean },
): { regions: number; dropped: number } {
  const a = prepare(seed, undefined, options);
  const b = prepare(
    seed,
    options.late ? { ...EAGER, compile: { ...EAGER.compile, compiler: late(new Random(seed + 3)) } } : EAGER,
    options,
  );
  const [ra, rb] = [new Random(seed + 1), new Random(seed + 1)];
  const cuts = new Random(seed + 2);
  const memory = (m: FlatMachine): Uint8Array =>
    m.cpu.mem.bytes.subarray(m.cpu.mem.framesBase, m.cpu.mem.framesBase + 512 * 4096);
  for (let round = 0; round < rounds; round++) {
    const limit = a.v.get('icount') + BigInt(1 + cuts.below(cuts.chance(0.5) ? 40 : 3000));
    const exit = a.v.run(limit);
    let other: number;
    do {
      const here = b.v.get('icount');
      const piece = here + BigInt(1 + cuts.below(cuts.chance(0.3) ? 5 : 4000));
      other = b.v.run(piece < limit ? piece : limit);
    } while (other === EXIT.LIMIT && b.v.get('icount') < limit);
    const where = `seed ${seed}, round ${round}`;
    assert.equal(other, exit, where);
    if (exit !== EXIT.LIMIT) {
      for (const f of ['exit_vector', 'exit_error'] as const)
        assert.equal(b.v.get(f), a.v.get(f), `${where}: ${f}`);
      if (exit === EXIT.EXCEPTION && a.v.getInt('exit_vector') === 14) assert.equal(b.v.get('exit_address'), a.v.get('exit_address'), where); // prettier-ignore
    }
    assert.equal(picture(b), picture(a), where);
    assert.ok(Buffer.from(b.v.saveState()).equals(Buffer.from(a.v.saveState())), `${where}: state`);
    if (round % 16 === 0)
      assert.ok(Buffer.from(memory(b)).equals(Buffer.from(memory(a))), `${where}: memory`);
    // Now and then in any case: many a program ends in a small loop.
    if (exit !== EXIT.LIMIT || round % 8 === 7) {
      recover(a, ra, options.selfModifying);
      recover(b, rb, options.selfModifying);
    }
  }
  assert.ok(Buffer.from(memory(b)).equals(Buffer.from(memory(a))), `seed ${seed}: memory at the end`);
  const { regions, dropped } = b.cpu.regions?.statistics ?? { regions: 0, dropped: 0 };
  return { regions, dropped };
}

describe('region compiler: lockstep with the interpreter', function () {
  this.timeout(120_000);
  for (const [name, options, seeds] of [
    ['integer programs', { vectors: false, selfModifying: false, late: false }, 6],
    ['with SSE', { vectors: true, selfModifying: false, late: false }, 4],
    ['that store into their own code', { vectors: false, selfModifying: true, late: false }, 4],
    ['integer programs, compiled meanwhile', { vectors: false, selfModifying: false, late: true }, 3],
    [
      'that store into their own code, compiled meanwhile',
      { vectors: false, selfModifying: true, late: true },
      4,
    ],
  ] as const) {
    it(name, () => {
      let regions = 0;
      let dropped = 0;
      for (let seed = 1; seed <= seeds; seed++) {
        const done = lockstep(seed * 1000, 200, options);
        regions += done.regions;
        dropped += done.dropped;
      }
      assert.ok(regions > 10 * seeds, `${regions} regions were compiled`);
      if (options.selfModifying) assert.ok(dropped > 3 * seeds, `${dropped} regions were dropped`);
    });
  }
});
