/**
 * The tree, and transactions on it. Nodes never change: a write puts another node in their place, so a
 * transaction, or a saved state, holds on to what it saw at no cost.
 *
 * Transactions as xenstored has them: each works on what it has read or written so far and otherwise on the
 * tree as it is; every write gives a node a new generation; at the end, each node that was read must still have
 * the generation it was first seen with (or be absent still), or the transaction fails with EAGAIN.
 */
import { nameOf, parentOf, childOf } from './paths';
import { NOBODY, type Permission } from './permissions';
import { quota, XsError } from './wire';

export interface Node {
  readonly value: string;
  readonly permissions: readonly Permission[];
  /** Names, in the order in which they came. */
  readonly children: readonly string[];
  readonly generation: number;
}

/** Who is at work. */
export interface Actor {
  readonly domain: number;
  /** Domain 0: no quotas, and every permission. */
  readonly privileged: boolean;
  /** Bytes held for it, of `quota.memory`. */
  memory: number;
}

export interface Accessed {
  /** The node when first seen; undefined: there was none. */
  readonly base: Node | undefined;
  current: Node | undefined;
  modified: boolean;
  /** Watches to fire at the commit: at the path alone, or above it as well. */
  fire: 'exact' | 'above' | undefined;
}

export interface Transaction {
  readonly id: number;
  readonly accessed: Map<string, Accessed>;
  /** Change of the number of nodes that domains own. */
  readonly owned: Map<number, number>;
  created: boolean;
  /** A step could not be finished; it cannot be committed any more. */
  failed: boolean;
  /** Bytes of changed nodes. */
  memory: number;
}

export interface View {
  readonly actor: Actor;
  readonly transaction: Transaction | undefined;
}

export interface Change {
  readonly path: string;
  readonly exact: boolean;
  /** Permissions before, which also decide who may hear of it. */
  readonly before: readonly Permission[] | undefined;
}

export interface StoreState {
  readonly generation: number;
  readonly nodes: readonly (readonly [string, Node])[];
}

export interface Store {
  read(view: View, path: string): Node | undefined;
  /** Replaces what stands at `path`. The parent must name it. */
  put(view: View, path: string, node: Omit<Node, 'generation'>): void;
  /** Makes `path` and what is missing above it; the new nodes' permissions are the parent's, a guest owns its own. */
  create(view: View, path: string, value: string): void;
  /** Removes `path` with all below it; `each` is told of every node, those below first, before it goes. */
  remove(view: View, path: string, each: (path: string, node: Node) => void): void;
  begin(id: number): Transaction;
  /** Throws EAGAIN, or ENOSPC; otherwise everything is done, and these are the changes to tell of. */
  commit(actor: Actor, transaction: Transaction): Change[];
  /** Nodes owned by a domain. */
  owned(domain: number): number;
  save(): StoreState;
  restore(state: StoreState): void;
}

/** What xenstored counts: its record's header is 24 bytes, a permission 8. */
const sizeOf = (node: Omit<Node, 'generation'>): number =>
  node.children.reduce(
    (sum, name) => sum + name.length + 1,
    24 + 8 * node.permissions.length + node.value.length,
  );

const ownerOf = (node: { readonly permissions: readonly Permission[] }): number =>
  node.permissions[0]?.domain ?? 0;

export function createStore(): Store {
  let nodes = new Map<string, Node>();
  let generation = 0;
  let owners = new Map<number, number>();

  const add = (counts: Map<number, number>, domain: number, by: number): void => {
    counts.set(domain, (counts.get(domain) ?? 0) + by);
  };
  const account = (view: View, domain: number, by: number): void =>
    add(view.transaction?.owned ?? owners, domain, by);
  const ownedIn = (view: View): number =>
    (owners.get(view.actor.domain) ?? 0) + (view.transaction?.owned.get(view.actor.domain) ?? 0);

  function access({ actor }: View, transaction: Transaction, path: string): Accessed {
    const known = transaction.accessed.get(path);
    if (known !== undefined) return known;
    if (!actor.privileged && transaction.accessed.size >= quota.accessed) {
      transaction.failed = true;
      throw new XsError(
        'ENOSPC',
        `transaction ${transaction.id} has seen ${quota.accessed} nodes, which is the limit`,
      );
    }
    const base = nodes.get(path);
    const fresh: Accessed = { base, current: base, modified: false, fire: undefined };
    transaction.accessed.set(path, fresh);
    return fresh;
  }

  const read = (view: View, path: string): Node | undefined =>
    view.transaction === undefined ? nodes.get(path) : access(view, view.transaction, path).current;

  function set(view: View, path: string, node: Omit<Node, 'generation'> | undefined): void {
    const next = node === undefined ? undefined : { ...node, generation: ++generation };
    const { actor, transaction } = view;
    if (transaction === undefined) {
      if (next === undefined) nodes.delete(path);
      else nodes.set(path, next);
      return;
    }
    const entry = access(view, transaction, path);
    const held = entry.modified && entry.current !== undefined ? sizeOf(entry.current) + path.length : 0;
    const more = (next === undefined ? 0 : sizeOf(next) + path.length) - held;
    if (!actor.privileged && more > 0 && actor.memory + more > quota.memory) {
      transaction.failed = true;
      throw new XsError('EIO', `domain ${actor.domain} holds ${actor.memory} bytes of ${quota.memory}`);
    }
    transaction.memory += more;
    actor.memory += more;
    entry.current = next;
    entry.modified = true;
  }

  function checkSize({ actor, transaction }: View, path: string, node: Omit<Node, 'generation'>): void {
    const size = sizeOf(node);
    // `>=`, as xenstored 4.17 compares.
    if (actor.privileged || size < quota.nodeSize) return;
    if (transaction !== undefined) transaction.failed = true;
    throw new XsError('ENOSPC', `${path} would take ${size} bytes; a node is less than ${quota.nodeSize}`);
  }

  function create(view: View, path: string, value: string): void {
    const { actor, transaction } = view;
    const made: { path: string; node: Omit<Node, 'generation'> }[] = [];
    const missing: string[] = [];
    let at = path;
    let found = read(view, at);
    while (found === undefined) {
      if (at === '/') throw new XsError('ENOENT', `there is no root above ${path}`);
      missing.unshift(at);
      at = parentOf(at);
      found = read(view, at);
    }
    const [first] = missing;
    if (first === undefined) throw new XsError('EEXIST', `${path} exists`);
    if (!actor.privileged && ownedIn(view) + missing.length > quota.nodes) {
      throw new XsError('ENOSPC', `domain ${actor.domain} owns ${ownedIn(view)} nodes of ${quota.nodes}`);
    }
    made.push({ path: at, node: { ...found, children: [...found.children, nameOf(first)] } });
    const [owner, ...others] = found.permissions;
    const permissions =
      owner === undefined || actor.privileged
        ? found.permissions
        : [{ domain: actor.domain, may: owner.may }, ...others];
    missing.forEach((each, i) => {
      const below = missing[i + 1];
      const children = below === undefined ? [] : [nameOf(below)];
      made.push({ path: each, node: { value: below === undefined ? value : '', permissions, children } });
    });
    for (const m of made) checkSize(view, m.path, m.node);
    if (transaction !== undefined) transaction.created = true;
    for (const m of made.reverse()) set(view, m.path, m.node);
    for (const each of missing) {
      const node = read(view, each);
      if (node !== undefined) account(view, ownerOf(node), 1);
    }
  }

  function removeTree(view: View, path: string, each: (path: string, node: Node) => void): void {
    const node = read(view, path);
    if (node === undefined) return;
    for (const name of node.children) removeTree(view, childOf(path, name), each);
    each(path, node);
    account(view, ownerOf(node), -1);
    set(view, path, undefined);
  }

  return {
    read,
    put(view, path, node) {
      checkSize(view, path, node);
      const old = read(view, path);
      set(view, path, node);
      if (old !== undefined) account(view, ownerOf(old), -1);
      account(view, ownerOf(node), 1);
    },
    create,
    remove(view, path, each) {
      const above = parentOf(path);
      const parent = read(view, above);
      if (parent === undefined) throw new XsError('EINVAL', `${path} has no parent`);
      removeTree(view, path, each);
      set(view, above, { ...parent, children: parent.children.filter((name) => name !== nameOf(path)) });
    },
    begin: (id) => ({ id, accessed: new Map(), owned: new Map(), created: false, failed: false, memory: 0 }),
    commit(actor, transaction) {
      if (transaction.failed)
        throw new XsError('ENOMEM', `transaction ${transaction.id} could not do all its steps`);
      if (transaction.created && !actor.privileged) {
        for (const [domain, by] of transaction.owned) {
          const count = (owners.get(domain) ?? 0) + by;
          // `>=`: one fewer than without a transaction, as xenstored 4.17 compares.
          if (count >= quota.nodes) throw new XsError('ENOSPC', `domain ${domain} would own ${count} nodes`);
        }
      }
      for (const [path, entry] of transaction.accessed) {
        if (nodes.get(path)?.generation !== entry.base?.generation) {
          throw new XsError('EAGAIN', `${path} changed since transaction ${transaction.id} saw it`);
        }
      }
      const changes: Change[] = [];
      for (const [path, entry] of transaction.accessed) {
        if (!entry.modified) continue;
        if (entry.current === undefined) nodes.delete(path);
        else nodes.set(path, { ...entry.current, generation: ++generation });
        if (entry.fire !== undefined) {
          changes.push({ path, exact: entry.fire === 'exact', before: entry.base?.permissions });
        }
      }
      for (const [domain, by] of transaction.owned) add(owners, domain, by);
      return changes;
    },
    owned: (domain) => owners.get(domain) ?? 0,
    save: () => ({ generation, nodes: [...nodes] }),
    restore(state) {
      generation = state.generation;
      nodes = new Map(state.nodes);
      owners = new Map();
      for (const node of nodes.values()) add(owners, ownerOf(node), 1);
    },
  };
}

/** The store as xenstored makes it: /tool/xenstored and the two special nodes, for nobody but domain 0. */
export function foundStore(store: Store): void {
  const view: View = { actor: { domain: 0, privileged: true, memory: 0 }, transaction: undefined };
  for (const path of ['/', '@releaseDomain', '@introduceDomain']) {
    store.put(view, path, { value: '', permissions: NOBODY, children: [] });
  }
  store.create(view, '/tool/xenstored', '');
}
