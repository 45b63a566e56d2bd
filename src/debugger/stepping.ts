import type { AddressSpace, RunUntil, Stop, Target, VcpuRef, VcpuView } from '../machine/target';
import type { InstructionDecoder } from './decoder';
import { MAX_INSTRUCTION } from './decoder';
import { sameVcpu, vcpuName } from './locations';
import type { RegisterFile } from './registers';
import { bytesToNumber, readRegisters } from './registers';
import type { RunPlan } from './run-control';
import type { LineAt, SymbolIndex } from './symbols';
import { unwind } from './unwind';

export type Granularity = 'instruction' | 'line' | 'statement';
export type StepKind = 'in' | 'over' | 'out';

export interface Stepping {
  readonly target: Target;
  readonly vcpu: VcpuRef;
  readonly symbols: () => SymbolIndex;
  readonly decoder: InstructionDecoder;
}

/** No caller is known, so there is nothing to step out to. */
export class NoCallerError extends Error {
  constructor() {
    super('no caller was found on the stack');
    this.name = 'NoCallerError';
  }
}

/** The vCPU has never been brought up, or its domain is gone: no instruction of it would ever come. */
export class NotRunningError extends Error {
  constructor(vcpu: VcpuRef, state: string) {
    super(`${vcpuName(vcpu)} is ${state}`);
    this.name = 'NotRunningError';
  }
}

/** Without a line table at the instruction pointer, lines and statements are instructions. */
export async function planStep(
  kind: StepKind,
  granularity: Granularity,
  stepping: Stepping,
): Promise<RunPlan> {
  const { vcpu } = stepping;
  const state = (await viewOf(stepping))?.state;
  if (state === 'offline' || state === 'dead') throw new NotRunningError(vcpu, state);
  if (kind === 'out') {
    const until = await returnToCaller(stepping);
    if (until === undefined) throw new NoCallerError();
    return { vcpu, next: once(() => Promise.resolve(until)) };
  }
  const registers = await readRegisters(stepping.target, vcpu);
  const line = granularity === 'instruction' ? undefined : stepping.symbols().line(registers.need('rip'));
  if (line !== undefined) return { vcpu, next: stepLine(kind, line, registers.need('rsp'), stepping) };
  return {
    vcpu,
    next: once(() =>
      kind === 'in' ? Promise.resolve({ instructions: 1n, vcpu }) : overInstruction(stepping),
    ),
  };
}

function once(stretch: () => Promise<RunUntil>): RunPlan['next'] {
  let done = false;
  return () => {
    if (done) return Promise.resolve(undefined);
    done = true;
    return stretch();
  };
}

const viewOf = async ({ target, vcpu }: Stepping): Promise<VcpuView | undefined> =>
  (await target.domains()).flatMap(({ vcpus }) => vcpus).find(({ ref }) => sameVcpu(ref, vcpu));

/** To the instruction that follows, for what comes back there: calls, a user's system calls, repeated strings. */
async function overInstruction(stepping: Stepping): Promise<RunUntil> {
  const { target, vcpu, decoder } = stepping;
  const single: RunUntil = { instructions: 1n, vcpu };
  const call = await target.currentHypercall(vcpu);
  // Stopped before a hypercall is served: that is the step, whatever instruction comes after it.
  if (call !== undefined && call.result === undefined) return single;
  const registers = await readRegisters(target, vcpu);
  const rip = registers.need('rip');
  const code = await target.readMemory({ kind: 'virtual', vcpu }, rip, MAX_INSTRUCTION);
  const [instruction] = decoder.decode(code, rip, 1);
  if (instruction?.valid !== true) return single;
  // A kernel's SYSCALL is a hypercall: it is over within the instruction, and HYPERVISOR_iret goes elsewhere.
  const comesBack =
    instruction.flow === 'call' ||
    instruction.flow === 'repeat' ||
    (instruction.flow === 'syscall' && (await viewOf(stepping))?.mode === 'user');
  if (!comesBack) return single;
  const at = BigInt.asUintN(64, rip + BigInt(instruction.length));
  return { address: { at, minRsp: registers.need('rsp'), vcpu } };
}

async function returnToCaller({ target, vcpu, symbols }: Stepping): Promise<RunUntil | undefined> {
  const registers = await readRegisters(target, vcpu);
  const frames = await unwind({ target, vcpu, registers, symbols: symbols(), call: undefined }, 2);
  const caller = frames[1];
  return caller === undefined ? undefined : { address: { at: caller.address, minRsp: caller.stack, vcpu } };
}

/** Stretches of one step by line, as a guard against code that wanders without ever reaching another line. */
const MAX_STRETCHES = 10_000;

/**
 * Runs until another line begins. Calls are run through when stepping over, and when stepping in to code that
 * has no lines.
 */
function stepLine(
  kind: 'in' | 'over',
  start: LineAt,
  startStack: bigint,
  stepping: Stepping,
): RunPlan['next'] {
  const { target, vcpu, symbols } = stepping;
  const space: AddressSpace = { kind: 'virtual', vcpu };
  let range: LineAt = start;
  let stretches = 0;
  let entered = false;

  const outside = ({ low, high }: LineAt): RunUntil => ({ outside: { low, high, vcpu } });
  const intoCall = async (registers: RegisterFile): Promise<RunUntil | undefined> => {
    const stack = registers.need('rsp');
    if (stack >= startStack) return undefined;
    const bytes = await target.readMemory(space, stack, 8);
    const back = bytes.length < 8 ? 0n : bytesToNumber(bytes);
    if (back < range.low || back > range.high) return undefined;
    return { address: { at: back, minRsp: stack + 8n, vcpu } };
  };

  return async (_from: Stop) => {
    if (stretches++ === 0) return outside(range);
    if (stretches > MAX_STRETCHES) return undefined;
    const registers = await readRegisters(target, vcpu);
    const rip = registers.need('rip');
    if (rip >= range.low && rip < range.high) return outside(range);
    const here = symbols().line(rip);
    if (kind === 'over' || here === undefined) {
      const call = await intoCall(registers);
      if (call !== undefined) return call;
    }
    if (here === undefined) {
      // Out of the code that has lines: back to the caller that has them, if there is one.
      return registers.need('rsp') <= startStack ? returnToCaller(stepping) : undefined;
    }
    // Another row of the same line, as loops and optimised code have them.
    const sameLine =
      here.file === start.file && here.line === start.line && registers.need('rsp') <= startStack;
    if (!sameLine) {
      // A function that has just been entered: past its prologue, where arguments are at their places.
      if (kind === 'over' || entered || symbols().at(rip)?.offset !== 0n) return undefined;
      entered = true;
      return outside(here);
    }
    range = here;
    return outside(range);
  };
}
