import { ExpressionError } from '../machine/expressions';
import type { DomainView, RunUntil, Stop, Target, VcpuRef } from '../machine/target';
import type { BackPlan } from './back';
import type { Breakpoint, Breakpoints } from './breakpoints';
import { MODULE_LOADED } from './breakpoints';
import { formatAtStatement, formatLogMessage } from './breakpoints/log-message';
import { holdsAt } from './c/evaluate';
import type { EvaluationContext } from './expressions';
import { sameVcpu } from './locations';
import { readRegisters } from './registers';
import type { DomainSymbols } from './symbols';
import { createTurnstile } from './turnstile';
import { unwind } from './unwind';

/** Why the machine stands still, in the debugger's terms. */
export type Halt =
  | { readonly kind: 'entry'; readonly stop: Stop }
  /** `failure`: what ended the run, where nobody has asked for that. */
  | { readonly kind: 'pause'; readonly stop: Stop; readonly failure?: string }
  /** `hidden` inlined functions begin at the instruction, and have not been stepped into yet. */
  | { readonly kind: 'step'; readonly stop: Stop; readonly hidden: number; readonly way?: Way }
  /** As far back as the history goes; `whole`: that is where the machine began. */
  | { readonly kind: 'begin'; readonly stop: Stop; readonly whole: boolean }
  | { readonly kind: 'breakpoint'; readonly stop: Stop; readonly hits: readonly Breakpoint[] }
  | {
      readonly kind: 'exception';
      readonly stop: Stop;
      readonly hits: readonly Breakpoint[];
      readonly text: string;
    }
  /** The domain has ended, and is kept to be looked at, or will start again. */
  | { readonly kind: 'shutdown'; readonly stop: Stop; readonly text: string }
  /** A vCPU that was to run alone cannot. */
  | { readonly kind: 'stuck'; readonly stop: Stop; readonly text: string }
  | { readonly kind: 'ended'; readonly stop: Stop; readonly clean: boolean; readonly text: string };

/** What was asked for and has come to its end, where that is no step forwards. */
export type Way = 'back' | 'restart' | 'record';

/**
 * A way of going on: `next` is asked first with the stop to start from, and again whenever the stretch it gave has
 * come to its own end; it answers with the next stretch, or undefined when the step is complete.
 */
export interface RunPlan {
  /** The vCPU that steps; by default the one that is stopped. */
  readonly vcpu?: VcpuRef;
  next(from: Stop): Promise<RunUntil | undefined>;
  /** The hypervisor's work on the way is entered, where the machine can be held in it. */
  readonly intoHypervisor?: boolean;
  /** So are event upcalls, NMIs and timers. */
  readonly intoDeliveries?: boolean;
  /** The others stay where they are. */
  readonly alone?: VcpuRef;
  /** Goes back instead, in one piece: nobody is let in on the way. */
  readonly back?: BackPlan;
  /** What it is called when it is complete; by default a step. */
  readonly way?: Way;
  /** When it is complete: inlined functions that begin here and count as not entered. */
  hidden?(): number;
  /** When the run is over, however it ended. */
  done?(): Promise<void>;
}

/** A plan that goes nowhere but back. */
export const backPlan = (back: BackPlan, vcpu?: VcpuRef, way: Way = 'back'): RunPlan => ({
  ...(vcpu === undefined ? {} : { vcpu }),
  way,
  next: () => Promise.resolve(undefined),
  back,
});

export const continuePlan: RunPlan = { next: () => Promise.resolve({}) };

export interface RunListener {
  halted(halt: Halt): void;
  /** What became of a domain without which the others go on. */
  told(text: string): void;
  /** Text of a log point. */
  logged(text: string, breakpoint: Breakpoint): void;
  /** A Linux kernel has loaded a module, of which nothing has run; the machine stands still for it. */
  loaded?(vcpu: VcpuRef): Promise<void>;
  /** A run that failed, or a condition that says nothing where it was asked. */
  failed(error: unknown): void;
}

export interface RunControl {
  readonly state: 'stopped' | 'running' | 'ended' | 'disposed';
  /** Where and why it last stood still. */
  readonly halt: Halt | undefined;
  /** Starts; the listener hears of the end. Throws when it is not stopped. */
  start(plan: RunPlan): void;
  /** The vCPU that runs alone. */
  readonly alone: VcpuRef | undefined;
  /** The vCPU that is stopped has been put elsewhere: why it stopped is over. */
  moved(): void;
  /** Asks a run to end with a halt of kind 'pause'. Without effect when stopped. */
  pause(): void;
  /**
   * Runs `work` while the machine stands still: a run in progress is interrupted for it and goes on afterwards.
   * Calls are served one at a time, in the order they came; `work` must not call this again.
   */
  still<T>(work: () => Promise<T>): Promise<T>;
  /** At the machine's first instruction, after its making or a restart. Hits count from zero. */
  reset(vcpu: VcpuRef): Promise<void>;
  /** Ends a run without a word to the listener; resolves when the target is at rest. */
  dispose(): Promise<void>;
}

export function createRunControl(
  target: Target,
  breakpoints: Breakpoints,
  symbols: DomainSymbols,
  listener: RunListener,
): RunControl {
  const turnstile = createTurnstile();
  let state: RunControl['state'] = 'stopped';
  let halt: Halt | undefined;
  let pauseAsked = false;
  let alone: VcpuRef | undefined;
  let crashShown = false;
  /** Of the domains that have ended: one is kept to be looked at; none has ended badly. */
  let kept = false;
  let clean = true;
  const disposed = (): boolean => state === 'disposed';

  const contextAt = async ({ vcpu, reason }: Stop): Promise<EvaluationContext> => {
    const registers = await readRegisters(target, vcpu);
    const own = symbols.of(vcpu.domain);
    const call = reason.kind === 'hypercall' ? reason.call : await target.currentHypercall(vcpu);
    const context = { target, vcpu, registers, symbols: own, call };
    // At the boundary names are those of the hypercall's arguments; elsewhere, first of all local variables.
    if (call !== undefined) return context;
    const [frame] = await unwind(context, 1);
    return frame === undefined ? context : { ...context, frame };
  };

  const holds = async (one: Breakpoint, context: EvaluationContext): Promise<boolean> => {
    if (one.condition === undefined) return true;
    try {
      return await holdsAt(one.condition, context);
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      // Better to stop once too often than to hide that the condition says nothing here.
      listener.failed(new Error(`condition of breakpoint ${one.id}: ${error.message}`));
      return true;
    }
  };

  /** Which of those that matched want the machine to stop: conditions, then hit counts, then log points. */
  const wanting = async (
    matched: readonly Breakpoint[],
    stop: Stop,
    silent = false,
  ): Promise<Breakpoint[]> => {
    const found: Breakpoint[] = [];
    let context: EvaluationContext | undefined;
    for (const one of matched) {
      const guest = stop.reason.kind !== 'statement';
      if (guest && (one.condition !== undefined || one.log !== undefined)) context ??= await contextAt(stop);
      if (context !== undefined && !(await holds(one, context))) continue;
      if (one.hit !== undefined && !one.hit(breakpoints.countHit(one.id))) continue;
      if (one.log !== undefined && silent) continue;
      if (one.log !== undefined && !guest) listener.logged(await formatAtStatement(one.log, target), one);
      else if (one.log === undefined || context === undefined) found.push(one);
      else listener.logged(await formatLogMessage(one.log, context), one);
    }
    return found;
  };
  const named = (ids: readonly number[]): Breakpoint[] =>
    ids.map((id) => breakpoints.get(id)).filter((one) => one !== undefined);

  /** What a stop that was not the stretch's own end amounts to; undefined to go on. */
  const judge = async (stop: Stop, until: RunUntil): Promise<Halt | undefined> => {
    const { reason } = stop;
    if (reason.kind === 'statement' || reason.kind === 'state') {
      const hits = await wanting(named(reason.ids), stop);
      const text = reason.text ?? '';
      if (hits.length === 0) return undefined;
      return hits[0]?.kind === 'exception'
        ? { kind: 'exception', stop, hits, text }
        : { kind: 'breakpoint', stop, hits };
    }
    if (reason.kind === 'instruction' || reason.kind === 'hypercall' || reason.kind === 'data') {
      if (reason.ids.includes(MODULE_LOADED)) await listener.loaded?.(stop.vcpu);
      const hits = await wanting(named(reason.ids), stop);
      return hits.length === 0 ? undefined : { kind: 'breakpoint', stop, hits };
    }
    if (reason.kind === 'event') {
      const hits = await wanting(named(reason.ids), stop);
      crashShown ||= hits.some(
        ({ kind, spec }) => kind === 'exception' && 'filter' in spec && spec.filter === 'domain-crash',
      );
      if (hits.length === 0) return undefined;
      // What was asked for by a name is a breakpoint; by a filter, an exception.
      return hits.some(({ kind }) => kind === 'exception')
        ? { kind: 'exception', stop, hits, text: reason.text ?? '' }
        : { kind: 'breakpoint', stop, hits };
    }
    if (reason.kind === 'stuck') return { kind: 'stuck', stop, text: reason.text };
    if (reason.kind === 'crash' || (reason.kind === 'shutdown' && reason.reason === 'crash')) {
      // Once as something to look at, if that is wanted; going on from there ends it.
      const hits = crashShown ? [] : breakpoints.exceptions('domain-crash');
      crashShown = true;
      if (hits.length > 0) return { kind: 'exception', stop, hits, text: reason.text };
    }
    if (reason.kind === 'crash' || reason.kind === 'shutdown') {
      const why = reason.kind === 'crash' ? 'crash' : reason.reason;
      const domains = await target.domains();
      const text = endOf(reason.text, why, stop.vcpu.domain, domains);
      if (reason.action === 'preserve') {
        kept = true;
        return { kind: 'shutdown', stop, text: `${text}; it is kept as it is` };
      }
      if (reason.action === 'restart') {
        crashShown = false;
        // The next run starts the domain again; who only wants to step is asked first.
        return isStep(until)
          ? { kind: 'shutdown', stop, text: `${text}; going on starts it again` }
          : undefined;
      }
      clean &&= why === 'poweroff' || why === 'reboot';
      const others = domains.filter(({ id, shutdown }) => id !== stop.vcpu.domain && shutdown === undefined);
      if (others.length > 0) {
        const names = others.map(({ id, name }) => `d${id} ${name}`).join(', ');
        const told = `${text}; ${names} ${others.length === 1 ? 'goes' : 'go'} on`;
        // Whoever steps there has nowhere left to go.
        if (isStep(until) && until.vcpu?.domain === stop.vcpu.domain)
          return { kind: 'shutdown', stop, text: told };
        listener.told(told);
        return undefined;
      }
      if (kept)
        return { kind: 'shutdown', stop, text: `${text}; the domains that are kept can be looked at` };
      return { kind: 'ended', stop, clean, text };
    }
    return { kind: 'pause', stop };
  };

  /** What was stopped at, or would have been; log points have said what they say. */
  const judgeBack = async (stop: Stop): Promise<Halt | undefined> => {
    const { reason } = stop;
    const ids = 'ids' in reason ? (reason.ids ?? []) : [];
    const hits = await wanting(named(ids), stop, true);
    if (hits.length === 0) return undefined;
    const text = 'text' in reason ? (reason.text ?? '') : '';
    return hits[0]?.kind === 'exception'
      ? { kind: 'exception', stop, hits, text }
      : { kind: 'breakpoint', stop, hits };
  };

  /** A step that ends on a breakpoint hits it: it would not be hit again by going on from there. */
  const landed = async (stop: Stop, ids: readonly number[]): Promise<Halt | undefined> => {
    const hits = ids.length === 0 ? [] : await wanting(named(ids), stop);
    return hits.length === 0 ? undefined : { kind: 'breakpoint', stop, hits };
  };

  const drive = async (plan: RunPlan, from: Stop, giveWay: () => Promise<void>): Promise<Halt> => {
    let last = from;
    let until = await plan.next(last);
    let skipCurrent = true;
    while (until !== undefined && !disposed()) {
      // Nothing may be awaited between this check and run(): a pause() in between would be lost.
      if (pauseAsked) break;
      if (turnstile.waiting > 0) {
        await giveWay();
        continue;
      }
      const enter = plan.intoHypervisor === true && until.hypervisor === undefined;
      const stop: Stop = await target.run({
        ...until,
        ...(plan.alone === undefined ? {} : { alone: plan.alone }),
        ...(enter ? { hypervisor: 'in' } : {}),
        ...(plan.intoDeliveries === true ? { deliveries: true, skipUpcalls: false } : {}),
        skipCurrent,
      });
      const moved = stop.at.retired !== last.at.retired;
      const { reason } = stop;
      const { kind } = reason;
      if (stop.reason.kind === 'statement' && stop.reason.ids.length === 0)
        return { kind: 'step', stop, hidden: 0 };
      if (kind === 'pause') {
        // An interruption, or nobody's: where it had not moved, the breakpoint it started from has yet to be passed.
        skipCurrent = skipCurrent && !moved;
        until = left(until, last, stop);
      } else if (reason.kind === 'step' || reason.kind === 'address') {
        const halted = await landed(stop, reason.ids ?? []);
        if (halted !== undefined) return halted;
        until = undefined;
        skipCurrent = true;
      } else {
        const halted = await judge(stop, until);
        if (halted !== undefined) return halted;
        until = left(until, last, stop);
        skipCurrent = true;
      }
      last = stop;
      until ??= await plan.next(stop);
    }
    return until === undefined
      ? { kind: 'step', stop: last, hidden: plan.hidden?.() ?? 0 }
      : { kind: 'pause', stop: last };
  };

  const run = async (plan: RunPlan, from: Stop): Promise<void> => {
    let leave = await turnstile.enter();
    const giveWay = async (): Promise<void> => {
      leave();
      leave = await turnstile.enter();
    };
    let ended: Halt;
    try {
      const going =
        plan.back === undefined
          ? drive(plan, from, giveWay)
          : plan.back({ target, from, judge: judgeBack, paused: () => pauseAsked || disposed() });
      ended = await going.finally(() => (disposed() ? undefined : plan.done?.()));
      if (ended.kind === 'step' && plan.way !== undefined) ended = { ...ended, way: plan.way };
      state = disposed() ? 'disposed' : ended.kind === 'ended' ? 'ended' : 'stopped';
    } catch (error) {
      if (!disposed()) listener.failed(error);
      const at = await target.now().catch(() => from.at);
      const failure = error instanceof Error ? error.message : String(error);
      ended = { kind: 'pause', stop: { ...from, at }, failure };
      state = disposed() ? 'disposed' : 'stopped';
    }
    leave();
    if (disposed()) return;
    halt = ended;
    listener.halted(ended);
  };

  return {
    get state() {
      return state;
    },
    get alone() {
      return state === 'running' ? alone : undefined;
    },
    get halt() {
      return halt;
    },
    start: (plan) => {
      if (state !== 'stopped' || halt === undefined) throw new Error(`the machine is ${state}`);
      const { stop } = halt;
      state = 'running';
      ({ alone } = plan);
      pauseAsked = false;
      void run(
        plan,
        plan.vcpu === undefined || sameVcpu(plan.vcpu, stop.vcpu) ? stop : { ...stop, vcpu: plan.vcpu },
      );
    },
    moved: () => {
      if (halt !== undefined && state === 'stopped') halt = { kind: 'pause', stop: halt.stop };
    },
    pause: () => {
      if (state !== 'running') return;
      pauseAsked = true;
      target.pause();
    },
    still: async (work) => {
      const turn = turnstile.enter();
      if (state === 'running') target.pause();
      const leave = await turn;
      try {
        return await work();
      } finally {
        leave();
      }
    },
    reset: async (vcpu) => {
      crashShown = false;
      kept = false;
      clean = true;
      breakpoints.resetHits();
      halt = { kind: 'entry', stop: { reason: { kind: 'entry' }, at: await target.now(), vcpu } };
      state = 'stopped';
    },
    dispose: async () => {
      const turn = turnstile.enter();
      if (state === 'running') target.pause();
      state = 'disposed';
      (await turn)();
    },
  };
}

/** Says which, where there are several. */
function endOf(text: string, why: string, id: number, domains: readonly DomainView[]): string {
  if (domains.length === 1) return text === '' ? `d${id}: ${why}` : text;
  const name = domains.find((one) => one.id === id)?.name ?? '';
  return `d${id} ${name}: ${text === '' || text.startsWith(why) ? text || why : `${why}: ${text}`}`;
}

const isStep = ({ instructions, outside, address }: RunUntil): boolean =>
  instructions !== undefined || outside !== undefined || address !== undefined;

/** A count that something cut short goes on with what is left of it; undefined when nothing is. */
function left(until: RunUntil, from: Stop, to: Stop): RunUntil | undefined {
  if (until.instructions === undefined) return until;
  const count = until.instructions - (to.at.retired - from.at.retired);
  return count > 0n ? { ...until, instructions: count } : undefined;
}
