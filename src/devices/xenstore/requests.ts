/**
 * What each request does (docs/misc/xenstore.txt; errors as xenstored 4.17 gives them). One table: the server
 * dispatches by it, and the names serve the log.
 */
import { canonical, domainPath, isRelative, parentOf } from './paths';
import { formatPermission, MAY, parsePermission, permitted, type Permission } from './permissions';
import type { Actor, Change, Node, Store, Transaction, View } from './store';
import { quota, XENSTORE_PAYLOAD_MAX, XS, XsError } from './wire';

export interface Watch {
  /** Absolute. */
  readonly path: string;
  readonly token: string;
  /** Given as a relative path, and so reported. */
  readonly relative: boolean;
}

/** What a request needs of the client that makes it. */
export interface Requester extends Actor {
  watches: Watch[];
  readonly transactions: Map<number, Transaction>;
  nextTransaction: number;
}

export interface Request {
  readonly store: Store;
  readonly client: Requester;
  readonly view: View;
  /** One character a byte. */
  readonly payload: string;
  reply(payload: string): void;
  /** Tells watchers now, or with the commit. `before`: permissions that were just replaced. */
  changed(path: string, exact: boolean, node: Node | undefined, before?: readonly Permission[]): void;
  committed(change: Change): void;
  /** A watch event for this client alone. */
  event(watch: Watch, path: string): void;
  domainExists(domain: number): boolean;
  endTransaction(transaction: Transaction): void;
  resetWatches(): void;
}

export interface RequestKind {
  readonly name: string;
  /** For domain 0 only: others get EACCES. */
  readonly privileged?: true;
  /** Takes no notice of tx_id. */
  readonly outside?: true;
  run(request: Request): void;
}

const OK = 'OK\0';

/** The payload as one string with its terminating zero, and nothing else. */
function onlyString({ payload }: Request): string | undefined {
  return payload.length > 0 && payload.indexOf('\0') === payload.length - 1
    ? payload.slice(0, -1)
    : undefined;
}

/** Strings that are terminated; what follows the last zero is no string. */
const strings = ({ payload }: Request): string[] => payload.split('\0').slice(0, -1);

/** C's atoi: the digits it begins with, else 0. */
const atoi = (text: string): number => {
  const digits = /^\s*([+-]?\d+)/.exec(text)?.[1];
  return digits === undefined ? 0 : Number(BigInt.asIntN(32, BigInt(digits)));
};

/**
 * The node, if there is one that this client may use so. Undefined: there is none, and the client may know it;
 * whoever could not have used the nearest node above it is told EACCES either way.
 */
function find({ store, view }: Request, path: string, mask: number): Node | undefined {
  const { actor } = view;
  const node = store.read(view, path);
  if (node !== undefined) {
    if ((permitted(actor, node.permissions) & mask) === mask) return node;
  } else {
    let above = path;
    let near: Node | undefined;
    do {
      above = parentOf(above);
      near = store.read(view, above);
    } while (near === undefined && above !== '/');
    if (near !== undefined && (permitted(actor, near.permissions) & mask) !== 0) return undefined;
  }
  throw new XsError(
    'EACCES',
    `domain ${actor.domain} has no ${MAY.READ & mask ? 'read' : 'write'} permission at ${path}`,
  );
}

function existing(request: Request, path: string, mask: number): Node {
  const node = find(request, path, mask);
  if (node === undefined) throw new XsError('ENOENT', `${path} does not exist`);
  return node;
}

const named = (request: Request, special = false): string =>
  canonical(request.client, onlyString(request), special);

function read(request: Request): void {
  request.reply(existing(request, named(request), MAY.READ).value);
}

const listing = (node: Node): string => node.children.map((name) => `${name}\0`).join('');

function directory(request: Request): void {
  request.reply(listing(existing(request, named(request), MAY.READ)));
}

function directoryPart(request: Request): void {
  const parts = strings(request);
  const [given, offset] = parts;
  if (parts.length !== 2 || offset === undefined) {
    throw new XsError('EINVAL', 'DIRECTORY_PART takes a path and an offset');
  }
  const node = existing(request, canonical(request.client, given), MAY.READ);
  const all = listing(node);
  const head = `${node.generation}\0`;
  const from = atoi(offset);
  // Beyond the end, negative numbers included (they are taken as unsigned): an empty name.
  if (from < 0 || from >= all.length) {
    request.reply(`${head}\0`);
    return;
  }
  // Whole names, as many as fit beside the generation and the empty name that ends the last part.
  const room = XENSTORE_PAYLOAD_MAX - head.length - 1;
  let to = from;
  for (;;) {
    const end = all.indexOf('\0', to) + 1;
    if (end - from > room) break;
    to = end;
    if (to === all.length) break;
  }
  request.reply(head + all.slice(from, to) + (to === all.length ? '\0' : ''));
}

function write(request: Request): void {
  const { store, view, payload } = request;
  const end = payload.indexOf('\0');
  if (end < 0) throw new XsError('EINVAL', 'the path has no terminating zero');
  const path = canonical(request.client, payload.slice(0, end));
  const value = payload.slice(end + 1);
  const node = find(request, path, MAY.WRITE);
  if (node === undefined) store.create(view, path, value);
  else store.put(view, path, { ...node, value });
  request.changed(path, false, store.read(view, path));
  request.reply(OK);
}

function mkdir(request: Request): void {
  const { store, view } = request;
  const path = named(request);
  if (find(request, path, MAY.WRITE) === undefined) {
    store.create(view, path, '');
    request.changed(path, false, store.read(view, path));
  }
  request.reply(OK);
}

function rm(request: Request): void {
  const { store, view } = request;
  const path = named(request);
  if (find(request, path, MAY.WRITE) === undefined) {
    const above = parentOf(path);
    if (store.read(view, above) === undefined) throw new XsError('ENOENT', `${above} does not exist either`);
  } else {
    if (path === '/') throw new XsError('EINVAL', 'the root stays');
    // Watches below fire for themselves alone: whoever watches from above hears of the whole once.
    store.remove(view, path, (each, node) => request.changed(each, each !== path, node));
  }
  request.reply(OK);
}

function getPerms(request: Request): void {
  const node = existing(request, named(request, true), MAY.READ);
  request.reply(node.permissions.map((p) => `${formatPermission(p)}\0`).join(''));
}

function setPerms(request: Request): void {
  const { store, view, client } = request;
  const [given, ...texts] = strings(request);
  if (texts.length === 0) throw new XsError('EINVAL', 'SET_PERMS takes a path and at least one permission');
  if (!client.privileged && texts.length > quota.permissions) {
    throw new XsError('ENOSPC', `${texts.length} permissions; a node has at most ${quota.permissions}`);
  }
  const permissions = texts
    .map(parsePermission)
    .map((p): Permission => (request.domainExists(p.domain) ? p : { ...p, ignored: true }));
  const owner = permissions[0];
  if (owner === undefined || owner.ignored === true) {
    throw new XsError('ENOENT', `there is no domain ${texts[0] ?? ''} to own the node`);
  }
  const path = canonical(client, given, true);
  const node = existing(request, path, MAY.WRITE | MAY.OWN);
  if (!client.privileged && owner.domain !== node.permissions[0]?.domain) {
    throw new XsError('EPERM', `domain ${client.domain} cannot give ${path} to domain ${owner.domain}`);
  }
  store.put(view, path, { ...node, permissions });
  request.changed(path, false, store.read(view, path), node.permissions);
  request.reply(OK);
}

function watchArguments(request: Request): { path: string; token: string; relative: boolean } {
  const parts = strings(request);
  const [given, token] = parts;
  if (parts.length !== 2 || given === undefined || token === undefined) {
    throw new XsError('EINVAL', `a watch is a path and a token, not ${parts.length} strings`);
  }
  return { path: canonical(request.client, given, true), token, relative: isRelative(given) };
}

function watch(request: Request): void {
  const { client } = request;
  const fresh = watchArguments(request);
  if (client.watches.some((w) => w.path === fresh.path && w.token === fresh.token)) {
    throw new XsError('EEXIST', `${fresh.path} is watched with token ${JSON.stringify(fresh.token)} already`);
  }
  // `>`: one more than the quota says, as xenstored 4.17 compares.
  if (!client.privileged && client.watches.length > quota.watches) {
    throw new XsError('E2BIG', `domain ${client.domain} has ${client.watches.length} watches`);
  }
  const size = fresh.path.length + fresh.token.length;
  if (!client.privileged && client.memory + size > quota.memory) {
    throw new XsError('ENOMEM', `domain ${client.domain} holds ${client.memory} bytes`);
  }
  client.memory += size;
  client.watches.push(fresh);
  request.reply(OK);
  request.event(fresh, fresh.path);
}

function unwatch(request: Request): void {
  const { client } = request;
  const { path, token } = watchArguments(request);
  const at = client.watches.findIndex((w) => w.path === path && w.token === token);
  if (at < 0) throw new XsError('ENOENT', `${path} is not watched with token ${JSON.stringify(token)}`);
  client.memory -= path.length + token.length;
  client.watches.splice(at, 1);
  request.reply(OK);
}

function transactionStart(request: Request): void {
  const { store, client, view } = request;
  if (view.transaction !== undefined) throw new XsError('EBUSY', 'a transaction within a transaction');
  // `>`: one more than the quota says, as xenstored 4.17 compares.
  if (!client.privileged && client.transactions.size > quota.transactions) {
    throw new XsError('ENOSPC', `domain ${client.domain} has ${client.transactions.size} transactions open`);
  }
  while (client.nextTransaction === 0 || client.transactions.has(client.nextTransaction)) {
    client.nextTransaction = (client.nextTransaction + 1) >>> 0;
  }
  const transaction = store.begin(client.nextTransaction);
  client.nextTransaction = (client.nextTransaction + 1) >>> 0;
  client.transactions.set(transaction.id, transaction);
  request.reply(`${transaction.id}\0`);
}

function transactionEnd(request: Request): void {
  const { store, client, view } = request;
  const verdict = onlyString(request);
  if (verdict !== 'T' && verdict !== 'F') throw new XsError('EINVAL', 'TRANSACTION_END takes T or F');
  const { transaction } = view;
  if (transaction === undefined) throw new XsError('ENOENT', 'no transaction is named');
  // Whatever comes of it, the number is free.
  request.endTransaction(transaction);
  if (verdict === 'T') {
    for (const change of store.commit(client, transaction)) request.committed(change);
  }
  request.reply(OK);
}

function getDomainPath(request: Request): void {
  const text = onlyString(request);
  if (text === undefined) throw new XsError('EINVAL', 'GET_DOMAIN_PATH takes a domain');
  request.reply(`${domainPath(atoi(text) >>> 0)}\0`);
}

function isDomainIntroduced(request: Request): void {
  const text = onlyString(request);
  if (text === undefined) throw new XsError('EINVAL', 'IS_DOMAIN_INTRODUCED takes a domain');
  request.reply(request.domainExists(atoi(text)) ? 'T\0' : 'F\0');
}

/** Domain 0 is this program, which has its own ways; only a guest could ask, and a guest may not. */
function notHere(): never {
  throw new XsError('ENOSYS', 'domains are made and ended by the machine itself');
}

export const requests: Readonly<Record<number, RequestKind>> = {
  [XS.CONTROL]: { name: 'CONTROL', privileged: true, run: notHere },
  [XS.DIRECTORY]: { name: 'DIRECTORY', run: directory },
  [XS.READ]: { name: 'READ', run: read },
  [XS.GET_PERMS]: { name: 'GET_PERMS', run: getPerms },
  [XS.WATCH]: { name: 'WATCH', outside: true, run: watch },
  [XS.UNWATCH]: { name: 'UNWATCH', outside: true, run: unwatch },
  [XS.TRANSACTION_START]: { name: 'TRANSACTION_START', run: transactionStart },
  [XS.TRANSACTION_END]: { name: 'TRANSACTION_END', run: transactionEnd },
  [XS.INTRODUCE]: { name: 'INTRODUCE', privileged: true, run: notHere },
  [XS.RELEASE]: { name: 'RELEASE', privileged: true, run: notHere },
  [XS.GET_DOMAIN_PATH]: { name: 'GET_DOMAIN_PATH', run: getDomainPath },
  [XS.WRITE]: { name: 'WRITE', run: write },
  [XS.MKDIR]: { name: 'MKDIR', run: mkdir },
  [XS.RM]: { name: 'RM', run: rm },
  [XS.SET_PERMS]: { name: 'SET_PERMS', run: setPerms },
  [XS.IS_DOMAIN_INTRODUCED]: { name: 'IS_DOMAIN_INTRODUCED', privileged: true, run: isDomainIntroduced },
  [XS.RESUME]: { name: 'RESUME', privileged: true, run: notHere },
  [XS.SET_TARGET]: { name: 'SET_TARGET', privileged: true, run: notHere },
  [XS.RESET_WATCHES]: {
    name: 'RESET_WATCHES',
    run: (request) => {
      request.resetWatches();
      request.reply(OK);
    },
  },
  [XS.DIRECTORY_PART]: { name: 'DIRECTORY_PART', run: directoryPart },
};
