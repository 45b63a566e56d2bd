import type { RunUntil, Target, VcpuRef, VcpuView } from '../../machine/target';
import type { InstructionDecoder } from '../decoder';
import { MAX_INSTRUCTION } from '../decoder';
import { sameVcpu, vcpuName } from '../locations';
import { readRegisters } from '../registers';
import type { RunPlan } from '../run-control';
import type { SymbolIndex } from '../symbols';
import { returnToCaller, stepLine, stepOutOfInlined } from './line';

export type Granularity = 'instruction' | 'line' | 'statement';
export type StepKind = 'in' | 'over' | 'out';

export interface Stepping {
  readonly target: Target;
  readonly vcpu: VcpuRef;
  readonly symbols: () => SymbolIndex;
  readonly decoder: InstructionDecoder;
  /** Inlined functions that begin at the instruction and are not on the stack yet, for the person who steps. */
  readonly hidden?: number;
  /** The vCPU is held in the hypervisor: steps are its statements. */
  readonly inHypervisor?: boolean;
  /** Stepping in enters what the hypervisor does for hypercalls, faults and privileged instructions. */
  readonly intoHypervisor?: boolean;
  /** Stepping in goes into what is delivered on the way. */
  readonly intoDeliveries?: boolean;
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
  if (stepping.inHypervisor === true)
    return { vcpu, next: once(() => Promise.resolve({ hypervisor: kind })) };
  const plan = await planGuestStep(kind, granularity, stepping);
  if (kind !== 'in') return plan;
  const { intoHypervisor = false, intoDeliveries = false } = stepping;
  return { ...plan, intoHypervisor, intoDeliveries };
}

/** Throws for a vCPU of which no instruction would ever come. */
export async function needRunning(stepping: Pick<Stepping, 'target' | 'vcpu'>): Promise<void> {
  const state = (await viewOf(stepping))?.state;
  if (state === 'offline' || state === 'dead') throw new NotRunningError(stepping.vcpu, state);
}

async function planGuestStep(kind: StepKind, granularity: Granularity, stepping: Stepping): Promise<RunPlan> {
  const { vcpu } = stepping;
  await needRunning(stepping);
  if (kind === 'out') {
    const inlined = await stepOutOfInlined(stepping);
    if (inlined !== undefined) return { vcpu, ...inlined };
    const until = await returnToCaller(stepping);
    if (until === undefined) throw new NoCallerError();
    return { vcpu, next: once(() => Promise.resolve(until)) };
  }
  const { hidden = 0 } = stepping;
  // Into an inlined function: nothing runs, one frame more is there.
  if (kind === 'in' && hidden > 0 && granularity !== 'instruction')
    return { vcpu, next: () => Promise.resolve(undefined), hidden: () => hidden - 1 };
  const registers = await readRegisters(stepping.target, vcpu);
  const line = granularity === 'instruction' ? undefined : stepping.symbols().line(registers.need('rip'));
  if (line !== undefined) return { vcpu, ...(await stepLine(kind, line, stepping)) };
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

const viewOf = async ({ target, vcpu }: Pick<Stepping, 'target' | 'vcpu'>): Promise<VcpuView | undefined> =>
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
