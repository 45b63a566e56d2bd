import { EXIT, type Exit } from './exits';
import { composeFlags, composeRflags, splitFlags, splitRflags } from './flags';
import type { MachineMemory } from './memory';
import { UNIMPLEMENTED } from './ops';
import { PTE, WALK } from './paging';
import { FIELD, FLAG_SLOTS, STATE_FIELDS, STATE_SIZE, halfOf, wordOf, type FieldName } from './state';
import { PAGE_SIZE, type Access, type Translation, type Untranslated, type Vcpu } from './types';
import {
  ACCESS, EXEC, EXEC_ENTRIES, EXEC_ENTRY_SHIFT, TLB, TLB_BARRED, TLB_ENTRIES, TLB_ENTRY_SHIFT, TLB_EXEC, TLB_SET_BYTES, TLB_USED,
} from './wasm/abi'; // prettier-ignore

/** What a vCPU needs of the generated module, bound to its state. */
export interface Engine {
  run(): Exit;
  /** Page walk; the result is that of paging.ts `walk`. `probe`: leave A and D alone. */
  walk(linear: bigint, access: number, user: boolean, cr3: bigint, probe: boolean): bigint;
  /** Before a store of `bytes` at a machine address, inside one frame. */
  attend(machineAddress: number, bytes: number): void;
  /** Empties the TLB set at an address. */
  flushSet(set: number): void;
}

const U64 = (1n << 64n) - 1n;

export const isCanonical = (linear: bigint): boolean =>
  BigInt.asUintN(64, BigInt.asIntN(48, linear)) === linear;

const PAGE_SHIFT = 12;
/** Bytes that are copied one by one rather than by making views of them. */
const SHORT = 256;
/** A linear address and its halves. */
const address64 = new BigUint64Array(1);
const address32 = new Uint32Array(address64.buffer);

/** Index among the 32-bit words of a state, for fields of 4 bytes; among the 64-bit words, for others of 8, plus this. */
const WIDE = 1 << 16;
const PLACES: ReadonlyMap<FieldName, number> = new Map(
  STATE_FIELDS.filter((f) => f.size <= 8).map((f) => [
    f.name as FieldName,
    f.size === 8 ? WIDE | (f.offset >> 3) : f.offset >> 2,
  ]),
);

function placeOf(field: FieldName): number {
  const place = PLACES.get(field);
  if (place === undefined) throw new RangeError(`${field} has 16 bytes`);
  return place;
}

const [ILIMIT_LOW, ICOUNT_LOW] = [halfOf('ilimit'), halfOf('icount')];
const [ILIMIT, CR3] = [wordOf('ilimit'), wordOf('cr3')];
const [PENDING, SKIP_BREAK, EXIT_REASON, EXIT_VECTOR, CPL, ACTIVE_TLB, RFLAGS_HIGH] = [
  halfOf('pending'), halfOf('skip_break'), halfOf('exit_reason'), halfOf('exit_vector'), halfOf('cpl'), halfOf('tlb'),
  halfOf('rflags') + 1,
]; // prettier-ignore
/** Offsets in a TLB entry, in 32-bit words. */
const TAG = { read: TLB.tagRead >> 2, write: TLB.tagWrite >> 2, addend: TLB.addend >> 2 } as const;

/** The word that begins the bytes of `saveState`. */
export const STATE_VERSION = 1;
const ARCHITECTURAL = STATE_FIELDS.filter((f) => f.architectural);
const SAVED = ARCHITECTURAL.filter((f) => !(FLAG_SLOTS as readonly string[]).includes(f.name));
/** Where in the bytes of `saveState` each field stands. */
export const SAVED_FIELDS: readonly {
  readonly name: string;
  readonly offset: number;
  readonly size: number;
}[] = SAVED.map((f, i) => ({
  name: f.name,
  offset: SAVED.slice(0, i).reduce((at, before) => at + before.size, 8),
  size: f.size,
}));
/** Bytes of `saveState`: a version word, RFLAGS in `rflags`' place, the other architectural fields in order. */
export const SAVED_SIZE = 8 + SAVED.reduce((n, f) => n + f.size, 0);

export interface StatefulVcpu extends Vcpu {
  /** Linear-memory address of the state. */
  readonly address: number;
  /** Canonical bytes of the architectural fields: equal states give equal bytes. */
  saveState(): Uint8Array;
  /** Throws a RangeError for bytes that saveState did not make. Does not flush the TLB. */
  restoreState(saved: Uint8Array): void;
  /**
   * Address in linear memory of an access of `size` bytes at the vCPU's own privilege, where the soft TLB serves it
   * without further ado: nobody watches it, and a store there needs no attention. 0: the long way.
   */
  plainly(linear: bigint, size: number, write: boolean): number;
  /** Forgets which block follows which: code changed. `generation` is a number not used before, and not 0. */
  unlink(generation: number): void;
}

export function makeVcpu(mem: MachineMemory, index: number, engine: Engine): StatefulVcpu {
  const { view, bytes, u32, layout } = mem;
  const address = layout.vcpus[index];
  const tlb = layout.tlbs[index];
  if (address === undefined || tlb === undefined) throw new RangeError(`no vCPU ${index}`);

  const words = new BigUint64Array(view.buffer, address, STATE_SIZE >> 3);
  const halves = new Uint32Array(view.buffer, address, STATE_SIZE >> 2);

  const get = (field: FieldName): bigint => {
    const place = placeOf(field);
    return place >= WIDE ? (words[place - WIDE] ?? 0n) : BigInt(halves[place] ?? 0);
  };
  // The arrays keep the low bits.
  const set = (field: FieldName, value: bigint): void => {
    const place = placeOf(field);
    if (place >= WIDE) words[place - WIDE] = value;
    else halves[place] = Number(value & 0xffffffffn);
  };
  const slots = { get, set };

  /** Calls `part` for each page piece; stops at the first fault. */
  function pieces(linear: bigint, size: number, access: number, cpl: number, part: (machine: number, at: number, n: number) => void): number {
    let done = 0;
    while (done < size) {
      const here = (linear + BigInt(done)) & U64;
      if (!isCanonical(here)) break;
      const r = BigInt.asUintN(64, engine.walk(here, access, cpl === 3, words[CR3] ?? 0n, false));
      if ((r & WALK.FAULT) !== 0n) break;
      const offset = Number(here & 0xfffn);
      const n = Math.min(size - done, PAGE_SIZE - offset);
      part(Number(r & PTE.ADDRESS) + offset, done, n);
      done += n;
    }
    return done;
  } // prettier-ignore

  const icount = (): number => (halves[ICOUNT_LOW + 1] ?? 0) * 2 ** 32 + (halves[ICOUNT_LOW] ?? 0);
  const inside = (machine: number): boolean => machine < mem.frameCount * PAGE_SIZE;

  /** Runs until ilimit or an exit. */
  function enter(): Exit {
    halves[PENDING] = 0;
    const reason = engine.run();
    halves[SKIP_BREAK] = 0;
    if (reason !== EXIT.EXCEPTION || halves[EXIT_VECTOR] !== UNIMPLEMENTED) return reason;
    halves[EXIT_REASON] = EXIT.UNIMPLEMENTED;
    return EXIT.UNIMPLEMENTED;
  }

  const vcpu: StatefulVcpu = {
    index,
    address,
    get,
    set,
    words,
    halves,
    get flags() {
      return composeFlags(halves);
    },
    set flags(v) {
      splitFlags(halves, v);
    },
    getInt(field) {
      const place = placeOf(field);
      if (place < WIDE) return halves[place] ?? 0;
      const v = get(field);
      if (v > BigInt(Number.MAX_SAFE_INTEGER))
        throw new RangeError(`${field} = 0x${v.toString(16)} does not fit a number`);
      return Number(v);
    },
    setInt: (field, value) => set(field, BigInt(value)),
    get rflags() {
      return halves[RFLAGS_HIGH] === 0 ? BigInt(composeFlags(halves)) : composeRflags(slots);
    },
    set rflags(v) {
      if (v >> 32n === 0n) splitFlags(halves, Number(v));
      else splitRflags(slots, v);
    },
    bytes(field) {
      const f = FIELD[field];
      return bytes.subarray(address + f.offset, address + f.offset + f.size);
    },
    icount,
    runFor(instructions) {
      const limit = icount() + instructions;
      // The array keeps the low 32 bits of the whole part.
      halves[ILIMIT_LOW] = limit;
      halves[ILIMIT_LOW + 1] = limit / 2 ** 32;
      return enter();
    },
    run(limit) {
      words[ILIMIT] = limit;
      return enter();
    },
    selectTlb(which) {
      halves[ACTIVE_TLB] = tlb + which * TLB_SET_BYTES;
    },
    unlink(generation) {
      set('generation', BigInt(generation));
      set('link_from', 0n);
    },
    flushTlb(which) {
      if (which !== 1) engine.flushSet(tlb);
      if (which !== 0) engine.flushSet(tlb + TLB_SET_BYTES);
    },
    flushPage(linear) {
      const page = Number((linear >> 12n) & 0xffffn);
      for (const from of [tlb, tlb + TLB_SET_BYTES]) {
        const entry = from + ((page % TLB_ENTRIES) << TLB_ENTRY_SHIFT);
        bytes.fill(0xff, entry, entry + (1 << TLB_ENTRY_SHIFT));
        const exec = from + TLB_EXEC + ((page % EXEC_ENTRIES) << EXEC_ENTRY_SHIFT);
        bytes.fill(0xff, exec, exec + (1 << EXEC_ENTRY_SHIFT));
      }
    },
    translate(linear, access: Access, cpl, cr3): Translation | Untranslated {
      if (!isCanonical(linear)) return { ok: false, error: undefined };
      const kind = access === 'write' ? ACCESS.WRITE : access === 'fetch' ? ACCESS.FETCH : ACCESS.READ;
      const r = BigInt.asUintN(64, engine.walk(linear, kind, cpl === 3, cr3 ?? get('cr3'), true));
      if ((r & WALK.FAULT) !== 0n) return { ok: false, error: Number(r & 0xffffn) };
      return {
        ok: true,
        machineAddress: Number(r & PTE.ADDRESS) + Number(linear & 0xfffn),
        pageShift: 12 + 9 * Number((r >> WALK.LEVEL_SHIFT) & 3n),
        writable: (r & WALK.MAY_WRITE) !== 0n,
        user: (r & WALK.USER) !== 0n,
        executable: (r & WALK.EXECUTABLE) !== 0n,
      };
    },
    reach(low, high, size, write) {
      const offset = low & (PAGE_SIZE - 1);
      if (offset + size > PAGE_SIZE) return 0;
      const entry =
        ((halves[ACTIVE_TLB] ?? 0) + (((low >>> PAGE_SHIFT) % TLB_ENTRIES) << TLB_ENTRY_SHIFT)) >>> 2;
      const tag = entry + (write ? TAG.write : TAG.read);
      // Loads of the hypervisor's are not watched (TLB_BARRED).
      const barred = write ? 0 : Number(TLB_BARRED);
      if (((u32[tag] ?? 0) & ~barred) >>> 0 !== (low - offset) >>> 0 || u32[tag + 1] !== high >>> 0) return 0;
      return (low + (u32[entry + TAG.addend] ?? 0)) >>> 0;
    },
    plainly(linear, size, write) {
      address64[0] = linear;
      const [low = 0, high = 0] = address32;
      if ((low & (PAGE_SIZE - 1)) + size > PAGE_SIZE) return 0;
      const entry =
        ((halves[ACTIVE_TLB] ?? 0) + (((low >>> PAGE_SHIFT) % TLB_ENTRIES) << TLB_ENTRY_SHIFT)) >>> 2;
      const tag = entry + (write ? TAG.write : TAG.read);
      if (u32[tag] !== (low & -PAGE_SIZE) >>> 0 || u32[tag + 1] !== high) return 0;
      return (low + (u32[entry + TAG.addend] ?? 0)) >>> 0;
    },
    readCode(linear, into) {
      address64[0] = linear;
      const [low = 0, high = 0] = address32;
      const page = low >>> PAGE_SHIFT;
      const entry =
        ((halves[ACTIVE_TLB] ?? 0) + TLB_EXEC + ((page % EXEC_ENTRIES) << EXEC_ENTRY_SHIFT)) >>> 2;
      const here = u32[entry] === (page << PAGE_SHIFT) >>> 0 && u32[entry + 1] === high;
      if (!here || (low & (PAGE_SIZE - 1)) + into.length > PAGE_SIZE) return vcpu.readLinear(linear, into, 3);
      const from = (low + (u32[entry + (EXEC.addend >> 2)] ?? 0)) >>> 0;
      for (let i = 0; i < into.length; i++) into[i] = bytes[from + i] ?? 0;
      return into.length;
    },
    readLinear(linear, into, cpl) {
      if (cpl === halves[CPL] && into.length <= SHORT) {
        address64[0] = linear;
        const from = vcpu.reach(address32[0] ?? 0, address32[1] ?? 0, into.length, false);
        if (from !== 0) {
          for (let i = 0; i < into.length; i++) into[i] = bytes[from + i] ?? 0;
          return into.length;
        }
      }
      return pieces(linear, into.length, ACCESS.READ, cpl, (machine, at, n) => {
        const from = mem.framesBase + machine;
        if (inside(machine)) into.set(bytes.subarray(from, from + n), at);
        else into.fill(0xff, at, at + n);
      });
    },
    writeLinear(linear, from, cpl) {
      if (cpl === halves[CPL] && from.length <= SHORT) {
        address64[0] = linear;
        const to = vcpu.reach(address32[0] ?? 0, address32[1] ?? 0, from.length, true);
        if (to !== 0) {
          for (let i = 0; i < from.length; i++) bytes[to + i] = from[i] ?? 0;
          return from.length;
        }
      }
      return pieces(linear, from.length, ACCESS.WRITE, cpl, (machine, at, n) => {
        if (!inside(machine)) return;
        engine.attend(machine, n);
        bytes.set(from.subarray(at, at + n), mem.framesBase + machine);
      });
    },
    saveState() {
      const out = new Uint8Array(SAVED_SIZE);
      const to = new DataView(out.buffer);
      to.setUint32(0, STATE_VERSION, true);
      let at = 8;
      for (const f of SAVED) {
        if (f.name === 'rflags') to.setBigUint64(at, composeRflags(slots), true);
        else out.set(bytes.subarray(address + f.offset, address + f.offset + f.size), at);
        at += f.size;
      }
      return out;
    },
    restoreState(saved) {
      const from = new DataView(saved.buffer, saved.byteOffset, saved.byteLength);
      if (saved.length !== SAVED_SIZE || from.getUint32(0, true) !== STATE_VERSION) {
        throw new RangeError(
          `vCPU state of ${saved.length} bytes is not version ${STATE_VERSION} with ${SAVED_SIZE} bytes`,
        );
      }
      let at = 8;
      for (const f of SAVED) {
        if (f.name === 'rflags') splitRflags(slots, from.getBigUint64(at, true));
        else bytes.set(saved.subarray(at, at + f.size), address + f.offset);
        at += f.size;
      }
    },
  };

  bytes.fill(0, address, address + STATE_SIZE);
  for (const set of [tlb, tlb + TLB_SET_BYTES]) {
    // All ones is TLB_EMPTY in every tag.
    bytes.fill(0xff, set, set + TLB_USED);
    view.setUint32(set + TLB_USED, 0, true);
  }
  reset(vcpu);
  return vcpu;
}

/** SDM Vol. 3 table 10-1, as far as it makes sense in long mode; the caller sets the mode. */
function reset(vcpu: Vcpu): void {
  vcpu.setInt('index', vcpu.index);
  vcpu.setInt('generation', 1);
  vcpu.rflags = 2n;
  vcpu.setInt('mxcsr', 0x1f80);
  vcpu.setInt('fcw', 0x037f);
  // Abridged, as in FXSAVE: no register in use.
  vcpu.setInt('ftw', 0);
  vcpu.set('dr6', 0xffff0ff0n);
  vcpu.set('dr7', 0x400n);
  vcpu.set('xcr0', 1n);
  vcpu.selectTlb(0);
}
