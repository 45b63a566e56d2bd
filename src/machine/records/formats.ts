import { callName, formatValue } from '../format';
import type { TraceRecord } from '../target';
import type { Cost } from './columns';
import type { ExportFormat } from './questions';

// Records as lines of files; reading.ts has the way back. A line is a record in every format, so that a file of any
// length is written and read without holding it. The first line says which format it is, and of which version.

/**
 * Of the files that are written. Another number when files of before would be read wrongly, or readers of before would
 * read these wrongly. 1: without a version, and without the names of call sites. 2: with both.
 */
export const FORMAT_VERSION = 2;

/** A record, and what only the debugger or its neighbours know of it. */
export interface ExportedRecord {
  readonly record: TraceRecord & { readonly site?: string };
  readonly cost?: Cost;
}

/** 64-bit numbers as hexadecimal text, since JSON has no exact ones. */
const exact = (_key: string, value: unknown): unknown =>
  typeof value === 'bigint' ? `0x${value.toString(16)}` : value;

/** One record as a line of JSON. */
const ndjson = ({ record }: ExportedRecord): string => JSON.stringify(record, exact);

export const NDJSON_MARK = '{"hyperstep":"trace"';
export const PERFETTO_MARK = '"otherData":{"program":"hyperstep"';
/** The whole record, as NDJSON has it: what the file is read back by. The others are for people and their tables. */
export const CSV_RECORD = 'record.v';

const CSV_FIELDS = [
  'seq', 'retired', 'time', 'domain', 'vcpu', 'depth', 'rip', 'site', 'name', 'arguments', 'result', 'errno', 'reason', 'instructions', 'elapsed', 'record',
] as const; // prettier-ignore
export const CSV_BEGINS = `${CSV_FIELDS[0]},${CSV_FIELDS[1]},`;

/** RFC 4180, on one line; a spreadsheet is kept from taking a text for a formula. */
function field(value: string | number | undefined): string {
  if (value === undefined) return '';
  if (typeof value === 'number') return value.toString();
  const line = value.replaceAll(/[\r\n]+/g, ' ');
  const text = /^[=+\-@]/.test(line) && !/^-?\d+$/.test(line) ? `'${line}` : line;
  return /[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export const argumentsText = (record: TraceRecord): string =>
  record.call.args.map((a) => `${a.name}=${formatValue(a)}`).join(', ');

export const resultText = ({ call }: TraceRecord): string | undefined =>
  call.result === undefined ? undefined : BigInt.asIntN(64, call.result).toString();

function csv(exported: ExportedRecord): string {
  const { record: r, cost } = exported;
  const fields: Readonly<Record<(typeof CSV_FIELDS)[number], string | number | undefined>> = {
    seq: r.seq,
    retired: Number(r.retired),
    time: Number(r.time),
    domain: r.domain,
    vcpu: r.vcpu,
    depth: r.depth,
    rip: `0x${r.rip.toString(16)}`,
    site: r.site,
    name: callName(r.call),
    arguments: argumentsText(r),
    result: resultText(r),
    errno: r.call.errno,
    reason: r.call.reason,
    instructions: cost?.instructions,
    elapsed: cost?.time,
    record: ndjson(exported),
  };
  return CSV_FIELDS.map((name) => field(fields[name])).join(',');
}

/**
 * Chrome's trace event format, which Perfetto reads: a process is a domain, a thread a vCPU, times are virtual
 * microseconds. A call takes no virtual time in the hypervisor, so a slice lasts until the vCPU's next: what the
 * guest did with the answer. The whole record goes along, so that the file can be read back.
 */
function perfetto({ record: r, cost }: ExportedRecord): string {
  return JSON.stringify(
    {
      name: callName(r.call),
      cat: r.call.errno === undefined ? 'hypercall' : 'hypercall,refused',
      ph: 'X',
      ts: Number(r.time) / 1000,
      dur: (r.depth > 0 ? 0 : (cost?.time ?? 0)) / 1000,
      pid: r.domain,
      tid: r.vcpu,
      args: { record: r },
    },
    exact,
  );
}

interface Format {
  readonly head: string;
  readonly line: (record: ExportedRecord) => string;
  readonly between: string;
  readonly end: string;
}

export const FORMATS: Readonly<Record<ExportFormat, Format>> = {
  ndjson: {
    head: `${NDJSON_MARK},"version":${FORMAT_VERSION}}\n`,
    line: ndjson,
    between: '\n',
    end: '\n',
  },
  csv: {
    head: `${CSV_FIELDS.slice(0, -1).join(',')},${CSV_RECORD}${FORMAT_VERSION}\r\n`,
    line: csv,
    between: '\r\n',
    end: '\r\n',
  },
  perfetto: {
    head: `{${PERFETTO_MARK},"version":${FORMAT_VERSION}},"displayTimeUnit":"ns","traceEvents":[\n`,
    line: perfetto,
    between: ',\n',
    end: '\n]}\n',
  },
};

/** Text of some records that follow one another, with what comes before the first and after the last of all. */
export function exportText(
  format: ExportFormat,
  records: readonly ExportedRecord[],
  { first, last }: { readonly first: boolean; readonly last: boolean },
): string {
  const { head, line, between, end } = FORMATS[format];
  const text = records.map(line).join(between);
  const joint = first || records.length === 0 ? '' : between;
  // What ends a line has nothing to end where there is none.
  const empty = last && first && records.length === 0 && end.trim() === '';
  return `${first ? head : ''}${joint}${text}${last && !empty ? end : ''}`;
}
