import type { Departure, Node } from '../ir/nodes';
import type { Flow, Loop } from './structure';

/**
 * Which accesses of a loop stay near the one before: their page is remembered in locals, so that neither the look-up nor
 * its latency is paid each time. While a region runs, nothing is filled into the soft TLB or taken from it (whatever
 * misses leaves), so what was found once holds until the region is left.
 */

/** A way from one block to another inside the region. */
export interface Edge {
  readonly from: Flow;
  readonly to: Flow;
  readonly sets: Departure['sets'];
}

/** A register that moves by no more each time around stays in its page for a while. */
const STEP = 256n;
/** An offset of so few bits keeps near. */
const SMALL = 11;

const constantOf = (n: Node | undefined): bigint | undefined =>
  n?.op === 'const' && n.type === 'i64' ? BigInt.asIntN(64, n.imm as bigint) : undefined;

/** The value as a sum: its terms that are not constant, and the constant. */
function sumOf(value: Node): { terms: Node[]; constant: bigint } {
  const terms: Node[] = [];
  let constant = 0n;
  const visit = (n: Node): void => {
    const c = constantOf(n);
    if (c !== undefined) {
      constant += c;
      return;
    }
    const less = n.op === 'i64.sub' ? constantOf(n.args[1]) : undefined;
    if (n.op === 'i64.add') n.args.forEach(visit);
    else if (less !== undefined && n.args[0] !== undefined) {
      constant -= less;
      visit(n.args[0]);
    } else terms.push(n);
  };
  visit(value);
  return { terms, constant };
}

/** Whether a loop leaves a local as it is, moves it by a small step, or does anything else to it. */
type Course = 'fixed' | 'steady' | 'wild';

export class Nearness {
  readonly edges: Edge[] = [];
  private readonly courses = new Map<Loop, Map<number, Course>>();

  private coursesIn(loop: Loop): Map<number, Course> {
    let courses = this.courses.get(loop);
    if (courses !== undefined) return courses;
    this.courses.set(loop, (courses = new Map<number, Course>()));
    for (const { from, to, sets } of this.edges) {
      if (!loop.body.has(from) || !loop.body.has(to)) continue;
      for (const { local, value } of sets) {
        const { terms, constant } = sumOf(value);
        const [only] = terms;
        const steps =
          terms.length === 1 &&
          only?.op === 'param' &&
          only.imm === local &&
          constant <= STEP &&
          constant >= -STEP;
        if (courses.get(local) !== 'wild') courses.set(local, steps ? 'steady' : 'wild');
      }
    }
    return courses;
  }

  /** Names what is near: accesses of one name remember one page. Undefined: it goes anywhere. */
  nameOf(address: Node, loop: Loop): string | undefined {
    const courses = this.coursesIn(loop);
    const only = (n: Node, allowed: readonly Course[]): boolean =>
      n.op === 'const' ||
      (n.op === 'param' && allowed.includes(courses.get(n.imm as number) ?? 'fixed')) ||
      (n.op !== 'local' && n.op !== 'param' && n.args.length > 0 && n.args.every((a) => only(a, ['fixed'])));
    const { terms } = sumOf(address);
    const scaled = (n: Node): Node => {
      // An index that moves by little, times its scale.
      const [value, by] = n.args;
      return n.op === 'i64.shl' && value && (constantOf(by) ?? 9n) <= 3n ? value : n;
    };
    if (!terms.every((t) => t.bits <= SMALL || only(scaled(t), ['fixed', 'steady']))) return undefined;
    return terms
      .map((t) => t.id)
      .sort((a, b) => a - b)
      .join();
  }
}
