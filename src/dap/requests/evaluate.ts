import {
  ExpressionError,
  complete,
  completeMembers,
  evaluateText,
  assignText,
  inFrame,
} from '../../debugger/evaluate';
import type { Evaluation } from '../../debugger/evaluate';
import type { CommandContext } from '../../debugger/commands';
import { completeCommand, runCommand, suggestion } from '../../debugger/commands';
import { completeBreakpointName } from '../../debugger/breakpoints/function';
import { hypervisorValue } from '../../debugger/hypervisor-values';
import type { EvaluationContext } from '../../debugger/expressions';
import { LocationError, formatLocation } from '../../debugger/locations';
import type { Variable } from '../../debugger/variables';
import type { Container, Context } from '../context';
import { needMachine } from '../context';
import { RequestError } from '../errors';
import { handler } from '../handler';
import type { Machine } from '../machine';
import { integer, object, optional, text } from '../shape';
import { needFrame } from './stack';
import { formatShape, registersChanged, toProtocolVariable } from './variables';

export async function contextFor(
  context: Context,
  machine: Machine,
  frameId: number | undefined,
): Promise<EvaluationContext> {
  if (frameId === undefined) return machine.contextAt(machine.current());
  const { vcpu, frame, innermost } = needFrame(context, frameId);
  const at = await machine.contextAt(vcpu);
  return inFrame(at, frame, innermost);
}

/** What commands of the console know. Callers' frames have registers of their own; a command is about the vCPU. */
async function commandContext(
  context: Context,
  machine: Machine,
  frameId: number | undefined,
): Promise<CommandContext> {
  const vcpu = frameId === undefined ? machine.current() : needFrame(context, frameId).vcpu;
  return {
    ...(await contextFor(context, machine, frameId)),
    decoder: machine.decoder,
    hypercalls: machine.hypercalls,
    stack: () => machine.stack(vcpu),
  };
}

/** Errors in what was typed are answered in place, not in a dialog. */
async function inWords<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof ExpressionError || error instanceof LocationError)
      throw new RequestError(error.message, { show: false });
    throw error;
  }
}

function answer(context: Context, result: Evaluation, format?: { readonly hex?: boolean }): object {
  const children = result.children;
  // A structure of a hypercall's arguments does not change while the machine stands still.
  const container: Container = {
    list: async (start, count) => (await children?.list(start, count)) ?? [],
  };
  const root: Variable = result;
  const shown = toProtocolVariable(context, root, { list: () => Promise.resolve([root]) }, format);
  return {
    result: shown.value,
    variablesReference: children === undefined ? 0 : context.containers.create(container),
    ...(shown.type === undefined ? {} : { type: shown.type }),
    ...(children === undefined ? {} : { namedVariables: children.named, indexedVariables: children.indexed }),
    ...(result.memory === undefined ? {} : { memoryReference: formatLocation(result.memory) }),
    ...(shown.valueLocationReference === undefined
      ? {}
      : { valueLocationReference: shown.valueLocationReference }),
  };
}

const evaluate = handler(
  'evaluate',
  object({
    expression: text,
    frameId: optional(integer),
    context: optional(text),
    format: formatShape,
  }),
  async (context, { expression, frameId, context: purpose, format }, reply) => {
    const machine = needMachine(context);
    // Helix says nothing of what a person typed; clients that evaluate by themselves do say what for.
    const typed = purpose === undefined || purpose === 'repl';
    if (machine.control.state === 'running' && !typed) {
      throw new RequestError('the machine is running', { code: 'notStopped', show: false });
    }
    if (expression.trim() === '') throw new RequestError('nothing to evaluate', { show: false });
    const result = await inWords(() =>
      machine.control.still(async () => {
        if (typed) {
          const done = await runCommand(expression, await commandContext(context, machine, frameId));
          if (done !== undefined) {
            const { text: value, memory, changed } = done;
            return {
              name: expression,
              value,
              ...(memory === undefined ? {} : { memory }),
              ...(changed === true ? { assigned: true } : {}),
            };
          }
        }
        const inner = frameId === undefined ? undefined : needFrame(context, frameId).hypervisor;
        // The locals of the hypervisor's code come first there; what is none of them is the guest's.
        const own =
          inner === undefined ? undefined : await hypervisorValue(machine.target, inner.index, expression);
        if (own !== undefined) return own;
        const at = await contextFor(context, machine, frameId);
        return evaluateText(expression, at, typed).catch((error: unknown) => {
          if (!typed || !(error instanceof ExpressionError)) throw error;
          throw new ExpressionError(`${error.message}${suggestion(expression)}`, error.at);
        });
      }),
    );
    if (result.assigned === true) {
      machine.forget();
      reply.after(() => registersChanged(context));
    }
    return answer(context, result, format);
  },
);

const setExpression = handler(
  'setExpression',
  object({ expression: text, value: text, frameId: optional(integer), format: formatShape }),
  async (context, { expression, value, frameId, format }, reply) => {
    const machine = needMachine(context);
    const result = await inWords(() =>
      machine.control.still(async () =>
        assignText(expression, value, await contextFor(context, machine, frameId)),
      ),
    );
    machine.forget();
    reply.after(() => registersChanged(context));
    const { result: shown, ...rest } = answer(context, result, format) as { result: string };
    return { value: shown, ...rest };
  },
);

const completions = handler(
  'completions',
  object({ text, column: integer, line: optional(integer), frameId: optional(integer) }),
  async (context, { text: typed, column, line = 1, frameId }) => {
    const machine = needMachine(context);
    const first = context.client.linesStartAt1 ? 1 : 0;
    const row = typed.split('\n')[line - first] ?? '';
    const before = row.slice(0, Math.max(0, column - (context.client.columnsStartAt1 ? 1 : 0)));
    const word = /[$%]?[\w]*$/.exec(before)?.[0] ?? '';
    const rest = before.slice(0, before.length - word.length);
    const start = rest.length + (context.client.columnsStartAt1 ? 1 : 0);
    const name = /(?:^|\s)([a-z]+:[^\s:]*(?::\w*)?)$/.exec(before)?.[1];
    if (name !== undefined) {
      const names = completeBreakpointName(name, { hypercalls: machine.hypercalls });
      return {
        targets: names.map((label) => ({
          label,
          start: start + word.length - name.length,
          length: name.length,
        })),
      };
    }
    const command = await machine.control.still(async () =>
      completeCommand(before, await commandContext(context, machine, frameId)),
    );
    const path = /((?:[\w$]|\[[^\]]*\]|\.|->)+)(?:\.|->)$/.exec(rest)?.[1];
    const found = await machine.control.still(async () => {
      const at = await contextFor(context, machine, frameId);
      return path === undefined
        ? complete(word, at)
        : (await completeMembers(path, at)).filter((one) => one.text.startsWith(word));
    });
    const end = start + word.length;
    return {
      targets: [
        ...command.map(({ text: label, length }) => ({
          label,
          type: 'keyword' as const,
          sortText: `0${label}`,
          start: end - length,
          length,
        })),
        ...found.map((one) => ({ label: one.text, type: one.kind, start, length: word.length })),
      ],
    };
  },
);

export const evaluation = [evaluate, setExpression, completions];
