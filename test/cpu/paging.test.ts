import assert from 'node:assert/strict';
import { EXIT } from '../../src/cpu/exits';
import { PF } from '../../src/cpu/paging';
import type { Access } from '../../src/cpu/types';
import { A, CODE, D, DATA, flatMachine, NX, P, PS, U, W, type FlatMachine } from './flat-machine';

const LINEAR = 0x0000_7654_3210_0000n;
const FRAME = 0x40000n;

/** mov al,[rbx] / mov [rbx],al / jmp rbx, at CODE, +2, +4. */
const ACCESS: Readonly<Record<Access, bigint>> = { read: CODE, write: CODE + 2n, fetch: CODE + 4n };

function machine(): FlatMachine {
  const m = flatMachine();
  m.put(Number(CODE), [0x8a, 0x03, 0x88, 0x03, 0xff, 0xe3]);
  m.put(Number(FRAME), [0x90, 0x90]);
  m.v.set('rbx', LINEAR);
  return m;
}

/** The #PF error code of an access by the interpreter, or undefined when it goes through. */
function attempt(m: FlatMachine, access: Access): number | undefined {
  m.v.flushTlb();
  const exit = m.step(ACCESS[access], access === 'fetch' ? 2n : 1n);
  if (exit === EXIT.LIMIT) return undefined;
  assert.equal(exit, EXIT.EXCEPTION);
  assert.equal(m.v.getInt('exit_vector'), 14);
  assert.equal(m.v.get('exit_address'), LINEAR);
  return m.v.getInt('exit_error');
}

/** What translate() says, in the same terms. */
function asked(m: FlatMachine, access: Access): number | undefined {
  const t = m.v.translate(LINEAR, access, m.v.getInt('cpl'));
  return t.ok ? undefined : t.error;
}

const ERROR: Readonly<Record<Access, number>> = { read: 0, write: PF.W, fetch: PF.ID };

describe('page walk (SDM Vol. 3 §4.5–4.7)', () => {
  const accesses: readonly Access[] = ['read', 'write', 'fetch'];

  /** Expected by the rules, from the effective rights. */
  function expected(
    access: Access,
    bits: bigint,
    cpl: number,
    wp: boolean,
    nxe: boolean,
  ): number | undefined {
    const id = access === 'fetch' && nxe ? PF.ID : 0;
    const code = (access === 'write' ? PF.W : 0) | (cpl === 3 ? PF.U : 0) | id;
    if ((bits & P) === 0n) return code;
    if ((bits & NX) !== 0n && !nxe) return code | PF.P | PF.RSVD;
    if (cpl === 3 && (bits & U) === 0n) return code | PF.P;
    if (access === 'write' && (bits & W) === 0n && (cpl === 3 || wp)) return code | PF.P;
    if (access === 'fetch' && (bits & NX) !== 0n) return code | PF.P;
    return undefined;
  }

  it('rights of the last level, by access, CPL, CR0.WP and EFER.NXE', () => {
    const m = machine();
    for (const bits of [0n, P, P | W, P | U, P | W | U, P | NX, P | U | NX, P | W | U | NX]) {
      for (const cpl of [0, 3]) {
        for (const wp of [false, true]) {
          for (const nxe of [false, true]) {
            if (!nxe) m.map(DATA, DATA, P | W | U);
            m.map(LINEAR, FRAME, bits);
            m.v.setInt('cpl', cpl);
            m.v.set('cr0', wp ? 0x8001_0033n : 0x8000_0033n);
            m.v.set('efer', nxe ? 0xd01n : 0x501n);
            for (const access of accesses) {
              const want = expected(access, bits, cpl, wp, nxe);
              const what = `${access} bits ${bits.toString(16)} cpl ${cpl} wp ${wp} nxe ${nxe}`;
              assert.equal(asked(m, access), want, `${what}: translate`);
              assert.equal(attempt(m, access), want, what);
            }
          }
        }
      }
    }
  });

  it('rights are those of all levels together', () => {
    for (const level of [1, 2, 3]) {
      for (const [bits, read, write, fetch] of [
        [P | W, PF.P | PF.U, PF.P | PF.U, PF.P | PF.U],
        [P | U, undefined, PF.P | PF.U, undefined],
        [P | W | U | NX, undefined, undefined, PF.P | PF.U],
        [0n, PF.U, PF.U, PF.U],
      ] as const) {
        const m = machine();
        m.map(LINEAR, FRAME, P | W | U);
        let table = Number(m.v.get('cr3'));
        for (let l = 3; l > level; l--) {
          table = Number(m.u64(table + 8 * Number((LINEAR >> BigInt(12 + 9 * l)) & 511n)) & 0xff_ffff_f000n);
        }
        const at = table + 8 * Number((LINEAR >> BigInt(12 + 9 * level)) & 511n);
        m.setU64(at, (m.u64(at) & 0xff_ffff_f000n) | bits);
        const want = { read, write, fetch };
        for (const access of accesses) {
          const w = want[access];
          assert.equal(attempt(m, access), w === undefined ? undefined : w | ERROR[access], `level ${level} ${access}`);
        }
      }
    }
  }); // prettier-ignore

  it('sets A on the way and D by a write only; a fault sets neither in the last level', () => {
    const m = machine();
    m.map(LINEAR, FRAME, P | W | U);
    const pte = m.pteAt(LINEAR);
    assert.equal(attempt(m, 'read'), undefined);
    assert.equal(m.u64(pte), FRAME | P | W | U | A);
    assert.equal(attempt(m, 'write'), undefined);
    assert.equal(m.u64(pte), FRAME | P | W | U | A | D);
    m.setU64(pte, FRAME | P | U);
    assert.equal(attempt(m, 'write'), PF.P | PF.W | PF.U);
    assert.equal(m.u64(pte), FRAME | P | U);
    assert.equal(m.v.translate(LINEAR, 'read', 3).ok, true);
    assert.equal(m.u64(pte), FRAME | P | U, 'asking has no side effects');
  });

  it('a first write after a read sets D, though the translation is known', () => {
    const m = machine();
    m.map(LINEAR, FRAME, P | W | U);
    m.v.flushTlb();
    assert.equal(m.step(CODE, 2n), EXIT.LIMIT);
    assert.equal(m.u64(m.pteAt(LINEAR)) & D, D);
  });

  it('a translation stays until it is flushed', () => {
    const m = machine();
    m.map(LINEAR, FRAME, P | W | U);
    m.put(Number(FRAME), [1]);
    m.put(Number(FRAME) + 0x1000, [2]);
    m.step(CODE);
    m.map(LINEAR, FRAME + 0x1000n, P | W | U);
    m.step(CODE);
    assert.equal(m.v.get('rax') & 0xffn, 1n);
    m.v.flushPage(LINEAR);
    m.step(CODE);
    assert.equal(m.v.get('rax') & 0xffn, 2n);
    m.v.selectTlb(1);
    m.map(LINEAR, FRAME, P | W | U);
    m.step(CODE);
    assert.equal(m.v.get('rax') & 0xffn, 1n, 'the other set knows nothing');
    m.v.selectTlb(0);
    m.step(CODE);
    assert.equal(m.v.get('rax') & 0xffn, 2n);
  });

  it('large pages, their offsets and reserved bits', () => {
    for (const [level, size] of [[1, 0x20_0000n], [2, 0x4000_0000n]] as const) {
      const m = machine();
      // Entries of the wanted level: make the tables, then replace.
      m.map(LINEAR, FRAME, P | W | U);
      let table = Number(m.v.get('cr3'));
      for (let l = 3; l > level; l--) {
        table = Number(m.u64(table + 8 * Number((LINEAR >> BigInt(12 + 9 * l)) & 511n)) & 0xff_ffff_f000n);
      }
      const at = table + 8 * Number((LINEAR >> BigInt(12 + 9 * level)) & 511n);
      m.setU64(at, P | W | U | PS);
      const t = m.v.translate(LINEAR + 0x123n, 'write', 3);
      assert.ok(t.ok);
      assert.equal(t.pageShift, 12 + 9 * level);
      assert.equal(BigInt(t.machineAddress), (LINEAR + 0x123n) & (size - 1n));
      m.setU64(at, P | W | U | PS | (1n << 12n));
      assert.equal(m.v.translate(LINEAR, 'read', 3).ok, true, 'PAT is no address bit');
      m.setU64(at, P | W | U | PS | (1n << 13n));
      assert.equal(attempt(m, 'read'), PF.P | PF.RSVD | PF.U);
      m.setU64(at, P | W | U | PS | (1n << 45n));
      assert.equal(attempt(m, 'write'), PF.P | PF.RSVD | PF.U | PF.W);
    }
  }); // prettier-ignore

  it('copies to and from linear memory, up to the first fault', () => {
    const m = machine();
    m.map(LINEAR, FRAME, P | W | U);
    const text = Uint8Array.from({ length: 64 }, (_, i) => i + 1);
    assert.equal(m.v.writeLinear(LINEAR + 0xfe0n, text, 3), 32);
    const back = new Uint8Array(64);
    assert.equal(m.v.readLinear(LINEAR + 0xfe0n, back, 3), 32);
    assert.deepEqual(back.subarray(0, 32), text.subarray(0, 32));
    assert.equal(m.u64(m.pteAt(LINEAR)) & D, D);
    assert.equal(m.v.readLinear(0xffff_7fff_ffff_fff0n, back, 3), 0);
    assert.deepEqual(m.v.translate(0x0000_8000_0000_0000n, 'read', 3), { ok: false, error: undefined });
  });
});
