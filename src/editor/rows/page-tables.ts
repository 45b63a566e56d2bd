import type { HyperstepRequests } from '../../dap/protocol';
import type { Changes } from './changes';
import { frameText } from './frame-text';
import { escapeMarkdown, factTable, hex, type Requester, type Row, type RowModel } from './row';

type Entry = HyperstepRequests['hyperstep/pageTable']['body']['entries'][number];

export interface PageTableRow extends Row {
  /** Indices from L4 down to this entry. */
  readonly path: readonly number[];
  readonly entry: Entry;
}

/** Long mode has four levels (SDM 3A 4.5). */
const LEVELS = 4;

function tooltip(e: Entry, level: number): string {
  const facts: readonly (readonly [string, string])[] = [
    ['virtual', `\`${e.virtual}\``],
    ['entry', `\`${e.entry}\``],
    ['flags', escapeMarkdown(e.flags.join(' '))],
    ['pseudo-physical', e.pfn === undefined ? 'none' : `pfn ${hex(e.pfn)}`],
    ['owner', escapeMarkdown(e.owner)],
    ['frame', escapeMarkdown(frameText(e.mfn, e.frame))],
  ];
  return factTable(`L${level} entry ${e.index}${e.run > 1 ? ` and the ${e.run - 1} after it` : ''}`, facts);
}

function iconOf(e: Entry): string {
  if (e.table) return 'list-tree';
  return e.flags.includes('RW') ? 'edit' : 'lock';
}

/** The page tables of one vCPU, L4 to L1, lazily; what changed since an entry was last shown is marked. */
export function pageTables(
  session: Requester,
  threadId: () => number | undefined,
  changes: Changes,
): RowModel<PageTableRow> {
  return {
    async children(row) {
      const thread = threadId();
      const above = row?.path ?? [];
      const { entries } = await session.request<HyperstepRequests['hyperstep/pageTable']['body']>(
        'hyperstep/pageTable',
        { ...(thread === undefined ? {} : { threadId: thread }), path: above },
      );
      const values = new Map(entries.map((e) => [`${e.index}`, `${e.entry} × ${e.run}`]));
      const changed = changes.note(`${thread ?? ''}:${above.join('/')}`, values);
      const level = LEVELS - above.length;
      return entries.map((e): PageTableRow => {
        const flags = e.flags.join(' ');
        const target = `${e.pfn === undefined ? '' : `pfn ${hex(e.pfn)} · `}${frameText(e.mfn, e.frame)}`;
        const label = `${e.virtual}${e.run > 1 ? ` × ${e.run}` : ''}`;
        const path = [...above, e.index];
        const isChanged = changed.has(`${e.index}`);
        return {
          id: path.join('/'),
          path,
          entry: e,
          kind: e.table ? 'table' : 'leaf',
          label,
          description: `${flags} · ${target}`,
          tooltip: tooltip(e, level),
          icon: iconOf(e),
          accessible: `level ${level}, ${label}, ${target}, flags ${flags}${isChanged ? ', changed' : ''}`,
          expandable: e.table,
          changed: isChanged,
          copy: e.entry,
          // A table's own contents, and the page behind a leaf.
          memory: `machine:0x${(BigInt(e.mfn) << 12n).toString(16)}`,
          ...(e.table ? {} : { watch: `*${e.virtual}` }),
          mfn: e.mfn,
          address: e.virtual,
        };
      });
    },
  };
}

/** The row of a table that holds entry `index`, folded or not. */
export const holdsIndex =
  (index: number) =>
  ({ entry }: PageTableRow): boolean =>
    entry.index <= index && index < entry.index + entry.run;
