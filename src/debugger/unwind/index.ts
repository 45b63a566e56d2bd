import type { Scope } from '../../guest/dwarf';
import { AT } from '../../guest/dwarf';
import { ImageError } from '../../guest/error';
import { formatCall } from '../../machine/format';
import { dwarfRegisters } from '../../machine/register-names';
import type { HypercallView, Target, VcpuRef } from '../../machine/target';
import type { ReadMemory } from '../memory-cache';
import { cachedMemory } from '../memory-cache';
import type { RegisterFile } from '../registers';
import type { LineAt, SymbolAt, SymbolIndex } from '../symbols';
import type { Activation, SavedRegister } from './activation';
import { REGISTER } from './activation';
import { entryTitle } from './boundary';
import { SYSCALL, matches, searchCaller } from './search';
import type { TableCaller } from './tables';
import { callerByOrc, callerByRow, cfaOf } from './tables';

// The call stack: by unwind tables where there are any, else by what the code and the stack look like. A call that
// the compiler inlined is a frame of its own, in the same activation as the function it was inlined into.

export interface Frame {
  /** `boundary`: between the guest code below it and the hypervisor, or the guest's own handler that Xen entered. */
  readonly kind: 'boundary' | 'code';
  /** What a boundary is called, where it is no hypercall. */
  readonly title?: string;
  /** Instruction pointer: for callers, the address that is returned to. */
  readonly address: bigint;
  readonly symbol: SymbolAt | undefined;
  readonly line: LineAt | undefined;
  /** Stack pointer in this frame. */
  readonly stack: bigint;
  /** Frame-pointer register, as far as it is known. */
  readonly base: bigint;
  readonly found: 'registers' | 'code' | 'frame pointer' | 'search' | TableCaller['found'];
  readonly call?: HypercallView;
  /** The call on the stack that this frame is of. */
  readonly activation?: Activation;
  /** Of the frame's function and its blocks, outermost first. */
  readonly scopes?: readonly Scope[];
  /** Name of the function that was inlined here. */
  readonly inlined?: string;
}

export interface Unwinding {
  readonly target: Target;
  readonly vcpu: VcpuRef;
  readonly registers: RegisterFile;
  readonly symbols: SymbolIndex;
  readonly call: HypercallView | undefined;
  /** What else than a hypercall the vCPU is in the hypervisor for. */
  readonly title?: string | undefined;
}

/** One call on the stack before its inlined functions are told apart. */
interface Physical {
  readonly address: bigint;
  readonly pc: bigint;
  readonly registers: ReadonlyMap<number, SavedRegister>;
  readonly stack: bigint;
  readonly base: bigint;
  readonly found: Frame['found'];
  /** It has not called what is above it: that was entered from outside. */
  readonly interrupted?: boolean;
}

const isKernel = (address: bigint): boolean => address >> 63n === 1n;

/** What a damaged debug file cannot tell is not known; the stack is shown all the same. */
function known<T>(work: () => T, nothing: T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof ImageError) return nothing;
    throw error;
  }
}

const processorRegisters = (file: RegisterFile): Map<number, SavedRegister> => {
  const found = new Map<number, SavedRegister>();
  for (const [number, name] of dwarfRegisters.entries()) {
    const value = file.get(name);
    if (value !== undefined) found.set(number, { value, at: 'processor' });
  }
  for (let index = 0; index < 16; index++) {
    const value = file.get(`xmm${index}`);
    if (value !== undefined) found.set(17 + index, { value, at: 'processor' });
  }
  return found;
};

async function activate(physical: Physical, symbols: SymbolIndex, read: ReadMemory): Promise<Activation> {
  const { pc, address, registers } = physical;
  const { debug } = symbols;
  const activation: Activation = {
    pc,
    address,
    registers: new Map(registers),
    cfa: undefined,
    scopes: known(() => debug?.scopes.at(pc) ?? [], []),
    debug,
    read,
    caller: undefined,
  };
  const row = debug?.frames.at(pc);
  if (row !== undefined) activation.cfa = await cfaOf(row, activation);
  return activation;
}

/** The frames of one activation, innermost first: its inlined functions, then the function itself. */
function framesOf(physical: Physical, activation: Activation, symbols: SymbolIndex): Frame[] {
  const { address, stack, base, found, pc } = physical;
  const { scopes, debug } = activation;
  const at = symbols.at(pc);
  // The call itself, not what follows it, decides which function this is.
  const symbol = at === undefined ? undefined : { ...at, offset: at.offset + (address - pc) };
  const plain = { kind: 'code' as const, address, stack, base, found, symbol, activation };
  const starts = scopes.flatMap(({ kind }, index) => (kind === 'block' ? [] : [index]));
  if (starts.length === 0) return [{ ...plain, line: symbols.line(pc) }];
  const frames: Frame[] = [];
  let line = symbols.line(pc);
  for (let level = starts.length - 1; level >= 0; level--) {
    const start = starts[level] ?? 0;
    const own = scopes.slice(start, starts[level + 1]);
    const [outer] = own;
    const inlined =
      level === 0 || outer === undefined
        ? undefined
        : (known(() => debug?.dwarf.text(outer.entry, AT.name), undefined) ?? '?');
    frames.push({ ...plain, line, scopes: own, ...(inlined === undefined ? {} : { inlined }) });
    line = outer === undefined || debug === undefined ? undefined : known(() => callLine(outer), undefined);
  }
  return frames;

  /** Where an inlined function stands in for a call. */
  function callLine({ entry, ranges }: Scope): LineAt | undefined {
    if (debug === undefined) return undefined;
    const number = (name: number): number => Number(debug.dwarf.constant(entry, name) ?? 0n);
    const file = debug.lines.fileOf(entry.unit, number(AT.call_file));
    const range = ranges.find(({ low, high }) => low <= pc && pc < high);
    const callLineNumber = number(AT.call_line);
    if (file === undefined || range === undefined || callLineNumber === 0) return undefined;
    const column = number(AT.call_column);
    return { file, line: callLineNumber, ...(column === 0 ? {} : { column }), ...range };
  }
}

async function callerOf(
  physical: Physical,
  activation: Activation,
  symbols: SymbolIndex,
  read: ReadMemory,
  innermost: boolean,
): Promise<Physical | undefined> {
  const { pc, address, stack, base } = physical;
  const row = symbols.debug?.frames.at(pc);
  let found = row === undefined ? undefined : await callerByRow(row, activation);
  if (found === undefined && symbols.orc !== undefined) found = await callerByOrc(symbols.orc, activation);
  if (found === 'end') return undefined;
  if (found !== undefined) {
    const { registers, interrupted } = found;
    return {
      address: found.address,
      pc: interrupted ? found.address : found.address - 1n,
      registers,
      stack: registers.get(REGISTER.rsp)?.value ?? stack,
      base: registers.get(REGISTER.rbp)?.value ?? base,
      found: found.found,
      interrupted,
    };
  }
  const symbol = symbols.at(pc);
  const own = { address, stack, base, symbol };
  const caller = await searchCaller(
    read,
    {
      ...own,
      symbol: symbol === undefined ? undefined : { ...symbol, offset: symbol.offset + (address - pc) },
    },
    symbols,
    innermost,
  );
  if (caller === undefined) return undefined;
  const registers = new Map<number, SavedRegister>([
    [REGISTER.rip, { value: caller.address, at: undefined }],
    [REGISTER.rsp, { value: caller.stack, at: undefined }],
    // Where the search did not come by frame pointers, nothing is known of it.
    ...(caller.found === 'search'
      ? []
      : ([[REGISTER.rbp, { value: caller.base, at: undefined }]] satisfies [number, SavedRegister][])),
  ]);
  return { ...caller, pc: caller.address - 1n, registers };
}

/** @param limit frames at most, the boundary not counted */
export async function unwind(unwinding: Unwinding, limit: number): Promise<Frame[]> {
  const { registers, symbols, call, title, target, vcpu } = unwinding;
  const inside = call !== undefined || title !== undefined;
  const read = cachedMemory(target, vcpu);
  const rip = registers.need('rip');
  // In a hypercall rip is past the SYSCALL, perhaps on the next line already.
  const inCall = call !== undefined && matches(await read(rip - 2n, 2), SYSCALL);
  let physical: Physical = {
    address: rip,
    pc: inCall ? rip - 2n : rip,
    registers: processorRegisters(registers),
    stack: registers.need('rsp'),
    base: registers.need('rbp'),
    found: 'registers',
  };
  const frames: Frame[] = [];
  let inner: Activation | undefined;
  for (let depth = 0; ; depth++) {
    const activation = await activate(physical, symbols, read);
    if (inner !== undefined) inner.caller = activation;
    inner = activation;
    const own = framesOf(physical, activation, symbols);
    const [innermost] = own;
    if (depth === 0 && inside && innermost !== undefined)
      frames.push(boundaryAt(innermost, title === undefined ? { call } : { title }));
    const above = frames.at(-1);
    if (physical.interrupted === true && innermost !== undefined && above !== undefined)
      frames.push(
        boundaryAt(innermost, { title: await entryTitle(unwinding, above, read, physical.address) }),
      );
    frames.push(...own);
    const boundaries = frames.filter(({ kind }) => kind === 'boundary').length;
    if (frames.length - boundaries >= limit) return frames.slice(0, limit + boundaries);
    const caller = await callerOf(physical, activation, symbols, read, depth === 0);
    if (caller === undefined) return frames;
    // A user's stack is elsewhere; within one, callers are always further up, unless a table says that stacks changed.
    const isUser = isKernel(physical.address) && !isKernel(caller.address);
    if (!isUser && caller.found !== 'ORC' && caller.stack <= physical.stack) return frames;
    if (isUser && caller.found !== 'ORC' && caller.found !== 'unwind table') return frames;
    physical = caller;
    if (!isUser) continue;
    const outside = await activate(caller, symbols, read);
    activation.caller = outside;
    const users = framesOf(caller, outside, symbols);
    const [user] = users;
    const last = frames.at(-1);
    if (user !== undefined && last !== undefined)
      frames.push(boundaryAt(user, { title: await entryTitle(unwinding, last, read, caller.address) }));
    return [...frames, ...users].slice(0, limit + boundaries + 1);
  }
}

/** Between the frame and what was entered from it. */
function boundaryAt(
  frame: Frame,
  name: Pick<Frame, 'title'> | { readonly call: HypercallView | undefined },
): Frame {
  const { scopes: _s, inlined: _i, ...plain } = frame;
  const named = 'call' in name ? (name.call === undefined ? {} : { call: name.call }) : name;
  return { ...plain, kind: 'boundary', line: undefined, ...named };
}

/** Longest text of a boundary frame; the scopes have the whole of it. */
const MAX_NAME = 160;

export function frameName(frame: Frame): string {
  if (frame.kind === 'boundary' && frame.title !== undefined) return frame.title;
  if (frame.call !== undefined) {
    const text = `hypercall ${formatCall(frame.call)}`;
    return text.length > MAX_NAME ? `${text.slice(0, MAX_NAME - 1)}…` : text;
  }
  if (frame.inlined !== undefined) return `${frame.inlined} (inlined)`;
  const at = `0x${frame.address.toString(16)}`;
  const { symbol } = frame;
  if (symbol === undefined) return at;
  return symbol.offset === 0n ? symbol.name : `${symbol.name}+0x${symbol.offset.toString(16)}`;
}
