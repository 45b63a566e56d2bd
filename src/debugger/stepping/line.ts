import { AT } from '../../guest/dwarf';
import type { DebugInfo, Scope } from '../../guest/dwarf';
import { TAG } from '../../guest/dwarf';
import type { AddressSpace, RunUntil } from '../../machine/target';
import { cachedMemory } from '../memory-cache';
import type { RegisterFile } from '../registers';
import { bytesToNumber } from '../../base/bytes';
import { readRegisters } from '../registers';
import type { RunPlan } from '../run-control';
import type { LineAt } from '../symbols';
import type { Frame } from '../unwind';
import { unwind } from '../unwind';
import type { Stepping } from '.';
import type { Line, Span } from './region';
import { callLine, holds, inlinedIn, sameLine, waysOut } from './region';

// Steps by line. Where frame information tells one activation of a function from another, the guest runs at full
// speed to the places where the line's instructions can be left; else instruction by instruction.

type Next = RunPlan['next'];
type Plan = Pick<RunPlan, 'next' | 'hidden'>;

export async function framesAt({ target, vcpu, symbols }: Stepping, limit: number): Promise<Frame[]> {
  const registers = await readRegisters(target, vcpu);
  return unwind({ target, vcpu, registers, symbols: symbols(), call: undefined }, limit);
}

/** The first frame of another activation: an inlined function's caller is not where it returns to. */
const callerIn = ([first, ...rest]: readonly Frame[]): Frame | undefined =>
  rest.find(({ activation }) => activation !== first?.activation);

/** Frames that are looked at for a caller; functions are inlined into one another only so deep. */
const DEEP = 40;

export async function returnToCaller(stepping: Stepping): Promise<RunUntil | undefined> {
  const caller = callerIn(await framesAt(stepping, DEEP));
  return caller === undefined
    ? undefined
    : { address: { at: caller.address, minRsp: caller.stack, vcpu: stepping.vcpu } };
}

/** Functions, called and inlined, that an address is in; by their entries. */
const chainOf = (scopes: readonly Scope[]): readonly number[] =>
  scopes.filter(({ kind }) => kind !== 'block').map(({ entry }) => entry.offset);
const isWithin = (chain: readonly number[], outer: readonly number[]): boolean =>
  chain.length > outer.length && outer.every((offset, index) => chain[index] === offset);

/** Stretches of one step, as a guard against code that wanders without ever reaching another line. */
const MAX_STRETCHES = 10_000;

interface Here {
  readonly registers: RegisterFile;
  readonly rip: bigint;
  readonly frame: Frame;
  readonly cfa: bigint | undefined;
  readonly scopes: readonly Scope[];
  readonly chain: readonly number[];
}

/** @param hidden inlined functions that count as not entered */
async function lookAround(stepping: Stepping, hidden = 0): Promise<Here | undefined> {
  const frame = (await framesAt(stepping, hidden + 1))[hidden];
  if (frame === undefined) return undefined;
  const registers = await readRegisters(stepping.target, stepping.vcpu);
  const scopes = frame.activation?.scopes ?? [];
  return {
    registers,
    rip: frame.address,
    frame,
    cfa: frame.activation?.cfa,
    scopes,
    chain: chainOf(scopes).slice(0, hidden === 0 ? undefined : -hidden),
  };
}

/** Whether a function's parameters are where they are said to be from its first instruction on. */
function isOptimized({ scopes: [scope] }: Here, debug: DebugInfo): boolean {
  if (scope === undefined) return false;
  const parameter = debug.scopes.variables(scope).find(({ tag }) => tag === TAG.formal_parameter);
  return parameter?.attributes.get(AT.location)?.class !== 'block';
}

export async function stepLine(kind: 'in' | 'over', start: LineAt, stepping: Stepping): Promise<Plan> {
  const here = await lookAround(stepping, stepping.hidden);
  const { debug } = stepping.symbols();
  if (here?.cfa === undefined || debug === undefined || here.scopes.length === 0) {
    const registers = here?.registers ?? (await readRegisters(stepping.target, stepping.vcpu));
    return { next: stepSlowly(kind, start, registers.need('rsp'), stepping) };
  }
  const line = here.frame.line ?? start;
  return stepInFrame(kind, { file: line.file, line: line.line }, here, debug, stepping);
}

/** Out of a function that was inlined; undefined where the innermost function is a real one. */
export async function stepOutOfInlined(stepping: Stepping): Promise<Plan | undefined> {
  const here = await lookAround(stepping, stepping.hidden);
  const { debug } = stepping.symbols();
  const innermost = here?.frame.scopes?.[0];
  if (here?.cfa === undefined || debug === undefined || innermost?.kind !== 'inlined') return undefined;
  return stepInFrame('over', undefined, here, debug, stepping, innermost.ranges);
}

/**
 * Runs until a line begins that is not `from`, in the same activation, a caller of it, or, when stepping in, a
 * function that is called.
 * @param from undefined to leave the code in `leaving` whatever its lines
 */
function stepInFrame(
  kind: 'in' | 'over',
  from: Line | undefined,
  start: Here,
  debug: DebugInfo,
  stepping: Stepping,
  leaving: readonly Span[] = [],
): Plan {
  const { target, vcpu, symbols, decoder } = stepping;
  const read = cachedMemory(target, vcpu);
  const own = start.scopes[0]?.ranges ?? [];
  const startFrame = start.frame.scopes ?? [];
  // In an inlined function's caller, once it is left, that function's code is behind us.
  let chain = start.chain;
  const rows = own.flatMap(({ low, high }) => symbols().rows?.(low, high) ?? []);
  const allowed: Span[] = [
    ...leaving,
    ...(from === undefined ? [] : rows.filter(({ file, line }) => file === from.file && line === from.line)),
    ...(kind === 'over' ? inlinedIn(startFrame, from, debug) : []),
  ];
  const current = rows.find(({ low, high }) => low <= start.rip && start.rip < high);
  if (current !== undefined) allowed.push(current);
  let stretches = 0;
  /** What the last stretch was for. */
  let phase: 'line' | 'single' | 'caller' | 'prologue' = 'line';
  let back: bigint | undefined;
  let hidden = 0;

  const enters = (to: bigint | undefined): boolean =>
    kind === 'in' && (to === undefined || symbols().line(to) !== undefined);
  /** To where the allowed instructions are left. */
  const onward = async (rip: bigint): Promise<RunUntil> => {
    const ways = await waysOut(allowed, own, decoder, read, enters);
    phase = ways?.watched.has(rip) === true ? 'single' : 'line';
    if (phase === 'single') return { instructions: 1n, vcpu };
    back ??= callerIn(await framesAt(stepping, DEEP))?.address ?? 0n;
    if (ways === undefined) return { outside: { low: rip, high: rip + 1n, vcpu } };
    const at = [...ways.exits, ...ways.watched, ...(back === 0n ? [] : [back])];
    return { exits: { at, vcpu, intoFaults: kind === 'in' } };
  };
  /** Code without lines is left to the next caller, until one has some. */
  const settle = async (here: Here): Promise<RunUntil | undefined> => {
    if (here.frame.line !== undefined) return undefined;
    phase = 'caller';
    return returnToCaller(stepping);
  };
  const enter = async (here: Here): Promise<RunUntil | undefined> => {
    const { line } = here.frame;
    // Past the prologue, where arguments are at their places, if they are not there from the start.
    if (line === undefined || symbols().at(here.rip)?.offset !== 0n || isOptimized(here, debug)) {
      // What was inlined at the very beginning has not been entered by that.
      hidden = here.scopes.filter(
        ({ kind: one, ranges }) => one === 'inlined' && ranges.some(({ low }) => low === here.rip),
      ).length;
      return settle(here);
    }
    phase = 'prologue';
    return { outside: { low: line.low, high: line.high, vcpu } };
  };
  const inOwn = (here: Here): Promise<RunUntil | undefined> | undefined => {
    const { rip } = here;
    if (holds(allowed, rip)) return onward(rip);
    const row = rows.find(({ low, high }) => low <= rip && rip < high);
    if (row === undefined) return undefined;
    // The middle of another line, or code that is no place to stop at: on to where a line begins.
    const isPlace = row.isStatement && row.low === rip;
    const hasLeft = chain.length > here.chain.length;
    const isInside = isWithin(here.chain, chain);
    const isNew = from === undefined || !sameLine(row, from);
    if (isInside) {
      // Where an inlined function begins, its call is what is to come; further in, it has been entered.
      const inner = here.scopes.filter(({ kind: one }) => one !== 'block').slice(chain.length);
      const [first] = inner;
      const begins = inner.every(({ ranges }) => ranges.some(({ low }) => low === rip));
      const isCall = first !== undefined && sameLine(callLine(first, debug), from);
      if (begins && !isCall) {
        hidden = inner.length;
        return undefined;
      }
      if (isPlace && kind === 'in') {
        hidden = begins ? inner.length - 1 : 0;
        return undefined;
      }
    } else if (isPlace && (isNew || hasLeft)) return undefined;
    if (hasLeft) chain = here.chain;
    allowed.push(row);
    return onward(rip);
  };

  const next: Next = async (stop) => {
    if (stretches++ > MAX_STRETCHES || phase === 'prologue') return undefined;
    if (stretches === 1) return onward(start.rip);
    const here = await lookAround(stepping);
    if (here === undefined) return undefined;
    const { rip, cfa } = here;
    const isOwn = cfa === start.cfa;
    if (isOwn && holds(own, rip)) return inOwn(here);
    const isDeeper = cfa === undefined || start.cfa === undefined || cfa < start.cfa;
    if (phase === 'caller') return settle(here);
    // One instruction that was watched: into a call, or, by a return from an exception, to somewhere else.
    if (phase === 'single')
      return isDeeper && kind === 'over' ? onward(rip) : isDeeper ? enter(here) : settle(here);
    const hasFaulted = stop.reason.kind === 'step';
    const isTailCall = isOwn && kind === 'in';
    if (hasFaulted || isTailCall) return enter(here);
    if (rip === back && here.registers.need('rsp') === start.cfa) return settle(here);
    // Another activation on the way: a recursion, an upcall, another thread of the guest.
    return onward(rip);
  };
  return { next, hidden: () => hidden };
}

/**
 * Without frame information: one instruction after another. Calls are run through when stepping over, and when
 * stepping in to code that has no lines.
 */
function stepSlowly(kind: 'in' | 'over', start: LineAt, startStack: bigint, stepping: Stepping): Next {
  const { target, vcpu, symbols } = stepping;
  const space: AddressSpace = { kind: 'virtual', vcpu };
  let range: LineAt = start;
  let stretches = 0;
  let entered = false;

  const outside = ({ low, high }: LineAt): RunUntil => ({ outside: { low, high, vcpu } });
  const intoCall = async (registers: RegisterFile): Promise<RunUntil | undefined> => {
    const stack = registers.need('rsp');
    if (stack >= startStack) return undefined;
    const bytes = await target.readMemory(space, stack, 8);
    const back = bytes.length < 8 ? 0n : bytesToNumber(bytes);
    if (back < range.low || back > range.high) return undefined;
    return { address: { at: back, minRsp: stack + 8n, vcpu } };
  };

  return async () => {
    if (stretches++ === 0) return outside(range);
    if (stretches > MAX_STRETCHES) return undefined;
    const registers = await readRegisters(target, vcpu);
    const rip = registers.need('rip');
    if (rip >= range.low && rip < range.high) return outside(range);
    const here = symbols().line(rip);
    if (kind === 'over' || here === undefined) {
      const call = await intoCall(registers);
      if (call !== undefined) return call;
    }
    if (here === undefined) {
      // Out of the code that has lines: back to the caller that has them, if there is one.
      return registers.need('rsp') <= startStack ? returnToCaller(stepping) : undefined;
    }
    // Another row of the same line, as loops and optimised code have them.
    const sameLine =
      here.file === start.file && here.line === start.line && registers.need('rsp') <= startStack;
    if (!sameLine) {
      // A function that has just been entered: past its prologue, where arguments are at their places.
      if (kind === 'over' || entered || symbols().at(rip)?.offset !== 0n) return undefined;
      entered = true;
      return outside(here);
    }
    range = here;
    return outside(range);
  };
}
