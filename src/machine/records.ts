import type { Place } from './statements';

/**
 * The statements that came by and their values, for the stack: those of outer calls of a function that calls itself,
 * too, as far as the past reaches. Nothing here walks a stack.
 */

export interface Records {
  add(file: string, site: number, locals: readonly unknown[]): void;
  last(): Place | undefined;
  /** The latest of those before the last one added. */
  lastBefore(wanted: (place: Place) => boolean): Place | undefined;
  /** The values at each place of a stack, innermost first; undefined where they are forgotten. */
  along(stack: readonly Place[]): readonly (readonly unknown[] | undefined)[];
  clear(): void;
}

interface Record extends Place {
  readonly locals: readonly unknown[];
}

const KEPT = 1 << 12;

export function createRecords(): Records {
  const past: Record[] = [];
  let next = 0;
  /** For calls that are too long ago: the last at each place. */
  const latest = new Map<string, (readonly unknown[])[]>();

  return {
    add(file, site, locals) {
      past[next++ & (KEPT - 1)] = { file, site, locals };
      let ofFile = latest.get(file);
      if (ofFile === undefined) latest.set(file, (ofFile = []));
      ofFile[site] = locals;
    },
    last: () => (next === 0 ? undefined : past[(next - 1) & (KEPT - 1)]),
    lastBefore(wanted) {
      for (let seq = next - 2; seq >= Math.max(0, next - KEPT); seq--) {
        const one = past[seq & (KEPT - 1)];
        if (one !== undefined && wanted(one)) return one;
      }
      return undefined;
    },
    along(stack) {
      const oldest = Math.max(0, next - KEPT);
      const places = stack.map(({ file, site }) => `${file} ${site.toString()}`);
      let seq = next;
      return stack.map(({ file, site }, index) => {
        // A caller came by where it is now before what it called did.
        while (--seq >= oldest) {
          const one = past[seq & (KEPT - 1)];
          if (one?.file === file && one.site === site) return one.locals;
        }
        const place = places[index];
        return places.filter((other) => other === place).length === 1 ? latest.get(file)?.[site] : undefined;
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
