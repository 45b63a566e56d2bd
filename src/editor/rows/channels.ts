import type { HyperstepRequests } from '../../dap/protocol';
import type { Changes } from './changes';
import { escapeMarkdown, factTable, parts, type Requester, type Row, type RowModel } from './row';

type Domain = HyperstepRequests['hyperstep/channels']['body']['domains'][number];
type Channel = Domain['channels'][number];

export interface ChannelRow extends Row {
  /** Of the row of a domain. */
  readonly domain?: number;
}

const ICONS: Readonly<Record<Channel['kind'], string>> = {
  free: 'circle-outline',
  reserved: 'circle-outline',
  unbound: 'debug-disconnect',
  interdomain: 'arrow-swap',
  virq: 'watch',
  ipi: 'git-compare',
};

const stateOf = ({ pending, masked }: Channel): string =>
  [pending ? 'pending' : '', masked ? 'masked' : ''].filter((word) => word !== '').join(', ');

function channelRow(domain: number, abi: string, channel: Channel, changed: boolean): ChannelRow {
  const { port, kind, text, vcpu, priority, pending, masked } = channel;
  const state = stateOf(channel);
  const words = text.replace(/^connected to /, '↔ ').replace(/^bound to an /, '');
  return {
    id: `d${domain}/${port}`,
    kind: 'channel',
    label: `port ${port}`,
    description: parts(words, `vCPU ${vcpu}`, state),
    tooltip: factTable(`Port ${port} of d${domain}`, [
      ['bound', escapeMarkdown(text)],
      ['kind', kind],
      ['notifies', `vCPU ${vcpu}`],
      ['pending', pending ? 'yes: the guest has not taken it' : 'no'],
      ['masked', masked ? 'yes: no upcall for it' : 'no'],
      ['priority', abi === 'FIFO' ? `${priority}, 0 is the highest` : ''],
    ]),
    icon: pending ? 'bell-dot' : ICONS[kind],
    accessible: `port ${port}, ${text}, vCPU ${vcpu}${state === '' ? '' : `, ${state}`}${changed ? ', changed' : ''}`,
    expandable: false,
    changed,
    copy: `${port}`,
  };
}

/** The event channels in use; below a row a domain, where there are several. */
export function channels(session: Requester, changes: Changes): RowModel<ChannelRow> {
  let last: readonly Domain[] = [];

  const below = ({ domain, abi, channels: list }: Domain): ChannelRow[] => {
    const texts = list.map((one): [string, string] => [
      `${one.port}`,
      `${one.text} ${one.vcpu} ${stateOf(one)}`,
    ]);
    const changed = changes.note(`d${domain}`, new Map(texts));
    return list.map((one) => channelRow(domain, abi, one, changed.has(`${one.port}`)));
  };
  const domainRow = ({ domain, abi, channels: list }: Domain): ChannelRow => ({
    id: `d${domain}`,
    domain,
    kind: 'domain',
    label: `d${domain}`,
    description: parts(`${list.length} in use`, `${list.filter((one) => one.pending).length} pending`, abi),
    icon: 'vm',
    accessible: `domain ${domain}, ${list.length} event channels in use, ${abi} interface`,
    expandable: true,
  });

  return {
    searchable: true,
    async children(row) {
      if (row?.domain !== undefined) return last.filter(({ domain }) => domain === row.domain).flatMap(below);
      last = (
        await session.request<HyperstepRequests['hyperstep/channels']['body']>('hyperstep/channels', {})
      ).domains;
      return last.length === 1 ? last.flatMap(below) : last.map(domainRow);
    },
  };
}
