import type { HyperstepRequests } from '../../dap/protocol';
import type { Changes } from './changes';
import { escapeMarkdown, factTable, type Requester, type Row, type RowModel } from './row';

type Hypercall = HyperstepRequests['hyperstep/hypercalls']['body']['hypercalls'][number];
type Summary = HyperstepRequests['hyperstep/traceSummary']['body'];
type Status = Hypercall['status'];

export interface HypercallRow extends Row {
  /** What a function breakpoint on it is called, without the prefix: `mmu_update`, `memory_op.populate_physmap`. */
  readonly name: string;
}

/** Function breakpoints on hypercalls are written `hypercall:NAME`, as the adapter takes them. */
export const BREAKPOINT_PREFIX = 'hypercall:';
/** After the name: when it returns, rather than when it is made. */
export const RETURN_SUFFIX = ':return';

interface Counts {
  readonly name: string;
  readonly count: number;
  readonly refused: number;
}

/** What a row is made of, for a hypercall and for a sub-operation alike. */
interface Declared {
  /** For breakpoints. */
  readonly name: string;
  readonly label: string;
  readonly status: Status;
  readonly tooltip: string;
  readonly expandable: boolean;
}

const NOTES: Readonly<Record<Status, string>> = {
  implemented: '',
  refused: 'refused, as Xen does',
  unimplemented: 'not implemented',
};

const countText = (counts: Counts | undefined): string => {
  if (counts === undefined || counts.count === 0) return '';
  return counts.refused === 0 ? `${counts.count}` : `${counts.count}, ${counts.refused} refused`;
};

function iconOf(status: Status, counts: Counts | undefined): string {
  if (counts !== undefined && counts.refused > 0) return 'warning';
  return status === 'implemented' ? 'symbol-method' : 'circle-slash';
}

function toRow(
  declared: Declared,
  counts: Counts | undefined,
  changed: boolean,
  breakpoints: ReadonlySet<string>,
): HypercallRow {
  const { name, label, status, tooltip, expandable } = declared;
  const count = countText(counts);
  const onReturn = breakpoints.has(BREAKPOINT_PREFIX + name + RETURN_SUFFIX) ? 'breaks on return' : '';
  const called = count === '' ? 'not called' : `called ${count}`;
  return {
    id: name,
    name,
    kind: 'hypercall',
    label,
    description: [count, NOTES[status], onReturn].filter((text) => text !== '').join(' · '),
    tooltip,
    icon: iconOf(status, counts),
    accessible: [label, called, NOTES[status]].filter((text) => text !== '').join(', '),
    expandable,
    checked: breakpoints.has(BREAKPOINT_PREFIX + name),
    changed,
    copy: name,
    breakpoint: BREAKPOINT_PREFIX + name,
  };
}

/** What a hover says of it. */
const reference = (name: string, facts: readonly (readonly [string, string])[]): string =>
  `${factTable(escapeMarkdown(name), facts)}\n\nBreakpoint: \`${BREAKPOINT_PREFIX}${name}\``;

const called = (list: readonly Counts[] | undefined): Map<string, string> =>
  new Map((list ?? []).map((one) => [one.name, countText(one)]));

/**
 * Every declared hypercall and sub-operation in the order of their numbers, with the counts so far; those called
 * since the last stop are marked. A check box is a breakpoint.
 */
export function hypercalls(
  session: Requester,
  breakpoints: () => ReadonlySet<string>,
  changes: Changes,
): RowModel<HypercallRow> {
  let declared: readonly Hypercall[] = [];
  let summary: Summary = { total: 0, calls: [], refusals: [], traps: [] };

  /** What both kinds have: the answer, where it is written, and why it has been refused. */
  const shared = (status: Status, doc: string, name: string): [string, string][] => [
    ['answer', NOTES[status] === '' ? 'implemented' : NOTES[status]],
    ['reference', escapeMarkdown(doc)],
    ...summary.refusals
      .filter((one) => one.name === name)
      .map(({ errno, count, reason }): [string, string] => [`${errno} × ${count}`, escapeMarkdown(reason)]),
  ];

  const roots = async (): Promise<HypercallRow[]> => {
    const [list, counted] = await Promise.all([
      session.request<HyperstepRequests['hyperstep/hypercalls']['body']>('hyperstep/hypercalls', {}),
      session.request<Summary>('hyperstep/traceSummary', {}),
    ]);
    declared = [...list.hypercalls].sort((a, b) => a.nr - b.nr);
    summary = counted;
    const set = breakpoints();
    const changed = changes.note('', called(summary.calls));
    return declared.map(({ name, nr, status, doc, args, ops }) => {
      const counts = summary.calls.find((one) => one.name === name);
      return toRow(
        {
          name,
          label: name,
          status,
          tooltip: reference(name, [
            ['number', `${nr}`],
            ['arguments', args.map(escapeMarkdown).join(', ')],
            ['operations', ops.length === 0 ? '' : `${ops.length}`],
            ...shared(status, doc, name),
          ]),
          expandable: ops.length > 0,
        },
        counts,
        changed.has(name),
        set,
      );
    });
  };

  const operations = (family: string): HypercallRow[] => {
    const set = breakpoints();
    const counted = summary.calls.find((one) => one.name === family)?.ops;
    const changed = changes.note(family, called(counted));
    return (declared.find(({ name }) => name === family)?.ops ?? []).map(
      ({ name: label, cmd, status, doc, args }) => {
        const name = `${family}.${label}`;
        const tooltip = reference(name, [
          ['sub-operation', `${cmd}`],
          ['members', args.map(escapeMarkdown).join(', ')],
          ...shared(status, doc, name),
        ]);
        return toRow(
          { name, label, status, tooltip, expandable: false },
          counted?.find((one) => one.name === label),
          changed.has(label),
          set,
        );
      },
    );
  };

  return {
    searchable: true,
    children: (row) => (row === undefined ? roots() : Promise.resolve(operations(row.name))),
  };
}
