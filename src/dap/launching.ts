import { resolveLaunch } from '../debugger/launch';
import type { Launch } from '../debugger/launch';
import { createRunControl } from '../debugger/run-control';
import type { RunControl } from '../debugger/run-control';
import type { SymbolPlaces } from '../debugger/guest-symbols';
import type { DomainSymbols, Image, SymbolIndex } from '../debugger/symbols';
import { withLinux } from '../debugger/linux';
import { symbolsOfDomains } from '../debugger/symbols';
import type { DomainConfig, Target } from '../machine/target';
import { announce, tellSlow } from './breakpoint-view';
import { createConsoleOutput } from './console';
import type { Context } from './context';
import { event, output, tellTerminated } from './context';
import { RequestError, messageOf } from './errors';
import { onHalt } from './halting';
import { refreshModules } from './modules';
import type { Reply } from './handler';
import type { Machine } from './machine';
import { createMachine } from './machine';
import { startProgress, type Progress } from './progress';
import { localSources, mapSources } from './sources';
import type { LaunchArguments } from './protocol';

/** Hypercalls that a debugged machine keeps: whoever looks at the trace wants its beginning. */
const KEPT_RECORDS = 1_000_000;
/** MiB of marks. */
const HISTORY = 256;

async function resolve(context: Context, args: LaunchArguments): Promise<Launch> {
  const launch = await resolveLaunch({ traceRecords: KEPT_RECORDS, history: HISTORY, ...args }, context.host);
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
  const { domains } = launch.machine;
  if (domains.length === 0) throw new RequestError('launch: the configuration has no domain');
  const kernels = [...new Set(domains.map(({ kernel }) => kernel.name))].join(', ');
  progress.step(`building the ${domains.length === 1 ? 'domain' : 'domains'} from ${kernels}`);
  // A worker builds the domains, so the symbols can be read meanwhile.
  const loading = loadSymbols(context, args, domains);
  const target = await context.host.createTarget(launch.machine).catch(async (error: unknown) => {
    await loading;
    throw error;
  });
  try {
    reply.check();
    if (context.closing) throw new RequestError('the session has ended', { code: 'cancelled', show: false });
    progress.step(`reading the symbols of ${kernels}`);
    const symbols = await loading;
    for (const image of symbols.images) announceSymbols(context, image.symbols, kernelOf(image, domains));
    return await assemble(context, args, launch, target, symbols);
  } catch (error) {
    await target.dispose();
    throw error;
  }
}

/** A guest without readable symbols is debugged by addresses; that is no reason not to boot it. */
async function loadSymbols(
  { host }: Context,
  args: LaunchArguments,
  domains: readonly DomainConfig[],
): Promise<DomainSymbols> {
  const load = async (kernel: DomainConfig['kernel'], own: readonly string[] = []): Promise<SymbolIndex> => {
    const places: SymbolPlaces = { kernelPath: kernel.path, given: [...own, ...(args.symbols ?? [])] };
    const sources = mapSources(
      (file) => host.sourcePath(file, kernel.path),
      Object.entries(args.sourceMap ?? {}),
    );
    return localSources(await host.loadSymbols(kernel, places), sources);
  };
  // A file is read once however many domains are made of it, so its contents tell which that is.
  const loading = new Map<Uint8Array, Promise<SymbolIndex>>();
  const indices = domains.map(({ kernel }, i) => {
    const index = loading.get(kernel.bytes) ?? load(kernel, args.domains?.[i]?.symbols);
    loading.set(kernel.bytes, index);
    return index;
  });
  return symbolsOfDomains(await Promise.all(indices), withLinux);
}

/** The name of an image, and of the domains that run it where there are others. */
function kernelOf({ domains: ids }: Image, domains: readonly DomainConfig[]): string {
  const name = domains[(ids[0] ?? 1) - 1]?.kernel.name ?? '';
  return domains.length === 1 ? name : `${ids.map((id) => `d${id}`).join(', ')}: ${name}`;
}

function announceSymbols(context: Context, symbols: SymbolIndex, name: string): void {
  const lines = symbols.hasLines ? 'source lines' : 'no line table';
  output(context, 'console', `${name}: ${symbols.count} symbols, ${lines}`);
  for (const text of symbols.report ?? []) output(context, 'console', text);
}

async function assemble(
  context: Context,
  args: LaunchArguments,
  launch: Launch,
  target: Target,
  symbols: DomainSymbols,
): Promise<Machine> {
  const hypercalls = await target.hypercalls();
  const decoder = await context.host.loadDecoder();
  let machine: Machine | undefined = undefined;
  let lost: Error | undefined;
  const control: RunControl = createRunControl(target, context.breakpoints, symbols, {
    halted: (halt) => {
      printed.flush();
      if (machine !== undefined) onHalt(context, machine, halt);
    },
    told: (text) => output(context, 'important', text),
    logged: (text) => output(context, 'console', text),
    loaded: async (vcpu) => {
      if (machine !== undefined) await refreshModules(context, machine, vcpu);
    },
    failed: (error) => {
      // What the end of the machine has interrupted is told with it.
      if (lost === undefined) output(context, 'stderr', messageOf(error));
    },
  });
  const printed = createConsoleOutput(context, launch.machine.domains.length > 1);
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
  void target.gone?.then((error) => {
    lost = error;
    if (fresh.control.state !== 'disposed') tellLost(context, fresh, error);
  });
  await settle(context, fresh);
  return fresh;
}

/** Nothing can be looked at any more, so the session is over. */
function tellLost(context: Context, machine: Machine, error: Error): void {
  // While it is being launched, it is the launch that fails.
  if (context.machine !== machine) return;
  context.machine = undefined;
  // It cannot be asked to end; the rest of what is its own is given back.
  machine.dispose().catch(() => undefined);
  output(
    context,
    'important',
    `The machine is lost, and with it all that it did: ${messageOf(error)}. Start it anew; the same image and input lead to the same place.`,
  );
  context.send(event('exited', { exitCode: 1 }));
  tellTerminated(context);
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
  tellSlow(context);
  await control.reset(first);
}

/** What clients were told before the machine was there may have changed. */
export function announceBreakpoints(context: Context, machine: Machine): void {
  for (const one of context.breakpoints.all()) if (one.kind !== 'exception') announce(context, machine, one);
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
        one.name === other.name &&
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

/** What no two machines can have at a time: a port of this computer, an image that is written. */
const holdsAlone = ({ machine: { forwards = [], domains } }: Launch): boolean =>
  forwards.length > 0 ||
  domains.some(({ disks = [] }) => disks.some(({ access }) => access === 'write-through'));

/**
 * The files are read again: where they are unchanged the machine goes back to its start, else it is built anew.
 * When they cannot be read, or give no machine, the old one stays as it is; but one that holds what only one machine
 * can have is gone by then.
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
    if (!sameLaunch(launch, old.launch)) {
      if (holdsAlone(launch) || holdsAlone(old.launch)) {
        context.machine = undefined;
        await old.dispose();
        return await buildMachine(context, args, launch, progress, reply);
      }
      // What can be read can still be no kernel that boots; then the old machine is all there is.
      const fresh = await buildMachine(context, args, launch, progress, reply);
      context.machine = undefined;
      await old.dispose();
      return fresh;
    }
    context.machine = undefined;
    old.silence();
    await old.control.dispose();
    await old.target.restart();
    return await assemble(context, args, launch, old.target, old.symbols);
  } finally {
    progress.end();
  }
}
