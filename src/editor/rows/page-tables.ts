import type { HyperstepRequests } from '../../dap/protocol';
import type { Requester, Row, RowModel } from './row';

type Entry = HyperstepRequests['hyperstep/pageTable']['body']['entries'][number];

export interface PageTableRow extends Row {
  /** Indices from L4 down to this entry. */
  readonly path: readonly number[];
  readonly entry: Entry;
}

const LEVELS = 4;

const hex = (n: number): string => `0x${n.toString(16)}`;

function tooltip(e: Entry, level: number): string {
  const lines = [
    `**L${level} entry ${e.index}**${e.run > 1 ? ` and ${e.run - 1} like it` : ''}`,
    '',
    `| | |`,
    `|---|---|`,
    `| virtual | \`${e.virtual}\` |`,
    `| entry | \`${e.entry}\` |`,
    `| flags | ${e.flags.join(' ')} |`,
    `| machine frame | mfn ${hex(e.mfn)} |`,
    `| pseudo-physical | ${e.pfn === undefined ? 'none' : `pfn ${hex(e.pfn)}`} |`,
    `| owner | ${e.owner} |`,
    `| frame | ${e.frame} |`,
  ];
  return lines.join('\n');
}

/**
 * The page tables of one vCPU, L4 to L1, lazily. `changed` marks an entry whose value is not what it was when the
 * same entry was last shown at an earlier stop.
 */
export function pageTables(
  session: Requester,
  threadId: () => number | undefined,
): RowModel<PageTableRow> & { nextStop(): void } {
  let before = new Map<string, string>();
  let now = new Map<string, string>();

  const toRow = (e: Entry, path: readonly number[]): PageTableRow => {
    const level = LEVELS - path.length + 1;
    const id = path.join('/');
    now.set(id, e.entry);
    const old = before.get(id);
    const target = `mfn ${hex(e.mfn)}${e.pfn === undefined ? '' : ` · pfn ${hex(e.pfn)}`}`;
    const label = `${e.virtual}${e.run > 1 ? ` × ${e.run}` : ''}`;
    return {
      id,
      path,
      entry: e,
      kind: e.table ? 'table' : 'leaf',
      label,
      description: `${target} · ${e.flags.join(' ')} · ${e.frame}`,
      tooltip: tooltip(e, level),
      icon: e.table ? 'list-tree' : e.flags.includes('RW') ? 'edit' : 'lock',
      accessible: `level ${level}, ${label}, ${target}, flags ${e.flags.join(' ')}`,
      expandable: e.table ? 'collapsed' : 'no',
      changed: old !== undefined && old !== e.entry,
    };
  };

  return {
    async children(row) {
      const thread = threadId();
      if (thread === undefined) return [];
      const path = row?.path ?? [];
      const { entries } = await session.request<HyperstepRequests['hyperstep/pageTable']['body']>(
        'hyperstep/pageTable',
        {
          threadId: thread,
          path,
        },
      );
      return entries.map((e) => toRow(e, [...path, e.index]));
    },
    nextStop() {
      before = new Map([...before, ...now]);
      now = new Map();
    },
  };
}
