import { callName, formatValue } from '../format';
import type { DecodedValue, TraceRecord } from '../target';
import type { Cost } from './columns';
import type { ExportFormat } from './questions';

// Records as lines of files, and back. A line is a record in every format, so that a file of any length is written
// and read without holding it.

/** A record, and what only the debugger or its neighbours know of it. */
export interface ExportedRecord {
  readonly record: TraceRecord & { readonly site?: string };
  readonly cost?: Cost;
}

/** 64-bit numbers as hexadecimal text, since JSON has no exact ones. */
const exact = (_key: string, value: unknown): unknown =>
  typeof value === 'bigint' ? `0x${value.toString(16)}` : value;

/** One record as a line of JSON. */
export const ndjson = (record: TraceRecord): string => JSON.stringify(record, exact);

const CSV_FIELDS = [
  'seq', 'retired', 'time', 'domain', 'vcpu', 'depth', 'rip', 'site', 'name', 'arguments', 'result', 'errno', 'reason', 'instructions', 'elapsed',
] as const; // prettier-ignore

/** RFC 4180; a spreadsheet is kept from taking a text for a formula. */
function field(value: string | number | undefined): string {
  if (value === undefined) return '';
  if (typeof value === 'number') return value.toString();
  const text = /^[=+\-@]/.test(value) && !/^-?\d+$/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export const argumentsText = (record: TraceRecord): string =>
  record.call.args.map((a) => `${a.name}=${formatValue(a)}`).join(', ');

export const resultText = ({ call }: TraceRecord): string | undefined =>
  call.result === undefined ? undefined : BigInt.asIntN(64, call.result).toString();

function csv({ record: r, cost }: ExportedRecord): string {
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
  };
  return CSV_FIELDS.map((name) => field(fields[name])).join(',');
}

const MARK = '"otherData":{"program":"hyperstep"}';

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
  ndjson: { head: '', line: ({ record }) => ndjson(record), between: '\n', end: '\n' },
  csv: { head: `${CSV_FIELDS.join(',')}\r\n`, line: csv, between: '\r\n', end: '\r\n' },
  perfetto: {
    head: `{${MARK},"displayTimeUnit":"ns","traceEvents":[\n`,
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
  const empty = last && first && records.length === 0 && format === 'ndjson';
  return `${first ? head : ''}${joint}${text}${last && !empty ? end : ''}`;
}

/** Not a record of ours. */
export class RecordError extends Error {
  override readonly name = 'RecordError';
}

type Json = Readonly<Record<string, unknown>>;

const bigintOf = (value: unknown, what: string): bigint => {
  if (typeof value === 'string' && /^-?0x[0-9a-f]+$/i.test(value))
    return value.startsWith('-') ? -BigInt(value.slice(1)) : BigInt(value);
  if (typeof value === 'number' && Number.isSafeInteger(value)) return BigInt(value);
  throw new RecordError(`${what} is no number`);
};
const numberOf = (value: unknown, what: string): number => {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new RecordError(`${what} is no number`);
};
const textOf = (value: unknown, what: string): string => {
  if (typeof value === 'string') return value;
  throw new RecordError(`${what} is no text`);
};
const objectOf = (value: unknown, what: string): Json => {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json;
  throw new RecordError(`${what} is no object`);
};

const SPACES = ['virtual', 'pseudophysical', 'machine'] as const;

/** Deeper than any argument is. */
const MAX_DEPTH = 16;

function decodedOf(value: unknown, depth = 0): DecodedValue {
  const v = objectOf(value, 'an argument');
  const memory = v['memory'] === undefined ? undefined : objectOf(v['memory'], 'memory');
  const space = SPACES.find((one) => one === memory?.['space']);
  const children = v['children'];
  return {
    name: textOf(v['name'], "an argument's name"),
    type: textOf(v['type'], "an argument's type"),
    text: textOf(v['text'], "an argument's text"),
    ...(v['value'] === undefined ? {} : { value: bigintOf(v['value'], 'a value') }),
    ...(Array.isArray(children) && depth < MAX_DEPTH
      ? { children: children.map((one) => decodedOf(one, depth + 1)) }
      : {}),
    ...(memory === undefined || space === undefined
      ? {}
      : { memory: { space, address: bigintOf(memory['address'], 'an address') } }),
  };
}

function recordOf(value: unknown): ExportedRecord['record'] {
  const r = objectOf(value, 'a record');
  const call = objectOf(r['call'], 'call');
  const args = call['args'];
  if (!Array.isArray(args)) throw new RecordError('call.args is no list');
  return {
    seq: numberOf(r['seq'], 'seq'),
    retired: bigintOf(r['retired'], 'retired'),
    time: bigintOf(r['time'], 'time'),
    domain: numberOf(r['domain'], 'domain'),
    vcpu: numberOf(r['vcpu'], 'vcpu'),
    rip: bigintOf(r['rip'], 'rip'),
    call: {
      name: textOf(call['name'], 'call.name'),
      ...(call['op'] === undefined ? {} : { op: textOf(call['op'], 'call.op') }),
      nr: numberOf(call['nr'], 'call.nr'),
      args: args.map((one) => decodedOf(one)),
      ...(call['result'] === undefined ? {} : { result: bigintOf(call['result'], 'call.result') }),
      ...(call['errno'] === undefined ? {} : { errno: textOf(call['errno'], 'call.errno') }),
      ...(call['reason'] === undefined ? {} : { reason: textOf(call['reason'], 'call.reason') }),
    },
    depth: numberOf(r['depth'], 'depth'),
    ...(r['caller'] === undefined ? {} : { caller: bigintOf(r['caller'], 'caller') }),
    ...(r['site'] === undefined ? {} : { site: textOf(r['site'], 'site') }),
  };
}

/** The record in a line of one of our files; undefined for a line that has none, as the first of a Chrome trace. */
export function parseLine(line: string): ExportedRecord['record'] | undefined {
  const text = line.trim().replace(/,$/, '');
  if (text === '' || text === ']}' || text.startsWith(`{${MARK}`)) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new RecordError('it is not a line of JSON');
  }
  const line1 = objectOf(value, 'the line');
  return recordOf(line1['ph'] === 'X' ? objectOf(line1['args'], 'args')['record'] : line1);
}
