/**
 * The x87 register stack, tags and status word over the vCPU state (SDM Vol. 1 §8.1).
 *
 * `ftw` is the abridged tag word of FXSAVE: bit n is set when *physical* register Rn is not empty. The full
 * tags of FSTENV follow from the contents. `fsw` always has ES (bit 7) and B (bit 15) in step with the pending
 * unmasked exceptions.
 */
import {
  type FpEnv,
  INVALID,
  Kind,
  envFromFcw,
  f80,
  suppressesResult,
  unmaskedPending,
  unpack,
} from '../softfloat';
import type { FieldName } from '../state';
import type { HelperContext } from './context';

/** What x87 helpers need of their context: state only. */
export type HelperState = Pick<HelperContext, 'get' | 'set' | 'bytes'>;

/** Status word bits (SDM Vol. 1 figure 8-4). */
export const FSW = { SF: 0x40, ES: 0x80, C0: 0x100, C1: 0x200, C2: 0x400, C3: 0x4000, B: 0x8000 } as const;
export const FSW_CODES = FSW.C0 | FSW.C1 | FSW.C2 | FSW.C3;
const TOP_SHIFT = 11;
/** IE to PE, and their masks in the control word. */
export const FSW_EXCEPTIONS = 0x3f;

const REGISTERS = [
  'fpr0',
  'fpr1',
  'fpr2',
  'fpr3',
  'fpr4',
  'fpr5',
  'fpr6',
  'fpr7',
] as const satisfies readonly FieldName[];

export const statusOf = (s: HelperState): number => Number(s.get('fsw'));
const topOf = (s: HelperState): number => (statusOf(s) >> TOP_SHIFT) & 7;
const physical = (s: HelperState, i: number): number => (topOf(s) + i) & 7;
const register = (n: number): FieldName => REGISTERS[n & 7] ?? 'fpr0';

/** Registers by physical number, as the layout in state.ts has them. */
function read(s: HelperState, n: number): bigint {
  const { buffer, byteOffset } = s.bytes(register(n));
  const view = new DataView(buffer, byteOffset, 16);
  return (BigInt(view.getUint16(8, true)) << 64n) | view.getBigUint64(0, true);
}

function write(s: HelperState, n: number, encoding: bigint): void {
  const { buffer, byteOffset } = s.bytes(register(n));
  const view = new DataView(buffer, byteOffset, 16);
  view.setBigUint64(0, BigInt.asUintN(64, encoding), true);
  view.setBigUint64(8, BigInt.asUintN(16, encoding >> 64n), true);
}

export const isEmpty = (s: HelperState, i: number): boolean =>
  ((Number(s.get('ftw')) >> physical(s, i)) & 1) === 0;
/** The encoding in st(i), whatever its tag. */
export const peek = (s: HelperState, i: number): bigint => read(s, physical(s, i));

export function poke(s: HelperState, i: number, encoding: bigint): void {
  write(s, physical(s, i), encoding);
}

export function put(s: HelperState, i: number, encoding: bigint): void {
  poke(s, i, encoding);
  s.set('ftw', s.get('ftw') | (1n << BigInt(physical(s, i))));
}

export function free(s: HelperState, i: number): void {
  s.set('ftw', s.get('ftw') & ~(1n << BigInt(physical(s, i))));
}

/** Move TOP without touching tags. */
export function rotate(s: HelperState, by: number): void {
  const top = (topOf(s) + by) & 7;
  s.set('fsw', BigInt((statusOf(s) & ~(7 << TOP_SHIFT)) | (top << TOP_SHIFT)));
}

export function push(s: HelperState, encoding: bigint): void {
  rotate(s, -1);
  put(s, 0, encoding);
}

export function pop(s: HelperState, count = 1): void {
  for (let i = 0; i < count; i++) {
    free(s, 0);
    rotate(s, 1);
  }
}

/** Write the status word with ES and B as the control word's masks make them. */
export function setStatus(s: HelperState, fsw: number): void {
  const pending = (fsw & ~Number(s.get('fcw')) & FSW_EXCEPTIONS) !== 0;
  s.set('fsw', BigInt((fsw & ~(FSW.ES | FSW.B)) | (pending ? FSW.ES | FSW.B : 0)));
}

/** One x87 instruction at work: its environment, and what it will leave in the status word. */
export interface Step {
  readonly env: FpEnv;
  /** SF to raise. */
  stackFault: boolean;
  /** Condition codes replaced by this instruction, and their values. C1 follows the rounding unless it is set here. */
  codes: number;
  codesMask: number;
}

/** Most instructions write C1 and no other code; `codesMask` is what this one writes when all goes well. */
export const begin = (s: HelperState, codesMask: number = FSW.C1): Step => ({
  env: envFromFcw(Number(s.get('fcw'))),
  stackFault: false,
  codes: 0,
  codesMask,
});

/** Stack underflow or overflow (SDM Vol. 1 §8.5.1.1): true when it is masked, and the indefinite stands in. */
export function stackFault(step: Step, overflow: boolean): boolean {
  step.env.flags |= INVALID;
  step.env.roundedUp = false;
  step.stackFault = true;
  step.codesMask |= FSW.C1;
  if (overflow) step.codes |= FSW.C1;
  return (step.env.masks & INVALID) !== 0;
}

/** Gather the exceptions and condition codes of the instruction into the status word. */
export function finish(s: HelperState, step: Step): void {
  const { env } = step;
  const rounded = env.roundedUp && !suppressesResult(env) ? FSW.C1 : 0;
  const fsw =
    (statusOf(s) & ~step.codesMask) | env.flags | step.codes | rounded | (step.stackFault ? FSW.SF : 0);
  setStatus(s, fsw);
}

/** No unmasked invalid, denormal or zero-divide: the destination is written and the stack moves. */
export const proceeds = (step: Step): boolean => !suppressesResult(step.env);
/** Stores to memory are also held back by unmasked overflow and underflow (SDM Vol. 1 §8.5.4, §8.5.5). */
export const UNSTORED = 0x19;
export const stores = (step: Step): boolean => (unmaskedPending(step.env) & UNSTORED) === 0;

/** Tags of FSTENV and FSAVE (SDM Vol. 1 figure 8-7), by physical register. */
export function fullTags(s: HelperState): number {
  const valid = Number(s.get('ftw'));
  let tags = 0;
  for (let n = 0; n < 8; n++) {
    const kind = unpack(f80, read(s, n)).kind;
    const tag = ((valid >> n) & 1) === 0 ? 3 : kind === Kind.zero ? 1 : kind === Kind.normal ? 0 : 2;
    tags |= tag << (2 * n);
  }
  return tags;
}

/** The abridged form of full tags. */
export function abridge(tags: number): number {
  let valid = 0;
  for (let n = 0; n < 8; n++) if (((tags >> (2 * n)) & 3) !== 3) valid |= 1 << n;
  return valid;
}
