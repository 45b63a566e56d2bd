import { continuePlan } from '../../debugger/run-control';
import { capabilities } from '../capabilities';
import type { Context } from '../context';
import { adopt, event, needMachine, output, resetHandles, tellTerminated } from '../context';
import { RequestError, messageOf } from '../errors';
import { handler } from '../handler';
import { announceBreakpoints, launchMachine, restartMachine } from '../launching';
import { onHalt } from '../halting';
import type { Machine } from '../machine';
import type { LaunchArguments } from '../protocol';
import {
  boolean,
  integer,
  listOf,
  maybe,
  object,
  optional,
  text,
  textMap,
  textOrNumber,
  textOrTexts,
} from '../shape';

const initialize = handler(
  'initialize',
  maybe({
    adapterID: optional(text),
    linesStartAt1: optional(boolean),
    columnsStartAt1: optional(boolean),
    pathFormat: optional(text),
    supportsProgressReporting: optional(boolean),
    supportsInvalidatedEvent: optional(boolean),
    supportsMemoryEvent: optional(boolean),
  }),
  (context, args) => {
    const format = args.pathFormat ?? 'path';
    if (format !== 'path' && format !== 'uri') {
      throw new RequestError(`pathFormat '${format}' is not known; it is 'path' or 'uri'`);
    }
    context.client = {
      linesStartAt1: args.linesStartAt1 ?? true,
      columnsStartAt1: args.columnsStartAt1 ?? true,
      pathsAreUris: format === 'uri',
      progress: args.supportsProgressReporting ?? false,
      invalidated: args.supportsInvalidatedEvent ?? false,
      memory: args.supportsMemoryEvent ?? false,
    };
    return capabilities;
  },
);

const domainFields = {
  kernel: optional(text),
  ramdisk: optional(text),
  cmdline: optional(text),
  memory: optional(textOrNumber),
  vcpus: optional(integer),
  onPoweroff: optional(text),
  onReboot: optional(text),
  onCrash: optional(text),
  onWatchdog: optional(text),
  disks: optional(listOf(text)),
  symbols: optional(listOf(text)),
  channels: optional(listOf(text)),
  vifs: optional(listOf(text)),
};

/** All launch arguments: one that is missing here would be passed over in silence. */
const launchFields = {
  ...domainFields,
  config: optional(textOrTexts),
  domains: optional(listOf(object({ ...domainFields, name: optional(text), config: optional(text) }))),
  sourceMap: optional(textMap),
  restore: optional(text),
  ports: optional(listOf(text)),
  tier: optional(text),
  traceRecords: optional(integer),
  history: optional(integer),
  keepUnpacked: optional(boolean),
  stopOnEntry: optional(boolean),
  stepIntoHypervisor: optional(boolean),
  stepIntoDeliveries: optional(boolean),
  noDebug: optional(boolean),
} satisfies Readonly<Record<keyof LaunchArguments, unknown>>;
const launchShape = maybe(launchFields);

/** Lets the machine go, once it is there and the client has said all it wanted to say beforehand. */
function begin(context: Context, machine: Machine): void {
  if (machine.started || !context.configured) return;
  machine.started = true;
  const { halt } = machine.control;
  if (machine.args.stopOnEntry === true && machine.args.noDebug !== true && halt !== undefined)
    onHalt(context, machine, halt);
  else machine.control.start(continuePlan);
}

const launch = handler('launch', launchShape, async (context, args, reply) => {
  if (context.machine !== undefined)
    throw new RequestError('launch: a machine is running already; restart or terminate it');
  const machine = await launchMachine(context, args, reply);
  adopt(context, machine);
  reply.after(() => {
    context.send(event('initialized', {}));
    announceBreakpoints(context, machine);
    begin(context, machine);
  });
});

const attach = handler('attach', maybe({}), () => {
  throw new RequestError(
    'attach: there is nothing to attach to, the machine lives inside the adapter; use launch',
  );
});

const configurationDone = handler('configurationDone', maybe({}), (context, _args, reply) => {
  context.configured = true;
  const { machine } = context;
  if (machine !== undefined) reply.after(() => begin(context, machine));
  return undefined;
});

/** A client may take a machine for running as soon as it has asked for a restart; one that stands still says so again. */
function tellAgain(context: Context, machine: Machine): void {
  const { halt } = machine.control;
  const stands = (): boolean => context.machine === machine && machine.control.state === 'stopped';
  if (halt === undefined || !stands()) return;
  // Behind the answer.
  setTimeout(() => {
    if (stands() && machine.control.halt === halt) onHalt(context, machine, halt);
  }, 0);
}

const restart = handler(
  'restart',
  maybe({ arguments: optional(launchShape) }),
  async (context, args, reply) => {
    const old = needMachine(context);
    // VS Code sends the launch configuration again, which may have been edited meanwhile.
    const wanted: LaunchArguments = args.arguments ?? old.args;
    const machine = await restartMachine(context, old, wanted, reply).catch((error: unknown) => {
      // Without the old machine and without a new one there is nothing left to debug.
      if (context.machine === undefined) tellTerminated(context);
      else tellAgain(context, old);
      throw error;
    });
    resetHandles(context);
    adopt(context, machine);
    reply.after(() => {
      announceBreakpoints(context, machine);
      begin(context, machine);
    });
  },
);

/** Ends the machine; what goes wrong with that is of no use to anyone any more. */
async function end(context: Context): Promise<void> {
  const { machine } = context;
  context.machine = undefined;
  context.closing = true;
  try {
    await machine?.dispose();
  } catch (error) {
    output(context, 'stderr', `while ending the machine: ${messageOf(error)}`);
  }
}

const terminate = handler(
  'terminate',
  maybe({ restart: optional(boolean) }),
  async (context, _args, reply) => {
    await end(context);
    reply.after(() => tellTerminated(context));
  },
  { urgent: true },
);

const disconnect = handler(
  'disconnect',
  maybe({ restart: optional(boolean), terminateDebuggee: optional(boolean) }),
  async (context, _args, reply) => {
    await end(context);
    reply.after(() => context.close());
  },
  { urgent: true },
);

export const lifecycle = [initialize, launch, attach, configurationDone, restart, terminate, disconnect];

export const cancelShape = object({ requestId: optional(integer), progressId: optional(text) });
