import type { DebugProtocol } from '@vscode/debugprotocol';
import type { Task } from '../../debugger/linux';
import { taskName } from '../../debugger/linux/rows';
import { formatLocation, virtual } from '../../debugger/locations';
import type { Frame } from '../../debugger/unwind';
import { frameName } from '../../debugger/unwind';
import type { Context, FrameHandle } from '../context';
import { clientPath, needMachine, needStopped, needThread, sourceOf, toClientLine } from '../context';
import { RequestError } from '../errors';
import { handler } from '../handler';
import type { Machine } from '../machine';
import type { HypervisorFrame, VcpuRef } from '../../machine/target';
import { count, integer, maybe, object, optional } from '../shape';
import { exceptionInfo } from './exception';

/** What a Linux domain's vCPU runs. */
const taskOf = async ({ symbols, target }: Machine, vcpu: VcpuRef): Promise<Task | undefined> =>
  symbols.of(vcpu.domain).linux?.current(target, vcpu);

const isUser = (address: bigint): boolean => address >> 47n === 0n;

const threads = handler('threads', maybe({}), async (context) => {
  const { machine } = context;
  if (machine === undefined) return { threads: [] };
  const domains = await machine.control.still(() => machine.target.domains());
  const list = domains.flatMap((domain) =>
    domain.vcpus.map(({ ref, state }) => {
      const note = state === 'running' || state === 'runnable' ? '' : ` (${state})`;
      return { id: machine.threadOf(ref), name: `d${domain.id} ${domain.name} v${ref.vcpu}${note}`, ref };
    }),
  );
  // What a vCPU runs changes all the time; it is told where things stand still.
  const tasks =
    machine.control.state === 'running'
      ? []
      : await machine.control.still(() => Promise.all(list.map(({ ref }) => taskOf(machine, ref))));
  return {
    threads: list.map(({ id, name }, i) => {
      const task = tasks[i];
      return { id, name: task === undefined ? name : `${name}: ${taskName(task)}` };
    }),
  };
});

function toProtocolFrame(
  context: Context,
  machine: Machine,
  vcpu: VcpuRef,
  frame: Frame,
  top: number,
  index: number,
  task: Task | undefined,
): DebugProtocol.StackFrame {
  const { line, kind, found, address } = frame;
  // Both the boundary and the code that made the call show the registers of the vCPU.
  const innermost = index <= top;
  const canRestart = index === 0 && kind === 'boundary';
  const hint =
    kind === 'boundary' ? ('label' as const) : found === 'search' ? ('subtle' as const) : undefined;
  return {
    id: context.frames.create({ vcpu, frame, innermost, canRestart }),
    canRestart,
    // Programs have no symbols here; whose code it is the kernel knows.
    name:
      task !== undefined && isUser(address) ? `${frameName(frame)} in ${taskName(task)}` : frameName(frame),
    instructionPointerReference: formatLocation(virtual(vcpu, address)),
    ...(line === undefined
      ? { line: 0, column: 0 }
      : {
          source: sourceOf(context, machine.symbols.of(vcpu.domain), line.file),
          line: toClientLine(context, line.line),
          column: line.column ?? 1,
        }),
    ...(hint === undefined ? {} : { presentationHint: hint }),
  };
}

/** A call of the hypervisor's own; what it has of the guest are the registers of the frame below all of them. */
function toHypervisorFrame(
  context: Context,
  vcpu: VcpuRef,
  below: Frame,
  at: HypervisorFrame,
  index: number,
  canRestart: boolean,
): DebugProtocol.StackFrame {
  const path = context.host.hypervisorSources.pathOf(at.file);
  const name = at.file.slice(at.file.lastIndexOf('/') + 1);
  return {
    id: context.frames.create({ vcpu, frame: below, innermost: true, canRestart, hypervisor: { index, at } }),
    canRestart,
    name: `${at.function} (hypervisor)`,
    source: { name, ...(path === undefined ? { origin: at.file } : { path: clientPath(context, path) }) },
    line: toClientLine(context, at.line),
    column: at.column,
    instructionPointerReference: formatLocation(virtual(vcpu, below.address)),
  };
}

const stackTrace = handler(
  'stackTrace',
  object({ threadId: integer, startFrame: optional(count), levels: optional(count) }),
  async (context, { threadId, startFrame = 0, levels = 0 }) => {
    const machine = needStopped(context, threadId);
    const vcpu = needThread(machine, threadId);
    const { frames, inner, task } = await machine.control.still(async () => ({
      frames: await machine.stack(vcpu),
      task: await taskOf(machine, vcpu),
      inner: machine.isInHypervisor(vcpu) ? await machine.target.hypervisorStack() : [],
    }));
    const [below] = frames;
    const top = below?.kind === 'boundary' ? 1 : 0;
    // Made only when it is asked for: a client takes the first few of a deep stack.
    const rows: readonly (() => DebugProtocol.StackFrame)[] = [
      ...(below === undefined
        ? []
        : inner.map(
            (at, index) => () =>
              toHypervisorFrame(context, vcpu, below, at, index, index === inner.length - 1),
          )),
      ...frames.map((frame, index) => () => toProtocolFrame(context, machine, vcpu, frame, top, index, task)),
    ];
    const end = levels === 0 ? rows.length : startFrame + levels;
    return { totalFrames: rows.length, stackFrames: rows.slice(startFrame, end).map((row) => row()) };
  },
);

const modules = handler(
  'modules',
  maybe({ startModule: optional(count), moduleCount: optional(count) }),
  (context) => {
    const { launch, symbols } = needMachine(context);
    const list = launch.machine.domains.map(({ name, kernel }, index) => {
      const { count, hasLines } = symbols.of(index + 1);
      const lines = hasLines ? 'source lines' : 'no line table';
      return {
        id: index + 1,
        name: kernel.name,
        symbolStatus: count === 0 ? 'no symbols' : `${count} symbols, ${lines}`,
        version: `domain ${name}`,
      };
    });
    return { modules: list, totalModules: list.length };
  },
);

const loadedSources = handler('loadedSources', maybe({}), (context) => {
  const { symbols } = needMachine(context);
  return {
    sources: symbols.images.flatMap((image) =>
      image.symbols.files.map((file) => sourceOf(context, image.symbols, file)),
    ),
  };
});

const source = handler('source', maybe({}), () => {
  throw new RequestError('sources are files; this adapter keeps no texts of its own', { show: false });
});

export const stack = [threads, stackTrace, exceptionInfo, modules, loadedSources, source];

/** Which stopped vCPU a frame belongs to, and whether the registers are its own. */
export function needFrame(context: Context, frameId: number): FrameHandle {
  const found = context.frames.get(frameId);
  if (found === undefined)
    throw new RequestError(`there is no frame ${frameId}; the machine has run since`, { show: false });
  return found;
}
