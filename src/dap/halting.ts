import type { Halt } from '../debugger/run-control';
import { dataText } from '../debugger/breakpoints/data';
import { sameVcpu } from '../debugger/locations';
import type { Context } from './context';
import { event, output, resetHandles, tellTerminated } from './context';
import type { Machine } from './machine';
import { refreshModules } from './modules';

type Halted<K extends Halt['kind']> = Extract<Halt, { kind: K }>;

interface Words {
  /** One of the protocol's reasons where there is one. */
  readonly reason: string;
  readonly description: string;
  readonly text?: string;
}

/** The protocol's name for what a breakpoint is. */
const breakpointReasons = {
  instruction: 'instruction breakpoint',
  function: 'function breakpoint',
  source: 'breakpoint',
  exception: 'exception',
  data: 'data breakpoint',
} as const;

/** How each kind of halt is told. */
const words: { readonly [K in Exclude<Halt['kind'], 'ended'>]: (halt: Halted<K>) => Words } = {
  entry: () => ({ reason: 'entry', description: 'Before the first instruction' }),
  step: ({ stop: { reason } }) => ({
    reason: 'step',
    description: reason.kind === 'statement' ? 'Paused in the hypervisor' : 'Paused after a step',
  }),
  begin: ({ whole }) => ({
    reason: 'entry',
    description: 'At the beginning of the history',
    ...(whole ? {} : { text: 'What was before is not kept any more: `history` of the launch configuration' }),
  }),
  pause: () => ({ reason: 'pause', description: 'Paused' }),
  shutdown: ({ text }) => ({ reason: 'pause', description: 'The domain has ended', text }),
  stuck: ({ text }) => ({ reason: 'pause', description: 'Waits for another vCPU', text }),
  breakpoint: ({ stop: { reason }, hits }) => {
    const kind = hits[0]?.kind ?? 'instruction';
    if (reason.kind === 'state' || (reason.kind === 'statement' && reason.text !== undefined))
      return {
        reason: 'data breakpoint',
        description: "The hypervisor's state has changed",
        ...(reason.text === undefined ? {} : { text: reason.text }),
      };
    if (reason.kind === 'data')
      return {
        reason: breakpointReasons.data,
        description: 'Paused on a data breakpoint',
        text: reason.hits
          .map((hit) =>
            dataText(
              hit,
              hits.find(({ id }) => id === hit.id),
            ),
          )
          .join('\n'),
      };
    if (reason.kind !== 'hypercall')
      return {
        reason: breakpointReasons[kind],
        description: 'Paused on a breakpoint',
        ...(reason.kind === 'event' && reason.text !== undefined ? { text: reason.text } : {}),
      };
    const { name, op } = reason.call;
    const call = op === undefined ? name : `${name}.${op}`;
    return {
      reason: breakpointReasons[kind],
      description: reason.when === 'entry' ? `Hypercall ${call}` : `Return from hypercall ${call}`,
      ...(reason.call.reason === undefined ? {} : { text: reason.call.reason }),
    };
  },
  exception: ({ text, hits }) => ({ reason: 'exception', description: filterOf(hits), text }),
};

const filterOf = (hits: Halted<'exception'>['hits']): string => {
  const [hit] = hits;
  return hit !== undefined && 'filter' in hit.spec
    ? `Paused on ${hit.spec.filter}`
    : 'Paused on an exception';
};

/** No frame of the stack leads to a file of this computer: there is no line table, or its files are elsewhere. */
async function withoutSource(machine: Machine, { stop }: Exclude<Halt, { kind: 'ended' }>): Promise<boolean> {
  // Frames of the hypervisor have one.
  if (stop.reason.kind === 'statement') return false;
  const symbols = machine.symbols.of(stop.vcpu.domain);
  if (!symbols.hasLines) return true;
  const frames = await machine.control.still(() => machine.stack(stop.vcpu));
  return !frames.some(({ line }) => line !== undefined && symbols.toLocal?.(line.file) !== undefined);
}

/** Tells the client that the machine stands still, or has come to its end. */
export function onHalt(context: Context, machine: Machine, halt: Halt): void {
  resetHandles(context);
  machine.forget();
  if (halt.kind !== 'ended') {
    // What cannot be looked at is no reason not to say that it stands still.
    void machine.control
      .still(() => refreshModules(context, machine, halt.stop.vcpu))
      .catch(() => undefined)
      .then(() => withoutSource(machine, halt).catch(() => false))
      .then((bare) => {
        // A restart, or the end, may have come between.
        if (context.machine === machine && machine.control.halt === halt)
          tellStopped(context, machine, halt, bare);
      });
    return;
  }
  output(context, 'important', halt.text === '' ? 'The guest has ended.' : halt.text);
  context.send(event('exited', { exitCode: halt.clean ? 0 : 1 }));
  tellTerminated(context);
}

function tellStopped(
  context: Context,
  machine: Machine,
  halt: Exclude<Halt, { kind: 'ended' }>,
  bare: boolean,
): void {
  const { vcpu } = halt.stop;
  const tell = words[halt.kind] as (halt: Halt) => Words;
  const told = tell(halt);
  const { domains } = machine.launch.machine;
  // Of several, which one: the thread's name says it too, where a client shows it.
  const where = domains.length > 1 ? ` in d${vcpu.domain} ${domains[vcpu.domain - 1]?.name ?? ''}` : '';
  context.send(
    event('stopped', {
      ...told,
      description: `${told.description}${where}`,
      threadId: machine.threadOf(vcpu),
      allThreadsStopped: true,
      ...(bare ? { withoutSource: true } : {}),
      ...(halt.kind === 'breakpoint' || halt.kind === 'exception'
        ? { hitBreakpointIds: halt.hits.map(({ id }) => id) }
        : {}),
    }),
  );
}

/** The exception that a vCPU is stopped at, if it is. */
export function exceptionAt(machine: Machine, threadId: number): Halted<'exception'> | undefined {
  const { halt } = machine.control;
  const vcpu = machine.vcpuOf(threadId);
  if (halt?.kind !== 'exception' || vcpu === undefined || !sameVcpu(halt.stop.vcpu, vcpu)) return undefined;
  return halt;
}
