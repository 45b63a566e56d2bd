import type { Halt, Way } from '../debugger/run-control';
import { dataText } from '../debugger/breakpoints/data';
import { sameVcpu } from '../debugger/locations';
import type { VcpuRef } from '../machine/target';
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

/** Of what was asked for and is complete. */
const ways: Readonly<Record<Way, Words>> = {
  back: { reason: 'step', description: 'Paused after a step back' },
  restart: { reason: 'restart', description: 'The frame begins again' },
  record: { reason: 'goto', description: 'Paused where the record was made' },
};

/** How each kind of halt is told. */
const words: { readonly [K in Exclude<Halt['kind'], 'ended'>]: (halt: Halted<K>) => Words } = {
  entry: () => ({ reason: 'entry', description: 'Before the first instruction' }),
  step: ({ stop: { reason }, way }) =>
    way === undefined
      ? {
          reason: 'step',
          description: reason.kind === 'statement' ? 'Paused in the hypervisor' : 'Paused after a step',
        }
      : ways[way],
  begin: ({ whole }) => ({
    reason: 'entry',
    description: 'At the beginning of the history',
    ...(whole ? {} : { text: 'What was before is not kept any more: `history` of the launch configuration' }),
  }),
  pause: ({ failure }) =>
    failure === undefined
      ? { reason: 'pause', description: 'Paused' }
      : { reason: 'pause', description: 'The run has failed', text: failure },
  shutdown: ({ text }) => ({ reason: 'pause', description: 'The domain has ended', text }),
  stuck: ({ text }) => ({ reason: 'pause', description: 'Waits for another vCPU', text }),
  breakpoint: ({ stop: { reason }, hits }) => {
    const kind = hits[0]?.kind ?? 'instruction';
    const isState = hits.some((hit) => hit.kind === 'data');
    if (isState && (reason.kind === 'state' || (reason.kind === 'statement' && reason.text !== undefined)))
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
  const [filter] = hits.flatMap(({ spec }) => ('filter' in spec ? [spec.filter] : []));
  return filter === undefined ? 'Paused on an exception' : `Paused on ${filter}`;
};

/** Of several domains, which one: the thread's name says it too, where a client shows it. */
export function whereIs({ launch }: Machine, { domain }: VcpuRef): string {
  const { domains } = launch.machine;
  return domains.length > 1 ? ` in d${domain} ${domains[domain - 1]?.name ?? ''}` : '';
}

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
  context.send(
    event('stopped', {
      ...told,
      description: `${told.description}${whereIs(machine, vcpu)}`,
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
