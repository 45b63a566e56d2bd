import type { HyperstepRequests } from '../../dap/protocol';
import type { Changes } from './changes';
import { factTable, hex, parts, type Requester, type Row, type RowModel } from './row';

type Table = HyperstepRequests['hyperstep/grants']['body']['domains'][number];
type Grant = Table['grants'][number];
type Mapped = Table['maps'][number];

export interface GrantRow extends Row {
  readonly table?: Table;
  /** The row of what a domain has mapped of others'. */
  readonly maps?: Table;
}

const accessOf = (writable: boolean): string => (writable ? 'read and write' : 'read only');

/** Reserved for the toolstack (grant_table.h GNTTAB_RESERVED_*). */
const RESERVED: Readonly<Record<number, string>> = { 0: 'console', 1: 'xenstore' };

const usersOf = ({ mappedBy }: Grant): string =>
  mappedBy.length === 0
    ? ''
    : `mapped by ${mappedBy.map(({ domain, writable }) => `d${domain}${writable ? '' : ' (read only)'}`).join(', ')}`;

function grantRow(domain: number, grant: Grant, changed: boolean): GrantRow {
  const { ref, kind, to, mfn, writable, part, marks } = grant;
  const users = usersOf(grant);
  const what = kind === 'permit access' ? accessOf(writable) : kind;
  const range = part === undefined ? '' : `bytes ${part.offset} to ${part.offset + part.length}`;
  return {
    id: `d${domain}/${ref}`,
    kind: 'grant',
    label: `ref ${ref}${RESERVED[ref] === undefined ? '' : ` (${RESERVED[ref]})`}`,
    description: parts(`to d${to}`, `mfn ${hex(mfn)}`, what, range, users),
    tooltip: factTable(`Grant ${ref} of d${domain}`, [
      ['to', `d${to}`],
      ['frame', `mfn ${hex(mfn)}`],
      ['kind', kind],
      ['access', accessOf(writable)],
      ['part', range],
      ['marked', marks.join(', ')],
      ['in use', users === '' ? 'nobody has it mapped' : users],
    ]),
    icon: grant.mappedBy.length > 0 ? 'link' : 'key',
    accessible: `grant ${ref} of domain ${domain}, to domain ${to}, frame ${hex(mfn)}, ${what}${users === '' ? '' : `, ${users}`}${changed ? ', changed' : ''}`,
    expandable: false,
    changed,
    copy: `${ref}`,
    mfn,
    memory: `machine:0x${(BigInt(mfn) << 12n).toString(16)}`,
  };
}

const mapRow = (domain: number, { handle, from, ref, mfn, writable }: Mapped): GrantRow => ({
  id: `d${domain}/maps/${handle}`,
  kind: 'map',
  label: `handle ${handle}`,
  description: parts(`ref ${ref} of d${from}`, `mfn ${hex(mfn)}`, accessOf(writable)),
  icon: 'link',
  accessible: `handle ${handle}, grant ${ref} of domain ${from}, frame ${hex(mfn)}, ${accessOf(writable)}`,
  expandable: false,
  copy: `${handle}`,
  mfn,
  memory: `machine:0x${(BigInt(mfn) << 12n).toString(16)}`,
});

/** Grant tables: what each domain lets others use, who has it mapped, and what it has mapped itself. */
export function grants(session: Requester, changes: Changes): RowModel<GrantRow> {
  const below = (table: Table): GrantRow[] => {
    const { domain, grants: list, maps } = table;
    const texts = list.map((one): [string, string] => [
      `${one.ref}`,
      `${one.kind} ${one.to} ${one.mfn} ${one.writable} ${usersOf(one)}`,
    ]);
    const changed = changes.note(`d${domain}`, new Map(texts));
    const rows = list.map((one) => grantRow(domain, one, changed.has(`${one.ref}`)));
    if (maps.length === 0) return rows;
    const mapped: GrantRow = {
      id: `d${domain}/maps`,
      maps: table,
      kind: 'maps',
      label: 'mapped of others',
      description: `${maps.length}`,
      icon: 'link',
      accessible: `mapped of others, ${maps.length}`,
      expandable: true,
    };
    return [...rows, mapped];
  };
  const tableRow = (table: Table): GrantRow => {
    const { domain, version, frames, maxFrames, grants: list } = table;
    return {
      id: `d${domain}`,
      table,
      kind: 'domain',
      label: `d${domain}`,
      description: parts(`${list.length} grants`, `version ${version}`, `${frames} of ${maxFrames} frames`),
      icon: 'vm',
      accessible: `domain ${domain}, ${list.length} grants, version ${version}`,
      expandable: true,
    };
  };
  return {
    searchable: true,
    async children(row) {
      if (row?.maps !== undefined) return row.maps.maps.map((one) => mapRow(row.maps?.domain ?? 0, one));
      if (row?.table !== undefined) return below(row.table);
      if (row !== undefined) return [];
      const { domains } = await session.request<HyperstepRequests['hyperstep/grants']['body']>(
        'hyperstep/grants',
        {},
      );
      return domains.length === 1 ? domains.flatMap(below) : domains.map(tableRow);
    },
  };
}
