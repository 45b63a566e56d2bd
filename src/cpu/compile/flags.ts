import type { Departure, Node } from '../ir/nodes';
import type { Recorder } from '../ir/recorder';
import { FLAG_SLOTS, type FieldName } from '../state';
import { trackedIndex, type RegionLocals, type RegionState } from './state';

/**
 * Flags where ways meet. A flag is *at hand* there when something looks at it: it has a local of its own. The others
 * are only owed to whoever looks at the state after the region. What they follow from is passed on instead, in a few
 * locals, with the number of a *recipe* that says how; the end of the region follows it. So a loop does not compute, each time
 * around, six flags that nobody wants.
 */

/**
 * Flags that are at hand where a tree of blocks begins. 'owed': the others may be looked at by whoever looks at the
 * state before they are all made anew, and are passed on; else they are forgotten there.
 */
export type AtHand = Set<FieldName | 'owed'>;

const FLAGS: readonly { readonly name: FieldName; readonly index: number }[] = FLAG_SLOTS.map((name) => ({
  name,
  index: trackedIndex(name) ?? 0,
}));
const FLAG_INDEX = new Set(FLAGS.map((f) => f.index));
export const isFlag = (trackedAt: number): boolean => FLAG_INDEX.has(trackedAt);

/** What flags may follow from: so many values at most. */
const INGREDIENTS = 3;

type Owed = readonly { readonly name: FieldName; readonly value: Node }[];

/** How to make flags of ingredients: nodes whose leaves are those, by their places. */
interface Recipe {
  readonly number: number;
  readonly owed: Owed;
  readonly ingredients: readonly Node[];
}

/** What values follow from: nodes that are not computed, and those that are `held` anyway. Undefined: not 64-bit integers. */
function ingredientsOf(owed: Owed, held: ReadonlySet<Node>): Node[] | undefined {
  const found = new Set<Node>();
  const seen = new Set<Node>();
  const visit = (n: Node): boolean => {
    if (seen.has(n) || n.op === 'const') return true;
    seen.add(n);
    if (n.op === 'local' || n.op === 'param' || held.has(n)) {
      found.add(n);
      return n.type === 'i64';
    }
    return n.args.every(visit);
  };
  return owed.every(({ value }) => visit(value)) ? [...found] : undefined;
}

/** The same text for recipes that do the same with their ingredients. */
function textOf(owed: Owed, ingredients: readonly Node[]): string {
  const numbers = new Map<Node, number>();
  const lines: string[] = [];
  const visit = (n: Node): number => {
    const known = numbers.get(n);
    if (known !== undefined) return known;
    const place = ingredients.indexOf(n);
    const args = place < 0 ? n.args.map(visit) : [];
    const imm = typeof n.imm === 'object' ? n.imm.join() : String(n.imm);
    lines.push(place < 0 ? `${n.op}:${n.type} ${args.join()} ${imm}` : `@${place}`);
    numbers.set(n, lines.length - 1);
    return lines.length - 1;
  };
  const roots = owed.map(({ name, value }) => `${name}=${visit(value)}`);
  return `${lines.join(';')} ${roots.join()}`;
}

const NONE: ReadonlySet<Node> = new Set();

export class RegionFlags {
  private readonly recipes = new Map<string, Recipe>();
  /** A flag was wanted where it is not at hand: what was recorded is of no use. */
  again = false;

  constructor(
    private readonly r: Recorder,
    private readonly locals: RegionLocals,
  ) {}

  /** The flag as the tree of blocks found it. */
  found(flag: FieldName, here: AtHand): Node {
    if (!here.has(flag)) {
      here.add(flag);
      this.again = true;
    }
    return this.locals.read(this.r, flag);
  }

  /**
   * What is to be set on the way from a tree of blocks (`here`) to another, or out of the region. `held`: nodes that
   * are in locals anyway.
   */
  sets(state: RegionState, here: AtHand, there: AtHand, held: ReadonlySet<Node>): Departure['sets'] {
    const { r, locals } = this;
    const sets: { local: number; value: Node }[] = [];
    const own = (name: FieldName, value: Node): void => {
      const local = locals.of(name);
      if (value.op === 'param' && value.imm === local) return;
      locals.written.add(name);
      sets.push({ local, value });
    };
    const untouched = FLAGS.every(({ index }) => state[index] === undefined);
    const all = there.has('owed');
    if (untouched && all && !here.has('owed')) {
      here.add('owed');
      this.again = true;
    }
    const owed: { name: FieldName; value: Node }[] = [];
    for (const { name, index } of FLAGS) {
      if ((untouched || !all) && !there.has(name)) continue;
      const value = state[index] ?? this.found(name, here);
      if (there.has(name)) own(name, value);
      else if (!(value.op === 'param' && value.imm === locals.of(name))) owed.push({ name, value });
    }
    if (untouched || !all) return sets;
    const recipe = this.recipeFor(owed, held);
    if (recipe === undefined) for (const { name, value } of owed) own(name, value);
    sets.push({ local: locals.recipe, value: r.i32(recipe?.number ?? 0) });
    recipe?.ingredients.forEach((value, n) => {
      const local = locals.ingredient(n);
      if (!(value.op === 'param' && value.imm === local)) sets.push({ local, value });
    });
    return sets;
  }

  private recipeFor(owed: Owed, held: ReadonlySet<Node>): Recipe | undefined {
    if (owed.length === 0) return undefined;
    const some = [ingredientsOf(owed, held), ingredientsOf(owed, NONE)].filter((x) => x !== undefined);
    const ingredients = some.reduce<Node[] | undefined>(
      (a, b) => (a && a.length <= b.length ? a : b),
      undefined,
    );
    if (ingredients === undefined || ingredients.length > INGREDIENTS) return undefined;
    const text = textOf(owed, ingredients);
    let known = this.recipes.get(text);
    if (known === undefined) {
      known = { number: this.recipes.size + 1, owed, ingredients };
      this.recipes.set(text, known);
    }
    return { number: known.number, owed, ingredients };
  }

  /** Behind the region's blocks: the flags go to the state. */
  settle(): void {
    const { r, locals } = this;
    for (const { name } of FLAGS)
      if (locals.written.has(name)) r.push({ kind: 'put', field: name, value: locals.read(r, name) });
    const recipes = [...this.recipes.values()];
    if (recipes.length === 0) return;
    const number = r.param('i32', locals.recipe);
    const follow = ({ owed, ingredients }: Recipe): void => {
      const made = new Map<Node, Node>(ingredients.map((n, i) => [n, r.param('i64', locals.ingredient(i))]));
      const make = (n: Node): Node => {
        let node = made.get(n);
        if (node === undefined) {
          node =
            n.op === 'const' ? r.constant(n.type, n.imm as bigint) : r.pure(n.op, n.args.map(make), n.imm);
          made.set(n, node);
        }
        return node;
      };
      for (const { name, value } of owed) r.push({ kind: 'put', field: name, value: make(value) });
    };
    const choose = (low: number, high: number): void => {
      const recipe = recipes[low];
      if (recipe !== undefined && high - low === 1) {
        follow(recipe);
        return;
      }
      const middle = (low + high) >> 1;
      r.if(r.n('i32.le_u', number, r.i32(middle)), () => choose(low, middle), () => choose(middle, high)); // prettier-ignore
    };
    r.if(number, () => choose(0, recipes.length));
  }
}
