import type { DebugProtocol } from '@vscode/debugprotocol';
import type { Location } from '../../debugger/locations';
import { formatLocation } from '../../debugger/locations';
import { inFrame } from '../../debugger/evaluate';
import type { Variable } from '../../debugger/variables';
import { hypervisorScope } from '../../debugger/hypervisor-values';
import { linuxScope } from '../../debugger/linux/rows';
import { scopesOf } from '../../debugger/variables';
import type { Container, Context, FrameHandle } from '../context';
import { event, needStopped } from '../context';
import { RequestError } from '../errors';
import { formatted } from '../format';
import { handler } from '../handler';
import type { Machine } from '../machine';
import { boolean, count, integer, object, oneOf, optional, text } from '../shape';
import { needFrame } from './stack';

const freshScopes = async (
  machine: Machine,
  { vcpu, frame, innermost, hypervisor }: FrameHandle,
): Promise<ReturnType<typeof scopesOf>> => {
  const context = await machine.contextAt(vcpu);
  // Of a caller, only what has names in the source needs its registers; the rows that show them have their own.
  const inIt = inFrame(context, frame, innermost);
  const { linux } = context.symbols;
  const guest = [
    ...scopesOf(frame, innermost, { ...inIt, call: context.call }),
    ...(linux === undefined ? [] : [linuxScope(linux, context)]),
  ];
  return hypervisor === undefined ? guest : [hypervisorScope(machine.target, hypervisor.index), ...guest];
};

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
        list: async (start, count) => {
          const again = (await freshScopes(machine, handle)).find((one) => one.name === name);
          return (await again?.children.list(start, count)) ?? [];
        },
        frameId,
      }),
    })),
  };
});

export const formatShape = optional(object({ hex: optional(boolean) }));

/** For a value that points at code of which a line is known. */
function sourceBehind(context: Context, memory: Location | undefined): { valueLocationReference?: number } {
  if (memory?.space.kind !== 'virtual') return {};
  const { vcpu } = memory.space;
  const symbols = context.machine?.symbols.of(vcpu.domain);
  // Few addresses are a symbol's; only for those the line table is worth a look.
  if (symbols?.at(memory.address) === undefined || symbols.line(memory.address) === undefined) return {};
  return { valueLocationReference: context.locations.create({ vcpu, address: memory.address }) };
}

/** A row, with a reference for what is below it. */
export function toProtocolVariable(
  context: Context,
  variable: Variable,
  parent: Container,
  format?: { readonly hex?: boolean },
): DebugProtocol.Variable {
  const { name, value, type, expression, memory, children } = variable;
  const below: Container = {
    list: async (start, count) => {
      const index = /^\[(\d+)\]$/.exec(name)?.[1];
      const siblings = await (index === undefined ? parent.list() : parent.list(Number(index), 1));
      const again = siblings.find((one) => one.name === name);
      return (await again?.children?.list(start, count)) ?? [];
    },
    frameId: parent.frameId,
  };
  return {
    name,
    value: formatted(value, format),
    ...sourceBehind(context, memory),
    variablesReference: children === undefined ? 0 : context.containers.create(below),
    ...(children === undefined ? {} : { namedVariables: children.named, indexedVariables: children.indexed }),
    ...(type === undefined ? {} : { type }),
    ...(expression === undefined ? {} : { evaluateName: expression }),
    ...(memory === undefined ? {} : { memoryReference: formatLocation(memory) }),
    ...(variable.set === undefined ? { presentationHint: { attributes: ['readOnly'] } } : {}),
  };
}

export function needContainer(context: Context, reference: number): Container {
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
    format: formatShape,
  }),
  async (context, { variablesReference, filter, start = 0, count: wanted = 0, format }) => {
    const machine = needStopped(context);
    const container = needContainer(context, variablesReference);
    const rows = await machine.control.still(() =>
      filter !== 'named' && wanted > 0 ? container.list(start, wanted) : container.list(),
    );
    const chosen =
      filter === undefined ? rows : rows.filter((one) => isIndexed(one) === (filter === 'indexed'));
    // Not every container can make a part of its rows: then these are all of them.
    const isPart = wanted > 0 && chosen.length <= wanted && chosen[0]?.name === `[${start}]`;
    const end = wanted === 0 ? undefined : start + wanted;
    const page = isPart ? chosen : chosen.slice(start, end);
    return { variables: page.map((one) => toProtocolVariable(context, one, container, format)) };
  },
);

const setVariable = handler(
  'setVariable',
  object({ variablesReference: integer, name: text, value: text, format: formatShape }),
  async (context, { variablesReference, name, value, format }, reply) => {
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
    const {
      value: shown,
      variablesReference: below,
      type,
    } = toProtocolVariable(context, fresh, container, format);
    reply.after(() => registersChanged(context));
    return { value: shown, variablesReference: below, ...(type === undefined ? {} : { type }) };
  },
);

/** Other rows show the same register, and a new rip or rsp changes the stack. */
export function registersChanged(context: Context): void {
  if (context.client.invalidated) context.send(event('invalidated', { areas: ['stacks', 'variables'] }));
}

export const variableRequests = [scopes, variables, setVariable];
