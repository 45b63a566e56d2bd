import { ImageError } from '../error';
import type { UnitIndex } from './aranges';
import { AT, TAG } from './constants';
import type { Dwarf } from './dwarf';
import type { Range } from './lists';
import type { Entry, Unit } from './units';

// Which function, inlined functions and blocks an address is in (DWARF 5, 3.3 to 3.5).

export interface Scope {
  readonly kind: 'function' | 'inlined' | 'block';
  readonly entry: Entry;
  readonly ranges: readonly Range[];
}

export interface Scopes {
  /** From the function inwards; empty where no function is known. */
  at(pc: bigint): readonly Scope[];
  /** Parameters and variables of one scope, in the order of their declaration. */
  variables(scope: Scope): readonly Entry[];
  /** Functions of a unit that have code. */
  functions(unit: Unit): readonly Scope[];
}

const FUNCTIONS = new Set<number>([TAG.subprogram]);
/** What functions can be in besides their unit. */
const OUTER = new Set<number>([
  TAG.subprogram,
  TAG.namespace,
  TAG.structure_type,
  TAG.class_type,
  TAG.union_type,
]);
const INNER = new Set<number>([TAG.lexical_block, TAG.inlined_subroutine]);
const VARIABLES = new Set<number>([TAG.formal_parameter, TAG.variable]);
/** Languages whose functions may be in namespaces and types: everything but C and assembly (7.12). */
const flatLanguages = new Set([0x01, 0x02, 0x0c, 0x1d, 0x2c, 0x8001]);
const MAX_DEPTH = 32;
const MAX_SCOPES = 256;
const KEPT_UNITS = 32;

const holds = (ranges: readonly Range[], pc: bigint): boolean =>
  ranges.some(({ low, high }) => low <= pc && pc < high);

export function createScopes(dwarf: Dwarf, index: UnitIndex): Scopes {
  const kept = new Map<Unit, readonly Scope[]>();

  function* subprograms(
    unit: Unit,
    parent: Entry,
    tags: ReadonlySet<number>,
    depth: number,
  ): Generator<Entry> {
    for (const entry of unit.below(parent, tags)) {
      if (entry.tag === TAG.subprogram) yield entry;
      else if (depth < MAX_DEPTH) yield* subprograms(unit, entry, tags, depth + 1);
    }
  }
  const functions = (unit: Unit): readonly Scope[] => {
    const known = kept.get(unit);
    if (known !== undefined) return known;
    const flat = flatLanguages.has(Number(dwarf.constant(unit.root, AT.language) ?? 0n));
    const found: Scope[] = [];
    for (const entry of subprograms(unit, unit.root, flat ? FUNCTIONS : OUTER, 0)) {
      const ranges = dwarf.ranges(entry);
      if (ranges.length > 0) found.push({ kind: 'function', entry, ranges });
    }
    const [oldest] = kept.keys();
    if (kept.size >= KEPT_UNITS && oldest !== undefined) kept.delete(oldest);
    kept.set(unit, found);
    return found;
  };
  const unitsAt = (pc: bigint): readonly Unit[] => {
    const own = index.unitAt(pc);
    return own === undefined ? index.placeless : [own];
  };

  return {
    functions,
    at: (pc) => {
      for (const unit of unitsAt(pc)) {
        const outermost = functions(unit).find(({ ranges }) => holds(ranges, pc));
        if (outermost === undefined) continue;
        const chain: Scope[] = [outermost];
        for (let parent = outermost.entry; chain.length < MAX_SCOPES;) {
          let inner: Scope | undefined;
          for (const entry of unit.below(parent, INNER)) {
            const ranges = dwarf.ranges(entry);
            if (!holds(ranges, pc)) continue;
            inner = { kind: entry.tag === TAG.inlined_subroutine ? 'inlined' : 'block', entry, ranges };
            break;
          }
          if (inner === undefined) break;
          chain.push(inner);
          parent = inner.entry;
        }
        return chain;
      }
      return [];
    },
    variables: ({ entry }) => [...entry.unit.below(entry, VARIABLES)],
  };
}

/** For questions that a damaged file must not turn into a failure of everything. */
export function orNothing<T>(work: () => T, nothing: T, problem: (text: string) => void): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    problem(error.message);
    return nothing;
  }
}
