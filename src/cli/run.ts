import type { GuestRequest, ShutdownReason, Stop, Target, TraceSummary } from '../machine/target';
import { STATUS, type Status } from './arguments';
import { askGuests } from './ask';
import type { Terminal } from './terminal';

/** What ends a run besides the guest itself. */
export interface RunLimits {
  readonly until?: string;
  readonly maxInstructions?: bigint;
  /** Milliseconds of wall time. */
  readonly timeout?: number;
}

/** The summary `--json` writes. */
export interface RunSummary {
  /** A ShutdownReason, or what else ended the run. */
  readonly ended: ShutdownReason | 'until' | 'max-instructions' | 'timeout' | 'interrupted' | 'idle';
  readonly status: Status;
  readonly message: string;
  readonly retired: number;
  /** How often the domain started again. */
  readonly restarts: number;
  readonly wallMilliseconds: number;
  readonly hypercalls: TraceSummary['calls'];
  readonly refusals: TraceSummary['refusals'];
  readonly traps: TraceSummary['traps'];
  readonly stateHash?: string;
}

/** Guest instructions between looks at limits and the trace. */
const SLICE = 5_000_000n;

export interface RunOptions {
  readonly target: Target;
  readonly limits: RunLimits;
  readonly terminal: Terminal;
  /** Which console the terminal is: of each domain, or of the one named. */
  readonly shown?: { readonly domain?: number; readonly console: number };
  /** Called after every slice, before the next (trace draining). */
  readonly afterSlice?: () => Promise<void>;
  /** Told of the end of a domain that others outlive. */
  readonly ended?: (text: string) => void;
  /** Nobody reads what the guest and the trace say any more. */
  readonly onClosed: (listener: () => void) => void;
  /** Whether the summary is wanted with the hash of all state, which takes a look at all memory. */
  readonly hash: boolean;
  /** What the guests are asked for when something else than themselves ends the run. */
  readonly ask?: GuestRequest;
  /** Called with the machine at its end, before the summary is made. */
  readonly save?: () => Promise<void>;
  /** Wall clock in milliseconds. */
  readonly clock: () => number;
}

/** Boots the machine and runs it to its end or a limit. */
export async function runToEnd({
  target,
  limits,
  terminal,
  shown = { console: 0 },
  afterSlice,
  ended: onEnded,
  onClosed,
  hash,
  ask,
  save,
  clock,
}: RunOptions): Promise<RunSummary> {
  const started = clock();
  // What callbacks set while a slice runs.
  const happened = {
    seen: limits.until === undefined,
    interrupted: false,
    closed: false,
    timedOut: false,
    inputEnded: false,
    restarts: 0,
  };
  let tail = '';
  /** Of the domains that have ended. */
  let worst: Status = STATUS.OK;
  const wanted = limits.until ?? '';

  const offConsole = target.onConsole((domain, data, console) => {
    if (console !== shown.console || (shown.domain !== undefined && shown.domain !== domain)) return;
    terminal.write(data);
    if (happened.seen) return;
    tail += Buffer.from(data).toString('latin1');
    if (tail.includes(Buffer.from(wanted, 'utf8').toString('latin1'))) {
      happened.seen = true;
      target.pause();
    }
    tail = tail.slice(-Math.max(wanted.length * 4, 256));
  });
  terminal.onInput((data) => void target.consoleInput(shown.domain ?? 1, data, shown.console));
  terminal.onEnd(() => {
    // From now on a guest that waits for input waits for ever.
    happened.inputEnded = true;
    target.pause();
  });
  onClosed(() => {
    happened.closed = true;
    target.pause();
  });
  terminal.onQuit(() => {
    happened.interrupted = true;
    target.pause();
  });
  const timer =
    limits.timeout === undefined
      ? undefined
      : setTimeout(() => {
          happened.timedOut = true;
          target.pause();
        }, limits.timeout);

  const first = await (async (): Promise<Pick<RunSummary, 'ended' | 'status' | 'message'>> => {
    for (;;) {
      const now = await target.now();
      const left = limits.maxInstructions === undefined ? undefined : limits.maxInstructions - now.retired;
      if (left !== undefined && left <= 0n) {
        return {
          ended: 'max-instructions',
          status: STATUS.LIMIT,
          message: `stopped after ${now.retired.toString()} instructions`,
        };
      }
      const instructions = left === undefined || left > SLICE ? SLICE : left;
      const stop = await target.run({
        instructions,
        // Whatever runs counts: a limit is no step.
        skipUpcalls: false,
        stopWhenIdle: happened.inputEnded,
      });
      await afterSlice?.();
      if (limits.until !== undefined && happened.seen)
        return { ended: 'until', status: STATUS.OK, message: `'${wanted}' seen on the console` };
      if (happened.timedOut)
        return {
          ended: 'timeout',
          status: STATUS.LIMIT,
          message: `stopped after ${(limits.timeout ?? 0) / 1000} s`,
        };
      if (happened.interrupted)
        return { ended: 'interrupted', status: STATUS.LIMIT, message: 'stopped from the keyboard' };
      if (happened.closed) return { ended: 'interrupted', status: STATUS.LIMIT, message: '' };
      if ('action' in stop.reason && stop.reason.action === 'restart') {
        happened.restarts++;
        continue;
      }
      const end = endOf(stop);
      if (end === undefined) continue;
      worst = Math.max(worst, end.status) as Status;
      const others = (await target.domains()).filter(
        ({ id, shutdown }) => id !== stop.vcpu.domain && shutdown === undefined,
      );
      if (end.ended === 'idle' || others.length === 0) return { ...end, status: worst };
      const names = others.map(({ id, name }) => `d${id} ${name}`).join(', ');
      onEnded?.(`d${stop.vcpu.domain}: ${end.message}; ${names} ${others.length === 1 ? 'goes' : 'go'} on`);
    }
  })();

  clearTimeout(timer);
  const ended = ask === undefined ? first : await asked(target, first, ask, afterSlice);
  offConsole();
  terminal.restore();
  await save?.();
  const summary = await target.traceSummary();
  const { retired } = await target.now();
  return {
    ...ended,
    retired: Number(retired),
    restarts: happened.restarts,
    wallMilliseconds: Math.round(clock() - started),
    hypercalls: summary.calls,
    refusals: summary.refusals,
    traps: summary.traps,
    ...(hash ? { stateHash: await target.stateHash() } : {}),
  };
}

type Ended = Pick<RunSummary, 'ended' | 'status' | 'message'>;

/** Nothing more is asked of a guest that has ended by itself. */
const OTHERWISE: ReadonlySet<string> = new Set([
  'until',
  'max-instructions',
  'timeout',
  'interrupted',
  'idle',
]);

async function asked(
  target: Target,
  before: Ended,
  request: GuestRequest,
  afterSlice: RunOptions['afterSlice'],
): Promise<Ended> {
  if (!OTHERWISE.has(before.ended)) return before;
  const answer = await askGuests(target, request, () => afterSlice?.() ?? Promise.resolve());
  if ('problem' in answer) return { ...before, status: STATUS.GUEST, message: answer.problem };
  const end = endOf({ reason: answer.ended });
  if (end === undefined) return before;
  // What was asked for is no failure.
  const suspended = request === 'suspend' && end.ended === 'suspend';
  return suspended ? { ...end, status: STATUS.OK } : end;
}

function endOf({
  reason,
}: Pick<Stop, 'reason'>): Pick<RunSummary, 'ended' | 'status' | 'message'> | undefined {
  if (reason.kind === 'crash') return { ended: 'crash', status: STATUS.GUEST, message: reason.text };
  if (reason.kind === 'idle') {
    return {
      ended: 'idle',
      status: STATUS.LIMIT,
      message: 'the guest waits for input, and there is no more',
    };
  }
  if (reason.kind === 'shutdown') {
    const clean = reason.reason === 'poweroff' || reason.reason === 'reboot';
    const message = reason.text === '' ? `the guest asked for ${reason.reason}` : reason.text;
    return { ended: reason.reason, status: clean ? STATUS.OK : STATUS.GUEST, message };
  }
  return undefined;
}
