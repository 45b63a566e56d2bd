import assert from 'node:assert/strict';
import { evaluateOne } from '../../src/cpu/evaluate/index';
import { EXIT } from '../../src/cpu/exits';
import { GPR, type FieldName } from '../../src/cpu/state';
import { CODE, DATA, flatMachine, STACK_TOP, type FlatMachine } from '../cpu/flat-machine';
import { disassemble } from './disassembler';

export { CODE, DATA, STACK_TOP };

const FLAGS = {
  cf: 0,
  pf: 2,
  af: 4,
  zf: 6,
  sf: 7,
  tf: 8,
  if: 9,
  df: 10,
  of: 11,
  nt: 14,
  rf: 16,
  ac: 18,
  id: 21,
} as const;
type Flag = keyof typeof FLAGS;
const isFlag = (name: string): name is Flag => name in FLAGS;

/** Registers, flags (0 or 1), and memory as hex bytes by address. */
export type State = Partial<Record<FieldName | Flag, bigint | number>> & {
  readonly mem?: Readonly<Record<string, string>>;
};

export interface Faulted {
  readonly vector: number;
  readonly code?: number;
  readonly address?: bigint;
}

/** One instruction on one backend. */
export interface Trial {
  given(state: State): Trial;
  /** Runs it; it must retire, and what is named must be as said; GPRs and flags not named must be unchanged. */
  expect(state: State & { readonly undefined?: readonly Flag[] }): void;
  /** Runs it; it must be abandoned with this exception, rip at it, and nothing changed but what is named. */
  faults(fault: Faulted, state?: State): void;
  /** Runs it; it must leave for this reason without having retired. */
  stops(reason: number): void;
  /** Runs it; it must retire and leave for this reason. */
  exits(reason: number, state?: State): void;
}

/** `text` is what the disassembler must make of the bytes: a test cannot claim what it does not run. */
export type Cpu = (text: string, hex: string) => Trial;

const bytesOf = (hex: string): number[] =>
  hex
    .split(/\s+/)
    .filter(Boolean)
    .map((b) => parseInt(b, 16));

interface Backend {
  readonly name: string;
  readonly machine: FlatMachine;
  step(): number;
}

function backends(): Backend[] {
  const oracle = flatMachine(HOOKS);
  const interpreted = flatMachine(HOOKS);
  return [
    {
      name: 'evaluate',
      machine: oracle,
      step: () =>
        evaluateOne(
          { mem: oracle.cpu.mem, hooks: ALL_HOOKS, beforeStore: (mfn) => oracle.cpu.beforeStore(mfn) },
          oracle.v,
        ),
    },
    { name: 'interpret', machine: interpreted, step: () => interpreted.step() },
  ];
}

const HOOKS = {
  cpuid: (_v: unknown, leaf: number, subleaf: number) => ({ eax: leaf, ebx: 2, ecx: subleaf, edx: -1 }),
  tsc: () => 0x1122334455667788n,
};
const ALL_HOOKS = { ...HOOKS, cow: () => undefined, watch: () => false };

let made: Backend[] | undefined;

/** Runs `tests` once for each way the CPU has to execute instructions. */
export function forEachBackend(tests: (cpu: Cpu) => void): void {
  for (const n of [0, 1]) {
    describe(['evaluate', 'interpret'][n] ?? '', () => {
      tests((text, hex) => trial((made ??= backends())[n] ?? fail(), text, bytesOf(hex)));
    });
  }
}
const fail = (): never => {
  throw new Error('no such backend');
};

const SAVED: readonly FieldName[] = [...GPR, 'fs_base', 'gs_base', 'es', 'cs', 'ss', 'ds', 'fs', 'gs'];

const confirmed = new Set<string>();

function trial(backend: Backend, text: string, code: readonly number[]): Trial {
  const { machine } = backend;
  const { v, cpu } = machine;
  const claim = `${text}: ${code.join()}`;
  if (!confirmed.has(claim)) {
    const seen = disassemble(Uint8Array.from(code), 0, code.length, CODE);
    assert.equal(seen.text, text, 'the bytes are another instruction');
    confirmed.add(claim);
  }
  for (const r of GPR) v.set(r, 0x1111_1111_1111_1111n * BigInt(GPR.indexOf(r)));
  v.set('rsp', STACK_TOP - 0x100n);
  for (const s of SAVED.slice(16)) v.set(s, 0n);
  v.setInt('cs', 0x33);
  v.setInt('ss', 0x2b);
  v.set('gdt_base', 0n);
  v.setInt('gdt_limit', 0);
  v.setInt('cpl', 3);
  v.set('cr4', 0x620n);
  v.set('efer', 0xd01n);
  v.rflags = 0x202n;
  v.set('rip', CODE);
  cpu.mem.bytes.fill(0, cpu.mem.framesBase + Number(DATA), cpu.mem.framesBase + Number(STACK_TOP));
  cpu.beforeStore(Number(CODE) >> 12);
  machine.put(Number(CODE), [...code, 0x90]);

  const apply = (state: State): void => {
    for (const [name, value] of Object.entries(state) as [string, bigint | number][]) {
      if (name === 'mem') {
        for (const [at, hex] of Object.entries(state.mem ?? {})) machine.put(Number(at), bytesOf(hex));
      } else if (isFlag(name)) {
        const bit = 1n << BigInt(FLAGS[name]);
        v.rflags = value ? v.rflags | bit : v.rflags & ~bit;
      } else if (name === 'rflags') v.rflags = BigInt(value);
      else v.set(name as FieldName, BigInt.asUintN(64, BigInt(value)));
    }
  };
  const hex = (n: bigint): string => `0x${n.toString(16)}`;
  const snapshot = (): Map<string, bigint> => new Map(SAVED.map((f) => [f, v.get(f)]));
  const check = (
    before: Map<string, bigint>,
    flags: bigint,
    state: State,
    ignored: readonly Flag[],
  ): void => {
    for (const [at, bytes] of Object.entries(state.mem ?? {}))
      assert.deepEqual(machine.get(Number(at), bytesOf(bytes).length), bytesOf(bytes), `memory at ${at}`);
    for (const f of SAVED) {
      const wanted = state[f];
      const value = wanted === undefined ? (before.get(f) ?? 0n) : BigInt.asUintN(64, BigInt(wanted));
      if (v.get(f) !== value) assert.equal(hex(v.get(f)), hex(value), f);
    }
    const now = v.rflags;
    for (const f of Object.keys(FLAGS) as Flag[]) {
      if (ignored.includes(f)) continue;
      const wanted = state[f];
      const at = BigInt(FLAGS[f]);
      const bit = (now >> at) & 1n;
      const expected = wanted === undefined ? (flags >> at) & 1n : BigInt(wanted);
      if (bit !== expected) assert.equal(bit, expected, f);
    }
    for (const f of ['rip', 'exit_vector'] as const)
      if (state[f] !== undefined) assert.equal(hex(v.get(f)), hex(BigInt.asUintN(64, BigInt(state[f]))), f);
  };

  const self: Trial = {
    given(state) {
      apply(state);
      return self;
    },
    expect(state) {
      const before = snapshot();
      const flags = v.rflags;
      const count = v.get('icount');
      assert.equal(backend.step(), EXIT.LIMIT, `left with vector ${v.getInt('exit_vector')}`);
      assert.equal(v.get('icount'), count + 1n, 'not retired');
      check(before, flags, { rip: CODE + BigInt(code.length), ...state }, state.undefined ?? []);
    },
    faults(fault, state = {}) {
      const before = snapshot();
      const flags = v.rflags;
      const count = v.get('icount');
      assert.equal(backend.step(), EXIT.EXCEPTION);
      assert.equal(v.getInt('exit_vector'), fault.vector, 'vector');
      assert.equal(v.getInt('exit_error') | 0, fault.code ?? -1, 'error code');
      if (fault.address !== undefined) assert.equal(hex(v.get('exit_address')), hex(fault.address));
      assert.equal(v.get('icount'), count, 'retired');
      check(before, flags, { rip: CODE, ...state }, []);
    },
    stops(reason) {
      const count = v.get('icount');
      assert.equal(backend.step(), reason);
      assert.equal(v.get('icount'), count, 'retired');
      assert.equal(v.get('rip'), CODE, 'rip');
    },
    exits(reason, state = {}) {
      const before = snapshot();
      const flags = v.rflags;
      const count = v.get('icount');
      assert.equal(backend.step(), reason);
      assert.equal(v.get('icount'), count + 1n, 'not retired');
      check(before, flags, { rip: CODE + BigInt(code.length), ...state }, []);
    },
  };
  return self;
}
