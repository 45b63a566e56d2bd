/**
 * The back end of the echo device, the smallest split device: media/samples/first-hypercall/README.md is its
 * protocol. One instance for each domain.
 */
import type { DomainId } from '../../base/branded';
import type { Log } from '../../base/log';
import { array, chars, struct, u32, u8 } from '../../abi/layout';
import type { BackendContext, BackendPort, DomainConnections, GrantMapping } from '../../hypervisor/backend';
import { splitBackend, XenbusState, type Link, type SplitView } from '../xenbus';
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
  readonly link: Link | undefined;
  /** Requests answered; the page's rsp_seq is only what we tell the guest. */
  readonly answered: number;
}

interface Instance {
  end(): void;
  save(): EchoState;
  restore(state: EchoState): void;
  view(): SplitView;
}

export interface EchoDevice {
  attach(connections: DomainConnections): void;
  detach(domain: DomainId): void;
  save(): readonly EchoState[];
  restore(states: readonly EchoState[]): void;
  inspect(): readonly SplitView[];
}

const upper = (byte: number): number => (byte >= 0x61 && byte <= 0x7a ? byte - 0x20 : byte);

function createInstance(context: BackendContext, server: XenstoreCore, domain: DomainId, log: Log): Instance {
  let answered = 0;

  /** One request, if there is one. Each field is read once; what it says is used only within its bounds. */
  function serve({ mapping, port }: Connection): void {
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

  const backend = splitBackend<Connection>(
    context,
    server,
    {
      domain,
      type: 'echo',
      id: 0,
      label: 'echo',
      front: {},
      back: {},
      offer: () => ({}),
      ready: [XenbusState.Initialised],
      closesFirst: true,
      connect(front) {
        const mapping = front.page('ring-ref');
        const port = front.port('event-channel');
        answered = 0;
        const text = new Uint8Array(echo_page.fields.greeting.size);
        for (let i = 0; i < GREETING.length; i++) text[i] = GREETING.charCodeAt(i);
        context.write(mapping.mfn, offset.greeting, text);
        return { mapping, port };
      },
      serve,
    },
    log,
  );

  return {
    end: () => backend.end(),
    save: () => ({ domain, link: backend.link(), answered }),
    restore(saved) {
      answered = saved.answered;
      const { link } = saved;
      const [mapping] = link?.pages ?? [];
      const [port] = link?.ports ?? [];
      if (link === undefined || mapping === undefined || port === undefined) backend.restore(undefined);
      else backend.restore(link, () => ({ mapping, port }));
    },
    view: () => backend.view(),
  };
}

export function createEcho(context: BackendContext, server: XenstoreCore, log: Log): EchoDevice {
  const instances = new Map<number, Instance>();
  return {
    attach({ domain }) {
      instances.set(domain, createInstance(context, server, domain, log));
    },
    detach(domain) {
      instances.get(domain)?.end();
    },
    save: () => [...instances.values()].map((i) => i.save()),
    restore(states) {
      for (const [domain, instance] of instances)
        instance.restore(states.find((s) => s.domain === domain) ?? { domain, link: undefined, answered: 0 });
    },
    inspect: () => [...instances.values()].map((i) => i.view()),
  };
}
