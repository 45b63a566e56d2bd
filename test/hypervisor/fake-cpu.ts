/** A processor without instructions: registers, memory and page walks, enough for the hypervisor's own tests. */
import { PTE, pteFrame } from '../../src/abi/mmu';
import { FIELD, halfOf, STATE_SIZE, wordOf, type FieldName } from '../../src/cpu/state';
import type { Access, Cpu, PhysicalMemory, Translation, Untranslated, Vcpu } from '../../src/cpu/types';

const PAGE = 4096;

export interface FakeCpu extends Cpu {
  /** How often translations were flushed: TLB safety shows here. */
  flushes: number;
}

export function fakeCpu(frameCount: number, vcpuCount: number): FakeCpu {
  const buffer = new ArrayBuffer(frameCount * PAGE);
  const bytes = new Uint8Array(buffer);
  const view = new DataView(buffer);
  const mem: PhysicalMemory = {
    memory: new WebAssembly.Memory({ initial: 1 }),
    bytes,
    view,
    u64: new BigUint64Array(buffer),
    u32: new Uint32Array(buffer),
    framesBase: 0,
    frameCount,
    attention: new Uint8Array(frameCount),
  };
  const cpu: FakeCpu = {
    mem,
    vcpus: Array.from({ length: vcpuCount }, (_, i) => fakeVcpu(mem, i)),
    flushes: 0,
    flushAllTlbs: () => {
      cpu.flushes++;
    },
    beforeStore: () => undefined,
    setBreakpoints: () => undefined,
    skipBreakpoint: () => undefined,
  };
  return cpu;
}

/** SDM vol. 3 §4.5, with the rights of the given privilege level; sets A and D when asked to. */
function walk(
  mem: PhysicalMemory,
  cr3: bigint,
  linear: bigint,
  access: Access,
  cpl: number,
  mark: boolean,
): Translation | Untranslated {
  if (BigInt.asUintN(64, BigInt.asIntN(48, linear)) !== linear) return { ok: false, error: undefined };
  let table = pteFrame(cr3);
  let writable = true;
  let user = true;
  let executable = true;
  const error = (present: boolean): Untranslated => ({
    ok: false,
    error:
      (present ? 1 : 0) | (access === 'write' ? 2 : 0) | (cpl === 3 ? 4 : 0) | (access === 'fetch' ? 16 : 0),
  });
  const touched: number[] = [];
  for (let level = 4; level >= 1; level--) {
    if (table >= mem.frameCount) return error(true);
    const at = mem.framesBase + table * PAGE + Number((linear >> BigInt(3 + 9 * level)) & 511n) * 8;
    const entry = mem.view.getBigUint64(at, true);
    if ((entry & PTE.PRESENT) === 0n) return error(false);
    writable &&= (entry & PTE.RW) !== 0n;
    user &&= (entry & PTE.USER) !== 0n;
    executable &&= (entry & PTE.NX) === 0n;
    touched.push(at);
    table = pteFrame(entry);
  }
  if ((cpl === 3 && !user) || (access === 'write' && !writable) || (access === 'fetch' && !executable))
    return error(true);
  if (table >= mem.frameCount) return error(true);
  if (mark) {
    touched.forEach((at, i) => {
      const dirty = access === 'write' && i === touched.length - 1 ? PTE.DIRTY : 0n;
      mem.view.setBigUint64(at, mem.view.getBigUint64(at, true) | PTE.ACCESSED | dirty, true);
    });
  }
  return {
    ok: true,
    machineAddress: table * PAGE + Number(linear & 0xfffn),
    pageShift: 12,
    writable,
    user,
    executable,
  };
}

function fakeVcpu(mem: PhysicalMemory, index: number): Vcpu {
  const words = new BigUint64Array(STATE_SIZE / 8);
  const halves = new Uint32Array(words.buffer);
  const get = (field: FieldName): bigint =>
    FIELD[field].size === 4 ? BigInt(halves[halfOf(field)] ?? 0) : (words[wordOf(field)] ?? 0n);
  const set = (field: FieldName, value: bigint): void => {
    if (FIELD[field].size === 4) halves[halfOf(field)] = Number(BigInt.asUintN(32, value));
    else words[wordOf(field)] = value;
  };
  function copy(
    linear: bigint,
    length: number,
    access: Access,
    cpl: number,
    piece: (at: number, done: number, n: number) => void,
  ): number {
    let done = 0;
    while (done < length) {
      const t = walk(mem, get('cr3'), BigInt.asUintN(64, linear + BigInt(done)), access, cpl, true);
      if (!t.ok) break;
      const n = Math.min(length - done, PAGE - (t.machineAddress % PAGE));
      piece(mem.framesBase + t.machineAddress, done, n);
      done += n;
    }
    return done;
  }
  return {
    index,
    get,
    set,
    getInt: (field) => Number(get(field)),
    setInt: (field, value) => set(field, BigInt(value)),
    words,
    halves,
    rflags: 2n,
    get flags() {
      return Number(this.rflags);
    },
    set flags(value) {
      this.rflags = BigInt(value);
    },
    // It has no soft TLB: everything is a walk.
    reach: () => 0,
    bytes: () => new Uint8Array(16),
    saveState: () => new Uint8Array(0),
    restoreState: () => undefined,
    run: () => {
      throw new Error('the fake processor has no instructions');
    },
    runFor: () => {
      throw new Error('the fake processor has no instructions');
    },
    icount: () => Number(get('icount')),
    selectTlb: () => undefined,
    flushTlb: () => undefined,
    flushPage: () => undefined,
    translate: (linear, access, cpl, cr3) => walk(mem, cr3 ?? get('cr3'), linear, access, cpl, false),
    readCode: (linear, into) =>
      copy(linear, into.length, 'read', 3, (at, done, n) => into.set(mem.bytes.subarray(at, at + n), done)),
    readLinear: (linear, into, cpl) =>
      copy(linear, into.length, 'read', cpl, (at, done, n) => into.set(mem.bytes.subarray(at, at + n), done)),
    writeLinear: (linear, from, cpl) =>
      copy(linear, from.length, 'write', cpl, (at, done, n) =>
        mem.bytes.set(from.subarray(done, done + n), at),
      ),
  };
}
