import { resolveLaunch } from '../debugger/launch';
import type { Launch } from '../debugger/launch';
import { createRunControl } from '../debugger/run-control';
import type { RunControl } from '../debugger/run-control';
import type { SymbolPlaces } from '../debugger/guest-symbols';
import type { SymbolIndex } from '../debugger/symbols';
import type { Target } from '../machine/target';
import { toProtocolBreakpoint } from './breakpoint-view';
import { createConsoleOutput } from './console';
import type { Context } from './context';
import { event, output } from './context';
import { RequestError, messageOf } from './errors';
import { onHalt } from './halting';
import type { Reply } from './handler';
import type { Machine } from './machine';
import { createMachine } from './machine';
import { startProgress, type Progress } from './progress';
import { localSources, mapSources } from './sources';
import type { LaunchArguments } from './protocol';

async function resolve(context: Context, args: LaunchArguments): Promise<Launch> {
  const launch = await resolveLaunch(args, context.host);
  for (const warning of launch.warnings) output(context, 'console', warning);
  return launch;
}

export async function launchMachine(context: Context, args: LaunchArguments, reply: Reply): Promise<Machine> {
  const progress = startProgress(
    context,
    'launch',
    args.restore === undefined ? 'Booting' : 'Restoring',
    reply.seq,
  );
  try {
    progress.step('reading the kernel');
    const launch = await resolve(context, args);
    reply.check();
    return await buildMachine(context, args, launch, progress, reply);
  } finally {
    progress.end();
  }
}

async function buildMachine(
  context: Context,
  args: LaunchArguments,
  launch: Launch,
  progress: Progress,
  reply: Reply,
): Promise<Machine> {
  const [domain] = launch.machine.domains;
  if (domain === undefined) throw new RequestError('launch: the configuration has no domain');
  progress.step(`building the domain from ${domain.kernel.name}`);
  // A worker builds the domain, so the symbols can be read meanwhile.
  context.sources = mapSources(
    (file) => context.host.sourcePath(file, launch.kernelPath),
    Object.entries(args.sourceMap ?? {}),
  );
  const loading = loadSymbols(context, args, launch, domain.kernel);
  const target = await context.host.createTarget(launch.machine).catch(async (error: unknown) => {
    await loading;
    throw error;
  });
  try {
    reply.check();
    if (context.closing) throw new RequestError('the session has ended', { code: 'cancelled', show: false });
    progress.step(`reading the symbols of ${domain.kernel.name}`);
    const symbols = await loading;
    announceSymbols(context, domain.kernel.name, symbols);
    return await assemble(context, args, launch, target, symbols);
  } catch (error) {
    await target.dispose();
    throw error;
  }
}

/** A guest without readable symbols is debugged by addresses; that is no reason not to boot it. */
async function loadSymbols(
  context: Context,
  args: LaunchArguments,
  { kernelPath }: Launch,
  kernel: { name: string; bytes: Uint8Array },
): Promise<SymbolIndex> {
  const places: SymbolPlaces = { kernelPath, given: args.symbols ?? [] };
  return localSources(await context.host.loadSymbols(kernel, places), context.sources);
}

function announceSymbols(context: Context, name: string, symbols: SymbolIndex): void {
  const lines = symbols.hasLines ? 'source lines' : 'no line table';
  output(context, 'console', `${name}: ${symbols.count} symbols, ${lines}`);
  for (const text of symbols.report ?? []) output(context, 'console', text);
}

async function assemble(
  context: Context,
  args: LaunchArguments,
  launch: Launch,
  target: Target,
  symbols: SymbolIndex,
): Promise<Machine> {
  const hypercalls = await target.hypercalls();
  const decoder = await context.host.loadDecoder();
  let machine: Machine | undefined = undefined;
  const control: RunControl = createRunControl(target, context.breakpoints, () => symbols, {
    halted: (halt) => {
      printed.flush();
      if (machine !== undefined) onHalt(context, machine, halt);
    },
    logged: (text) => output(context, 'console', text),
    failed: (error) => output(context, 'stderr', messageOf(error)),
  });
  const printed = createConsoleOutput(context);
  const listeners = [
    target.onConsole((domain, data, console) => printed.push(domain, data, console)),
    target.onLog((text) => {
      printed.flush();
      output(context, 'console', text);
    }),
    () => printed.dispose(),
  ];
  const fresh = createMachine({ target, control, symbols, decoder, hypercalls, launch, args, listeners });
  machine = fresh;
  await settle(context, fresh);
  return fresh;
}

/** At the first instruction, with the breakpoints in place. */
async function settle(context: Context, machine: Machine): Promise<void> {
  const { target, control, symbols, hypercalls } = machine;
  const vcpus = (await target.domains()).flatMap((domain) => domain.vcpus.map(({ ref }) => ref));
  const [first] = vcpus;
  if (first === undefined) throw new RequestError('the machine has no vCPU');
  for (const vcpu of vcpus) machine.threadOf(vcpu);
  context.breakpoints.resolve({ symbols, hypercalls, hypervisor: context.host.hypervisorSources });
  await target.setStops(machine.args.noDebug === true ? [] : context.breakpoints.points());
  await control.reset(first);
}

/** What clients were told before the machine was there may have changed. */
export function announceBreakpoints(context: Context, machine: Machine): void {
  for (const one of context.breakpoints.all()) {
    if (one.kind === 'exception') continue;
    context.send(
      event('breakpoint', {
        reason: 'changed',
        breakpoint: toProtocolBreakpoint(context, machine.symbols, one),
      }),
    );
  }
}

const sameBytes = (a: Uint8Array | undefined, b: Uint8Array | undefined): boolean =>
  a === b ||
  (a !== undefined &&
    b !== undefined &&
    a.length === b.length &&
    a.every((byte, index) => byte === b[index]));

function sameLaunch(a: Launch, b: Launch): boolean {
  return (
    a.machine.saved?.path === b.machine.saved?.path &&
    a.machine.tier === b.machine.tier &&
    a.machine.domains.length === b.machine.domains.length &&
    JSON.stringify(a.machine.forwards) === JSON.stringify(b.machine.forwards) &&
    a.machine.domains.every((one, index) => {
      const other = b.machine.domains[index];
      return (
        other !== undefined &&
        one.cmdline === other.cmdline &&
        one.memory === other.memory &&
        one.vcpus === other.vcpus &&
        JSON.stringify([one.disks, one.channels, one.vifs]) ===
          JSON.stringify([other.disks, other.channels, other.vifs]) &&
        sameBytes(one.kernel.bytes, other.kernel.bytes) &&
        sameBytes(one.ramdisk?.bytes, other.ramdisk?.bytes)
      );
    })
  );
}

/**
 * The files are read again: where they are unchanged the machine goes back to its start, else it is built anew.
 * When they cannot be read the old machine stays as it is.
 */
export async function restartMachine(
  context: Context,
  old: Machine,
  args: LaunchArguments,
  reply: Reply,
): Promise<Machine> {
  const progress = startProgress(context, 'launch', 'Restarting', reply.seq);
  try {
    progress.step('reading the kernel');
    const launch = await resolve(context, args);
    reply.check();
    context.machine = undefined;
    if (!sameLaunch(launch, old.launch)) {
      await old.dispose();
      return await buildMachine(context, args, launch, progress, reply);
    }
    old.silence();
    await old.control.dispose();
    await old.target.restart();
    return await assemble(context, args, launch, old.target, old.symbols);
  } finally {
    progress.end();
  }
}
