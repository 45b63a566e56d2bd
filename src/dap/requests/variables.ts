import type { DebugProtocol } from '@vscode/debugprotocol';
import { formatLocation } from '../../debugger/locations';
import type { Variable } from '../../debugger/variables';
import { scopesOf } from '../../debugger/variables';
import type { Container, Context, FrameHandle } from '../context';
import { event, needStopped } from '../context';
import { RequestError } from '../errors';
import { handler } from '../handler';
import type { Machine } from '../machine';
import { count, integer, object, oneOf, optional, text } from '../shape';
import { needFrame } from './stack';

const freshScopes = async (
  machine: Machine,
  { vcpu, frame, innermost }: FrameHandle,
): Promise<ReturnType<typeof scopesOf>> => scopesOf(frame, innermost, await machine.contextAt(vcpu));

const scopes = handler('scopes', object({ frameId: integer }), async (context, { frameId }) => {
  const machine = needStopped(context);
  const handle = needFrame(context, frameId);
  const list = await machine.control.still(() => freshScopes(machine, handle));
  return {
    scopes: list.map(({ name, kind, expensive, children }) => ({
      name,
      presentationHint: kind,
      expensive,
      namedVariables: children.named,
      indexedVariables: children.indexed,
      variablesReference: context.containers.create({
        // Read again each time, so that a register that was set shows what it holds now.
        list: async () => {
          const again = (await freshScopes(machine, handle)).find((one) => one.name === name);
          return (await again?.children.list()) ?? [];
        },
      }),
    })),
  };
});

/** A row, with a reference for what is below it. */
export function toProtocolVariable(
  context: Context,
  variable: Variable,
  parent: Container,
): DebugProtocol.Variable {
  const { name, value, type, expression, memory, children } = variable;
  const below: Container = {
    list: async () => {
      const again = (await parent.list()).find((one) => one.name === name);
      return (await again?.children?.list()) ?? [];
    },
  };
  return {
    name,
    value,
    variablesReference: children === undefined ? 0 : context.containers.create(below),
    ...(children === undefined ? {} : { namedVariables: children.named, indexedVariables: children.indexed }),
    ...(type === undefined ? {} : { type }),
    ...(expression === undefined ? {} : { evaluateName: expression }),
    ...(memory === undefined ? {} : { memoryReference: formatLocation(memory) }),
    ...(variable.set === undefined ? { presentationHint: { attributes: ['readOnly'] } } : {}),
  };
}

function needContainer(context: Context, reference: number): Container {
  const found = context.containers.get(reference);
  if (found === undefined) {
    throw new RequestError(`there are no variables ${reference}; the machine has run since`, { show: false });
  }
  return found;
}

const isIndexed = ({ name }: Variable): boolean => /^\[?\d+\]?$/.test(name);

const variables = handler(
  'variables',
  object({
    variablesReference: integer,
    filter: optional(oneOf('indexed', 'named')),
    start: optional(count),
    count: optional(count),
  }),
  async (context, { variablesReference, filter, start = 0, count: wanted = 0 }) => {
    const machine = needStopped(context);
    const container = needContainer(context, variablesReference);
    const all = await machine.control.still(() => container.list());
    const chosen =
      filter === undefined ? all : all.filter((one) => isIndexed(one) === (filter === 'indexed'));
    const page = wanted === 0 ? chosen.slice(start) : chosen.slice(start, start + wanted);
    return { variables: page.map((one) => toProtocolVariable(context, one, container)) };
  },
);

const setVariable = handler(
  'setVariable',
  object({ variablesReference: integer, name: text, value: text }),
  async (context, { variablesReference, name, value }, reply) => {
    const machine = needStopped(context);
    const container = needContainer(context, variablesReference);
    const find = async (): Promise<Variable> => {
      const found = (await container.list()).find((one) => one.name === name);
      if (found === undefined) throw new RequestError(`there is no variable '${name}'`, { show: false });
      return found;
    };
    const fresh = await machine.control.still(async () => {
      const old = await find();
      if (old.set === undefined) throw new RequestError(`${name} cannot be set`);
      await old.set(value);
      machine.forget();
      return find();
    });
    const { value: shown, variablesReference: below, type } = toProtocolVariable(context, fresh, container);
    reply.after(() => registersChanged(context));
    return { value: shown, variablesReference: below, ...(type === undefined ? {} : { type }) };
  },
);

/** Other rows show the same register, and a new rip or rsp changes the stack. */
export function registersChanged(context: Context): void {
  if (context.client.invalidated) context.send(event('invalidated', { areas: ['stacks', 'variables'] }));
}

export const variableRequests = [scopes, variables, setVariable];
