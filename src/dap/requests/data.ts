import type { BreakpointSpecs } from '../../debugger/breakpoints';
import type { DataTarget } from '../../debugger/breakpoints/data';
import { dataAtAddress, dataOf, formatDataId, parseDataId } from '../../debugger/breakpoints/data';
import { ExpressionError } from '../../debugger/evaluate';
import { LocationError } from '../../debugger/locations';
import type { Target } from '../../machine/target';
import { needMachine } from '../context';
import { handler } from '../handler';
import { boolean, count, integer, listOf, object, oneOf, optional, text } from '../shape';
import { optionFields, optionsOf, replace } from './breakpoints';
import { contextFor } from './evaluate';
import { needFrame } from './stack';
import { needContainer } from './variables';

// Data breakpoints: of variables and their parts, registers, page-table entries, addresses in three spaces, and of the
// hypervisor's own state.

const isUnusable = (error: unknown): error is Error =>
  error instanceof ExpressionError ||
  error instanceof LocationError ||
  // From the machine, by name only.
  (error instanceof Error && error.name === 'ExpressionError');

/** A local variable of the hypervisor's code there, or a part of one; undefined where it is none. */
async function localOf(target: Target, frame: number, expression: string): Promise<DataTarget | undefined> {
  if (!/^[A-Za-z_$][\w$]*(\.[A-Za-z_$][\w$]*|\[\d+\])*$/.test(expression)) return undefined;
  const path = expression.split(/[.[\]]+/).filter((part) => part !== '');
  try {
    const { expression: kept, name } = await target.hypervisorWatch({ frame, path });
    return { place: { expression: kept }, label: name, accesses: ['write'], lasting: false };
  } catch (error) {
    // A name that is none of the frame's may be one of the guest's.
    if (isUnusable(error) && error.message.startsWith(`there is no '${path[0] ?? ''}'`)) return undefined;
    throw error;
  }
}

const dataBreakpointInfo = handler(
  'dataBreakpointInfo',
  object({
    variablesReference: optional(integer),
    name: text,
    frameId: optional(integer),
    bytes: optional(count),
    asAddress: optional(boolean),
    mode: optional(text),
  }),
  async (context, { variablesReference = 0, name, frameId, bytes, asAddress = false }) => {
    const machine = needMachine(context);
    try {
      const found = await machine.control.still(async () => {
        // A row of a tree is known by the expression that yields it again.
        const container = variablesReference === 0 ? undefined : needContainer(context, variablesReference);
        const row = (await container?.list())?.find((one) => one.name === name);
        const frame = frameId ?? container?.frameId;
        const expression = row?.expression ?? name;
        const inner = frame === undefined ? undefined : needFrame(context, frame).hypervisor;
        const own = inner === undefined ? undefined : await localOf(machine.target, inner.index, expression);
        if (own !== undefined) return own;
        const at = await contextFor(context, machine, frame);
        return asAddress ? dataAtAddress(name, bytes, at) : dataOf(expression, bytes, at);
      });
      const dataId = formatDataId(found.place);
      // What it was asked for as is how its stops speak of it.
      context.dataNames.set(dataId, asAddress || 'expression' in found.place ? found.label : name);
      return {
        dataId,
        description: found.label,
        accessTypes: [...found.accesses],
        canPersist: found.lasting,
      };
    } catch (error) {
      // The protocol's way to say no: the client shows why.
      if (isUnusable(error)) return { dataId: null, description: error.message };
      throw error;
    }
  },
);

const setDataBreakpoints = handler(
  'setDataBreakpoints',
  object({
    breakpoints: listOf(
      object({ dataId: text, accessType: optional(oneOf('read', 'write', 'readWrite')), ...optionFields }),
    ),
  }),
  async (context, { breakpoints }) => {
    const resolved = breakpoints.map((one): BreakpointSpecs['data'] | string => {
      try {
        const { place, label, accesses } = parseDataId(one.dataId, context.machine?.current());
        const access = one.accessType ?? 'write';
        if (!accesses.includes(access)) return `of ${label} only changes are seen: accessType is 'write'`;
        return { place, access, label: context.dataNames.get(one.dataId) ?? label, ...optionsOf(one) };
      } catch (error) {
        // One that cannot be set must not take the others with it.
        if (isUnusable(error)) return error.message;
        throw error;
      }
    });
    const set = await replace(
      context,
      'data',
      '',
      resolved.filter((one) => typeof one !== 'string'),
    );
    let next = 0;
    return {
      breakpoints: resolved.map((one) =>
        typeof one === 'string' ? { verified: false, message: one, reason: 'failed' } : set[next++],
      ),
    };
  },
);

export const dataBreakpoints = [dataBreakpointInfo, setDataBreakpoints];
