import { formatRow } from '../machine/format';
import { compareStreams, readStreams, type Comparison } from '../machine/records/compare';
import { exportRecords } from '../machine/records/export';
import { EXPORT_FORMATS, type Likeness, type TraceAccess } from '../machine/records/questions';
import { STATUS, UsageError, type CommandLine, type Status } from './arguments';
import { outputOf } from './output';

// `hyperstep records`: traces in files, filtered, converted and compared.

export interface OpenedTrace {
  readonly access: TraceAccess;
  readonly loaded: Promise<void>;
  close(): void;
}
export type OpenTrace = (path: string) => OpenedTrace;

const LIKENESSES: readonly Likeness[] = ['calls', 'arguments', 'moments'];
/** Rows asked for at a time. */
const BATCH = 1000;
/** Differences that are spelled out. */
const MOST_TOLD = 20;

const one = <T extends string>(
  line: CommandLine,
  name: 'as' | 'like',
  allowed: readonly T[],
  otherwise: T,
): T => {
  const given = line.values[name];
  if (given === undefined) return otherwise;
  const found = allowed.find((value) => value === given);
  if (found === undefined) throw new UsageError(`--${name} is ${allowed.join(', ')}, not '${String(given)}'`);
  return found;
};
const text = (line: CommandLine, name: 'filter' | 'compare'): string | undefined => {
  const value = line.values[name];
  return typeof value === 'string' ? value : undefined;
};

async function opened(open: OpenTrace, path: string): Promise<OpenedTrace> {
  let trace: OpenedTrace;
  try {
    trace = open(path);
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
  await trace.loaded;
  return trace;
}

export async function recordsCommand(
  line: CommandLine,
  host: { readonly openTrace: OpenTrace },
): Promise<Status> {
  if (line.image === undefined) throw new UsageError('records: which file?');
  const format = one(line, 'as', ['text', ...EXPORT_FORMATS], 'text');
  const likeness = one(line, 'like', LIKENESSES, 'arguments');
  const filter = text(line, 'filter') ?? '';
  const other = text(line, 'compare');
  const out = outputOf(process.stdout);
  const trace = await opened(host.openTrace, line.image);
  try {
    if (other !== undefined) {
      const second = await opened(host.openTrace, other);
      try {
        const [left, right] = [
          await readStreams(trace.access, likeness, () => undefined),
          await readStreams(second.access, likeness, () => undefined),
        ];
        const found = compareStreams(left, right, likeness);
        await out.write(await told(found, trace.access, second.access));
        return found.differences.length === 0 ? STATUS.OK : STATUS.GUEST;
      } finally {
        second.close();
      }
    }
    if (format === 'text') await printRows(trace.access, filter, (lines) => out.write(lines));
    else
      await exportRecords(
        trace.access,
        filter,
        format,
        (part) => out.write(part),
        () => true,
      ).catch((error: unknown) => {
        throw new UsageError(error instanceof Error ? error.message : String(error));
      });
    return STATUS.OK;
  } finally {
    trace.close();
  }
}

async function printRows(
  trace: TraceAccess,
  filter: string,
  write: (text: string) => Promise<void>,
): Promise<void> {
  let scan = await trace.ask('scan', { filter });
  while (scan.scanned < scan.next) scan = await trace.ask('scan', { filter });
  if (scan.problem !== undefined)
    throw new UsageError(`--filter, at character ${scan.problem.at + 1}: ${scan.problem.message}`);
  for (let start = 0; start < scan.matched; start += BATCH) {
    const { rows } = await trace.ask('rows', { filter, start, count: BATCH });
    await write(rows.map((row) => `${formatRow(row)}\n`).join(''));
  }
  if (scan.matched === 0 && scan.complaint !== undefined)
    process.stderr.write(`hyperstep: no record matches: ${scan.complaint}\n`);
}

async function told(found: Comparison, left: TraceAccess, right: TraceAccess): Promise<string> {
  const { differences, equal, records, cut } = found;
  const many = `${differences.length}${cut ? ' or more' : ''} ${differences.length === 1 ? 'difference' : 'differences'}`;
  const lines = [`${many}; ${equal} pairs of records are alike, of ${records[0]} and ${records[1]}`];
  for (const difference of differences.slice(0, MOST_TOLD)) {
    const { domain, vcpu } = difference.vcpu;
    lines.push(`d${domain}v${vcpu}: ${difference.left.count} records, there ${difference.right.count}`);
    const sides = [['-', left, difference.left] as const, ['+', right, difference.right] as const];
    for (const [sign, trace, side] of sides) {
      const { rows } = await trace.ask('at', { positions: side.positions.slice(0, 3) });
      for (const row of rows) lines.push(`${sign} ${formatRow(row)}`);
      if (side.count > rows.length) lines.push(`${sign} … ${side.count - rows.length} more`);
    }
  }
  if (differences.length > MOST_TOLD) lines.push(`… ${differences.length - MOST_TOLD} more`);
  return `${lines.join('\n')}\n`;
}
