import type { RunPlan } from '../../debugger/run-control';
import { continuePlan } from '../../debugger/run-control';
import type { StepKind } from '../../debugger/stepping';
import { NoCallerError, NotRunningError, planStep } from '../../debugger/stepping';
import type { Context } from '../context';
import { needMachine, needStopped, needThread, resetHandles } from '../context';
import { RequestError } from '../errors';
import type { Reply } from '../handler';
import { handler } from '../handler';
import type { Machine } from '../machine';
import { boolean, maybe, oneOf, optional, integer } from '../shape';

const threadShape = { threadId: optional(integer), singleThread: optional(boolean) };
const stepShape = maybe({
  ...threadShape,
  granularity: optional(oneOf('statement', 'line', 'instruction')),
  targetId: optional(integer),
});

/** What clients hold of the last stop is void from here on. */
function go(context: Context, machine: Machine, plan: RunPlan, reply: Reply): void {
  if (machine.control.state === 'ended')
    throw new RequestError('the guest has ended; restart it', { show: false });
  resetHandles(context);
  machine.forget();
  machine.started = true;
  reply.after(() => {
    if (machine.control.state === 'stopped') machine.control.start(plan);
  });
}

const continue_ = handler('continue', maybe(threadShape), (context, _args, reply) => {
  // All vCPUs run or none does: the machine is one deterministic whole.
  go(context, needStopped(context), continuePlan, reply);
  return { allThreadsContinued: true };
});

/** To what stepInTargets has offered, or past it, where the guest goes another way. */
function planTo(context: Context, targetId: number): RunPlan {
  const target = context.stepTargets.get(targetId);
  if (target === undefined)
    throw new RequestError(`there is no target ${targetId}; the machine has run since`, { show: false });
  let begun = false;
  return {
    vcpu: target.vcpu,
    next: () => {
      if (begun) return Promise.resolve(undefined);
      begun = true;
      return Promise.resolve(target.until);
    },
  };
}

const step = (command: string, kind: StepKind): ReturnType<typeof handler> =>
  handler(command, stepShape, async (context, { threadId, granularity, targetId }, reply) => {
    const machine = needStopped(context);
    const vcpu = needThread(machine, threadId);
    if (targetId !== undefined && kind === 'in') {
      go(context, machine, planTo(context, targetId), reply);
      return;
    }
    const { target, decoder, symbols, control } = machine;
    const stepping = {
      target,
      vcpu,
      decoder,
      symbols: () => symbols.of(vcpu.domain),
      hidden: machine.hiddenAt(vcpu),
      inHypervisor: machine.isInHypervisor(vcpu),
      intoHypervisor: machine.args.stepIntoHypervisor ?? true,
      intoDeliveries: machine.args.stepIntoDeliveries ?? false,
    };
    try {
      const plan = await control.still(() => planStep(kind, granularity ?? 'statement', stepping));
      go(context, machine, plan, reply);
    } catch (error) {
      if (error instanceof NoCallerError || error instanceof NotRunningError) {
        throw new RequestError(`${command}: ${error.message}`);
      }
      throw error;
    }
  });

const pause = handler(
  'pause',
  maybe(threadShape),
  (context) => {
    needMachine(context).control.pause();
    return undefined;
  },
  { urgent: true },
);

export const execution = [
  continue_,
  step('next', 'over'),
  step('stepIn', 'in'),
  step('stepOut', 'out'),
  pause,
];
