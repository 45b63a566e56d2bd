import { GuestFault } from '../fault';
import type { HelperContext } from '../helpers/context';
import { HELPERS } from '../helpers/index';
import type { FpOp } from '../ir/nodes';
import type { OpsOf } from '../ops';
import { VECTOR } from '../ops';
import { fpExact, settle } from '../sse-exact';
import { FIELD, type FieldName } from '../state';
import type { Hooks, Vcpu } from '../types';
import { arithmetic } from './arithmetic';
import type { GuestMemory } from './memory';

/** What happened to the instruction besides its results. */
export interface Outcome {
  /** An exit asked for, to be taken once the instruction has retired. */
  exit: { reason: number; info: bigint } | undefined;
}

/** CR4.OSXMMEXCPT: without it an unmasked SIMD exception is #UD (SDM Vol. 3 §2.5). */
const OSXMMEXCPT = 0x400n;

export function evaluateOps(
  vcpu: Vcpu,
  hooks: Hooks,
  memory: GuestMemory,
  outcome: Outcome,
): OpsOf<bigint, bigint> {
  const context = helperContext(vcpu, hooks, memory, outcome);
  const signedField = (f: FieldName, v: bigint): bigint => (FIELD[f].size === 4 ? v & 0xffffffffn : v);

  /** MXCSR flags gathered over the lanes of one instruction. */
  let gathered = 0;
  let bracketed = false;
  const settleFlags = (): void => {
    const { mxcsr, fault } = settle(vcpu.getInt('mxcsr'), gathered);
    gathered = 0;
    vcpu.setInt('mxcsr', mxcsr);
    if (fault) throw new GuestFault((vcpu.get('cr4') & OSXMMEXCPT) !== 0n ? VECTOR.XM : VECTOR.UD, undefined);
  };
  const fp = (op: FpOp, ...args: readonly bigint[]): bigint => {
    const [a = 0n, b = 0n, c = 0n] = args;
    const r = fpExact(op, vcpu.getInt('mxcsr'), a, b, c);
    gathered |= r.flags;
    if (!bracketed) settleFlags();
    return r.value;
  };

  return {
    ...arithmetic(),
    get: (f) => vcpu.get(f),
    set: (f, v) => vcpu.set(f, signedField(f, v)),
    getx: (f) => fromBytes(vcpu.bytes(f)),
    setx: (f, v) => toBytes(vcpu.bytes(f), v),

    load: (w, at, seg) => memory.load(w / 8, at, seg),
    store: (w, at, v, seg) => memory.store(w / 8, at, v, seg),
    loadForWrite: (w, at, seg) => memory.load(w / 8, at, seg, false, 'write'),
    probeWrite: (bytes, at, seg) => memory.probeWrite(bytes, at, seg),
    loadx: (at, seg) => memory.load(16, at, seg),
    storex: (at, v, seg) => memory.store(16, at, v, seg),
    bulkMove: () => 0n,
    bulkFill: () => 0n,

    fp: (op, fmt, a, b) => fp(`${op}${fmt}`, a, b),
    fpSqrt: (fmt, a) => fp(`sqrt${fmt}`, a),
    fpCompare: (fmt, predicate, a, b) => fp(`compare${fmt}`, predicate, a, b),
    fpComi(fmt, quiet, a, b) {
      const f = fp(`${quiet ? 'ucomi' : 'comi'}${fmt}`, a, b);
      vcpu.set('cf', f & 1n);
      vcpu.set('pf', ((f >> 2n) & 1n) ^ 1n);
      vcpu.set('zf', ((f >> 6n) & 1n) ^ 1n);
      for (const name of ['af', 'sf', 'of'] as const) vcpu.set(name, 0n);
    },
    fpToInt: (fmt, w, truncate, a) => fp(truncate ? `toInt${fmt}_${w}_truncate` : `toInt${fmt}_${w}`, a),
    intToFp: (w, fmt, a) => fp(`fromInt${w}_${fmt}`, a),
    fpConvert(from, to, a) {
      if (from === to) return a;
      return fp(from === 32 ? 'convert32_64' : 'convert64_32', a);
    },
    fpPacked: (_op, _fmt, _a, _b, lanes) => lanes(),
    fpLanes(lanes) {
      const outer = bracketed;
      bracketed = true;
      try {
        const v = lanes();
        if (!outer) settleFlags();
        return v;
      } finally {
        bracketed = outer;
        // Of an instruction that faults otherwise, nothing is reported.
        if (!outer) gathered = 0;
      }
    },

    raise(vector, code) {
      throw new GuestFault(vector, code === undefined ? undefined : Number(code));
    },
    exit: (reason, info = 0n) => {
      outcome.exit = { reason, info };
    },
    helper(name, ...args) {
      const run = HELPERS[name];
      if (!run) throw new Error(`no helper '${name}'`);
      return BigInt.asUintN(64, run(context, ...args) ?? 0n);
    },
  };
}

function helperContext(vcpu: Vcpu, hooks: Hooks, memory: GuestMemory, outcome: Outcome): HelperContext {
  return {
    vcpu,
    hooks,
    get: (f) => vcpu.get(f),
    set: (f, v) => vcpu.set(f, v),
    getInt: (f) => vcpu.getInt(f),
    setInt: (f, v) => vcpu.setInt(f, v),
    bytes: (f) => vcpu.bytes(f),
    get rflags() {
      return vcpu.rflags;
    },
    set rflags(v) {
      vcpu.rflags = v;
    },
    load: (w, at, seg, supervisor) => memory.load(w / 8, at, seg, supervisor),
    store: (w, at, v, seg, supervisor) => memory.store(w / 8, at, v, seg, supervisor),
    probeWrite: (bytes, at, seg) => memory.probeWrite(bytes, at, seg),
    raise(vector, code) {
      throw new GuestFault(vector, code);
    },
    exit(reason, info = 0n) {
      outcome.exit = { reason, info };
    },
  };
}

function fromBytes(b: Uint8Array): bigint {
  let v = 0n;
  for (let i = 15; i >= 0; i--) v = (v << 8n) | BigInt(b[i] ?? 0);
  return v;
}
function toBytes(b: Uint8Array, v: bigint): void {
  for (let i = 0; i < 16; i++) b[i] = Number((v >> BigInt(8 * i)) & 0xffn);
}
