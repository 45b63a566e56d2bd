import type { InstructionDecoder } from '../debugger/decoder';
import type { EvaluationContext } from '../debugger/expressions';
import type { Launch } from '../debugger/launch';
import { sameVcpu } from '../debugger/locations';
import { readRegisters } from '../debugger/registers';
import type { RunControl } from '../debugger/run-control';
import type { DomainSymbols } from '../debugger/symbols';
import type { Frame } from '../debugger/unwind';
import { unwind } from '../debugger/unwind';
import { crossingTitle } from '../debugger/unwind/boundary';
import type { HypercallInfo, HypercallView, Target, VcpuRef } from '../machine/target';
import type { LaunchArguments } from './protocol';

/** The debuggee with everything that is known about it. */
export interface Machine {
  readonly target: Target;
  readonly control: RunControl;
  readonly symbols: DomainSymbols;
  readonly decoder: InstructionDecoder;
  readonly hypercalls: readonly HypercallInfo[];
  readonly launch: Launch;
  readonly args: LaunchArguments;
  /** Has left its first instruction, or has been shown there. */
  started: boolean;
  /** The vCPU that stopped last. */
  current(): VcpuRef;
  threadOf(vcpu: VcpuRef): number;
  vcpuOf(thread: number): VcpuRef | undefined;
  /** The hypercall that a vCPU is stopped in. */
  callAt(vcpu: VcpuRef): Promise<HypercallView | undefined>;
  /** Inlined functions that begin at the instruction and have not been stepped into. */
  hiddenAt(vcpu: VcpuRef): number;
  contextAt(vcpu: VcpuRef): Promise<EvaluationContext>;
  /** The vCPU is held at a statement of the hypervisor. */
  isInHypervisor(vcpu: VcpuRef): boolean;
  /** The call stack, remembered until `forget`. */
  stack(vcpu: VcpuRef): Promise<readonly Frame[]>;
  forget(): void;
  /** Stops passing on what the target says. */
  silence(): void;
  dispose(): Promise<void>;
}

export type MachineParts = Pick<
  Machine,
  'target' | 'control' | 'symbols' | 'decoder' | 'hypercalls' | 'launch' | 'args'
> & { readonly listeners: readonly (() => void)[] };

/** More frames than anyone reads; a stack that is damaged can have any number. */
const MAX_FRAMES = 128;
const FIRST: VcpuRef = { domain: 1, vcpu: 0 };

export function createMachine({ listeners, ...parts }: MachineParts): Machine {
  const { target, control, symbols, decoder } = parts;
  // Thread ids are positions in the order in which vCPUs were first seen.
  const vcpus: VcpuRef[] = [];
  let stacks = new Map<number, Promise<readonly Frame[]>>();

  const silence = (): void => {
    for (const stop of listeners) stop();
  };
  const threadOf = (vcpu: VcpuRef): number => {
    const known = vcpus.findIndex((one) => sameVcpu(one, vcpu));
    return known === -1 ? vcpus.push({ domain: vcpu.domain, vcpu: vcpu.vcpu }) : known + 1;
  };
  const callAt = async (vcpu: VcpuRef): Promise<HypercallView | undefined> => {
    const stop = control.halt?.stop;
    if (stop?.reason.kind === 'hypercall' && sameVcpu(stop.vcpu, vcpu)) return stop.reason.call;
    return target.currentHypercall(vcpu);
  };
  const hiddenAt = (vcpu: VcpuRef): number => {
    const { halt } = control;
    return halt?.kind === 'step' && sameVcpu(halt.stop.vcpu, vcpu) ? halt.hidden : 0;
  };
  const contextAt = async (vcpu: VcpuRef): Promise<EvaluationContext> => ({
    target,
    vcpu,
    symbols: symbols.of(vcpu.domain),
    registers: await readRegisters(target, vcpu),
    call: await callAt(vcpu),
  });
  /** The names of modules that were loaded since the last stop are those of callers, too. */
  const refreshed = async (vcpu: VcpuRef): Promise<void> => {
    await symbols.of(vcpu.domain).linux?.modules(target, vcpu);
  };
  return {
    ...parts,
    started: false,
    current: () => control.halt?.stop.vcpu ?? FIRST,
    threadOf,
    vcpuOf: (thread) => vcpus[thread - 1],
    callAt,
    hiddenAt,
    contextAt,
    isInHypervisor: (vcpu) => {
      const stop = control.halt?.stop;
      return stop?.reason.kind === 'statement' && sameVcpu(stop.vcpu, vcpu);
    },
    stack: (vcpu) => {
      const thread = threadOf(vcpu);
      const known = stacks.get(thread);
      if (known !== undefined) return known;
      const hidden = hiddenAt(vcpu);
      const fresh = refreshed(vcpu)
        .then(() => contextAt(vcpu))
        .then(async (context) => {
          const crossing = await target.crossing(vcpu);
          const title = crossing && (await crossingTitle(crossing, context, decoder));
          return unwind({ ...context, call: context.call, title }, MAX_FRAMES);
        })
        .then((frames) => frames.slice(hidden));
      stacks.set(thread, fresh);
      return fresh;
    },
    forget: () => {
      stacks = new Map();
    },
    silence,
    dispose: async () => {
      silence();
      await control.dispose();
      try {
        await target.dispose();
      } finally {
        for (const image of symbols.images) image.symbols.dispose?.();
      }
    },
  };
}
