import assert from 'node:assert/strict';
import { decode, formOf, newDecoded } from '../../src/cpu/decode';
import { decodedSource } from '../../src/cpu/evaluate/source';
import { Emitter, type Lowering } from '../../src/cpu/ir/emitter';
import { prune } from '../../src/cpu/ir/liveness';
import type { Block, Node } from '../../src/cpu/ir/nodes';
import { asOps, irOps } from '../../src/cpu/ir/ops';
import { asSource } from '../../src/cpu/ir/record-source';
import { Recorder } from '../../src/cpu/ir/recorder';
import { execute } from '../../src/cpu/operands';
import { FIELD, FLAG_SLOTS, GPR, offsetOf, type FieldName } from '../../src/cpu/state';
import { ModuleBuilder } from '../../src/cpu/wasm/encoder';
import { stateInMemory } from '../../src/cpu/wasm/lower';
import { CODE, flatMachine } from './flat-machine';

describe('IR: simplification', () => {
  const r = new Recorder();
  const o = irOps(r);
  const x = r.param('i64', 0);
  const value = (n: Node): Node['imm'] => (n.op === 'const' ? n.imm : undefined);

  it('folds constants as 64-bit patterns', () => {
    assert.equal(value(o.add(o.k(-1), o.k(2))), 1n);
    assert.equal(value(o.sub(o.k(0), o.k(1))), (1n << 64n) - 1n);
    assert.equal(value(o.sar(o.k(1n << 63n), o.k(63))), (1n << 64n) - 1n);
    assert.equal(value(o.shl(o.k(1), o.k(65))), 2n, 'counts are taken modulo 64');
    assert.equal(value(o.cmp('lts', o.k(-1), o.k(0))), 1n);
    assert.equal(value(o.cmp('ltu', o.k(-1), o.k(0))), 0n);
    assert.equal(value(o.sx(8, o.k(0x80))), (1n << 64n) - 128n);
    assert.equal(value(o.clz(o.k(1))), 63n);
    assert.equal(value(o.ctz(o.k(0))), 64n);
    assert.equal(value(o.mulhu(o.k(-1), o.k(-1))), (1n << 64n) - 2n);
    assert.equal(value(o.mulhs(o.k(-1), o.k(-1))), 0n);
  });

  it('leaves divisions by zero to run time', () => {
    assert.equal(value(o.divu(o.k(1), o.k(0))), undefined);
  });

  it('knows neutral elements and the width of values', () => {
    assert.equal(o.add(x, o.k(0)), x);
    assert.equal(o.and(x, o.k(-1)), x);
    const byte = o.zx(8, x);
    assert.equal(o.zx(8, byte), byte);
    assert.equal(o.zx(32, byte), byte);
    assert.equal(o.sx(16, byte), byte, 'a zero-extended byte is no negative word');
    assert.notEqual(o.sx(8, byte), byte);
    const low = o.zx(32, x);
    assert.equal(o.zx(32, low), low);
  });

  it('shares equal nodes', () => {
    assert.equal(o.add(x, o.k(5)), o.add(x, o.k(5)));
  });
});

describe('IR: order and liveness', () => {
  const kinds = (b: Block): string[] => b.filter((s) => s.kind !== 'define').map((s) => (s.kind === 'special' ? s.act.op : s.kind)); // prettier-ignore

  it('drops unused reads of state, keeps guest accesses, which may fault', () => {
    const r = new Recorder();
    const o = irOps(r);
    o.get('rax');
    o.load(64, o.get('rbx'));
    o.store(8, o.get('rcx'), o.k(1));
    assert.deepEqual(kinds(prune(r.body)), ['let', 'guestLoad', 'let', 'guestStore']);
  });

  it('a branch on a constant is taken while recording', () => {
    const r = new Recorder();
    const o = irOps(r);
    o.if(o.cmp('eq', o.k(1), o.k(1)), () => o.set('rax', o.k(1)), () => o.set('rbx', o.k(1))); // prettier-ignore
    assert.deepEqual(kinds(prune(r.body)), ['put']);
  });

  it('a read keeps its moment, though it is used after a write', () => {
    const body = compile((o) => {
      const old = o.get('rax');
      o.set('rax', o.k(7));
      o.set('rbx', old);
    }, inMemory);
    const m = flatMachine();
    m.v.set('rax', 3n);
    run(body, m.cpu.mem.memory, m.v.address);
    assert.equal(m.v.get('rax'), 7n);
    assert.equal(m.v.get('rbx'), 3n);
  });

  it('a node from outside a loop is computed once; variables change inside', () => {
    const body = compile((o) => {
      const n = o.var(o.k(0));
      const sum = o.var(o.k(0));
      const step = o.mul(o.get('rax'), o.k(3));
      o.while(
        () => o.cmp('ltu', n.get(), o.get('rcx')),
        () => {
          n.set(o.add(n.get(), o.k(1)));
          sum.set(o.add(sum.get(), step));
        },
      );
      o.set('rdx', sum.get());
    }, inMemory);
    const m = flatMachine();
    m.v.set('rax', 5n);
    m.v.set('rcx', 4n);
    run(body, m.cpu.mem.memory, m.v.address);
    assert.equal(m.v.get('rdx'), 60n);
  });
});

const inMemory: Lowering = {
  ...stateInMemory,
  special: () => assert.fail('no specials here'),
};

/** The body of a function (vcpu) → nothing. */
function compile(record: (o: ReturnType<typeof irOps>) => void, lowering: Lowering): Uint8Array {
  const r = new Recorder();
  record(irOps(r));
  return new Emitter(1, lowering).function(r.body, () => undefined);
}

function run(body: Uint8Array, memory: WebAssembly.Memory, vcpu: number): void {
  const b = new ModuleBuilder();
  b.importMemory('env', 'memory', 1, 65536);
  const f = b.declare('f', { params: ['i32'], results: [] });
  b.define(f, body);
  b.export(f);
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(b.finish()), { env: { memory } });
  const call = exports['f'];
  assert.ok(typeof call === 'function');
  call(vcpu);
}

/**
 * The split that the region compiler will need: the same declarations, several instructions in one recording,
 * operands constant, registers in locals, overwritten flags gone.
 */
describe('IR: a region from the same declarations', () => {
  /** mov rcx,10; L: add rax,rcx; imul rbx,rax; mov dl,ah; xor bh,cl; shl rsi,3; sub rsi,rbx; (straight line) */
  const REGION = [
    0x48, 0xc7, 0xc1, 0x0a, 0, 0, 0, 0x48, 0x01, 0xc8, 0x48, 0x0f, 0xaf, 0xd8, 0x88, 0xe2, 0x30, 0xcf,
    0x48, 0xc1, 0xe6, 0x03, 0x48, 0x29, 0xde,
  ]; // prettier-ignore
  const COUNT = 7n;

  function record(): Block {
    const r = new Recorder();
    const o = irOps(r);
    const bytes = Uint8Array.from([...REGION, ...Array<number>(16).fill(0)]);
    const d = newDecoded();
    for (let at = 0; at < REGION.length; at += d.length) {
      assert.ok(decode(bytes, at, bytes.length, d) > 0);
      const form = formOf(d);
      execute(form, asOps(o), asSource(decodedSource(o, form, { ...d }, CODE + BigInt(at + d.length))));
    }
    return r.body;
  }

  /** Drops puts that a later put overwrites before anybody looks. No statement of this region can fault. */
  function withoutDeadPuts(block: Block): Block {
    const dead = new Set<FieldName>();
    return [...block]
      .reverse()
      .filter((s) => {
        if (s.kind === 'put') {
          if (dead.has(s.field)) return false;
          dead.add(s.field);
        } else if (s.kind === 'let' && s.read.op === 'get') dead.delete(s.read.field);
        else if (s.kind === 'if' || s.kind === 'loop' || s.kind === 'special') dead.clear();
        return true;
      })
      .reverse();
  }

  it('runs in locals with dead flags gone, and ends in the interpreter’s state', () => {
    const all = record();
    const block = withoutDeadPuts(all);
    const flagPuts = (b: Block): number =>
      b.filter((s) => s.kind === 'put' && (FLAG_SLOTS as readonly string[]).includes(s.field)).length;
    assert.ok(flagPuts(all) >= 24, 'five instructions set flags');
    assert.ok(flagPuts(block) <= 8, `${flagPuts(block)} flag writes are left of ${flagPuts(all)}`);

    const fields = [...GPR, ...FLAG_SLOTS];
    const slots = new Map<FieldName, number>();
    const slot = (e: Emitter, f: FieldName): number => {
      let s = slots.get(f);
      if (s === undefined) slots.set(f, (s = e.newLocal('i64')));
      return s;
    };
    const lowering: Lowering = {
      get: (e, f) => void e.getLocal(slot(e, f)),
      put: (e, f, v) => void e.value(v).setLocal(slot(e, f)),
      special: () => assert.fail('no memory in this region'),
    };
    const e = new Emitter(1, lowering);
    for (const f of fields) e.getLocal(0).memory('i64.load', offsetOf(f)).setLocal(slot(e, f));
    const body = e.function(block, (end) => {
      for (const f of fields) end.getLocal(0).getLocal(slot(end, f)).memory('i64.store', FIELD[f].offset);
    });

    const compiled = flatMachine();
    const interpreted = flatMachine();
    for (const m of [compiled, interpreted]) {
      GPR.forEach((name, i) => {
        if (name !== 'rsp') m.v.set(name, BigInt.asUintN(64, 0x9e3779b97f4a7c15n * BigInt(i + 1)));
      });
      m.v.rflags = 0x8d7n;
    }
    run(body, compiled.cpu.mem.memory, compiled.v.address);
    interpreted.put(Number(CODE), REGION);
    assert.equal(interpreted.step(CODE, COUNT), 0);
    for (const name of GPR) assert.equal(compiled.v.get(name), interpreted.v.get(name), name);
    assert.equal(compiled.v.rflags, interpreted.v.rflags);
  });
});
