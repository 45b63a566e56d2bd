import type { Place, StackPlace } from './statements';

/**
 * The statements that came by and their values, for the stack: those of outer calls of a function that calls itself,
 * too, as far as the past reaches.
 */

export interface Records {
  /** @param depth JavaScript frames at the time, for functions that call themselves */
  add(file: string, site: number, locals: readonly unknown[], depth: number | undefined): void;
  last(): Place | undefined;
  /** The latest of those before the last one added. */
  lastBefore(wanted: (place: Place) => boolean): Place | undefined;
  /**
   * The values at each place of a stack, innermost first; undefined where they are forgotten.
   * @param depth as it is, or would be, recorded for the innermost
   */
  along(stack: readonly StackPlace[], depth: number): readonly (readonly unknown[] | undefined)[];
  clear(): void;
}

interface Record extends Place {
  readonly locals: readonly unknown[];
  readonly depth: number | undefined;
}

const KEPT = 1 << 12;

export function createRecords(): Records {
  const past: Record[] = [];
  let next = 0;
  /** The last at each place, however long ago. */
  const latest = new Map<string, Record[]>();

  const backwards = (from: number, wanted: (one: Record) => boolean): Record | undefined => {
    for (let seq = from; seq >= Math.max(0, next - KEPT); seq--) {
      const one = past[seq & (KEPT - 1)];
      if (one !== undefined && wanted(one)) return one;
    }
    return undefined;
  };

  return {
    add(file, site, locals, depth) {
      const record = { file, site, locals, depth };
      past[next++ & (KEPT - 1)] = record;
      let ofFile = latest.get(file);
      if (ofFile === undefined) latest.set(file, (ofFile = []));
      ofFile[site] = record;
    },
    last: () => (next === 0 ? undefined : past[(next - 1) & (KEPT - 1)]),
    lastBefore: (wanted) => backwards(next - 2, wanted),
    along(stack, depth) {
      const [top] = stack;
      return stack.map(({ file, site, below }) => {
        const last = latest.get(file)?.[site];
        // Of a function that does not call itself there is one call at most on the stack.
        if (last?.depth === undefined) {
          const others = stack.filter((one) => one.file === file && one.site === site);
          return others.length === 1 ? last?.locals : undefined;
        }
        const own = depth - ((top?.below ?? 0) - below);
        return backwards(next - 1, (one) => one.file === file && one.site === site && one.depth === own)
          ?.locals;
      });
    },
    clear() {
      if (next === 0) return;
      past.length = 0;
      next = 0;
      latest.clear();
    },
  };
}
