/**
 * What split devices have in common: the two ends' nodes in xenstore, the states they go through (io/xenbus.h), and
 * what a back end holds of its guest while it is connected. A device says what it offers, what it needs of the front
 * end, and how it serves; everything that can go wrong in between ends here, in words.
 */
import { eventPort, grantRef, type DomainId } from '../base/branded';
import type { Log } from '../base/log';
import type { BackendContext, BackendPort, GrantMapping } from '../hypervisor/backend';
import { guestOwned, readOnly } from './xenstore/domain-tree';
import { domainPath } from './xenstore/paths';
import { MAY } from './xenstore/permissions';
import type { XenstoreCore } from './xenstore/server';

/** enum xenbus_state (io/xenbus.h) */
export const XenbusState = {
  Initialising: 1,
  InitWait: 2,
  Initialised: 3,
  Connected: 4,
  Closing: 5,
  Closed: 6,
} as const;
export type XenbusState = (typeof XenbusState)[keyof typeof XenbusState];

/** A decimal number below 2^32 as a front end writes it, else undefined. */
export function decimal(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,10}$/.test(text)) return undefined;
  const value = Number(text);
  return value < 2 ** 32 ? value : undefined;
}

/** Nodes by name, below an end's own. */
export type Nodes = Readonly<Record<string, string | number>>;

/** Pages and ports of a guest that a connection holds. Plain data, part of the device's saved state. */
export interface Link {
  readonly pages: readonly GrantMapping[];
  readonly ports: readonly BackendPort[];
}

/** Why a front end cannot be connected to. */
class Refused extends Error {}
export const refuse = (reason: string): Error => new Refused(reason);

/** A front end's nodes while it is being connected to. What is taken of the guest is given back if that fails. */
export interface FrontEnd {
  read(name: string): string | undefined;
  /** @throws a refusal, as all below */
  number(name: string): number;
  /** Maps the page whose grant reference the node holds, for writing. */
  page(name: string): GrantMapping;
  /** Binds to the port that the node holds. */
  port(name: string): BackendPort;
}

export interface SplitDevice<C> {
  readonly domain: DomainId;
  /** `vbd` and 51712 in `backend/vbd/1/51712`. */
  readonly type: string;
  readonly id: number;
  /** What messages call it. */
  readonly label: string;
  /** What xl writes beside the paths, the domains and the states. */
  readonly front: Nodes;
  readonly back: Nodes;
  /** Told to a front end that begins. */
  offer(): Nodes;
  /** The states at which a front end's nodes are there to be read. */
  readonly ready: readonly XenbusState[];
  /** Goes to Closed as soon as the front end is Closing, instead of waiting for it. */
  readonly closesFirst?: true;
  connect(front: FrontEnd): C;
  /** Told on the way to Connected. */
  details?(connection: C): Nodes;
  /** There may be something in the rings. */
  serve(connection: C): void;
  /** Whatever `connect` began ends; the link is given up after that. */
  release?(connection: C): void;
}

/** Both ends, for people. */
export interface SplitView {
  readonly type: string;
  readonly domain: number;
  readonly id: number;
  readonly frontPath: string;
  readonly backPath: string;
  readonly frontState: string;
  readonly backState: string;
  readonly ports: readonly number[];
  /** Grant references of the rings' pages. */
  readonly ringRefs: readonly number[];
}

export interface SplitBackend<C> {
  readonly domain: DomainId;
  readonly id: number;
  connection(): C | undefined;
  /** Front end's node, at any time. */
  read(name: string): string | undefined;
  tell(nodes: Nodes): void;
  /** Tells a front end that is connected to look at our nodes once more (Linux's back ends do so after a resize). */
  nudge(): void;
  /** Whether the domain has the device: from the beginning on, until it is unplugged. */
  plugged(): boolean;
  /** Gives it to the domain again. */
  plug(): void;
  /** Asks the front end to let go, as xl does; the device is gone once it has, which may be never. */
  unplug(): void;
  /** Closes a connection whose front end did what cannot be; the reason goes to the log and to the `error` node. */
  fail(reason: string): void;
  /** The domain ended. */
  end(): void;
  link(): Link | undefined;
  /** Goes to a saved link, with what `make` makes of it. */
  restore(link: undefined): void;
  restore(link: Link, make: (link: Link) => C): void;
  view(): SplitView;
}

interface Connected<C> {
  readonly link: Link;
  readonly own: C;
}

const stateName = (text: string | undefined): string => {
  const state = decimal(text);
  return Object.entries(XenbusState).find(([, n]) => n === state)?.[0] ?? text ?? 'none';
};

export function splitBackend<C>(
  context: BackendContext,
  server: XenstoreCore,
  device: SplitDevice<C>,
  log: Log,
): SplitBackend<C> {
  const { domain, type, id, label } = device;
  const front = `${domainPath(domain)}/device/${type}/${id}`;
  const back = `${domainPath(0)}/backend/${type}/${domain}/${id}`;
  const errorNode = `${domainPath(0)}/error/backend/${type}/${domain}/${id}/error`;
  let current: Connected<C> | undefined;
  const connected = (): Connected<C> | undefined => current;
  let listeners: { dispose(): void }[] = [];

  const plugged = (): boolean => server.read(`${back}/frontend`) !== undefined;
  const state = (): number | undefined => decimal(server.read(`${back}/state`));
  const enter = (next: XenbusState): void => {
    if (state() !== next) server.write(`${back}/state`, String(next));
  };
  const tell = (nodes: Nodes): void => {
    for (const [name, value] of Object.entries(nodes)) server.write(`${back}/${name}`, String(value));
  };

  function use(next: Connected<C> | undefined): void {
    for (const listener of listeners) listener.dispose();
    current = next;
    listeners =
      next === undefined
        ? []
        : next.link.ports.map((port) => context.onEvent(port, () => device.serve(next.own)));
  }

  function giveUp({ pages, ports }: Link): void {
    for (const page of pages) context.unmapGrant(page);
    for (const port of ports) context.close(port);
  }

  function release(): void {
    if (current === undefined) return;
    const { link, own } = current;
    use(undefined);
    device.release?.(own);
    giveUp(link);
  }

  function close(): void {
    release();
    if (state() !== XenbusState.Closed) {
      enter(XenbusState.Closing);
      enter(XenbusState.Closed);
    }
  }

  function complain(what: string, reason: string): void {
    log.warn(`d${domain} ${label}: ${what}: ${reason}`);
    // Where Linux's back ends write it (xenbus_dev_fatal).
    server.write(errorNode, reason);
  }

  /** @throws a refusal */
  function connect(): Connected<C> {
    const pages: GrantMapping[] = [];
    const ports: BackendPort[] = [];
    const number = (name: string): number => {
      const value = decimal(server.read(`${front}/${name}`));
      if (value === undefined) throw refuse(`${name} is not a number`);
      return value;
    };
    const link = { pages, ports };
    try {
      const own = device.connect({
        read: (name) => server.read(`${front}/${name}`),
        number,
        page(name) {
          const ref = number(name);
          const granted = context.mapGrant(domain, grantRef(ref), true);
          if (!granted.ok) throw refuse(`${name}: grant ${ref}: ${granted.reason}`);
          pages.push(granted.mapping);
          return granted.mapping;
        },
        port(name) {
          const remote = number(name);
          const port = context.bindInterdomain(domain, eventPort(remote));
          if (port === undefined) throw refuse(`${name}: port ${remote} is not unbound for domain 0`);
          ports.push(port);
          return port;
        },
      });
      return { link, own };
    } catch (error) {
      giveUp(link);
      throw error;
    }
  }

  function begin(): void {
    if (connected() !== undefined) return;
    let made;
    try {
      made = connect();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      complain('cannot connect', error.message);
      close();
      return;
    }
    use(made);
    tell(device.details?.(made.own) ?? {});
    enter(XenbusState.Connected);
    // Requests may be there already.
    if (connected() === made) device.serve(made.own);
  }

  /** What each state of the front end asks of us; Closed, none and nonsense: to close. */
  const reactions: Readonly<Record<number, () => void>> = {
    // A front end that begins, perhaps again after another was there.
    [XenbusState.Initialising]: () => {
      release();
      server.remove(errorNode);
      tell(device.offer());
      enter(XenbusState.InitWait);
    },
    [XenbusState.InitWait]: () => undefined,
    [XenbusState.Initialised]: () => undefined,
    [XenbusState.Connected]: () => undefined,
    [XenbusState.Closing]:
      device.closesFirst === true
        ? close
        : () => {
            release();
            enter(XenbusState.Closing);
          },
    ...Object.fromEntries(device.ready.map((at) => [at, begin])),
  };
  const theirState = (): number => decimal(server.read(`${front}/state`)) ?? XenbusState.Closed;
  const follow = (): void => {
    if (!plugged()) return;
    const theirs = theirState();
    (reactions[theirs] ?? close)();
    if (theirs === XenbusState.Closed && server.read(`${back}/online`) === '0') remove();
  };

  function remove(): void {
    release();
    // Ours first: what the front end's end does to our listeners then finds nothing that is plugged.
    for (const path of [back, front, errorNode]) server.remove(path);
  }

  const make = (path: string, nodes: Nodes, permissions: Parameters<XenstoreCore['make']>[2]): void => {
    server.make(path, '', permissions);
    for (const [name, value] of Object.entries(nodes))
      server.make(`${path}/${name}`, String(value), permissions);
  };
  const initial = XenbusState.Initialising;
  function plug(): void {
    if (plugged()) return;
    make(front, { backend: back, 'backend-id': 0, state: initial, ...device.front }, [
      ...guestOwned(domain),
      { domain: 0, may: MAY.READ },
    ]);
    make(
      back,
      { frontend: front, 'frontend-id': domain, online: 1, state: initial, ...device.back },
      readOnly(domain),
    );
    follow();
  }
  server.watch(`${front}/state`, follow);
  plug();

  return {
    domain,
    id,
    connection: () => current?.own,
    read: (name) => server.read(`${front}/${name}`),
    tell,
    nudge() {
      if (connected() !== undefined) server.write(`${back}/state`, String(XenbusState.Connected));
    },
    plugged,
    plug,
    unplug() {
      if (!plugged()) return;
      tell({ online: 0 });
      // Nobody there who could let go: no driver, or one that has already.
      if (theirState() === XenbusState.Closed || theirState() === XenbusState.Initialising) remove();
      else enter(XenbusState.Closing);
    },
    fail(reason) {
      complain('closed', reason);
      close();
    },
    end() {
      if (plugged()) close();
    },
    link: () => current?.link,
    restore(link?: Link, remake?: (link: Link) => C) {
      use(link && remake && { link, own: remake(link) });
    },
    view: () => ({
      type,
      domain,
      id,
      frontPath: front,
      backPath: back,
      frontState: stateName(server.read(`${front}/state`)),
      backState: stateName(server.read(`${back}/state`)),
      ports: current?.link.ports ?? [],
      ringRefs: current?.link.pages.map(({ ref }) => ref) ?? [],
    }),
  };
}
