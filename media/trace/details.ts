import type { Answer, DetailRow, RecordRow } from '../../src/dap/protocol';
import { wrapped } from '../../src/editor/trace/lines';
import { duration, grouped } from './dom';

/** A line below a record. */
export interface DetailLine {
  /** From 2: the record itself is 1. */
  readonly level: number;
  readonly name: string;
  readonly text: string;
  readonly kind: 'argument' | 'note' | 'refusal' | 'entry' | 'action';
  readonly memory?: DetailRow['memory'];
  /** An entry of a multicall, which can be opened in turn. */
  readonly entry?: RecordRow;
  readonly action?: Action;
}
export type Action = 'source' | 'break' | 'within';

/** Elements of a batch that get lines; the rest is counted. */
const MOST_CHILDREN = 200;

function argumentLines(rows: readonly DetailRow[], level: number): DetailLine[] {
  const lines = rows
    .slice(0, MOST_CHILDREN)
    .flatMap(({ name, type, text, memory, children = [] }): DetailLine[] => [
      {
        level,
        name,
        text: text === '' ? type : `${text}  (${type})`,
        kind: 'argument',
        ...(memory === undefined ? {} : { memory }),
      },
      ...argumentLines(children, level + 1),
    ]);
  if (rows.length > MOST_CHILDREN)
    lines.push({ level, name: '', text: `${rows.length - MOST_CHILDREN} more`, kind: 'note' });
  return lines;
}

/** @param machine there is one to open sources of and to run; @param columns characters that a line has room for */
export function detailLines(
  { row, args, entries, within }: Answer<'record'>,
  level: number,
  machine: boolean,
  columns: number,
): DetailLine[] {
  const lines: DetailLine[] = argumentLines(args, level);
  if (row.reason !== undefined) {
    const name = row.errno ?? 'cut short';
    const kind = row.errno === undefined ? 'note' : 'refusal';
    // The whole of it: it is what a person has come for.
    const [first = '', ...rest] = wrapped(`${name} ${row.reason}`, columns);
    lines.unshift(
      { level, name, text: first.slice(name.length + 1), kind },
      ...rest.map((text): DetailLine => ({ level: level + 1, name: '', text, kind })),
    );
  }
  for (const entry of entries)
    lines.push({
      level,
      name: entry.name,
      text: `${entry.text} = ${entry.result ?? ''} ${entry.errno ?? ''}`.trimEnd(),
      kind: 'entry',
      entry,
    });
  const cost = row.cost === undefined ? '' : `, cost ${grouped(row.cost.instructions)}`;
  const when = `when instruction ${grouped(row.retired)}, ${duration(row.time)} of virtual time, called at ${row.site ?? row.rip}${cost}`;
  const [at = '', ...further] = wrapped(when, columns);
  lines.push(
    { level, name: 'when', text: at.slice('when '.length), kind: 'note' },
    ...further.map((text): DetailLine => ({ level: level + 1, name: '', text, kind: 'note' })),
  );
  if (within !== undefined)
    lines.push({ level, name: 'Go to the multicall', text: '', kind: 'action', action: 'within' });
  if (machine) {
    lines.push({ level, name: 'Open the call site', text: 'F12', kind: 'action', action: 'source' });
    lines.push({
      level,
      name: 'Break at this record',
      text: 'F9: restarts the machine and stops where the call is about to be made',
      kind: 'action',
      action: 'break',
    });
  }
  return lines;
}
