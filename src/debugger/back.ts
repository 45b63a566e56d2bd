import type { Position, Stop, Target, VcpuRef } from '../machine/target';
import { comparePositions } from '../machine/position';
import { readRegisters } from './registers';
import type { Halt } from './run-control';

// Going back: the target goes to a mark and comes again from there; what it meets on the way, up to where it stood, is
// what can be gone back to.

/** xen.h, __HYPERVISOR_iret. */
const IRET_HYPERCALL = 23;

/** What run control lends to somebody who goes back. */
export interface BackTools {
  readonly target: Target;
  readonly from: Stop;
  /** What a stop on the way amounts to; undefined where nobody wants it. */
  judge(stop: Stop): Promise<Halt | undefined>;
  /** The person wants it to end. */
  paused(): boolean;
}
export type BackPlan = (tools: BackTools) => Promise<Halt>;

const isBefore = (a: Position, b: Position): boolean => comparePositions(a, b) < 0;

/** Where it stands now, as the end of a step. */
const stepped = async ({ target, from }: BackTools, vcpu: VcpuRef): Promise<Halt> => ({
  kind: 'step',
  stop: { ...from, reason: { kind: 'step' }, at: await target.now(), vcpu },
  hidden: 0,
});

/** As far back as it can be. */
async function begin({ target, from }: BackTools, vcpu = from.vcpu): Promise<Halt> {
  const view = await target.history();
  if (view.kept) await target.seekTo(view.position);
  const stop: Stop = { ...from, reason: { kind: 'entry' }, at: await target.now(), vcpu };
  return { kind: 'begin', stop, whole: view.kept && view.whole };
}

/** It stays where it was. */
async function stay({ target, from }: BackTools, at: Position): Promise<Halt> {
  await target.seekTo(at);
  return { kind: 'pause', stop: from };
}

/** To the last thing before here that somebody wants to stop at. */
export const continueBack: BackPlan = async (tools) => {
  const { target } = tools;
  const start = await target.position();
  for (let end = start, near = true; ; near = false) {
    const mark = await target.rewind(end, near);
    if (mark === undefined) return begin(tools);
    let found: { readonly position: Position; readonly halt: Halt; readonly nth: number } | undefined;
    let stops = 0;
    for (let skipCurrent = false; ; skipCurrent = true) {
      if (tools.paused()) return stay(tools, start);
      const stop = await target.run({ before: end, skipCurrent });
      if (stop.reason.kind === 'reached') break;
      if (stop.reason.kind === 'pause') continue;
      stops++;
      const position = await target.position();
      const halt = await tools.judge(stop);
      // Within one entry of the hypervisor, all of its statements stand at one position.
      if (halt !== undefined && isBefore(position, end)) found = { position, halt, nth: stops };
    }
    if (found === undefined) {
      end = mark;
      continue;
    }
    if (found.halt.stop.reason.kind !== 'statement') {
      await target.seekTo(found.position);
      return found.halt;
    }
    // Into the midst of the hypervisor there is no way but the one that led there.
    await target.seekTo(mark);
    for (let n = 0; n < found.nth; n++) {
      const stop = await target.run({ before: end, skipCurrent: n > 0 });
      if (stop.reason.kind === 'pause') n--;
      // Who counts hits has counted these, too.
      if (stop.reason.kind !== 'reached') continue;
      await target.seekTo(found.position);
      // Before what leads to the statement, which nobody has stepped to.
      return {
        ...found.halt,
        stop: { ...found.halt.stop, reason: { kind: 'step' }, at: await target.now() },
      };
    }
    return found.halt;
  }
};

/** The last instruction of a handler: IRETQ (cf, with REX.W before it), or the hypercall that stands for it. */
async function isReturn(target: Target, vcpu: VcpuRef): Promise<boolean> {
  const registers = await readRegisters(target, vcpu);
  const [a, b] = await target.readMemory({ kind: 'virtual', vcpu }, registers.need('rip'), 2);
  return (
    (a === 0x48 && b === 0xcf) ||
    (a === 0x0f && b === 0x05 && registers.need('rax') === BigInt(IRET_HYPERCALL))
  );
}

/**
 * One instruction of a vCPU back; from within the hypervisor, to the instruction that called for it.
 * @param intoDeliveries also into an upcall that came in between
 */
export const instructionBack =
  (vcpu: VcpuRef, intoDeliveries = false): BackPlan =>
  async (tools) => {
    const { target } = tools;
    const from = await target.position();
    let to = await target.stepBack(vcpu, from);
    if (to !== undefined && !intoDeliveries && (await isReturn(target, vcpu)))
      to = await target.stepBack(vcpu, from, true);
    return to === undefined ? begin(tools, vcpu) : stepped(tools, vcpu);
  };

/**
 * To where what the hypervisor is at came to it, and into it again. With no probes to hold it in there, it ends behind
 * that.
 */
export const entryAgain =
  (vcpu: VcpuRef): BackPlan =>
  async (tools) => {
    const back = await instructionBack(vcpu)(tools);
    if (back.kind !== 'step') return back;
    for (;;) {
      if (tools.paused()) return stepped(tools, vcpu);
      const stop = await tools.target.run({
        instructions: 1n,
        vcpu,
        hypervisor: 'in',
        deliveries: true,
        skipUpcalls: false,
      });
      const { kind } = stop.reason;
      // Breakpoints at the boundary are passed: who asks for this has been there.
      if (kind === 'statement' || kind === 'step') return { kind: 'step', stop, hidden: 0 };
      if (kind === 'shutdown' || kind === 'crash' || kind === 'stuck') return { kind: 'pause', stop };
    }
  };

/** A place where a statement begins, in a frame that counts. */
interface Begun {
  readonly position: Position;
  /** Those of one execution of a line have the same. */
  readonly key: string;
}

/**
 * To where the line began that ran last before here.
 * @param at where lines begin
 * @param look the line and frame that it stands at; undefined: of another activation
 */
export const lineBack =
  (vcpu: VcpuRef, at: readonly bigint[], look: () => Promise<string | undefined>): BackPlan =>
  async (tools) => {
    const { target } = tools;
    const start = await target.position();
    let best: Begun | undefined;
    for (let end = start, near = true; ; near = false) {
      const mark = await target.rewind(end, near);
      if (mark === undefined) break;
      const begun: Begun[] = [];
      for (let skipCurrent = false; ;) {
        if (tools.paused()) return stay(tools, start);
        const stop = await target.run({ before: end, exits: { at, vcpu, intoFaults: false }, skipCurrent });
        if (stop.reason.kind === 'reached') break;
        skipCurrent = stop.reason.kind !== 'pause';
        if (stop.reason.kind !== 'address' && stop.reason.kind !== 'instruction') continue;
        const key = await look();
        if (key !== undefined) begun.push({ position: await target.position(), key });
      }
      for (const one of begun.reverse()) {
        if (best !== undefined && one.key !== best.key) {
          await target.seekTo(best.position);
          return stepped(tools, vcpu);
        }
        best = one;
      }
      end = mark;
    }
    if (best === undefined) return begin(tools, vcpu);
    await target.seekTo(best.position);
    return stepped(tools, vcpu);
  };
