/**
 * The contract as data: each hypercall and sub-operation is declared once with `hypercall()`, `family()` and
 * `op()`. Dispatch, argument decoding, trace capture, breakpoints and the reference page derive from that.
 *
 * Calling convention (arch-x86/xen-x86_64.h): number in rax, arguments in rdi rsi rdx r10 r8 r9, result in rax.
 */
import { ERRNO, type Errno } from '../abi/errno';
import { hex } from '../abi/decoded';
import type { DecodeContext, DecodedValue, MemoryReader } from '../abi/decoded';
import type { Fields, Scalar, Struct, Values } from '../abi/layout';
import { signExtended } from '../base/words';
import type { CallContext } from './context';

/** Registers of the arguments, in order. */
export const ARGUMENT_REGISTERS = ['rdi', 'rsi', 'rdx', 'r10', 'r8', 'r9'] as const;

/** implemented; refused as Xen refuses it to an unprivileged PV domain; declared but not implemented (ENOSYS). */
export type Status = 'implemented' | 'refused' | 'unimplemented';

/** Whoever wants to know from where in the source refusals come: to find that out takes longer than all else of a call. */
export const wantPlaces = new Set<object>();
/** The engine's (V8's stack trace API): how many frames an error keeps in mind. */
const engine = Error as { stackTraceLimit?: number };

/** A refusal: the error number goes to the guest, the reason to the trace and to whoever looks. */
export class Refusal extends Error {
  constructor(
    readonly errno: Errno,
    readonly reason: string,
  ) {
    const { stackTraceLimit = 0 } = engine;
    if (wantPlaces.size === 0) engine.stackTraceLimit = 0;
    super(`${errno}: ${reason}`);
    engine.stackTraceLimit = stackTraceLimit;
    this.name = 'Refusal';
  }
}

/** Ends the handler with an error; the reason names the values that made it fail. */
export function fail(errno: Errno, reason: string): never {
  throw new Refusal(errno, reason);
}

export type RegisterArgs = Readonly<Record<string, Scalar<unknown>>>;
export type ArgValues<A extends RegisterArgs> = {
  readonly [K in keyof A]: A[K] extends Scalar<infer V> ? V : never;
};

/** What a handler returns: undefined is 0; a number is sign-extended to 64 bits. */
export type CallResult = bigint | number | undefined;

/** Register values of a call as they stood at entry. */
export type RawArgs = readonly bigint[];

export interface OpDeclaration {
  readonly name: string;
  readonly cmd: number;
  readonly doc: string;
  readonly status: Status;
  /** The structure that the pointer argument names, when there is one. */
  readonly struct: Struct<Fields> | undefined;
}

/** A range of guest memory worth keeping with the trace record, so that it can be decoded later. */
export interface CaptureRange {
  readonly address: bigint;
  readonly length: number;
}

export interface Declaration {
  readonly name: string;
  readonly nr: number;
  readonly doc: string;
  readonly status: Status;
  readonly args: readonly { readonly name: string; readonly type: Scalar<unknown> }[];
  readonly ops: readonly OpDeclaration[];
  /** Sub-operations that these arguments select: one, or for a batch one an element (as far as readable). */
  select(args: RawArgs, memory: MemoryReader): readonly OpDeclaration[];
  decode(args: RawArgs, memory: MemoryReader | undefined): readonly DecodedValue[];
  captures(args: RawArgs): readonly CaptureRange[];
  run(context: CallContext, args: RawArgs): CallResult;
}

const NO_RANGES: readonly CaptureRange[] = [];

interface Common {
  readonly name: string;
  readonly nr: number;
  /** Header and, where it helps, the name of the macro or structure. */
  readonly doc: string;
}

/** The error and the reason. */
export type Refused = readonly [Errno, string];

/** Bytes of guest memory kept for one call at most; arrays longer than this are captured from their start. */
export const CAPTURE_LIMIT = 192;

function argList(args: RegisterArgs): Declaration['args'] {
  const list = Object.entries(args).map(([name, type]) => ({ name, type }));
  if (list.length > ARGUMENT_REGISTERS.length) throw new RangeError('a hypercall has at most six arguments');
  return list;
}

/** Nothing that who looks at arguments should see among them. */
const REGISTERS = Symbol('registers');

/**
 * Makes the function that turns registers into typed arguments: objects of a class for each declaration, whose
 * getters decode what is asked for, when it is. It is asked several times for every call, with the same array.
 */
function argReader<A extends RegisterArgs>(args: A): (raw: RawArgs) => ArgValues<A> {
  class Arguments {
    declare readonly [REGISTERS]: RawArgs;
    constructor(raw: RawArgs) {
      (this as { [REGISTERS]: RawArgs })[REGISTERS] = raw;
    }
  }
  Object.entries(args).forEach(([name, type], i) => {
    Object.defineProperty(Arguments.prototype, name, {
      enumerable: true,
      get(this: Arguments) {
        return type.fromRegister(this[REGISTERS][i] ?? 0n);
      },
    });
  });
  let of: RawArgs = [];
  let values = new Arguments(of);
  return (raw) => {
    if (raw !== of) {
      of = raw;
      values = new Arguments(raw);
    }
    // The one place where registers become typed arguments; the mapped type says what comes out.
    return values as unknown as ArgValues<A>;
  };
}

function decodeArgs<A extends RegisterArgs>(
  args: A,
  siblings: ArgValues<A>,
  raw: RawArgs,
  memory: MemoryReader | undefined,
): DecodedValue[] {
  const context: DecodeContext = memory === undefined ? { siblings } : { memory, siblings };
  return Object.entries(args).map(([name, type], i) =>
    type.decode(name, type.fromRegister(raw[i] ?? 0n), context),
  );
}

/** Says once per machine that something declared is missing, and fails. */
function unimplemented(context: CallContext, name: string): never {
  context.core.warnOnce(`${name} is declared but not implemented: the guest got ENOSYS`);
  return fail('ENOSYS', `${name} is declared but not implemented`);
}

const statusOf = (spec: { readonly refuse?: unknown; readonly run?: unknown }): Status =>
  spec.run !== undefined ? 'implemented' : spec.refuse !== undefined ? 'refused' : 'unimplemented';

export interface HypercallSpec<A extends RegisterArgs> extends Common {
  readonly args: A;
  /** Real Xen refuses this to an unprivileged PV domain with this error; a function says with which. */
  readonly refuse?: Refused | ((context: CallContext, args: ArgValues<A>) => Refused);
  run?(context: CallContext, args: ArgValues<A>): CallResult;
  /** Guest memory to keep with the trace record. */
  captures?(args: ArgValues<A>): readonly CaptureRange[];
}

/** A call without sub-operations. */
export function hypercall<A extends RegisterArgs>(spec: HypercallSpec<A>): Declaration {
  const read = argReader(spec.args);
  return {
    name: spec.name,
    nr: spec.nr,
    doc: spec.doc,
    status: statusOf(spec),
    args: argList(spec.args),
    ops: [],
    select: () => [],
    decode: (raw, memory) => decodeArgs(spec.args, read(raw), raw, memory),
    captures: (raw) => spec.captures?.(read(raw)) ?? NO_RANGES,
    run: (context, raw) => {
      if (spec.run !== undefined) return spec.run(context, read(raw));
      const { refuse } = spec;
      if (refuse === undefined) return unimplemented(context, spec.name);
      return fail(...(typeof refuse === 'function' ? refuse(context, read(raw)) : refuse));
    },
  };
}

/** A sub-operation of a family whose arguments are `A`. */
export interface Op<A extends RegisterArgs> extends OpDeclaration {
  run(context: CallContext, args: ArgValues<A>, at: bigint): CallResult;
}

export interface OpSpec<A extends RegisterArgs, F extends Fields> {
  /** As for a hypercall; a function refuses after the structure was read. */
  readonly refuse?: Refused | ((context: CallContext, value: Values<F>, args: ArgValues<A>) => Refused);
  readonly name: string;
  readonly cmd: number;
  readonly doc?: string;
  /** Copied in from the pointer argument before `run`. */
  readonly struct?: Struct<F>;
  /** Fields copied back when the handler has run; one that refuses copies nothing. */
  readonly out?: readonly (keyof F & string)[];
  /** They are copied back by a refusal as well. */
  readonly outAlways?: boolean;
  /** What a structure that cannot be read comes to, if not EFAULT. */
  unreadable?(args: ArgValues<A>): CallResult;
  run?(context: CallContext, value: Values<F>, args: ArgValues<A>): CallResult;
}

/** The empty structure, for sub-operations without one. */
export type NoFields = Readonly<Record<string, never>>;

function makeOp<A extends RegisterArgs, F extends Fields>(family: string, spec: OpSpec<A, F>): Op<A> {
  const label = `${family}.${spec.name}`;
  const { struct } = spec;
  return {
    name: spec.name,
    cmd: spec.cmd,
    doc: spec.doc ?? '',
    status: statusOf(spec),
    struct,
    run: (context, args, at) => {
      const { refuse } = spec;
      const read = (): Values<F> =>
        struct === undefined ? ({} as Values<F>) : context.guest.read(struct, at, label);
      if (spec.run === undefined) {
        if (refuse === undefined) return unimplemented(context, label);
        return fail(...(typeof refuse === 'function' ? refuse(context, read(), args) : refuse));
      }
      if (spec.unreadable !== undefined && context.guest.reader(at, struct?.size ?? 0) === undefined)
        return spec.unreadable(args);
      const value = read();
      const copyBack = (): void => {
        for (const key of spec.out ?? []) {
          const type = struct?.fields[key];
          if (struct !== undefined && type !== undefined) {
            context.guest.write(type, at + BigInt(struct.offset[key]), value[key], `${label} ${key}`);
          }
        }
      };
      let result: CallResult;
      try {
        result = spec.run(context, value, args);
      } catch (error) {
        if (spec.outAlways === true && error instanceof Refusal) copyBack();
        throw error;
      }
      copyBack();
      return result;
    },
  };
}

/** Declares sub-operations whose family has the arguments `A`: `const op = opsOf('sched_op', args);`. */
export function opsOf<A extends RegisterArgs>(
  family: string,
  _args: A,
): <F extends Fields = NoFields>(spec: OpSpec<A, F>) => Op<A> {
  return (spec) => makeOp(family, spec);
}

export interface FamilySpec<A extends RegisterArgs> extends Common {
  readonly args: A;
  /** The sub-operation's number, from the arguments (and, for dom0's structures, from memory). */
  cmd(args: ArgValues<A>, memory: MemoryReader): number | undefined;
  /** Where the structure is. */
  pointer?(args: ArgValues<A>): bigint;
  readonly ops: readonly Op<A>[];
  /** What Xen answers to a sub-operation it does not know. */
  readonly unknown?: Errno;
  /** Elements at `pointer`, for calls that take an array of one structure. */
  count?(args: ArgValues<A>): number;
  /** What Xen looks at before the sub-operation; refuses by failing. */
  before?(context: CallContext, args: ArgValues<A>): void;
  /** Takes over from calling the selected op once: for batches. */
  run?(context: CallContext, args: ArgValues<A>, op: Op<A>): CallResult;
}

/** A call whose first business is to pick a sub-operation. */
export function family<A extends RegisterArgs>(spec: FamilySpec<A>): Declaration {
  const read = argReader(spec.args);
  const byCmd = new Map(spec.ops.map((o) => [o.cmd, o]));
  const alone = new Map(spec.ops.map((o) => [o, [o]]));
  const pick = (raw: RawArgs, memory: MemoryReader): Op<A> | undefined => {
    const cmd = spec.cmd(read(raw), memory);
    return cmd === undefined ? undefined : byCmd.get(cmd);
  };
  return {
    name: spec.name,
    nr: spec.nr,
    doc: spec.doc,
    status: familyStatus(spec.ops),
    args: argList(spec.args),
    ops: spec.ops,
    select: (raw, memory) => {
      const found = pick(raw, memory);
      return (found === undefined ? undefined : alone.get(found)) ?? [];
    },
    decode: (raw, memory) => decodeFamily(spec, read(raw), raw, memory, pick(raw, memory ?? noMemory)),
    captures: (raw) => {
      const args = read(raw);
      const op = pick(raw, noMemory);
      // Structures with the command inside (platform_op, domctl …) are known only by their first word.
      const size = op === undefined ? 8 : (op.struct?.size ?? 0);
      if (size === 0) return NO_RANGES;
      const address = spec.pointer?.(args) ?? 0n;
      const length = Math.min(CAPTURE_LIMIT, size * (spec.count?.(args) ?? 1));
      return address === 0n || length <= 0 ? NO_RANGES : [{ address, length }];
    },
    run: (context, raw) => {
      const args = read(raw);
      spec.before?.(context, args);
      const cmd = spec.cmd(args, context.guest.reader);
      const found = cmd === undefined ? undefined : byCmd.get(cmd);
      if (cmd === undefined) {
        return fail('EFAULT', `${spec.name}: no command can be read at ${hex(spec.pointer?.(args) ?? 0n)}`);
      }
      if (found === undefined) {
        return fail(spec.unknown ?? 'ENOSYS', `${spec.name} has no sub-operation ${cmd}`);
      }
      if (spec.run !== undefined) return spec.run(context, args, found);
      return found.run(context, args, spec.pointer?.(args) ?? 0n);
    },
  };
}

const noMemory: MemoryReader = () => undefined;

function familyStatus(ops: readonly OpDeclaration[]): Status {
  if (ops.some((o) => o.status === 'implemented')) return 'implemented';
  return ops.some((o) => o.status === 'unimplemented') ? 'unimplemented' : 'refused';
}

function decodeFamily<A extends RegisterArgs>(
  spec: FamilySpec<A>,
  args: ArgValues<A>,
  raw: RawArgs,
  memory: MemoryReader | undefined,
  op: Op<A> | undefined,
): DecodedValue[] {
  const address = spec.pointer?.(args);
  return decodeArgs(spec.args, args, raw, memory).map((shown, i) => {
    if (op !== undefined && i === 0 && spec.cmd(args, noMemory) === op.cmd) {
      return { ...shown, text: op.name };
    }
    if (address === undefined || address === 0n || raw[i] !== address || op?.struct === undefined)
      return shown;
    const { struct } = op;
    const count = spec.count?.(args) ?? 1;
    const items: DecodedValue[] = [];
    for (let k = 0; k < Math.min(count, 16); k++) {
      const bytes = memory?.(address + BigInt(k * struct.size), struct.size);
      if (bytes === undefined) break;
      const value = struct.read(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0);
      items.push(struct.decode(`[${k}]`, value, memory === undefined ? {} : { memory }));
    }
    const [only] = items;
    if (only === undefined) return { ...shown, type: `${struct.name} *` };
    return {
      ...shown,
      type: `${struct.name} *`,
      children: count === 1 && only.children !== undefined ? only.children : items,
    };
  });
}

export interface BatchSpec<A extends RegisterArgs, F extends Fields> extends Common {
  readonly args: A;
  readonly element: Struct<F>;
  pointer(args: ArgValues<A>): bigint;
  count(args: ArgValues<A>): number;
  /** Which sub-operation an element is, that begins at an offset of some bytes. */
  cmd(bytes: Uint8Array, at: number): number;
  readonly ops: readonly OpDeclaration[];
  run(context: CallContext, args: ArgValues<A>): CallResult;
}

/** A call that takes an array whose elements are sub-operations themselves (mmu_update, mmuext_op). */
export function batch<A extends RegisterArgs, F extends Fields>(spec: BatchSpec<A, F>): Declaration {
  const read = argReader(spec.args);
  const byCmd = new Map(spec.ops.map((o) => [o.cmd, o]));
  const alone = new Map(spec.ops.map((o) => [o, [o]]));
  const { element } = spec;
  return {
    name: spec.name,
    nr: spec.nr,
    doc: spec.doc,
    status: 'implemented',
    args: argList(spec.args),
    ops: spec.ops,
    select: (raw, memory) => {
      const args = read(raw);
      const pointer = spec.pointer(args);
      const count = Math.min(spec.count(args), MAX_SELECTED);
      let found: readonly OpDeclaration[] = [];
      // What was captured, then the rest in one piece, unless that cannot be read to its end.
      let piece = Math.floor(CAPTURE_LIMIT / element.size);
      for (let i = 0; i < count;) {
        const n = Math.min(piece, count - i);
        const bytes = memory(pointer + BigInt(i * element.size), n * element.size);
        if (bytes === undefined) {
          if (n === 1) break;
          piece = 1;
          continue;
        }
        for (let k = 0; k < n; k++) {
          const o = byCmd.get(spec.cmd(bytes, k * element.size));
          if (o === undefined || found.includes(o)) continue;
          found = found.length === 0 ? (alone.get(o) ?? []) : [...found, o];
        }
        i += n;
        if (piece > 1) piece = MAX_SELECTED;
      }
      return found;
    },
    decode: (raw, memory) => decodeArgs(spec.args, read(raw), raw, memory),
    captures: (raw) => {
      const args = read(raw);
      const length = Math.min(CAPTURE_LIMIT, spec.count(args) * element.size);
      return length > 0 ? [{ address: spec.pointer(args), length }] : [];
    },
    run: (context, raw) => spec.run(context, read(raw)),
  };
}

/** Elements of a batch that are looked at to say which sub-operations it holds. */
const MAX_SELECTED = 512;

/** A sub-operation of a batch: a name and a number; the batch's handler does the work. */
export const batchOp = (
  name: string,
  cmd: number,
  status: Status = 'implemented',
  doc = '',
): OpDeclaration => ({ name, cmd, doc, status, struct: undefined });

/** 64-bit value for rax. */
export function resultBits(result: CallResult): bigint {
  if (result === undefined || result === 0) return 0n;
  return typeof result === 'number' && (result | 0) === result
    ? signExtended(result)
    : BigInt.asUintN(64, BigInt(result));
}

export const errnoBits = (errno: Errno): bigint => BigInt.asUintN(64, -BigInt(ERRNO[errno]));
