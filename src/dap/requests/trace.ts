import { readRegisters } from '../../debugger/registers';
import type { RunPlan } from '../../debugger/run-control';
import { symbolic } from '../../debugger/symbols';
import type { Context } from '../context';
import { adopt, event, needMachine, output, resetHandles, sourceOf, tellTerminated } from '../context';
import { RequestError } from '../errors';
import type { Handler } from '../handler';
import { handler } from '../handler';
import { announceBreakpoints, restartMachine } from '../launching';
import type { Machine } from '../machine';
import type { HyperstepRequests } from '../protocol';
import { count, object, text } from '../shape';
import { answerTrace, question } from '../trace';

/** Names to choose from; more is no choice. */
const MAX_NAMES = 50;

type Place = HyperstepRequests['hyperstep/runToRecord']['arguments'];

/** Of the instruction that makes a hypercall (0f 05); a record has the address after it. */
const SYSCALL_BYTES = 2n;

/** Runs past all breakpoints to the instruction that makes a record's call. */
function planTo(context: Context, { target }: Machine, place: Place, instructions: bigint): RunPlan {
  let begun = false;
  return {
    way: 'record',
    next: async (from) => {
      if (begun) {
        const rip = (await readRegisters(target, from.vcpu)).need('rip');
        const same = from.vcpu.domain === place.domain && from.vcpu.vcpu === place.vcpu;
        if (!same || rip !== BigInt(place.rip) - SYSCALL_BYTES)
          output(
            context,
            'important',
            'This run is not the one that the record is from: another kernel, another configuration, or what was typed or sent then has not come now.',
          );
        return undefined;
      }
      begun = true;
      await target.setStops([]);
      return { instructions, skipUpcalls: false };
    },
    done: () => target.setStops(context.breakpoints.points()),
  };
}

export const traceRequests: readonly Handler[] = [
  handler(
    'hyperstep/traceQuestion',
    object({ question }),
    async (context, asked) => ({ answer: await answerTrace(needMachine(context), asked.question) }),
    // Read between two stretches of a run, which goes on.
    { urgent: true },
  ),
  handler('hyperstep/functions', object({ prefix: text }), (context, { prefix }) => ({
    names: [
      ...new Set(
        needMachine(context).symbols.images.flatMap(({ symbols }) => symbols.complete(prefix, MAX_NAMES)),
      ),
    ].slice(0, MAX_NAMES),
  })),
  handler('hyperstep/sourceAt', object({ address: text, domain: count }), (context, { address, domain }) => {
    const symbols = needMachine(context).symbols.of(domain);
    // The address after a call may be the first of the next line.
    const at = BigInt(address) - 1n;
    const name = symbolic(symbols, at + 1n);
    const line = symbols.line(at);
    const source = line === undefined ? undefined : sourceOf(context, symbols, line.file);
    return {
      ...(name === undefined ? {} : { name }),
      ...(line === undefined || source?.path === undefined ? {} : { path: source.path, line: line.line }),
    };
  }),
  handler(
    'hyperstep/runToRecord',
    object({ retired: count, domain: count, vcpu: count, rip: text }),
    async (context, place, reply) => {
      const old = needMachine(context);
      const machine = await restartMachine(context, old, old.args, reply).catch((error: unknown) => {
        if (context.machine === undefined) tellTerminated(context);
        throw error;
      });
      resetHandles(context);
      adopt(context, machine);
      const start = (await machine.target.now()).retired;
      // The record was made when the instruction had been executed.
      const instructions = BigInt(place.retired) - 1n - start;
      if (instructions <= 0n) throw new RequestError('the record is from before the machine was saved');
      reply.after(() => {
        announceBreakpoints(context, machine);
        machine.started = true;
        context.send(event('continued', { threadId: 1, allThreadsContinued: true }));
        machine.control.start(planTo(context, machine, place, instructions));
      });
      return {};
    },
  ),
];
