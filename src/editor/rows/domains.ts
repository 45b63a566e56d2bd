import type { HyperstepRequests } from '../../dap/protocol';
import type { Changes } from './changes';
import { decodedRows, type Decoded } from './decoded';
import { parts, type Requester, type Row, type RowModel } from './row';

type Domain = HyperstepRequests['hyperstep/domains']['body']['domains'][number];
type Vcpu = Domain['vcpus'][number];

export type DomainRow = Row &
  (
    | { readonly domain: Domain }
    | { readonly vcpu: Vcpu['ref'] }
    | { readonly value: Decoded; readonly place: Vcpu['ref'] }
  );

const plural = (n: number, one: string): string => `${n} ${one}${n === 1 ? '' : 's'}`;

const ICONS: Readonly<Record<Vcpu['state'], string>> = {
  running: 'vm-running',
  runnable: 'vm-outline',
  blocked: 'debug-pause',
  offline: 'vm-outline',
  dead: 'error',
};

function domainRow(domain: Domain, changed: boolean): DomainRow {
  const { id, name, frames, vcpus, shutdown, asked, consolePorts } = domain;
  const state = shutdown === undefined ? 'alive' : `ended: ${shutdown}`;
  const description = parts(
    state,
    plural(vcpus.length, 'vCPU'),
    `${frames} frames, ${Math.round(frames / 256)} MiB`,
    asked === undefined ? '' : `asked to ${asked}`,
    consolePorts > 1 ? plural(consolePorts, 'console') : '',
  );
  return {
    id: `d${id}`,
    domain,
    kind: 'domain',
    label: `d${id} ${name}`,
    description,
    icon: shutdown === undefined ? 'vm' : 'debug-disconnect',
    accessible: `domain ${id}, ${name}, ${description.replaceAll(' · ', ', ')}`,
    expandable: true,
    changed,
    copy: name,
  };
}

function vcpuRow({ ref, state, mode, rip, icount }: Vcpu, changed: boolean): DomainRow {
  const name = `d${ref.domain}v${ref.vcpu}`;
  const description = parts(state, `guest ${mode}`, rip, `${Number(icount)} instructions`);
  return {
    id: name,
    vcpu: ref,
    kind: 'vcpu',
    label: name,
    description,
    icon: ICONS[state],
    accessible: `vCPU ${ref.vcpu} of domain ${ref.domain}, ${description.replaceAll(' · ', ', ')}`,
    expandable: true,
    changed,
    copy: rip,
    memory: `virtual:${name}:${rip}`,
    address: rip,
  };
}

/** Domains, their vCPUs, and what the hypervisor keeps about each: run state, events, traps, tables, timers. */
export function domains(session: Requester, changes: Changes): RowModel<DomainRow> {
  let last: readonly Domain[] = [];

  const roots = async (): Promise<DomainRow[]> => {
    last = (await session.request<HyperstepRequests['hyperstep/domains']['body']>('hyperstep/domains', {}))
      .domains;
    const texts = last.map((domain): [string, string] => [
      `d${domain.id}`,
      `${domain.shutdown ?? ''} ${domain.asked ?? ''} ${domain.frames}`,
    ]);
    const changed = changes.note('', new Map(texts));
    return last.map((domain) => domainRow(domain, changed.has(`d${domain.id}`)));
  };
  const vcpus = (id: number): DomainRow[] => {
    const list = last.find((domain) => domain.id === id)?.vcpus ?? [];
    const texts = list.map(({ ref, state, mode }): [string, string] => [`${ref.vcpu}`, `${state} ${mode}`]);
    const changed = changes.note(`d${id}`, new Map(texts));
    return list.map((vcpu) => vcpuRow(vcpu, changed.has(`${vcpu.ref.vcpu}`)));
  };
  const rowsOf = (values: readonly Decoded[], above: string, place: Vcpu['ref']): DomainRow[] =>
    decodedRows(values, above, place, changes).map((row) => ({ ...row, place }));

  return {
    async children(row) {
      if (row === undefined) return roots();
      if ('domain' in row) return vcpus(row.domain.id);
      if ('value' in row) return rowsOf(row.value.children ?? [], row.id, row.place);
      const { state } = await session.request<HyperstepRequests['hyperstep/vcpu']['body']>('hyperstep/vcpu', {
        domain: row.vcpu.domain,
        vcpu: row.vcpu.vcpu,
      });
      return rowsOf(state, row.id, row.vcpu);
    },
  };
}
