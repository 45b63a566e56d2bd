/**
 * From `syscall` to the return: entry, handler, return, each a place where an observer can hold the vCPU. A
 * multicall's entries pass through the same three, one after the other, so the position is always
 * (call, entry or return) and can be left and come back to, as in Xen's own continuations.
 */
import type { MemoryReader } from '../abi/decoded';
import { hex } from '../abi/decoded';
import { multicall_entry } from '../abi/mmu';
import { BUDGET, COST } from './budget';
import { halfOf, wordOf } from '../cpu/state';
import type { CallContext, GuestMemory } from './context';
import type { Core } from './core';
import {
  ARGUMENT_REGISTERS,
  CAPTURE_LIMIT,
  Refusal,
  errnoBits,
  resultBits,
  type CaptureRange,
  type Declaration,
  type OpDeclaration,
} from './hypercall';
import { HYPERCALLS, declarationOf } from './hypercalls/table';
import type { Call, CapturedRange, Multicall } from './state';
import type { CallView, Domain, GuestVcpu, Outcome } from './types';

const MULTICALL = 13;
const IRET = 23;

const [RIP, RAX, RCX] = [wordOf('rip'), wordOf('rax'), wordOf('rcx')];
const [A0, A1, A2, A3, A4, A5] = ARGUMENT_REGISTERS.map(wordOf) as [
  number, number, number, number, number, number,
]; // prettier-ignore
const [RAX_LOW, R11_LOW] = [halfOf('rax'), halfOf('r11')];

/** SDM vol. 2 SYSCALL: the processor leaves the return address and flags in these; Xen returns them so. */
export function returnByRegisters({ cpu }: GuestVcpu): void {
  const { words, halves } = cpu;
  words[RCX] = words[RIP] ?? 0n;
  halves[R11_LOW] = cpu.flags;
  halves[R11_LOW + 1] = 0;
}

/** The guest's kernel executed `syscall`. */
export function enterHypercall(core: Core, v: GuestVcpu): Outcome {
  returnByRegisters(v);
  const { words: w, halves } = v.cpu;
  const args = [w[A0] ?? 0n, w[A1] ?? 0n, w[A2] ?? 0n, w[A3] ?? 0n, w[A4] ?? 0n, w[A5] ?? 0n];
  const call = newCall(halves[RAX_LOW] ?? 0, args, w[RIP] ?? 0n, 0);
  return enter(core, v, call) ?? runEntries(core, v);
}

const NOTHING: CapturedRange[] = [];

/** All calls have their fields in one order: the engine knows one shape. */
const newCall = (nr: number, args: readonly bigint[], rip: bigint, depth: number): Call => ({
  nr,
  args,
  rip,
  depth,
  result: undefined,
  errno: undefined,
  reason: undefined,
  captured: NOTHING,
  spent: undefined,
});

/** What a handler gets: one for each vCPU, since a vCPU runs one call at a time. */
class VcpuContext implements CallContext {
  readonly domain: Domain;
  readonly guest: GuestMemory;
  call: Call;
  /** The multicall that the call is an entry of, or itself. */
  private whole: Call;
  private before = 0;
  /** Given to goOnWith. */
  rest: readonly bigint[] | undefined;
  /** What calls of a depth have captured, by the number of bytes. */
  readonly captured: (Uint8Array | undefined)[][] = [];
  constructor(
    readonly core: Core,
    readonly vcpu: GuestVcpu,
    call: Call,
  ) {
    this.domain = vcpu.domain;
    this.guest = vcpu.guest;
    this.call = this.whole = call;
  }
  begin(call: Call, whole: Call): void {
    this.call = call;
    this.whole = whole;
    this.before = this.core.work.spent;
    this.rest = undefined;
  }
  /** Work since the call began. */
  spent(): number {
    return this.core.work.spent - this.before;
  }
  note(reason: string): void {
    this.call.reason ??= reason;
  }
  spend(units: number): boolean {
    this.core.work.spent += units;
    return (this.whole.spent ?? 0) + this.spent() >= BUDGET;
  }
  goOnWith(first: readonly bigint[]): void {
    this.rest = first;
  }
}

const contexts = new WeakMap<GuestVcpu, VcpuContext>();
/** The one asked for last: mostly the same vCPU asks again. */
let latest: VcpuContext | undefined;

function contextOf(core: Core, v: GuestVcpu, call: Call): VcpuContext {
  if (latest?.vcpu === v) return latest;
  let found = contexts.get(v);
  if (found === undefined) contexts.set(v, (found = new VcpuContext(core, v, call)));
  return (latest = found);
}

/** The call whose handler is at work; for whoever looks in the middle of it. */
export function servedCall(v: GuestVcpu): Call | undefined {
  const call = contexts.get(v)?.call;
  return call?.result === undefined ? call : undefined;
}

const refusals = new WeakMap<GuestVcpu, Refusal>();
/** What the vCPU was refused last: its stack says where. */
export const refusalOf = (v: GuestVcpu): Refusal | undefined => refusals.get(v);

/** Undefined, here and below: a multicall's next entry follows. */
function enter(core: Core, v: GuestVcpu, call: Call): Outcome | undefined {
  call.captured = capture(core, v, call);
  if (core.observer.hypercallEntry?.(v, call) === true) {
    v.state.held = { kind: 'hypercall-entry', call };
    return 'hold';
  }
  return performOne(core, v, call);
}

/** Runs a call, and what is left of the multicall that it is an entry of. */
export function perform(core: Core, v: GuestVcpu, call: Call): Outcome {
  return performOne(core, v, call) ?? runEntries(core, v);
}

/** Runs the handler. Everything it throws that is not a refusal is a defect of ours, and ends the domain. */
function performOne(core: Core, v: GuestVcpu, call: Call): Outcome | undefined {
  if (call.nr === MULTICALL && call.depth === 0) {
    startMulticall(v, call);
    return undefined;
  }
  const declaration = declarationOf(call.nr);
  const whole = call.depth > 0 ? (v.state.multicall?.call ?? call) : call;
  const context = contextOf(core, v, call);
  context.begin(call, whole);
  try {
    if (declaration === undefined) {
      core.warnOnce(`hypercall ${call.nr} does not exist in Xen 4.17: the guest got ENOSYS`);
      throw new Refusal('ENOSYS', `there is no hypercall ${call.nr}`);
    }
    call.result = resultBits(declaration.run(context, call.args));
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    call.result = errnoBits(error.errno);
    call.errno = error.errno;
    call.reason = error.reason;
    refusals.set(v, error);
  }
  whole.spent = (whole.spent ?? 0) + context.spent() + COST.call;
  const { rest } = context;
  if (rest !== undefined) return interrupt(core, v, call, rest);
  if (call.depth === 0 || leaves(call)) v.cpu.words[RAX] = call.result;
  else writeResult(v, call.result);
  return leave(core, v, call);
}

function leave(core: Core, v: GuestVcpu, call: Call): Outcome | undefined {
  core.trace?.hypercall(v, call);
  if (core.observer.hypercallReturn?.(v, call) === true) {
    v.state.held = { kind: 'hypercall-return', call };
    return 'hold';
  }
  return follow(v, call);
}

export function afterCall(core: Core, v: GuestVcpu, call: Call): Outcome {
  return follow(v, call) ?? runEntries(core, v);
}

function follow(v: GuestVcpu, call: Call): Outcome | undefined {
  if (v.domain.state.shutdown !== undefined) return 'shutdown';
  const { multicall } = v.state;
  if (call.depth > 0 && multicall !== undefined) {
    multicall.index++;
    if (!leaves(call)) return undefined;
    // The registers are those of where it returned to: nothing of the multicall is left (mc_exit).
    v.state.multicall = undefined;
  }
  return going(v);
}

const leaves = (call: Call): boolean => call.nr === IRET && call.errno === undefined;

const going = (v: GuestVcpu): Outcome => (v.state.run === 'running' ? 'run' : 'deschedule');

/**
 * The call has used up its budget: the machine gets its turn, and then the guest executes `syscall` again, for the
 * rest. Inside a multicall, the entry becomes that of the rest (MCSF_call_preempted).
 */
function interrupt(core: Core, v: GuestVcpu, call: Call, rest: readonly bigint[]): Outcome {
  call.reason ??= 'interrupted: the guest makes the call again, for the rest';
  core.trace?.hypercall(v, call);
  const { multicall } = v.state;
  if (call.depth === 0 || multicall === undefined) return again(v, call, rest);
  const bytes = new Uint8Array(rest.length * 8);
  const view = new DataView(bytes.buffer);
  rest.forEach((value, i) => view.setBigUint64(i * 8, value, true));
  const at = entryAddress(multicall.list, multicall.index) + BigInt(multicall_entry.offset.arg0);
  if (v.cpu.writeLinear(at, bytes, 3) < bytes.length) {
    multicall.problem = `the rest of multicall entry ${multicall.index} cannot be written to ${hex(at)}`;
    return runEntries(core, v);
  }
  return interruptMulticall(core, v, multicall);
}

function interruptMulticall(core: Core, v: GuestVcpu, { call, list, count, index }: Multicall): Outcome {
  v.state.multicall = undefined;
  call.result = 0n;
  call.reason ??= `interrupted at entry ${index} of ${count}: the guest makes the call again, for the rest`;
  core.trace?.hypercall(v, call);
  return again(v, call, [entryAddress(list, index), BigInt(count - index)]);
}

/** Two bytes (0f 05, SDM vol. 2 SYSCALL) before the return address stands the instruction. */
function again(v: GuestVcpu, call: Call, first: readonly bigint[]): Outcome {
  const { cpu } = v;
  cpu.set('rip', BigInt.asUintN(64, call.rip - 2n));
  cpu.set('rax', BigInt(call.nr));
  first.forEach((value, i) => {
    const name = ARGUMENT_REGISTERS[i];
    if (name !== undefined) cpu.set(name, value);
  });
  return going(v);
}

function startMulticall(v: GuestVcpu, call: Call): void {
  const [list = 0n, count = 0n] = call.args;
  v.state.multicall = {
    call,
    list,
    count: Number(count & 0xffff_ffffn),
    index: 0,
    problem: undefined,
  };
}

/** In a loop, not one from within the other: there may be as many as the guest likes. */
function runEntries(core: Core, v: GuestVcpu): Outcome {
  for (let { multicall } = v.state; multicall !== undefined; { multicall } = v.state) {
    const outcome = nextEntry(core, v, multicall);
    if (outcome !== undefined) return outcome;
  }
  return going(v);
}

function nextEntry(core: Core, v: GuestVcpu, multicall: Multicall): Outcome | undefined {
  const { call, list, count, index, problem } = multicall;
  if (problem !== undefined) {
    call.errno = 'EFAULT';
    call.reason = problem;
    return endMulticall(core, v, call, errnoBits('EFAULT'));
  }
  if (index >= count) return endMulticall(core, v, call, 0n);
  if (index > 0 && (call.spent ?? 0) >= BUDGET) return interruptMulticall(core, v, multicall);
  try {
    const e = v.guest.read(multicall_entry, entryAddress(list, index), `multicall entry ${index}`);
    const args = [e.arg0, e.arg1, e.arg2, e.arg3, e.arg4, e.arg5];
    return enter(core, v, newCall(Number(e.op & 0xffff_ffffn), args, call.rip, 1));
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    call.errno = error.errno;
    call.reason = error.reason;
    return endMulticall(core, v, call, errnoBits(error.errno));
  }
}

function endMulticall(core: Core, v: GuestVcpu, call: Call, result: bigint): Outcome | undefined {
  v.state.multicall = undefined;
  call.result = result;
  v.cpu.set('rax', result);
  return leave(core, v, call);
}

const entryAddress = (list: bigint, index: number): bigint =>
  BigInt.asUintN(64, list + BigInt(index * multicall_entry.size));

/** An entry's result goes back into the list; where that cannot be written, the multicall ends (do_multicall). */
function writeResult(v: GuestVcpu, result: bigint): void {
  const { multicall } = v.state;
  if (multicall === undefined) return;
  const at = entryAddress(multicall.list, multicall.index) + BigInt(multicall_entry.offset.result);
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, result, true);
  if (v.cpu.writeLinear(at, bytes, 3) < bytes.length)
    multicall.problem = `the result of multicall entry ${multicall.index} cannot be written to ${hex(at)}`;
}

/**
 * The memory behind the arguments as it is now: what the trace keeps, and what decoding looks at later. A vCPU has one
 * call of a depth at a time, and whoever keeps a call copies it, so the bytes serve the next, too.
 */
function capture(core: Core, v: GuestVcpu, call: Call): CapturedRange[] {
  const ranges = declarationOf(call.nr)?.captures(call.args);
  if (ranges === undefined || ranges.length === 0) return NOTHING;
  const [only] = ranges;
  if (ranges.length === 1 && only !== undefined && only.length <= CAPTURE_LIMIT) {
    const pool = (contextOf(core, v, call).captured[call.depth] ??= []);
    const bytes = (pool[only.length] ??= new Uint8Array(only.length));
    return captureRange(v, only, bytes);
  }
  return ranges.flatMap((range) => captureRange(v, range, new Uint8Array(range.length)));
}

function captureRange(v: GuestVcpu, { address, length }: CaptureRange, bytes: Uint8Array): CapturedRange[] {
  const done = v.cpu.readLinear(address, bytes, 3);
  if (done === 0) return NOTHING;
  return [{ address, bytes: done < length ? bytes.subarray(0, done) : bytes }];
}

/** Reads from what was captured with a call. */
export const capturedReader =
  (captured: readonly CapturedRange[]): MemoryReader =>
  (address, length) => {
    for (const range of captured) {
      const offset = address === range.address ? 0 : Number(address - range.address);
      if (offset === 0 && length === range.bytes.length) return range.bytes;
      if (offset >= 0 && offset + length <= range.bytes.length) {
        return range.bytes.subarray(offset, offset + length);
      }
    }
    return undefined;
  };

export function viewCall(call: Call, memory: MemoryReader): CallView {
  const declaration: Declaration | undefined = declarationOf(call.nr);
  if (declaration === undefined) {
    const args = call.args.map((value, i) => ({
      name: ARGUMENT_REGISTERS[i] ?? '',
      type: 'unsigned long',
      text: hex(value),
      value,
    }));
    return { name: `hypercall_${call.nr}`, nr: call.nr, args, ...outcome(call) };
  }
  const [op] = declaration.select(call.args, memory);
  return {
    name: declaration.name,
    ...(op === undefined ? {} : { op: op.name }),
    nr: call.nr,
    args: declaration.decode(call.args, memory),
    ...outcome(call),
  };
}

function outcome(call: Call): Partial<Pick<CallView, 'result' | 'errno' | 'reason'>> {
  return {
    ...(call.result === undefined ? {} : { result: call.result }),
    ...(call.errno === undefined ? {} : { errno: call.errno }),
    ...(call.reason === undefined ? {} : { reason: call.reason }),
  };
}

/** `memory_op.populate_physmap` of each operation: made once, since every traced call is counted by it. */
const LABELS: ReadonlyMap<OpDeclaration, string> = new Map(
  HYPERCALLS.flatMap((d) => d.ops.map((o) => [o, `${d.name}.${o.name}`] as const)),
);

/** Names by what `select` gave: the same array for the same one operation. */
const namesBySelection = new WeakMap<readonly OpDeclaration[], readonly string[]>();

export function callNames(call: Call, memory: MemoryReader): readonly string[] {
  const declaration = declarationOf(call.nr);
  if (declaration === undefined) return [`hypercall_${call.nr}`];
  const ops = declaration.select(call.args, memory);
  const known = ops.length === 1 ? namesBySelection.get(ops) : undefined;
  if (known !== undefined) return known;
  const names = [declaration.name, ...ops.map((o) => LABELS.get(o) ?? o.name)];
  if (ops.length === 1) namesBySelection.set(ops, names);
  return names;
}
