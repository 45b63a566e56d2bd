/**
 * The back end of the echo device, the smallest split device: media/samples/first-hypercall/README.md is its
 * protocol. One instance for each domain.
 */
import { eventPort, grantRef, type DomainId } from '../../base/branded';
import type { Log } from '../../base/log';
import { array, chars, struct, u32, u8 } from '../../abi/layout';
import type { BackendContext, BackendPort, DomainConnections, GrantMapping } from '../../hypervisor/backend';
import { decimal, XenbusState } from '../xenbus';
import { guestOwned, readOnly } from '../xenstore/domain-tree';
import { domainPath } from '../xenstore/paths';
import { MAY } from '../xenstore/permissions';
import type { XenstoreCore } from '../xenstore/server';

const DATA_LENGTH = 3840;
export const echo_page = struct('echo_page', {
  req_seq: u32,
  rsp_seq: u32,
  length: u32,
  _reserved: u32,
  greeting: chars(240),
  data: array(u8, DATA_LENGTH),
});
const { offset } = echo_page;
const GREETING = 'hello from the back end';

interface Connection {
  readonly mapping: GrantMapping;
  readonly port: BackendPort;
}

export interface EchoState {
  readonly domain: number;
  readonly connection: Connection | undefined;
  /** Requests answered; the page's rsp_seq is only what we tell the guest. */
  readonly answered: number;
}

interface Instance {
  release(): void;
  save(): EchoState;
  restore(state: EchoState): void;
}

export interface EchoDevice {
  attach(connections: DomainConnections): void;
  detach(domain: DomainId): void;
  save(): readonly EchoState[];
  restore(states: readonly EchoState[]): void;
}

const upper = (byte: number): number => (byte >= 0x61 && byte <= 0x7a ? byte - 0x20 : byte);

function createInstance(context: BackendContext, server: XenstoreCore, domain: DomainId, log: Log): Instance {
  const front = `${domainPath(domain)}/device/echo/0`;
  const back = `${domainPath(0)}/backend/echo/${domain}/0`;
  let connection: Connection | undefined;
  let listener: { dispose(): void } | undefined;
  let answered = 0;

  const state = (): number | undefined => decimal(server.read(`${back}/state`));
  const enter = (next: XenbusState): void => {
    if (state() !== next) server.write(`${back}/state`, String(next));
  };

  function listen(): void {
    listener?.dispose();
    listener = connection === undefined ? undefined : context.onEvent(connection.port, answer);
  }

  function release(): void {
    if (connection === undefined) return;
    const { mapping, port } = connection;
    connection = undefined;
    listen();
    context.unmapGrant(mapping);
    context.close(port);
  }

  /** @returns why it cannot be done, or undefined when it is done */
  function connect(): string | undefined {
    const ref = decimal(server.read(`${front}/ring-ref`));
    const port = decimal(server.read(`${front}/event-channel`));
    if (ref === undefined) return 'ring-ref is not a number';
    if (port === undefined) return 'event-channel is not a number';
    const granted = context.mapGrant(domain, grantRef(ref), true);
    if (!granted.ok) return `grant ${ref}: ${granted.reason}`;
    const { mapping } = granted;
    const own = context.bindInterdomain(domain, eventPort(port));
    if (own === undefined) {
      context.unmapGrant(mapping);
      return `port ${port} is not unbound for domain 0`;
    }
    connection = { mapping, port: own };
    answered = 0;
    listen();
    const text = new Uint8Array(echo_page.fields.greeting.size);
    for (let i = 0; i < GREETING.length; i++) text[i] = GREETING.charCodeAt(i);
    context.write(mapping.mfn, offset.greeting, text);
    return undefined;
  }

  /** One request, if there is one. Each field is read once; what it says is used only within its bounds. */
  function answer(): void {
    if (connection === undefined) return;
    const { mapping, port } = connection;
    const page = context.frame(mapping.mfn);
    if (page === undefined) return;
    const request = page.view.getUint32(offset.req_seq, true);
    if (request === answered) return;
    const length = Math.min(page.view.getUint32(offset.length, true), DATA_LENGTH - 1);
    const data = page.bytes.slice(offset.data, offset.data + length).map(upper);
    answered = request;
    context.write(mapping.mfn, offset.data, data);
    context.writeU32(mapping.mfn, offset.length, length);
    context.writeU32(mapping.mfn, offset.rsp_seq, request);
    context.notify(port);
  }

  function close(): void {
    release();
    if (state() !== XenbusState.Closed) {
      enter(XenbusState.Closing);
      enter(XenbusState.Closed);
    }
  }

  function begin(): void {
    if (connection !== undefined) return;
    const problem = connect();
    if (problem === undefined) {
      enter(XenbusState.Connected);
      return;
    }
    log.warn(`d${domain}: cannot connect: ${problem}`);
    close();
  }

  /** What each state of the front end asks of us; Closing, Closed, none and nonsense: to close. */
  const reactions: Readonly<Record<number, () => void>> = {
    // A front end that begins, perhaps again after another was there.
    [XenbusState.Initialising]: () => {
      release();
      enter(XenbusState.InitWait);
    },
    [XenbusState.InitWait]: () => undefined,
    [XenbusState.Initialised]: begin,
    [XenbusState.Connected]: () => undefined,
  };
  const follow = (): void => {
    const theirs = decimal(server.read(`${front}/state`));
    (reactions[theirs ?? XenbusState.Closed] ?? close)();
  };

  const owned = [...guestOwned(domain), { domain: 0, may: MAY.READ }];
  const told = readOnly(domain);
  server.make(front, '', owned);
  server.make(`${front}/backend`, back, owned);
  server.make(`${front}/backend-id`, '0', owned);
  server.make(`${front}/state`, String(XenbusState.Initialising), owned);
  server.make(back, '', told);
  server.make(`${back}/frontend`, front, told);
  server.make(`${back}/frontend-id`, String(domain), told);
  server.make(`${back}/state`, String(XenbusState.Initialising), told);
  server.watch(`${front}/state`, follow);
  follow();

  return {
    release: close,
    save: () => ({ domain, connection, answered }),
    restore(saved) {
      ({ connection, answered } = saved);
      listen();
    },
  };
}

export function createEcho(context: BackendContext, server: XenstoreCore, log: Log): EchoDevice {
  const instances = new Map<number, Instance>();
  return {
    attach({ domain }) {
      instances.set(domain, createInstance(context, server, domain, log));
    },
    detach(domain) {
      instances.get(domain)?.release();
    },
    save: () => [...instances.values()].map((i) => i.save()),
    restore(states) {
      for (const [domain, instance] of instances) {
        instance.restore(
          states.find((s) => s.domain === domain) ?? { domain, connection: undefined, answered: 0 },
        );
      }
    },
  };
}
