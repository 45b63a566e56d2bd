/** REP MOVS and REP STOS inside regions: the interpreter's states, wherever they begin, overlap, cross, fault or are watched. */
import assert from 'node:assert/strict';
import { Random } from '../../scripts/differential/random';
import { EXIT } from '../../src/cpu/exits';
import { ATTENTION } from '../../src/cpu/types';
import { CODE, DATA, flatMachine, P, U, W, type FlatMachine } from './flat-machine';

const OPS = [
  { name: 'rep movsb', bytes: [0xf3, 0xa4] },
  { name: 'rep movsw', bytes: [0xf3, 0x66, 0xa5] },
  { name: 'rep movsd', bytes: [0xf3, 0xa5] },
  { name: 'rep movsq', bytes: [0xf3, 0x48, 0xa5] },
  { name: 'rep stosb', bytes: [0xf3, 0xaa] },
  { name: 'rep stosw', bytes: [0xf3, 0x66, 0xab] },
  { name: 'rep stosd', bytes: [0xf3, 0xab] },
  { name: 'rep stosq', bytes: [0xf3, 0x48, 0xab] },
] as const;

/** Where the loop reads its operands: rdi, rsi, rcx, rax, one set after another. */
const TABLE = 0x40000n;
const SETS = 64;
/** Two neighbours for data, in linear memory only. */
const NEIGHBOUR = 0x50000n;

/**
 * 0: mov rdi,[rbx]; mov rsi,[rbx+8]; mov rcx,[rbx+16]; mov rax,[rbx+24]; OP; add rdx,rdi; add rbx,32; and rbx,mask;
 *    or rbx,r8; dec rbp; jnz 0
 */
const loop = (op: readonly number[]): number[] => {
  const bytes = [
    ...[0x48, 0x8b, 0x3b, 0x48, 0x8b, 0x73, 0x08, 0x48, 0x8b, 0x4b, 0x10, 0x48, 0x8b, 0x43, 0x18],
    ...op,
    ...[0x48, 0x01, 0xfa, 0x48, 0x83, 0xc3, 0x20],
    ...[0x48, 0x81, 0xe3, 0xff, 0x07, 0, 0],
    ...[0x4c, 0x09, 0xc3, 0x48, 0xff, 0xcd, 0x75],
  ];
  return [...bytes, 256 - (bytes.length + 1)];
};

interface Machine {
  readonly m: FlatMachine;
  readonly asked: string[];
}

function machine(tier: 'interpret' | 'compile', op: readonly number[], seed: number, span: number): Machine {
  const r = new Random(seed);
  const asked: string[] = [];
  const m: FlatMachine = flatMachine(
    {
      watch: (_v, at, linear, size, write) => {
        asked.push([at, linear, size, write, m.v.get('icount')].join());
        return write;
      },
    },
    512,
    { tier, compile: { heat: 3, batch: 1 } },
  );
  m.put(Number(CODE), loop(op));
  m.map(TABLE, TABLE, P | U | W);
  m.map(DATA + 0x1000n, NEIGHBOUR, P | W | U);
  m.put(
    Number(DATA),
    Array.from({ length: 4096 }, () => r.below(256)),
  );
  m.put(
    Number(NEIGHBOUR),
    Array.from({ length: 4096 }, () => r.below(256)),
  );
  const size = op.length === 2 ? 4 : 2;
  for (let n = 0; n < SETS; n++) {
    const at = Number(TABLE) + 32 * n;
    const place = (): bigint =>
      DATA + BigInt(r.chance(0.5) ? r.below(0x1800) : (r.below(0x300) + 0xe80) & ~7);
    const to = place();
    // Overlapping now and then, by whole elements and not.
    const from = r.chance(0.3) ? to - BigInt(r.below(24)) + 8n : place();
    m.setU64(at, to);
    m.setU64(at + 8, from < DATA ? DATA : from);
    m.setU64(at + 16, BigInt(r.chance(0.1) ? 0 : r.below(span) + (r.chance(0.1) ? 1200 * size : 0)));
    m.setU64(at + 24, r.chance(0.5) ? 0x0101_0101_0101_0101n * BigInt(r.below(256)) : r.u64());
  }
  m.v.set('rbx', TABLE);
  m.v.set('r8', TABLE);
  m.v.set('rbp', 1n << 40n);
  m.v.set('rip', CODE);
  return { m, asked };
}

const memoryOf = ({ m }: Machine): Buffer => Buffer.from(m.cpu.mem.bytes.subarray(m.cpu.mem.framesBase));

/** Runs both, cut at the same places, and compares; goes on behind whatever stops them. */
function compare(
  op: readonly number[],
  seed: number,
  span: number,
  between: (m: FlatMachine, round: number) => void,
): FlatMachine {
  const both = [machine('interpret', op, seed, span), machine('compile', op, seed, span)] as const;
  const [reference, compiled] = both;
  const cuts = new Random(seed);
  for (let round = 0; round < 120; round++) {
    const n = BigInt(1 + cuts.below(300));
    const exits = both.map(({ m }) => m.v.run(m.v.get('icount') + n));
    assert.equal(exits[1], exits[0], `round ${round}`);
    assert.deepEqual(compiled.m.v.saveState(), reference.m.v.saveState(), `round ${round}`);
    assert.deepEqual(compiled.asked, reference.asked);
    if (exits[0] === EXIT.EXCEPTION) {
      assert.equal(compiled.m.v.get('exit_address'), reference.m.v.get('exit_address'));
      for (const { m } of both) m.v.set('rcx', 0n);
    }
    for (const { m } of both) between(m, round);
    if (round % 20 === 0)
      assert.ok(memoryOf(compiled).equals(memoryOf(reference)), `memory after round ${round}`);
  }
  assert.ok(memoryOf(compiled).equals(memoryOf(reference)), 'memory at the end');
  return compiled.m;
}

describe('region compiler: repeated strings', () => {
  for (const { name, bytes } of OPS) {
    it(`${name}: any length and alignment, overlapping, across pages`, () => {
      for (let seed = 1; seed <= 3; seed++) {
        const m = compare(bytes, seed * 100, seed === 1 ? 40 : 500, () => undefined);
        // The whole loop is one region, with the string inside.
        assert.ok(
          (m.cpu.regions?.statistics.instructions ?? 0) >= 11,
          'the loop was not compiled with its string',
        );
      }
    });
    it(`${name}: faults, watched and copy-on-write pages, going down`, () => {
      const page = Number(NEIGHBOUR) >> 12;
      compare(bytes, 7, 300, (m, round) => {
        const way = (round >> 3) % 6;
        if (round % 8 !== 0) return;
        m.map(DATA + 0x1000n, NEIGHBOUR, way === 1 ? 0n : way === 2 ? P | U : P | U | W);
        m.cpu.mem.attention[page] =
          way === 3
            ? ATTENTION.WATCH_WRITE
            : way === 4
              ? ATTENTION.WATCH_READ
              : way === 5
                ? ATTENTION.COW
                : 0;
        m.v.rflags = way === 0 && round > 40 ? m.v.rflags ^ 0x400n : m.v.rflags;
        m.v.flushTlb();
      });
    });
  }

  it('into the code that runs: what is there now is run', () => {
    // add rdx, rdi behind the string becomes sub rdx, rdi, and back.
    const OPCODE = 18n;
    const both = (['interpret', 'compile'] as const).map((tier) => machine(tier, [0xf3, 0xaa], 1, 10).m);
    for (const m of both) {
      m.map(CODE, CODE, P | U | W);
      for (let n = 0; n < SETS; n++) {
        const at = Number(TABLE) + 32 * n;
        m.setU64(at, n % 9 === 8 ? CODE + OPCODE : DATA);
        m.setU64(at + 16, n % 9 === 8 ? 1n : 5n);
        m.setU64(at + 24, n % 2 === 0 ? 0x29n : 0x01n);
      }
    }
    for (let n = 1n; n < 40n; n++) {
      const [reference, compiled] = both.map((m) => {
        assert.equal(m.step(undefined, 31n * n), EXIT.LIMIT);
        return m.v.saveState();
      });
      assert.deepEqual(compiled, reference);
    }
    const { dropped = 0 } = both[1]?.cpu.regions?.statistics ?? {};
    assert.ok(dropped > 3, `${dropped} regions were dropped`);
  });
});
