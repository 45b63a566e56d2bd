import type { RunPlan } from '../../debugger/run-control';
import { backPlan, continuePlan } from '../../debugger/run-control';
import type { StepKind, Stepping } from '../../debugger/stepping';
import { planStepBack } from '../../debugger/stepping/back';
import type { BackPlan } from '../../debugger/back';
import { continueBack, entryAgain } from '../../debugger/back';
import { needRunning, NoCallerError, NotRunningError, planStep } from '../../debugger/stepping';
import { sameVcpu, vcpuName } from '../../debugger/locations';
import type { VcpuRef } from '../../machine/target';
import type { Context } from '../context';
import { event, needMachine, needStopped, needThread, resetHandles } from '../context';
import { RequestError } from '../errors';
import type { Reply } from '../handler';
import { handler } from '../handler';
import type { Machine } from '../machine';
import type { Progress } from '../progress';
import { startProgress } from '../progress';
import { boolean, maybe, object, oneOf, optional, integer } from '../shape';
import { needFrame } from './stack';

/** Milliseconds. */
const PATIENCE = 1000;

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
    if (machine.control.state !== 'stopped') return;
    machine.control.start(plan);
    // What a client has of the vCPUs that stay is as true as before, but has new names.
    if (plan.alone !== undefined && context.client.invalidated)
      context.send(event('invalidated', { areas: ['stacks'] }));
  });
}

/** The vCPU that a request wants to run while the others stay. */
async function aloneOf(
  machine: Machine,
  { threadId, singleThread = false }: { readonly threadId?: number; readonly singleThread?: boolean },
): Promise<VcpuRef | undefined> {
  if (!singleThread) return undefined;
  const vcpu = needThread(machine, threadId);
  await machine.control.still(() => needRunning({ target: machine.target, vcpu }));
  return vcpu;
}

/** Says which request could not be made sense of here. */
const asRequest = async <T>(command: string, work: () => Promise<T>): Promise<T> => {
  try {
    return await work();
  } catch (error) {
    if (error instanceof NoCallerError || error instanceof NotRunningError)
      throw new RequestError(`${command}: ${error.message}`);
    throw error;
  }
};

const continue_ = handler('continue', maybe(threadShape), (context, args, reply) =>
  asRequest('continue', async () => {
    const machine = needStopped(context);
    const alone = await aloneOf(machine, args);
    go(context, machine, alone === undefined ? continuePlan : { ...continuePlan, vcpu: alone, alone }, reply);
    return { allThreadsContinued: alone === undefined };
  }),
);

/** `continue` with `singleThread`, of a client that was not asked by its own commands: it is told that it runs. */
const runAlone = handler(
  'hyperstep/runAlone',
  maybe({ threadId: optional(integer), domain: optional(integer), vcpu: optional(integer) }),
  (context, { threadId, domain, vcpu }, reply) =>
    asRequest('runAlone', async () => {
      const machine = needStopped(context);
      const chosen =
        domain === undefined || vcpu === undefined ? threadId : await threadAt(machine, { domain, vcpu });
      const alone = await aloneOf(machine, {
        ...(chosen === undefined ? {} : { threadId: chosen }),
        singleThread: true,
      });
      go(
        context,
        machine,
        { ...continuePlan, ...(alone === undefined ? {} : { vcpu: alone, alone }) },
        reply,
      );
      reply.after(() => {
        const thread = alone === undefined ? 1 : machine.threadOf(alone);
        context.send(event('continued', { threadId: thread, allThreadsContinued: false }));
      });
      return {};
    }),
);

async function threadAt(machine: Machine, vcpu: VcpuRef): Promise<number> {
  const domains = await machine.control.still(() => machine.target.domains());
  if (!domains.some(({ vcpus }) => vcpus.some(({ ref }) => sameVcpu(ref, vcpu))))
    throw new RequestError(`there is no vCPU ${vcpuName(vcpu)}`, { show: false });
  return machine.threadOf(vcpu);
}

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

function steppingOf(machine: Machine, vcpu: VcpuRef): Stepping {
  const { target, decoder, symbols } = machine;
  return {
    target,
    vcpu,
    decoder,
    symbols: () => symbols.of(vcpu.domain),
    hidden: machine.hiddenAt(vcpu),
    inHypervisor: machine.isInHypervisor(vcpu),
    intoHypervisor: machine.args.stepIntoHypervisor ?? true,
    intoDeliveries: machine.args.stepIntoDeliveries ?? false,
  };
}

const step = (command: string, kind: StepKind): ReturnType<typeof handler> =>
  handler(command, stepShape, (context, args, reply) =>
    asRequest(command, async () => {
      const { threadId, granularity, targetId } = args;
      const machine = needStopped(context);
      const vcpu = needThread(machine, threadId);
      const alone = await aloneOf(machine, args);
      const others = alone === undefined ? {} : { alone };
      if (targetId !== undefined && kind === 'in') {
        go(context, machine, { ...planTo(context, targetId), ...others }, reply);
        return undefined;
      }
      const plan = await machine.control.still(() =>
        planStep(kind, granularity ?? 'statement', steppingOf(machine, vcpu)),
      );
      go(context, machine, { ...plan, ...others }, reply);
      return undefined;
    }),
  );

const pause = handler(
  'pause',
  maybe(threadShape),
  (context) => {
    needMachine(context).control.pause();
    return undefined;
  },
  { urgent: true },
);

/** The machine, with a history to go back in. */
async function needHistory(context: Context): Promise<Machine> {
  const machine = needStopped(context);
  const view = await machine.control.still(() => machine.target.history());
  if (!view.kept)
    throw new RequestError(
      'no history is kept: `history` in the launch configuration says how much memory it may take',
      {
        show: false,
      },
    );
  return machine;
}

/** Tells of it when it takes longer than anyone waits for without a word. */
const telling =
  (context: Context, { seq }: Reply, back: BackPlan): BackPlan =>
  async (tools) => {
    let progress: Progress | undefined;
    const timer = setTimeout(() => {
      progress = startProgress(context, 'back', 'Going back', seq);
    }, PATIENCE);
    try {
      return await back(tools);
    } finally {
      clearTimeout(timer);
      progress?.end();
    }
  };

const reverseContinue = handler(
  'reverseContinue',
  maybe(threadShape),
  async (context, { threadId }, reply) => {
    const machine = await needHistory(context);
    go(
      context,
      machine,
      backPlan(telling(context, reply, continueBack), needThread(machine, threadId)),
      reply,
    );
    return undefined;
  },
);

const stepBack = handler('stepBack', stepShape, async (context, { threadId, granularity }, reply) => {
  const machine = await needHistory(context);
  const vcpu = needThread(machine, threadId);
  const stepping = steppingOf(machine, vcpu);
  const back = await machine.control.still(() => planStepBack(granularity ?? 'statement', stepping));
  go(context, machine, backPlan(telling(context, reply, back), vcpu), reply);
  return undefined;
});

/** Only what the hypervisor is at can begin again: its outermost call, and the boundary below that. */
const restartFrame = handler('restartFrame', object({ frameId: integer }), async (context, args, reply) => {
  const machine = await needHistory(context);
  const { vcpu, canRestart } = needFrame(context, args.frameId);
  if (!canRestart)
    throw new RequestError(
      'restartFrame: only the boundary to the hypervisor and the call above it begin again; for others there is stepBack, which takes back what was stored',
    );
  go(context, machine, backPlan(telling(context, reply, entryAgain(vcpu)), vcpu, 'restart'), reply);
  return undefined;
});

export const execution = [
  reverseContinue,
  stepBack,
  restartFrame,
  continue_,
  step('next', 'over'),
  step('stepIn', 'in'),
  step('stepOut', 'out'),
  pause,
];

export const aloneRequests = [runAlone];
