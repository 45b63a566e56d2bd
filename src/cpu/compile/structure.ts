import type { BasicBlock, BlockKey, Region } from './discover';

/** A loop's blocks; an edge from one of them leads back to its head. */
export interface Loop {
  readonly body: ReadonlySet<Flow>;
}

/**
 * A region's control flow as WebAssembly wants it: loops entered at their head, jumps forward out of blocks. After
 * N. Ramsey, "Beyond Relooper: recursive translation of unstructured control flow to structured control flow",
 * ICFP 2022. An edge that enters a loop beside its head is not made: it leaves the region.
 */
export interface Flow {
  readonly block: BasicBlock;
  readonly rip: bigint;
  /** Head of a loop. */
  readonly loop: boolean;
  /** Several jumps forward lead here. */
  readonly merge: boolean;
  /** Merges that this block dominates directly, in the order in which they are reached. */
  readonly merges: Flow[];
  /** Successors inside the region by address, and whether the way leads back. */
  readonly ways: Map<bigint, { readonly to: Flow; readonly back: boolean }>;
  /** The innermost loop that it is part of. */
  readonly within: Loop | undefined;
}

/** Instructions of the longest way from the block's beginning to where a loop begins (again), or out of the region. */
export function longestWay(from: Flow, known = new Map<Flow, number>()): number {
  let length = known.get(from);
  if (length === undefined) {
    const ways = [...from.ways.values()].map(({ to }) => (to.loop ? 0 : longestWay(to, known)));
    length = from.block.count + Math.max(0, ...ways);
    known.set(from, length);
  }
  return length;
}

export function structure(region: Region): Flow {
  const { blocks, entry } = region;
  // Reverse postorder.
  const order: BasicBlock[] = [];
  const seen = new Set<BlockKey>();
  const visit = (b: BasicBlock): void => {
    seen.add(b.key);
    for (const s of [...b.successors].reverse()) {
      const to = blocks.get(s);
      if (to !== undefined && !seen.has(s)) visit(to);
    }
    order.push(b);
  };
  visit(entry);
  order.reverse();
  const number = new Map(order.map((b, i) => [b.key, i]));
  const preds: number[][] = order.map(() => []);
  order.forEach((b, i) => {
    for (const s of new Set(b.successors)) {
      const to = number.get(s);
      if (to !== undefined) preds[to]?.push(i);
    }
  });

  // Dominators: K. Cooper, T. Harvey, K. Kennedy, "A simple, fast dominance algorithm", 2001.
  const idom: number[] = order.map(() => -1);
  idom[0] = 0;
  const meet = (a: number, b: number): number => {
    let [x, y] = [a, b];
    while (x !== y) {
      while (x > y) x = idom[x] ?? 0;
      while (y > x) y = idom[y] ?? 0;
    }
    return x;
  };
  for (let changed = true; changed;) {
    changed = false;
    for (let i = 1; i < order.length; i++) {
      let d = -1;
      for (const p of preds[i] ?? []) if ((idom[p] ?? -1) >= 0) d = d < 0 ? p : meet(d, p);
      if (d !== idom[i]) {
        idom[i] = d;
        changed = true;
      }
    }
  }
  const dominates = (a: number, b: number): boolean => {
    let x = b;
    while (x > a) x = idom[x] ?? 0;
    return x === a;
  };

  // An edge back to what does not dominate it is not made; dominators found with it hold without it, too, as far as they are used.
  const flows: (Flow & { loop: boolean; merge: boolean; within: Loop | undefined })[] = order.map((block) => ({
    block, rip: block.rip, loop: false, merge: false, merges: [], ways: new Map(), within: undefined,
  })); // prettier-ignore
  const bodies = new Map<number, Set<number>>();
  order.forEach((b, i) => {
    for (const s of new Set(b.successors)) {
      const to = number.get(s);
      const flow = to === undefined ? undefined : flows[to];
      if (to === undefined || flow === undefined) continue;
      const back = to <= i;
      if (back && !dominates(to, i)) continue;
      flows[i]?.ways.set(flow.rip, { to: flow, back });
      if (!back) continue;
      flow.loop = true;
      const body = bodies.get(to) ?? new Set([to]);
      bodies.set(to, body);
      for (const open = [i]; ;) {
        const b = open.pop();
        if (b === undefined) break;
        if (body.has(b)) continue;
        body.add(b);
        open.push(...(preds[b] ?? []));
      }
    }
  });
  // From the outermost to the innermost.
  for (const numbers of [...bodies.values()].sort((a, b) => b.size - a.size)) {
    const members = [...numbers].flatMap((n) => flows[n] ?? []);
    const loop = { body: new Set(members) };
    for (const flow of members) flow.within = loop;
  }
  order.forEach((b, i) => {
    const forward = (preds[i] ?? []).filter((p) => p < i);
    // Both ways of one branch may lead to the same place.
    const twice = forward.some((p) => (order[p]?.successors.filter((s) => s === b.key).length ?? 0) > 1);
    const flow = flows[i];
    if (flow === undefined || i === 0 || (forward.length < 2 && !twice)) return;
    flow.merge = true;
    flows[idom[i] ?? 0]?.merges.push(flow);
  });
  const entryFlow = flows[0];
  if (entryFlow === undefined) throw new Error('a region has an entry');
  return entryFlow;
}
