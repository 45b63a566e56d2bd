import type { HyperstepRequests } from '../../dap/protocol';
import type { Requester, Row, RowModel } from './row';

type Hypercall = HyperstepRequests['hyperstep/hypercalls']['body']['hypercalls'][number];
type Summary = HyperstepRequests['hyperstep/traceSummary']['body'];

export interface HypercallRow extends Row {
  /** What a function breakpoint on it is called, without the prefix: `mmu_update`, `memory_op.populate_physmap`. */
  readonly name: string;
}

/** Function breakpoints on hypercalls are written `hypercall:NAME`, as the adapter takes them. */
export const BREAKPOINT_PREFIX = 'hypercall:';

interface Counts {
  readonly count: number;
  readonly refused: number;
}

const countText = ({ count, refused }: Counts): string =>
  refused === 0 ? `${count}` : `${count}, ${refused} refused`;

/** Every declared hypercall and sub-operation, with its count so far; a check box is a breakpoint. */
export function hypercalls(
  session: Requester,
  breakpoints: () => ReadonlySet<string>,
): RowModel<HypercallRow> {
  let declared: readonly Hypercall[] = [];
  let summary: Summary = { total: 0, calls: [], traps: [] };

  const make = (
    name: string,
    label: string,
    status: string,
    counts: Counts | undefined,
    expandable: Row['expandable'],
    tooltip: string,
  ): HypercallRow => {
    const count = counts === undefined ? '' : countText(counts);
    const note =
      status === 'implemented' ? '' : status === 'refused' ? 'refused as Xen does' : 'not implemented';
    return {
      id: name,
      name,
      kind: 'hypercall',
      label,
      description: [count, note].filter((t) => t !== '').join(' · '),
      tooltip,
      icon:
        counts !== undefined && counts.refused > 0
          ? 'warning'
          : status === 'implemented'
            ? 'symbol-method'
            : 'circle-slash',
      accessible: `${label}, ${count === '' ? 'not called' : `called ${count}`}${note === '' ? '' : `, ${note}`}`,
      expandable,
      checked: breakpoints().has(BREAKPOINT_PREFIX + name),
    };
  };
  const countsOf = (name: string): Summary['calls'][number] | undefined =>
    summary.calls.find((c) => c.name === name);

  return {
    async children(row) {
      if (row === undefined) {
        const [list, counted] = await Promise.all([
          session.request<HyperstepRequests['hyperstep/hypercalls']['body']>('hyperstep/hypercalls', {}),
          session.request<Summary>('hyperstep/traceSummary', {}),
        ]);
        declared = list.hypercalls;
        summary = counted;
        return [...declared]
          .sort((a, b) => a.nr - b.nr)
          .map((h) =>
            make(
              h.name,
              h.name,
              h.status,
              countsOf(h.name),
              h.ops.length > 0 ? 'collapsed' : 'no',
              `**${h.name}**(${h.args.join(', ')}) — number ${h.nr}\n\n${h.doc}`,
            ),
          );
      }
      const parent = declared.find((h) => h.name === row.name);
      const counts = countsOf(row.name);
      return (parent?.ops ?? []).map((op) =>
        make(
          `${row.name}.${op.name}`,
          op.name,
          op.status,
          counts?.ops.find((o) => o.name === op.name),
          'no',
          `**${row.name}.${op.name}** — sub-operation ${op.cmd}`,
        ),
      );
    },
  };
}
