import type { DebugInfo, Scope, Unit } from '../../guest/dwarf';
import { AT, TAG } from '../../guest/dwarf';
import type { Entry } from '../../guest/dwarf';
import type { InstructionDecoder } from '../decoder';

// The instructions that belong to what is stepped over, and where they can be left.

export interface Span {
  readonly low: bigint;
  /** Exclusive. */
  readonly high: bigint;
}

export const holds = (spans: readonly Span[], address: bigint): boolean =>
  spans.some(({ low, high }) => low <= address && address < high);

export interface Ways {
  /** Instructions outside that can come next. */
  readonly exits: ReadonlySet<bigint>;
  /** Instructions inside that must be looked at one by one: nobody knows before where they go. */
  readonly watched: ReadonlySet<bigint>;
}

/** More code than any line has. */
const MAX_CODE = 1 << 16;

/**
 * Undefined for code that cannot be decoded.
 * @param enters whether a call at this target is stepped into; undefined for one through a pointer
 * @param own the function: jumps out of it are calls that do not come back
 */
export async function waysOut(
  spans: readonly Span[],
  own: readonly Span[],
  decoder: InstructionDecoder,
  read: (address: bigint, length: number) => Promise<Uint8Array>,
  enters: (target: bigint | undefined) => boolean,
): Promise<Ways | undefined> {
  const exits = new Set<bigint>();
  const watched = new Set<bigint>();
  const leave = (to: bigint): void => {
    if (!holds(spans, to)) exits.add(to);
  };
  for (const { low, high } of spans) {
    const size = Number(high - low);
    if (size > MAX_CODE) return undefined;
    const code = await read(low, size);
    if (code.length < size) return undefined;
    for (const { address, length, flow, target, valid } of decoder.decode(code, low, size)) {
      if (!valid) return undefined;
      const next = address + BigInt(length);
      if (flow === 'syscall') watched.add(address);
      else if (flow === 'call' && enters(target)) watched.add(address);
      if (flow === 'jump' || flow === 'branch') {
        if (target === undefined) watched.add(address);
        else if (holds(own, target) || own.length === 0) leave(target);
        else if (enters(target)) exits.add(target);
        // Else it is a tail call, which comes back to the caller.
      }
      if (flow !== 'jump' && flow !== 'return') leave(next);
    }
  }
  return { exits, watched };
}

const INNER = new Set<number>([TAG.lexical_block, TAG.inlined_subroutine]);

/** A line of a file, as far as calls are made on it. */
export interface Line {
  readonly file: string;
  readonly line: number;
}

/** Where the source has the call that a function was inlined for. */
export function callLine({ entry }: Scope, debug: DebugInfo): Line | undefined {
  const number = (name: number): number => Number(debug.dwarf.constant(entry, name) ?? 0n);
  const file = debug.lines.fileOf(entry.unit, number(AT.call_file));
  return file === undefined ? undefined : { file, line: number(AT.call_line) };
}

export const sameLine = (a: Line | undefined, b: Line | undefined): boolean =>
  a !== undefined && b !== undefined && a.file === b.file && a.line === b.line;

/** Code of the functions that were inlined into a scope for calls on that line, directly or into its blocks. */
export function inlinedIn(scopes: readonly Scope[], line: Line | undefined, debug: DebugInfo): Span[] {
  const spans: Span[] = [];
  const visit = (unit: Unit, parent: Entry, depth: number): void => {
    for (const entry of unit.below(parent, INNER)) {
      if (entry.tag === TAG.inlined_subroutine) {
        const ranges = debug.dwarf.ranges(entry);
        if (line === undefined || sameLine(callLine({ kind: 'inlined', entry, ranges }, debug), line))
          spans.push(...ranges);
      }
      if (entry.tag !== TAG.inlined_subroutine && depth < 32) visit(unit, entry, depth + 1);
    }
  };
  const [outer] = scopes;
  if (outer !== undefined) visit(outer.entry.unit, outer.entry, 0);
  return spans;
}
