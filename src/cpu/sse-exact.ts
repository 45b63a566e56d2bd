import type { FpOp } from './ir/nodes';
import * as sf from './softfloat/index';

/**
 * SSE scalar arithmetic, exactly: what all tiers come to when a result is not plain (SDM Vol. 1 §11.5). Flags are
 * gathered over the lanes of an instruction and settled at its end.
 */
type Exact = (env: sf.FpEnv, a: bigint, b: bigint, c: bigint) => bigint;

const signed = (w: 32 | 64, v: bigint): bigint => BigInt.asIntN(w, v);

/** CF, PF, ZF in their RFLAGS places, by relation (SDM Vol. 2A COMISD). */
const COMI = { [sf.Relation.less]: 1n, [sf.Relation.equal]: 0x40n, [sf.Relation.greater]: 0n, [sf.Relation.unordered]: 0x45n } as const; // prettier-ignore

function table(): ReadonlyMap<FpOp, Exact> {
  const t = new Map<FpOp, Exact>();
  for (const [fmt, f] of [[32, sf.f32], [64, sf.f64]] as const) {
    t.set(`add${fmt}`, (env, a, b) => sf.add(f, a, b, env));
    t.set(`sub${fmt}`, (env, a, b) => sf.sub(f, a, b, env));
    t.set(`mul${fmt}`, (env, a, b) => sf.mul(f, a, b, env));
    t.set(`div${fmt}`, (env, a, b) => sf.div(f, a, b, env));
    t.set(`min${fmt}`, (env, a, b) => sf.min(f, a, b, env));
    t.set(`max${fmt}`, (env, a, b) => sf.max(f, a, b, env));
    t.set(`sqrt${fmt}`, (env, a) => sf.sqrt(f, a, env));
    const ones = (1n << BigInt(fmt)) - 1n;
    t.set(`compare${fmt}`, (env, predicate, a, b) => (sf.comparePredicate(f, a, b, Number(predicate & 7n), env) ? ones : 0n));
    t.set(`comi${fmt}`, (env, a, b) => COMI[sf.compare(f, a, b, env, true)]);
    t.set(`ucomi${fmt}`, (env, a, b) => COMI[sf.compare(f, a, b, env, false)]);
    for (const w of [32, 64] as const) {
      t.set(`toInt${fmt}_${w}`, (env, a) => sf.toInteger(f, a, w, env, false));
      t.set(`toInt${fmt}_${w}_truncate`, (env, a) => sf.toInteger(f, a, w, env, true));
      t.set(`fromInt${w}_${fmt}`, (env, a) => sf.fromInteger(f, signed(w, a), env));
    }
  } // prettier-ignore
  t.set('convert32_64', (env, a) => sf.convert(sf.f32, sf.f64, a, env));
  t.set('convert64_32', (env, a) => sf.convert(sf.f64, sf.f32, a, env));
  return t;
}
const EXACT = table();

const env = sf.defaultEnv();

/** Result and exception flags (env.ts bits) of one operation under `mxcsr`; MXCSR itself is not touched. */
export function fpExact(
  op: FpOp,
  mxcsr: number,
  a: bigint,
  b = 0n,
  c = 0n,
): { readonly value: bigint; readonly flags: number } {
  const run = EXACT.get(op);
  if (run === undefined) throw new Error(`floating-point operation ${op} is not in the table`);
  sf.envFromMxcsr(mxcsr, env);
  const value = run(env, a, b, c);
  return { value, flags: env.flags };
}

/**
 * The end of an SSE instruction that raised `flags`: MXCSR with them set, and whether #XM is due. An unmasked
 * pre-computation exception in any lane hides the others' post-computation ones (SDM Vol. 1 §11.5.3).
 */
export function settle(mxcsr: number, flags: number): { readonly mxcsr: number; readonly fault: boolean } {
  sf.envFromMxcsr(mxcsr, env);
  env.flags = flags;
  sf.settlePacked(env);
  return { mxcsr: mxcsr | env.flags, fault: sf.unmaskedPending(env) !== 0 };
}
