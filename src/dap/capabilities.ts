import type { DebugProtocol } from '@vscode/debugprotocol';
import { exceptionFilters } from '../debugger/breakpoints/exception';

// The protocol's capabilities, each with what serves it or why it is off. `initialize` answers with this table and the
// reference prints it; the compiler wants a row for every capability of the protocol's types.

type All = Required<DebugProtocol.Capabilities>;

export interface On<T> {
  readonly on: T;
  /** Requests, arguments or events that serve it. */
  readonly by: string;
}
export interface Off {
  readonly off: string;
  /** Requests that are therefore refused, with the reason. */
  readonly requests: readonly string[];
}
export type Row<T> = On<T> | Off;

const on = (by: string): On<true> => ({ on: true, by });
const off = (reason: string, ...requests: readonly string[]): Off => ({ off: reason, requests });

export const capabilityTable: { readonly [K in keyof All]: Row<All[K]> } = {
  supportsConfigurationDoneRequest: on('`configurationDone`'),
  supportsFunctionBreakpoints: on('`setFunctionBreakpoints`: symbols, addresses, and the names below'),
  supportsConditionalBreakpoints: on('`condition` of every kind of breakpoint'),
  supportsHitConditionalBreakpoints: on('`hitCondition` of every kind of breakpoint'),
  supportsEvaluateForHovers: on('`evaluate` with context `hover`'),
  exceptionBreakpointFilters: {
    on: exceptionFilters.map(({ filter, label, description, conditionDescription, ...one }) => ({
      filter,
      label,
      description,
      default: one.default,
      supportsCondition: true,
      conditionDescription,
    })),
    by: '`setExceptionBreakpoints`',
  },
  supportsStepBack: on(
    '`stepBack` by instruction, or to where a line of the guest began; `reverseContinue`: to the last breakpoint before, or to where the history begins. From within the hypervisor a step back leads to the guest’s instruction that called for it',
  ),
  supportsSetVariable: on('`setVariable`: registers, flags, and what has a place and a scalar type'),
  supportsRestartFrame: on(
    '`restartFrame` of the boundary to the hypervisor, and of the outermost of its calls: back to the guest’s instruction, and into the hypervisor’s first statement again. Frames of the guest are refused, `canRestart` says so: moving the instruction pointer takes back nothing that a function has stored; for that there is `stepBack`',
  ),
  supportsGotoTargetsRequest: on('`gotoTargets`, `goto`: lines of the function that is being executed'),
  supportsStepInTargetsRequest: on(
    '`stepInTargets`: the calls on a line, and the entries of a multicall; `stepIn` with `targetId`',
  ),
  supportsCompletionsRequest: on('`completions`: expressions, console commands, names of breakpoints'),
  completionTriggerCharacters: { on: ['$', '.', ':'], by: '`completions`' },
  supportsModulesRequest: on('`modules`: the kernel of each domain'),
  additionalModuleColumns: off('The modules have no columns but the protocol’s own'),
  supportedChecksumAlgorithms: off(
    'Line tables of the compilers in use carry no checksum that the protocol knows for every file',
  ),
  supportsRestartRequest: on(
    '`restart`: the whole machine. One domain of several would come back under another number, to peers that hold its event channels and grants; that is not done',
  ),
  supportsExceptionOptions: off(
    'Exceptions here have no tree of categories; `supportsExceptionFilterOptions` has the conditions',
  ),
  supportsValueFormattingOptions: on(
    '`format.hex` of `variables`, `evaluate`, `setVariable`, `setExpression`',
  ),
  supportsExceptionInfoRequest: on('`exceptionInfo`: the reason, the values, and where the check failed'),
  supportTerminateDebuggee: off(
    'The machine lives inside the adapter and ends with it: there is no choice at `disconnect`',
  ),
  supportSuspendDebuggee: off(
    'As above: what is not there any more cannot stay suspended. `hyperstep/save` keeps a machine',
  ),
  supportsDelayedStackTraceLoading: on('`startFrame` and `levels` of `stackTrace`'),
  supportsLoadedSourcesRequest: on('`loadedSources`'),
  supportsLogPoints: on(
    '`logMessage` of every kind of breakpoint; for function breakpoints `, log:` after the name',
  ),
  supportsTerminateThreadsRequest: off(
    'A thread is a vCPU, which only the guest itself can take down (`vcpu_op.down`)',
    'terminateThreads',
  ),
  supportsSetExpression: on('`setExpression`'),
  supportsTerminateRequest: on('`terminate`'),
  supportsDataBreakpoints: on('`dataBreakpointInfo`, `setDataBreakpoints`'),
  supportsReadMemoryRequest: on('`readMemory`, in three address spaces'),
  supportsWriteMemoryRequest: on('`writeMemory`, with the `memory` event'),
  supportsDisassembleRequest: on('`disassemble`, with symbols and source lines'),
  supportsCancelRequest: on('`cancel`, also by `progressId`'),
  supportsBreakpointLocationsRequest: on('`breakpointLocations`'),
  supportsClipboardContext: on('`evaluate` with context `clipboard`: the whole value'),
  supportsSteppingGranularity: on('`granularity` of `next`, `stepIn`, `stepOut`'),
  supportsInstructionBreakpoints: on('`setInstructionBreakpoints`'),
  supportsExceptionFilterOptions: on(
    '`filterOptions` of `setExceptionBreakpoints`: a condition for each filter',
  ),
  supportsSingleThreadExecutionRequests: on(
    '`singleThread` of `continue`, `next`, `stepIn`, `stepOut`: time passes for all vCPUs, the others have no turn',
  ),
  supportsDataBreakpointBytes: on('`bytes` and `asAddress` of `dataBreakpointInfo`'),
  breakpointModes: off('A kind of breakpoint has one way to be set'),
  supportsANSIStyling: on('`output` passes on the sequences that a guest prints; values have none'),
};

/** What `initialize` answers. */
export const capabilities: DebugProtocol.Capabilities = Object.fromEntries(
  Object.entries(capabilityTable).flatMap(([name, row]) => ('on' in row ? [[name, row.on]] : [])),
);

/** Requests that the protocol has and that are off, each with the reason. */
export const refusedRequests: ReadonlyMap<string, string> = new Map(
  Object.values(capabilityTable).flatMap((row) =>
    'off' in row ? row.requests.map((request) => [request, row.off] as const) : [],
  ),
);
