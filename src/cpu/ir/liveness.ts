import type { Block, Node, Statement } from './nodes';

/**
 * Counts the uses of nodes, from the last statement to the first, and drops what nobody uses: reads, pure nodes
 * and empty branches. Guest accesses stay (they may fault), as do calls.
 */
export function prune(block: Block, depth = 0): Block {
  const kept: Block = [];
  for (let i = block.length - 1; i >= 0; i--) {
    const s = block[i];
    if (s === undefined) continue;
    const live = keep(s, depth);
    if (live !== undefined) kept.push(live);
  }
  return kept.reverse();
}

function use(node: Node, depth: number): void {
  if (depth > node.depth) node.crossesLoop = true;
  if (node.uses++ > 0) return;
  for (const arg of node.args) use(arg, node.depth);
}

/** A departure's values are not computed before: only what they are made of is kept. */
function useCold(node: Node): void {
  if (node.cold) return;
  node.cold = true;
  if (node.op === 'local') node.uses += 2;
  else for (const arg of node.args) useCold(arg);
}

function keep(s: Statement, depth: number): Statement | undefined {
  switch (s.kind) {
    case 'let':
      if (s.result.uses === 0) return undefined;
      if (s.read.op === 'load') use(s.read.address, depth);
      return s;
    case 'read':
      return s.result.uses === 0 ? undefined : s;
    case 'define':
      return s.node.uses === 0 ? undefined : s;
    case 'assign':
    case 'put':
      use(s.value, depth);
      return s;
    case 'store':
      use(s.value, depth);
      use(s.address, depth);
      return s;
    case 'keep':
      use(s.node, depth);
      use(s.node, depth);
      return s;
    case 'leave':
      for (const { value } of s.to.sets) useCold(value);
      if (s.condition !== undefined) use(s.condition, depth);
      return s;
    case 'edge':
      for (const { value } of s.to.sets) use(value, depth);
      return s;
    case 'block':
      return { ...s, body: prune(s.body, depth) };
    case 'special':
      for (const { value } of s.placing?.bail.sets ?? []) useCold(value);
      for (const v of s.args) use(v, depth);
      return s;
    case 'return':
      for (const v of s.values) use(v, depth);
      return s;
    case 'jump':
      return s;
    case 'if': {
      const otherwise = prune(s.otherwise, depth);
      const then = prune(s.then, depth);
      if (then.length === 0 && otherwise.length === 0) return undefined;
      use(s.condition, depth);
      return { ...s, then, otherwise };
    }
    case 'switch': {
      const cases = s.cases.map((body) => prune(body, depth));
      use(s.index, depth);
      return { ...s, cases };
    }
    case 'loop': {
      const body = prune(s.body, depth + 1);
      use(s.condition, depth + 1);
      return { ...s, body, head: prune(s.head, depth + 1) };
    }
  }
}
