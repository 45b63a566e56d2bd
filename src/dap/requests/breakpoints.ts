import type { DebugProtocol } from '@vscode/debugprotocol';
import type { BreakpointKind, BreakpointOptions, BreakpointSpecs } from '../../debugger/breakpoints';
import { LocationError } from '../../debugger/locations';
import { symbolsOfDomains } from '../../debugger/symbols';
import { tellSlow, toProtocolBreakpoint } from '../breakpoint-view';
import type { Context } from '../context';
import { fromClientLine, needMachine, toClientLine } from '../context';
import { RequestError } from '../errors';
import { handler } from '../handler';
import { integer, listOf, object, optional, text } from '../shape';
import { localPath } from '../sources';
import { locate } from './memory';

export const optionFields = {
  condition: optional(text),
  hitCondition: optional(text),
  // The protocol has log messages for source breakpoints only; nothing keeps the other kinds from having them.
  logMessage: optional(text),
};

/** Only what was given. */
export const optionsOf = ({ condition, hitCondition, logMessage }: BreakpointOptions): BreakpointOptions => ({
  ...(condition === undefined ? {} : { condition }),
  ...(hitCondition === undefined ? {} : { hitCondition }),
  ...(logMessage === undefined ? {} : { logMessage }),
});

/** Replaces the breakpoints under a key, here and in the machine, which is interrupted for it when it runs. */
export async function replace<K extends BreakpointKind>(
  context: Context,
  kind: K,
  key: string,
  specs: readonly BreakpointSpecs[K][],
): Promise<DebugProtocol.Breakpoint[]> {
  const set = context.breakpoints.set(kind, key, specs);
  const { machine } = context;
  if (machine !== undefined && machine.args.noDebug !== true) {
    await machine.control.still(() => machine.target.setStops(context.breakpoints.points()));
    tellSlow(context);
  }
  return set.map((one) => toProtocolBreakpoint(context, machine?.symbols ?? symbolsOfDomains([]), one));
}

const setBreakpoints = handler(
  'setBreakpoints',
  object({
    source: object({ path: optional(text), name: optional(text) }),
    breakpoints: optional(listOf(object({ line: integer, column: optional(integer), ...optionFields }))),
    lines: optional(listOf(integer)),
  }),
  async (context, { source, breakpoints, lines = [] }) => {
    if (source.path === undefined)
      throw new RequestError('setBreakpoints: source.path is needed', { show: false });
    const file = localPath(source.path);
    // `lines` is the deprecated form without conditions.
    const wanted: readonly (BreakpointOptions & { readonly line: number })[] =
      breakpoints ?? lines.map((line) => ({ line }));
    const specs = wanted.map((one) => ({ file, line: fromClientLine(context, one.line), ...optionsOf(one) }));
    return { breakpoints: await replace(context, 'source', file, specs) };
  },
);

/** A log message may follow the name, since the protocol gives function breakpoints no field for one. */
const LOG = /^(.*?),\s*log:\s*(.*)$/s;

const setFunctionBreakpoints = handler(
  'setFunctionBreakpoints',
  object({ breakpoints: listOf(object({ name: text, ...optionFields })) }),
  async (context, { breakpoints }) => {
    const specs = breakpoints.map((one) => {
      const [, name = one.name, logMessage] = LOG.exec(one.name) ?? [];
      return { name, ...(logMessage === undefined ? {} : { logMessage }), ...optionsOf(one) };
    });
    return { breakpoints: await replace(context, 'function', '', specs) };
  },
);

const setInstructionBreakpoints = handler(
  'setInstructionBreakpoints',
  object({
    breakpoints: listOf(object({ instructionReference: text, offset: optional(integer), ...optionFields })),
  }),
  async (context, { breakpoints }) => {
    const resolved = breakpoints.map((one): BreakpointSpecs['instruction'] | string => {
      try {
        const { space, address } = locate(needMachine(context), one.instructionReference, one.offset ?? 0);
        if (space.kind !== 'virtual') return 'instruction breakpoints sit at virtual addresses';
        return { address, domain: space.vcpu.domain, ...optionsOf(one) };
      } catch (error) {
        // One that cannot be set must not take the others with it.
        if (error instanceof LocationError || error instanceof RequestError) return error.message;
        throw error;
      }
    });
    const good = resolved.filter((one) => typeof one !== 'string');
    const set = await replace(context, 'instruction', '', good);
    let next = 0;
    return {
      breakpoints: resolved.map((one) =>
        typeof one === 'string' ? { verified: false, message: one, reason: 'failed' } : set[next++],
      ),
    };
  },
);

const setExceptionBreakpoints = handler(
  'setExceptionBreakpoints',
  object({
    filters: listOf(text),
    filterOptions: optional(listOf(object({ filterId: text, condition: optional(text) }))),
  }),
  async (context, { filters, filterOptions = [] }) => {
    const specs = [
      ...filters.map((filter) => ({ filter })),
      ...filterOptions.map(({ filterId, condition }) => ({
        filter: filterId,
        ...optionsOf(condition === undefined ? {} : { condition }),
      })),
    ];
    // In this order the protocol wants the answers.
    return { breakpoints: await replace(context, 'exception', '', specs) };
  },
);

const breakpointLocations = handler(
  'breakpointLocations',
  object({ source: object({ path: optional(text) }), line: integer, endLine: optional(integer) }),
  (context, { source, line, endLine = line }) => {
    const { machine } = context;
    const file = source.path === undefined ? undefined : localPath(source.path);
    if (machine === undefined || file === undefined) return { breakpoints: [] };
    const lines = new Set<number>();
    const last = fromClientLine(context, endLine);
    for (const { symbols } of machine.symbols.codes) {
      for (let at = fromClientLine(context, line); at <= last;) {
        const code = symbols.code(file, at);
        if (code === undefined || code.line > last) break;
        lines.add(code.line);
        at = code.line + 1;
      }
    }
    return {
      breakpoints: [...lines].sort((a, b) => a - b).map((one) => ({ line: toClientLine(context, one) })),
    };
  },
);

export const breakpointRequests = [
  setBreakpoints,
  setFunctionBreakpoints,
  setInstructionBreakpoints,
  setExceptionBreakpoints,
  breakpointLocations,
];
