import type { DebugProtocol } from '@vscode/debugprotocol';
import { Event } from '@vscode/debugadapter';
import { pathToFileURL } from 'node:url';
import type { Breakpoints } from '../debugger/breakpoints';
import { createBreakpoints } from '../debugger/breakpoints';
import type { SymbolIndex } from '../debugger/symbols';
import type { Frame } from '../debugger/unwind';
import type { Variable } from '../debugger/variables';
import type { HypervisorFrame, RunUntil, VcpuRef } from '../machine/target';
import { sameVcpu } from '../debugger/locations';
import { RequestError } from './errors';
import type { Handles } from './handles';
import { createHandles } from './handles';
import type { Host } from './host';
import type { Machine } from './machine';

/** What the client said of itself in `initialize`. */
export interface Client {
  readonly linesStartAt1: boolean;
  readonly columnsStartAt1: boolean;
  readonly pathsAreUris: boolean;
  readonly progress: boolean;
  readonly invalidated: boolean;
  readonly memory: boolean;
}

export interface FrameHandle {
  readonly vcpu: VcpuRef;
  readonly frame: Frame;
  readonly innermost: boolean;
  readonly canRestart: boolean;
  /** A call of the hypervisor's own code above it, and its place in the stack there. */
  readonly hypervisor?: { readonly index: number; readonly at: HypervisorFrame };
}
/** Rows behind a variables reference, read afresh each time. */
export interface Container {
  /** All; or, where the rows are elements of something long, those asked for. */
  list(start?: number, count?: number): Promise<readonly Variable[]>;
  /** The frame that its expressions are about. */
  readonly frameId?: number | undefined;
}

/** One connection's state, which handlers share. */
export interface Context {
  readonly host: Host;
  readonly breakpoints: Breakpoints;
  client: Client;
  machine: Machine | undefined;
  /** Valid until the machine runs again (DAP, "Lifetime of Objects References"). */
  readonly frames: Handles<FrameHandle>;
  readonly containers: Handles<Container>;
  /** What data was asked for as, by the identifier that the client was given. */
  readonly dataNames: Map<string, string>;
  /** Breakpoints of which it was said that their conditions are slow. */
  readonly slow: Set<string>;
  /** What gotoTargets and stepInTargets have offered, and what `locationReference`s of values stand for. */
  readonly gotos: Handles<{ readonly vcpu: VcpuRef; readonly address: bigint }>;
  readonly stepTargets: Handles<{ readonly vcpu: VcpuRef; readonly until: RunUntil }>;
  readonly locations: Handles<{ readonly vcpu: VcpuRef; readonly address: bigint }>;
  /** configurationDone has come; the machine may run. */
  configured: boolean;
  /** disconnect or terminate has come; what is still being made is thrown away. */
  closing: boolean;
  /** `terminated` has been sent: once for each machine, since some clients answer it with `terminate`. */
  terminated: boolean;
  send(event: DebugProtocol.Event): void;
  /** Called when the session is over. */
  close(): void;
}

export function createContext(host: Host, send: Context['send'], close: () => void): Context {
  return {
    host,
    breakpoints: createBreakpoints(),
    client: {
      linesStartAt1: true,
      columnsStartAt1: true,
      pathsAreUris: false,
      progress: false,
      invalidated: false,
      memory: false,
    },
    machine: undefined,
    frames: createHandles<FrameHandle>(),
    containers: createHandles<Container>(),
    dataNames: new Map(),
    slow: new Set(),
    gotos: createHandles(),
    stepTargets: createHandles(),
    locations: createHandles(),
    configured: false,
    closing: false,
    terminated: false,
    send,
    close,
  };
}

export const event = (name: string, body: object): DebugProtocol.Event => new Event(name, body);

/** Tells the client that there is nothing left to debug. */
export function tellTerminated(context: Context): void {
  if (context.terminated) return;
  context.terminated = true;
  context.send(event('terminated', {}));
}

/** The machine of the session from now on. */
export function adopt(context: Context, machine: Machine): void {
  context.machine = machine;
  context.terminated = false;
}

export function output(
  context: Context,
  category: 'console' | 'stdout' | 'stderr' | 'important',
  text: string,
): void {
  context.send(
    event('output', { category, output: text.endsWith('\n') || category === 'stdout' ? text : `${text}\n` }),
  );
}

/** The machine, running or not. */
export function needMachine(context: Context): Machine {
  if (context.machine === undefined)
    throw new RequestError('no machine has been launched yet', { show: false });
  return context.machine;
}

/** The machine, standing still; or, where one vCPU runs alone and this is another, that one standing still. */
export function needStopped(context: Context, threadId?: number): Machine {
  const machine = needMachine(context);
  const { alone, state } = machine.control;
  const vcpu = threadId === undefined ? undefined : machine.vcpuOf(threadId);
  const stands = alone !== undefined && vcpu !== undefined && !sameVcpu(alone, vcpu);
  if (state === 'running' && !stands) {
    throw new RequestError('the machine is running; pause it first', { code: 'notStopped', show: false });
  }
  return machine;
}

/** A thread is a vCPU. */
export function needThread(machine: Machine, threadId: number | undefined): VcpuRef {
  if (threadId === undefined) return machine.current();
  const vcpu = machine.vcpuOf(threadId);
  if (vcpu === undefined) throw new RequestError(`there is no thread ${threadId}`, { show: false });
  return vcpu;
}

/** Lines inside are counted from 1. */
export const toClientLine = ({ client }: Context, line: number): number =>
  client.linesStartAt1 ? line : line - 1;
export const fromClientLine = ({ client }: Context, line: number): number =>
  client.linesStartAt1 ? line : line + 1;

/** A path of this computer in the form that the client wants. */
export const clientPath = ({ client }: Context, path: string): string =>
  client.pathsAreUris ? pathToFileURL(path).href : path;

export function sourceOf(context: Context, symbols: SymbolIndex, file: string): DebugProtocol.Source {
  const name = file.slice(Math.max(file.lastIndexOf('/'), file.lastIndexOf('\\')) + 1);
  const path = symbols.toLocal?.(file);
  if (path === undefined)
    return { name, origin: `${file}, which is not on this computer`, presentationHint: 'deemphasize' };
  return { name, path: clientPath(context, path) };
}

export function resetHandles(context: Context): void {
  context.frames.clear();
  context.containers.clear();
  context.gotos.clear();
  context.stepTargets.clear();
  context.locations.clear();
}
