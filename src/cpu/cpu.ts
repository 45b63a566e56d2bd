import { codeCache, type CodeCache } from './code-cache';
import { regionTier, type RegionTier, type TierOptions } from './compile/tier';
import { EXIT, type Exit } from './exits';
import { GuestFault } from './fault';
import { HELPERS } from './helpers/index';
import type { HelperContext } from './helpers/context';
import { FORMS } from './instructions/index';
import { handlersOf, interpreterKey } from './interpreter-module';
import type { MachineMemory } from './memory';
import { VECTOR, type Seg } from './ops';
import { PTE, WALK } from './paging';
import { RECORD_FLAG } from './record';
import { fpExact, settle } from './sse-exact';
import { halfOf, offsetOf } from './state';
import { ATTENTION, PAGE_SIZE, type Cpu, type Hooks } from './types';
import { isCanonical, makeVcpu, type StatefulVcpu } from './vcpu';
import { ACCESS, RC } from './wasm/abi';
import { FP_OPS } from './wasm/floating-point';

/** A Cpu with what the machine needs besides types.ts. */
export interface InterpretingCpu extends Cpu {
  readonly mem: MachineMemory;
  readonly vcpus: readonly StatefulVcpu[];
  readonly code: CodeCache;
  /** The region compiler, when the tier is `compile`. */
  readonly regions: RegionTier | undefined;
  /** Address, in linear memory, of the word that makes vCPU `index` leave with EXIT.KICK while it is non-zero. */
  kickWord(index: number): number;
  /**
   * Has exits seen to where they happen: `f` is an exported WebAssembly function of the vCPU's address and the reason,
   * which returns 1 when the exit is done with and the vCPU may go on, and 0 when the run has to end with it.
   */
  setCrossing(f: WebAssembly.ExportedFunction): void;
}

const NAMES = ['run', 'walk', 'walk_probe', 'fetch', 'attend', 'ask_watch', 'flush_set'] as const;
type Wasm = Readonly<Record<(typeof NAMES)[number], WebAssembly.ExportedFunction>>;

function exportsOf(instance: WebAssembly.Instance): Wasm {
  const found = NAMES.map((name) => {
    const f = instance.exports[name];
    if (typeof f !== 'function') throw new Error(`the interpreter's module does not export ${name}`);
    return [name, f] as const;
  });
  return Object.fromEntries(found) as Wasm;
}

const TSC_BASE = halfOf('tsc_base');

const toU64 = (v: unknown): bigint => BigInt.asUintN(64, typeof v === 'bigint' ? v : 0n);

/** What runs guest code: the interpreter alone, or compiled regions for what is hot. The guest sees no difference. */
export type Tier = 'interpret' | 'compile';

export interface CpuOptions {
  readonly memory: MachineMemory;
  /** dist/interpret.wasm: what generateInterpreter made of the same FORMS and HELPERS. */
  readonly interpreter: Uint8Array | WebAssembly.Module;
  readonly hooks: Hooks;
  readonly tier?: Tier;
  /** For tests and measurements. */
  readonly compile?: Partial<TierOptions>;
}

/** Throws an Error for a module made of other declarations than these. */
export function createCpu({ memory: mem, interpreter, hooks, tier, compile }: CpuOptions): InterpretingCpu {
  const module =
    interpreter instanceof WebAssembly.Module ? interpreter : new WebAssembly.Module(interpreter);
  const key = interpreterKey();
  if (!WebAssembly.Module.exports(module).some((e) => e.name === key)) {
    throw new Error(`the interpreter's module is stale: it lacks ${key}; build it anew (npm run build)`);
  }
  const handlers = handlersOf(FORMS);
  /** As vCPUs have at reset. */
  let generation = 1;
  const code = codeCache(mem, FORMS, handlers, () => {
    generation++;
    for (const v of vcpus) v.unlink(generation);
  });
  const { view, layout } = mem;
  const byAddress = new Map<number, number>(layout.vcpus.map((a, i) => [a, i]));
  const helpers = Object.values(HELPERS);
  const vcpus: StatefulVcpu[] = [];
  const contexts: HelperContext[] = [];

  const vcpuAt = (address: number): StatefulVcpu => {
    const v = vcpus[byAddress.get(address >>> 0) ?? -1];
    if (v === undefined) throw new RangeError(`no vCPU at 0x${address.toString(16)}`);
    return v;
  };

  const pend = (cpu: number, bits: number): void => {
    const at = (cpu >>> 0) + offsetOf('pending');
    view.setUint32(at, view.getUint32(at, true) | bits, true);
  };

  /** Makes a thrown GuestFault the vCPU's pending exception; throws on what is no GuestFault. */
  function deliver(cpu: number, error: unknown): void {
    if (!(error instanceof GuestFault)) throw error;
    const v = vcpuAt(cpu);
    v.setInt('exit_reason', EXIT.EXCEPTION);
    v.setInt('exit_vector', error.vector);
    v.set('exit_error', error.code === undefined ? 0xffffffffn : BigInt(error.code));
    v.set('exit_address', error.address);
    pend(cpu, RC.FAULT);
  }

  function callHelper(cpu: number, number: number, ...args: bigint[]): bigint {
    const helper = helpers[number];
    const context = contexts[byAddress.get(cpu >>> 0) ?? -1];
    try {
      if (helper === undefined || context === undefined)
        throw new Error(`helper ${number} is not in the registry`);
      return helper(context, ...args.map(toU64)) ?? 0n;
    } catch (error) {
      deliver(cpu, error);
      return 0n;
    }
  }

  function cow(frame: number): void {
    // The bit first: the hook may announce a store of its own.
    mem.attention[frame] = (mem.attention[frame] ?? 0) & ~ATTENTION.COW;
    hooks.cow(frame);
  }

  const stored = (frame: number, offset: number, length: number): void => {
    if (((mem.attention[frame] ?? 0) & ATTENTION.WATCH_WRITE) !== 0) hooks.stored?.(frame, offset, length);
  };

  const env: Record<string, WebAssembly.ImportValue> = {
    memory: mem.memory,
    decode(cpu: number, slot: number, host: number): number {
      try {
        const rip = (cpu >>> 0) + offsetOf('rip');
        const [low, high] = [view.getUint32(rip, true), view.getUint32(rip + 4, true)];
        code.decodeBlock(slot >>> 0, host >>> 0, low, high, (linear) => {
          const second = Number(wasm.fetch(cpu, BigInt.asIntN(64, linear))) >>> 0;
          if (second === 0) throw new FetchFault();
          return second;
        });
        return 0;
      } catch (error) {
        // A fetch fault has been raised already.
        if (!(error instanceof FetchFault)) deliver(cpu, error);
        view.setUint32((cpu >>> 0) + offsetOf('pending'), 0, true);
        return 1;
      }
    },
    cow: (frame: number) => cow(frame >>> 0),
    smc(cpu: number, frame: number, offset: number, bytes: number): void {
      code.invalidate(frame >>> 0, offset, bytes);
      pend(cpu, RC.LEAVE);
    },
    watch: (cpu: number, machine: number, linear: bigint, bytes: number, write: number) =>
      hooks.watch(vcpuAt(cpu), machine >>> 0, toU64(linear), bytes, write !== 0) ? 1 : 0,
    fp(cpu: number, op: number, a: bigint, b: bigint, c: bigint): bigint {
      const name = FP_OPS[op];
      if (name === undefined) throw new RangeError(`no floating-point operation ${op}`);
      const at = cpu >>> 0;
      const { value, flags } = fpExact(
        name,
        view.getUint32(at + offsetOf('mxcsr'), true),
        toU64(a),
        toU64(b),
        toU64(c),
      );
      const gathered = at + offsetOf('fp_flags');
      view.setUint32(gathered, view.getUint32(gathered, true) | flags, true);
      return BigInt.asIntN(64, value);
    },
    hot: (cpu: number, first: number, link: number, host: number) =>
      regions?.hot(cpu >>> 0, first >>> 0, link >>> 0, host >>> 0),
    /** Non-zero: #XM, or #UD without CR4.OSXMMEXCPT (SDM Vol. 3 §2.5). */
    fp_settle(cpu: number): number {
      const at = cpu >>> 0;
      const flags = view.getUint32(at + offsetOf('fp_flags'), true);
      const { mxcsr, fault } = settle(view.getUint32(at + offsetOf('mxcsr'), true), flags);
      view.setUint32(at + offsetOf('mxcsr'), mxcsr, true);
      view.setUint32(at + offsetOf('fp_flags'), 0, true);
      if (!fault) return 0;
      const osxmmexcpt = (vcpuAt(cpu).get('cr4') & 0x400n) !== 0n;
      deliver(cpu, new GuestFault(osxmmexcpt ? VECTOR.XM : VECTOR.UD, undefined));
      return 1;
    },
  };
  for (let n = 0; n <= 6; n++) env[`helper${n}`] = callHelper;

  const instance = new WebAssembly.Instance(module, { env });
  const wasm = exportsOf(instance);
  const regions = tier === 'compile' ? regionTier(mem, code, instance.exports, compile) : undefined;

  /** A value of less than 64 bits. */
  const narrow = (host: number, size: number): number =>
    size === 4 ? view.getUint32(host, true) : size === 2 ? view.getUint16(host, true) : view.getUint8(host);

  /** Where a load by the supervisor, inside one page that nobody watches, finds its bytes; 0: the long way. */
  function seen(v: StatefulVcpu, address: bigint, size: number): number {
    if (Number(address & 0xfffn) + size > PAGE_SIZE) return 0;
    const machine = helperAccess(v, address, ACCESS.READ, undefined, true);
    if (machine >= mem.frameCount * PAGE_SIZE) return 0;
    const attention = mem.attention[Math.floor(machine / PAGE_SIZE)] ?? 0;
    return (attention & ATTENTION.WATCH_READ) === 0 ? mem.framesBase + machine : 0;
  }

  /** One helper access, inside one page: the address in linear memory, or a thrown GuestFault. */
  function helperAccess(v: StatefulVcpu, address: bigint, access: number, seg: Seg | undefined, supervisor: boolean): number {
    if (!isCanonical(address)) throw new GuestFault(isStack(v, seg) ? VECTOR.SS : VECTOR.GP, 0);
    const user = !supervisor && v.getInt('cpl') === 3;
    const r = toU64(wasm.walk(v.address, BigInt.asIntN(64, address), BigInt(access), user ? 1n : 0n, v.get('cr3')));
    if ((r & WALK.FAULT) !== 0n) throw new GuestFault(VECTOR.PF, Number(r & 0xffffn), address);
    return Number(r & PTE.ADDRESS) + Number(address & 0xfffn);
  } // prettier-ignore

  const isStack = (v: StatefulVcpu, seg: Seg | undefined): boolean =>
    seg === 'ss' || (seg === 'operand' && (v.getInt('record_flags') & RECORD_FLAG.STACK) !== 0);

  function makeContext(v: StatefulVcpu): HelperContext {
    const U64 = (1n << 64n) - 1n;
    /** Machine addresses of the bytes of an access, all translated before any is touched. */
    const span = (
      address: bigint,
      bytes: number,
      access: number,
      seg: Seg | undefined,
      supervisor: boolean,
    ) => {
      const first = helperAccess(v, address, access, seg, supervisor);
      const part = Math.min(bytes, PAGE_SIZE - (first % PAGE_SIZE));
      if (part === bytes) return [{ machine: first, bytes, linear: address }];
      const next = (address + BigInt(part)) & U64;
      const second = helperAccess(v, next, access, seg, supervisor);
      return [{ machine: first, bytes: part, linear: address }, { machine: second, bytes: bytes - part, linear: next }]; // prettier-ignore
    };
    const watch = (s: { machine: number; bytes: number; linear: bigint }, write: boolean): void => {
      const bit = write ? ATTENTION.WATCH_WRITE : ATTENTION.WATCH_READ;
      if (((mem.attention[Math.floor(s.machine / PAGE_SIZE)] ?? 0) & bit) === 0) return;
      wasm.ask_watch(v.address, s.machine, BigInt.asIntN(64, s.linear), s.bytes, write ? 1 : 0);
    };
    return {
      vcpu: v,
      hooks,
      get: (f) => v.get(f),
      set: (f, value) => v.set(f, value),
      getInt: (f) => v.getInt(f),
      setInt: (f, value) => v.setInt(f, value),
      bytes: (f) => v.bytes(f),
      get rflags() {
        return v.rflags;
      },
      set rflags(value) {
        v.rflags = value;
      },
      load(w, address, seg, supervisor = false) {
        const size = w / 8;
        const host = supervisor ? seen(v, address, size) : v.plainly(address, size, false);
        if (host !== 0) return w === 64 ? view.getBigUint64(host, true) : BigInt(narrow(host, size));
        let value = 0n;
        let shift = 0n;
        for (const s of span(address, w / 8, ACCESS.READ, seg, supervisor)) {
          watch(s, false);
          for (let i = 0; i < s.bytes; i++, shift += 8n) {
            const at = s.machine + i;
            const byte = at < mem.frameCount * PAGE_SIZE ? (mem.bytes[mem.framesBase + at] ?? 0) : 0xff;
            value |= BigInt(byte) << shift;
          }
        }
        return value;
      },
      store(w, address, value, seg, supervisor = false) {
        const host = supervisor || w !== 64 ? 0 : v.plainly(address, 8, true);
        if (host !== 0) {
          view.setBigUint64(host, value, true);
          return;
        }
        let rest = value;
        for (const s of span(address, w / 8, ACCESS.WRITE, seg, supervisor)) {
          const real = s.machine < mem.frameCount * PAGE_SIZE;
          if (real) wasm.attend(v.address, mem.framesBase + s.machine, s.bytes);
          for (let i = 0; i < s.bytes; i++, rest >>= 8n) {
            if (real) mem.bytes[mem.framesBase + s.machine + i] = Number(rest & 0xffn);
          }
          watch(s, true);
        }
      },
      probeWrite: (bytes, address, seg) => void span(address, bytes, ACCESS.WRITE, seg, false),
      raise(vector, errorCode) {
        throw new GuestFault(vector, errorCode);
      },
      exit(reason, info = 0n) {
        v.setInt('exit_reason', reason);
        v.set('exit_info', info);
        pend(v.address, RC.EXIT);
      },
    };
  }

  for (let i = 0; i < layout.vcpus.length; i++) {
    const address = layout.vcpus[i] ?? 0;
    const v = makeVcpu(mem, i, {
      run: () => {
        hooks.tscBase?.(v, v.halves, TSC_BASE);
        const exit = Number(wasm.run(address)) as Exit;
        regions?.between();
        return exit;
      },
      walk: (linear, access, user, cr3, probe) =>
        toU64(wasm[probe ? 'walk_probe' : 'walk'](address, BigInt.asIntN(64, linear), BigInt(access), user ? 1n : 0n, BigInt.asIntN(64, cr3))), // prettier-ignore
      flushSet: (set) => void wasm.flush_set(set),
      attend: (machine, bytes) => {
        stored(Math.floor(machine / PAGE_SIZE), machine % PAGE_SIZE, bytes);
        wasm.attend(address, mem.framesBase + machine, bytes);
      },
    });
    v.setInt('tsc_known', hooks.tscBase === undefined ? 0 : 1);
    vcpus.push(v);
    contexts.push(makeContext(v));
  }

  return {
    mem,
    vcpus,
    code,
    regions,
    flushAllTlbs() {
      for (const v of vcpus) v.flushTlb();
    },
    beforeStore(frame, offset = 0, length = 0) {
      const attention = mem.attention[frame] ?? 0;
      stored(frame, offset, length);
      if ((attention & ATTENTION.COW) !== 0) cow(frame);
      if ((attention & ATTENTION.CODE) !== 0) code.invalidate(frame, 0, PAGE_SIZE);
    },
    setBreakpoints: (addresses) => code.setBreakpoints(addresses),
    skipBreakpoint: (v) => v.setInt('skip_break', 1),
    setCrossing: (f) => {
      const { table } = instance.exports;
      if (!(table instanceof WebAssembly.Table)) throw new Error("the interpreter's module exports no table");
      table.set(handlers.crossing, f);
    },
    kickWord: (index) => (layout.vcpus[index] ?? 0) + offsetOf('kick'),
  };
}

/** The second page of an instruction cannot be fetched; the fault is already in the vCPU's state. */
class FetchFault extends Error {}
