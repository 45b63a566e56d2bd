/**
 * From `syscall` to the return: entry, handler, return, each a place where an observer can hold the vCPU. A
 * multicall's entries pass through the same three, one after the other, so the position is always
 * (call, entry or return) and can be left and come back to, as in Xen's own continuations.
 */
import type { MemoryReader } from '../abi/decoded';
import { hex } from '../abi/decoded';
import { multicall_entry } from '../abi/mmu';
import type { CallContext } from './context';
import type { Core } from './core';
import { ARGUMENT_REGISTERS, Refusal, errnoBits, resultBits, type Declaration } from './hypercall';
import { declarationOf } from './hypercalls/table';
import type { Call, CapturedRange, Multicall } from './state';
import type { CallView, GuestVcpu, Outcome } from './types';

const MULTICALL = 13;

/** The guest's kernel executed `syscall`. */
export function enterHypercall(core: Core, v: GuestVcpu): Outcome {
  const { cpu } = v;
  const rip = cpu.get('rip');
  // SDM vol. 2 SYSCALL: the processor leaves the return address and flags in these; Xen returns them so.
  cpu.set('rcx', rip);
  cpu.set('r11', cpu.rflags);
  const nr = Number(cpu.get('rax') & 0xffff_ffffn);
  const args = ARGUMENT_REGISTERS.map((name) => cpu.get(name));
  return enter(core, v, { nr, args, rip, depth: 0, captured: [] });
}

function enter(core: Core, v: GuestVcpu, call: Call): Outcome {
  call.captured = capture(v, call);
  if (core.observer.hypercallEntry?.(v, call) === true) {
    v.state.held = { kind: 'hypercall-entry', call };
    return 'hold';
  }
  return perform(core, v, call);
}

/** Runs the handler. Everything it throws that is not a refusal is a defect of ours, and ends the domain. */
export function perform(core: Core, v: GuestVcpu, call: Call): Outcome {
  if (call.nr === MULTICALL && call.depth === 0) return startMulticall(core, v, call);
  const declaration = declarationOf(call.nr);
  const context: CallContext = {
    core,
    domain: v.domain,
    vcpu: v,
    guest: v.guest,
    note: (reason) => {
      call.reason ??= reason;
    },
  };
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
  }
  if (call.depth === 0) v.cpu.set('rax', call.result);
  else writeResult(v, call.result);
  return leave(core, v, call);
}

function leave(core: Core, v: GuestVcpu, call: Call): Outcome {
  core.trace?.hypercall(v, call);
  if (core.observer.hypercallReturn?.(v, call) === true) {
    v.state.held = { kind: 'hypercall-return', call };
    return 'hold';
  }
  return afterCall(core, v, call);
}

export function afterCall(core: Core, v: GuestVcpu, call: Call): Outcome {
  if (v.domain.state.shutdown !== undefined) return 'shutdown';
  const { multicall } = v.state;
  if (call.depth > 0 && multicall !== undefined) {
    multicall.index++;
    return nextEntry(core, v, multicall);
  }
  return v.state.run === 'running' ? 'run' : 'deschedule';
}

function startMulticall(core: Core, v: GuestVcpu, call: Call): Outcome {
  const [list = 0n, count = 0n] = call.args;
  const multicall: Multicall = {
    call,
    list,
    count: Number(count & 0xffff_ffffn),
    index: 0,
    problem: undefined,
  };
  v.state.multicall = multicall;
  return nextEntry(core, v, multicall);
}

function nextEntry(core: Core, v: GuestVcpu, multicall: Multicall): Outcome {
  const { call, list, count, index, problem } = multicall;
  if (problem !== undefined) {
    call.errno = 'EFAULT';
    call.reason = problem;
    return endMulticall(core, v, call, errnoBits('EFAULT'));
  }
  if (index >= count) return endMulticall(core, v, call, 0n);
  try {
    const e = v.guest.read(multicall_entry, entryAddress(list, index), `multicall entry ${index}`);
    const args = [e.arg0, e.arg1, e.arg2, e.arg3, e.arg4, e.arg5];
    return enter(core, v, { nr: Number(e.op & 0xffff_ffffn), args, rip: call.rip, depth: 1, captured: [] });
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    call.errno = error.errno;
    call.reason = error.reason;
    return endMulticall(core, v, call, errnoBits(error.errno));
  }
}

function endMulticall(core: Core, v: GuestVcpu, call: Call, result: bigint): Outcome {
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

/** The memory behind the arguments as it is now: what the trace keeps, and what decoding looks at later. */
function capture(v: GuestVcpu, call: Call): CapturedRange[] {
  const ranges = declarationOf(call.nr)?.captures(call.args) ?? [];
  const kept: CapturedRange[] = [];
  for (const { address, length } of ranges) {
    const bytes = new Uint8Array(length);
    const done = v.cpu.readLinear(address, bytes, 3);
    if (done > 0) kept.push({ address, bytes: done < length ? bytes.subarray(0, done) : bytes });
  }
  return kept;
}

/** Reads from what was captured with a call. */
export const capturedReader =
  (captured: readonly CapturedRange[]): MemoryReader =>
  (address, length) => {
    for (const range of captured) {
      const offset = Number(address - range.address);
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

export function callNames(call: Call, memory: MemoryReader): string[] {
  const declaration = declarationOf(call.nr);
  if (declaration === undefined) return [`hypercall_${call.nr}`];
  const ops = declaration.select(call.args, memory);
  return [declaration.name, ...ops.map((o) => `${declaration.name}.${o.name}`)];
}
