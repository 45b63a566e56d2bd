/**
 * The server's middle: clients with their watches and transactions, requests in, replies and watch events out.
 * How the bytes travel is channel.ts's affair, what a request does requests.ts's.
 *
 * What xenstored does by the clock is left out: its write rate limit, and giving up watch events that a guest
 * has not taken for 20 s (the quota of memory still bounds what waits).
 */
import type { Disposable } from '../../base/disposable';
import type { Log } from '../../base/log';
import type { BackendObserver, XenstoreAccess } from '../../hypervisor/backend';
import { canonical, childOf, domainPath, isWithin, parentOf } from './paths';
import { formatPermission, MAY, permitted, type Permission } from './permissions';
import { requests, type Request, type Requester, type Watch } from './requests';
import {
  createStore,
  foundStore,
  type Accessed,
  type Node,
  type StoreState,
  type Transaction,
  type View,
} from './store';
import { quota, XENSTORE_PAYLOAD_MAX, XS, xsd_sockmsg, XsError, type Header } from './wire';

export interface Message extends Header {
  /** One character a byte. */
  readonly payload: string;
}

export interface Client extends Requester {
  /** Replies and events that have not left yet. */
  queue: Message[];
  /** Payloads of the watch events in it, but for special paths': derived from it, so that a long queue costs nothing. */
  events: Set<string>;
  /** Events were lost, and said to be; until it has taken all there is. */
  deaf: boolean;
}

export interface ClientState {
  readonly domain: number;
  readonly memory: number;
  readonly watches: readonly Watch[];
  readonly nextTransaction: number;
  readonly queue: readonly Message[];
  readonly transactions: readonly {
    readonly id: number;
    readonly accessed: readonly (readonly [string, Accessed])[];
    readonly owned: readonly (readonly [number, number])[];
    readonly created: boolean;
    readonly failed: boolean;
    readonly memory: number;
  }[];
}

export interface ServerState {
  readonly store: StoreState;
  readonly clients: readonly ClientState[];
}

/** A node for people. */
export interface XenstoreEntry {
  readonly path: string;
  readonly name: string;
  readonly value: string;
  /** As in GET_PERMS: the owner's first. */
  readonly permissions: readonly string[];
  readonly children: readonly string[];
  /** Domains that watch this very path, each with its token. */
  readonly watches: readonly { readonly domain: number; readonly token: string }[];
}

/** Paths that are written to are checked as a client's are; an XsError (EINVAL) says what is wrong with one. */
export interface XenstoreServer extends XenstoreAccess {
  /** A node, or undefined. The root is '/'; '@releaseDomain' and '@introduceDomain' stand beside the tree. */
  entry(path: string): XenstoreEntry | undefined;
  /** The node at `path` and all below it, parents first. */
  tree(path?: string): XenstoreEntry[];
  watches(): readonly { readonly domain: number; readonly path: string; readonly token: string }[];
  transactions(): readonly { readonly domain: number; readonly id: number; readonly nodes: number }[];
  /** Fires after a request or a back end changed something; for views that then look again. */
  onChange(listener: () => void): Disposable;
}

export interface XenstoreCore extends XenstoreServer {
  /** Begins to serve a domain. */
  introduce(domain: number): Client;
  process(client: Client, header: Header, payload: string): void;
  /** Forgets its watches, transactions and messages. */
  reset(client: Client): void;
  /** The first message of its queue has left. */
  sent(client: Client): void;
  released(): void;
  /** Makes a node with a value and permissions of its own (n0 …), whatever was there. */
  make(path: string, value: string, permissions: readonly Permission[]): void;
  /** Called when messages wait in some client's queue. */
  onMessages(flush: () => void): void;
  save(): ServerState;
  restore(state: ServerState): void;
}

/** Of a message's header. */
const MESSAGE_SIZE = xsd_sockmsg.size;

/** A watch event; those of special paths count each. */
const countsOnce = ({ type, payload }: Message): boolean =>
  type === XS.WATCH_EVENT && !payload.startsWith('@');

const errorPayload = (error: XsError): string => `${error.errno}\0`;

/** Requests about a path, by what they do with it. */
const ACCESSES: Readonly<Record<number, 'read' | 'write' | 'watch'>> = {
  [XS.DIRECTORY]: 'read',
  [XS.DIRECTORY_PART]: 'read',
  [XS.READ]: 'read',
  [XS.GET_PERMS]: 'read',
  [XS.WRITE]: 'write',
  [XS.MKDIR]: 'write',
  [XS.RM]: 'write',
  [XS.SET_PERMS]: 'write',
  [XS.WATCH]: 'watch',
};

/** @param observer is asked for each time: it comes after the server */
export function createServer(
  log: Log,
  observer: () => BackendObserver | undefined = () => undefined,
): XenstoreCore {
  const store = createStore();
  foundStore(store);
  const clients: Client[] = [];
  /** Domain 0's back ends are one client, in this process. */
  const host: View = { actor: { domain: 0, privileged: true, memory: 0 }, transaction: undefined };
  const hostWatches: { readonly path: string; readonly changed: (path: string) => void }[] = [];
  const changeListeners = new Set<() => void>();
  let hostEvents: (() => void)[] = [];
  let changedSince = false;
  let settling = false;
  let flushMessages: () => void = () => undefined;

  function send(client: Client, message: Message): void {
    client.queue.push(message);
    if (countsOnce(message)) client.events.add(message.payload);
    client.memory += MESSAGE_SIZE + message.payload.length;
  }

  function sendEvent(client: Client, watch: Watch, path: string): void {
    const shown = watch.relative ? path.slice(domainPath(client.domain).length + 1) : path;
    const payload = `${shown}\0${watch.token}\0`;
    if (payload.length > XENSTORE_PAYLOAD_MAX) return;
    // One that waits already tells as much (not so for special events, which count).
    if (client.events.has(payload)) return;
    if (client.memory + MESSAGE_SIZE + payload.length > quota.memory) {
      if (!client.deaf)
        log.warn(`d${client.domain} does not take its watch events: those from ${path} on are lost`);
      client.deaf = true;
      return;
    }
    send(client, { type: XS.WATCH_EVENT, req_id: 0, tx_id: 0, payload });
  }

  /** Whether a client may hear of a change: it can read the node, could before, or can read the parent. */
  function mayHear(
    client: Client,
    path: string,
    node: Node | undefined,
    before?: readonly Permission[],
  ): boolean {
    const readable = (permissions: readonly Permission[]): boolean =>
      (permitted(client, permissions) & MAY.READ) !== 0;
    if (before !== undefined && readable(before)) return true;
    const now = node ?? store.read(host, path);
    if (now === undefined) return false;
    if (readable(now.permissions)) return true;
    const parent = store.read(host, parentOf(path));
    return parent !== undefined && readable(parent.permissions);
  }

  function fire(path: string, exact: boolean, node: Node | undefined, before?: readonly Permission[]): void {
    changedSince = true;
    const matches = (watched: string): boolean => (exact ? watched === path : isWithin(path, watched));
    for (const watch of hostWatches) {
      if (matches(watch.path)) hostEvents.push(() => watch.changed(path));
    }
    for (const client of clients) {
      if (!client.watches.some((w) => matches(w.path)) || !mayHear(client, path, node, before)) continue;
      for (const watch of client.watches) {
        if (matches(watch.path)) sendEvent(client, watch, path);
      }
    }
  }

  /** Deliver what has come up: first to back ends (which may bring up more), then into the rings. */
  function settle(): void {
    if (settling) return;
    settling = true;
    try {
      while (hostEvents.length > 0) {
        const events = hostEvents;
        hostEvents = [];
        for (const event of events) event();
      }
      flushMessages();
      if (changedSince) {
        changedSince = false;
        for (const listener of [...changeListeners]) listener();
      }
    } finally {
      settling = false;
    }
  }

  function endTransaction(client: Client, transaction: Transaction): void {
    client.transactions.delete(transaction.id);
    client.memory -= transaction.memory;
  }

  function resetWatches(client: Client): void {
    for (const w of client.watches) client.memory -= w.path.length + w.token.length;
    client.watches = [];
    for (const t of [...client.transactions.values()]) endTransaction(client, t);
  }

  /** Tells of a request that names a path; one that is malformed names none. */
  function observe(
    client: Client,
    { type }: Header,
    access: 'read' | 'write' | 'watch',
    payload: string,
  ): void {
    const found = observer();
    if (found === undefined) return;
    const end = payload.indexOf('\0');
    try {
      const path = canonical(client, payload.slice(0, end), access === 'watch');
      found.xenstore(client.domain, access, path, type === XS.WRITE ? payload.slice(end + 1) : undefined);
    } catch (error) {
      if (!(error instanceof XsError)) throw error;
    }
  }

  function process(client: Client, header: Header, payload: string): void {
    const answer = (type: number, text: string): void => send(client, { ...header, type, payload: text });
    const kind = requests[header.type];
    try {
      if (kind === undefined) throw new XsError('ENOSYS', `there is no request ${header.type}`);
      if (kind.privileged === true && !client.privileged) {
        throw new XsError('EACCES', `${kind.name} is domain 0's, not domain ${client.domain}'s`);
      }
      const { tx_id } = header;
      const transaction = kind.outside === true || tx_id === 0 ? undefined : client.transactions.get(tx_id);
      if (kind.outside !== true && tx_id !== 0 && transaction === undefined) {
        throw new XsError('ENOENT', `domain ${client.domain} has no transaction ${tx_id}`);
      }
      const request: Request = {
        store,
        client,
        view: { actor: client, transaction },
        payload,
        reply(text) {
          if (text.length > XENSTORE_PAYLOAD_MAX) {
            throw new XsError(
              'E2BIG',
              `a reply of ${text.length} bytes; ${XENSTORE_PAYLOAD_MAX} go into one`,
            );
          }
          answer(header.type, text);
        },
        changed(path, exact, node, before) {
          if (transaction === undefined) {
            fire(path, exact, node, before);
            return;
          }
          const entry = transaction.accessed.get(path);
          if (entry !== undefined && entry.fire !== 'above') entry.fire = exact ? 'exact' : 'above';
        },
        committed: (change) => fire(change.path, change.exact, undefined, change.before),
        event: (watch, path) => sendEvent(client, watch, path),
        domainExists: (domain) => domain === 0 || clients.some((c) => c.domain === domain),
        endTransaction: (ended) => endTransaction(client, ended),
        resetWatches: () => resetWatches(client),
      };
      const access = ACCESSES[header.type];
      if (access !== undefined) observe(client, header, access, payload);
      kind.run(request);
    } catch (error) {
      if (error instanceof XsError) {
        log.debug(`d${client.domain}: ${kind?.name ?? header.type}: ${error.errno}, ${error.message}`);
        answer(XS.ERROR, errorPayload(error));
      } else {
        // A defect here shall not take the machine down; the guest gets what xenstored gives for its own.
        log.error(`d${client.domain}: ${kind?.name ?? header.type}: ${String(error)}`);
        answer(XS.ERROR, 'EIO\0');
      }
    }
    settle();
  }

  function make(path: string, value: string, permissions: readonly Permission[]): void {
    if (store.read(host, path) === undefined) store.create(host, path, value);
    const node = store.read(host, path);
    if (node === undefined) return;
    store.put(host, path, { ...node, value, permissions });
    fire(path, false, store.read(host, path));
    settle();
  }

  function entry(path: string): XenstoreEntry | undefined {
    const node = store.read(host, path);
    if (node === undefined) return undefined;
    return {
      path,
      name: path === '/' ? path : path.slice(path.lastIndexOf('/') + 1),
      value: node.value,
      permissions: node.permissions.map(formatPermission),
      children: node.children,
      watches: clients.flatMap(({ domain, watches }) =>
        watches.filter((w) => w.path === path).map(({ token }) => ({ domain, token })),
      ),
    };
  }

  function tree(path = '/'): XenstoreEntry[] {
    const top = entry(path);
    return top === undefined ? [] : [top, ...top.children.flatMap((name) => tree(childOf(path, name)))];
  }

  return {
    read(path) {
      observer()?.xenstore(0, 'read', path, undefined);
      return store.read(host, path)?.value;
    },
    write(given, value) {
      const path = canonical(host.actor, given);
      observer()?.xenstore(0, 'write', path, value);
      const node = store.read(host, path);
      if (node === undefined) store.create(host, path, value);
      else store.put(host, path, { ...node, value });
      fire(path, false, store.read(host, path));
      settle();
    },
    remove(given) {
      const path = canonical(host.actor, given);
      if (path === '/' || store.read(host, path) === undefined) return;
      observer()?.xenstore(0, 'write', path, undefined);
      store.remove(host, path, (each, node) => fire(each, each !== path, node));
      settle();
    },
    list: (path) => store.read(host, path)?.children ?? [],
    watch(path, changed) {
      const watch = { path, changed };
      hostWatches.push(watch);
      return {
        dispose: () => {
          const at = hostWatches.indexOf(watch);
          if (at >= 0) hostWatches.splice(at, 1);
        },
      };
    },
    entry,
    tree,
    watches: () =>
      clients.flatMap(({ domain, watches }) => watches.map(({ path, token }) => ({ domain, path, token }))),
    transactions: () =>
      clients.flatMap(({ domain, transactions }) =>
        [...transactions.values()].map(({ id, accessed }) => ({ domain, id, nodes: accessed.size })),
      ),
    onChange(listener) {
      const own = (): void => listener();
      changeListeners.add(own);
      return { dispose: () => void changeListeners.delete(own) };
    },
    introduce(domain) {
      const client: Client = {
        domain,
        privileged: false,
        memory: 0,
        watches: [],
        transactions: new Map(),
        nextTransaction: 1,
        queue: [],
        events: new Set(),
        deaf: false,
      };
      clients.push(client);
      fire('@introduceDomain', true, undefined);
      settle();
      return client;
    },
    process,
    reset(client) {
      resetWatches(client);
      client.queue = [];
      client.events.clear();
      client.memory = 0;
    },
    sent(client) {
      const message = client.queue.shift();
      if (message === undefined) return;
      client.memory -= MESSAGE_SIZE + message.payload.length;
      if (countsOnce(message)) client.events.delete(message.payload);
      if (client.queue.length === 0) client.deaf = false;
    },
    released() {
      fire('@releaseDomain', true, undefined);
      settle();
    },
    make,
    onMessages(flush) {
      flushMessages = flush;
    },
    save: () => ({ store: store.save(), clients: clients.map(saveClient) }),
    restore(state) {
      store.restore(state.store);
      for (const client of clients) {
        const saved = state.clients.find((c) => c.domain === client.domain);
        if (saved !== undefined) restoreClient(client, saved);
      }
    },
  };
}

const saveClient = (client: Client): ClientState => ({
  domain: client.domain,
  memory: client.memory,
  watches: [...client.watches],
  nextTransaction: client.nextTransaction,
  queue: [...client.queue],
  transactions: [...client.transactions.values()].map((t) => ({
    ...t,
    accessed: [...t.accessed].map(([path, a]) => [path, { ...a }] as const),
    owned: [...t.owned],
  })),
});

function restoreClient(client: Client, saved: ClientState): void {
  client.memory = saved.memory;
  client.watches = [...saved.watches];
  client.nextTransaction = saved.nextTransaction;
  client.queue = [...saved.queue];
  client.events = new Set(saved.queue.filter(countsOnce).map((m) => m.payload));
  client.transactions.clear();
  for (const t of saved.transactions) {
    client.transactions.set(t.id, {
      ...t,
      accessed: new Map(t.accessed.map(([path, a]) => [path, { ...a }])),
      owned: new Map(t.owned),
    });
  }
}
