import { DOMID } from '../../abi/domains';
import type { DecodedValue } from '../target';
import {
  CSV_BEGINS,
  CSV_RECORD,
  FORMAT_VERSION,
  NDJSON_MARK,
  PERFETTO_MARK,
  type ExportedRecord,
} from './formats';

// Lines of trace files, which anybody may have written: what is no record of ours is refused with the field's name.

/** Not a record of ours. */
export class RecordError extends Error {
  override readonly name = 'RecordError';
}

type Json = Readonly<Record<string, unknown>>;
type Read = ExportedRecord['record'];

/** Names are kept for as long as the file is open. A mangled C++ name is some hundred characters. */
const LONGEST_NAME = 4096;
/** Xen's XEN_LEGACY_MAX_VCPUS and what Linux is built for (NR_CPUS); no PV guest has as many. */
const MOST_VCPUS = 8192;
const MOST_64 = 2n ** 64n - 1n;
/** A multicall is not within one. */
const MOST_DEPTH = 1;
/** Deeper than any argument is. */
const MAX_NESTING = 16;

const fail = (path: string, expected: string): never => {
  throw new RecordError(`${path} is no ${expected}`);
};
const numberOf = (value: unknown, path: string, most = Number.MAX_SAFE_INTEGER): number => {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) return fail(path, 'number');
  if (value > most) throw new RecordError(`${path} is ${value}, and at most ${most} is possible`);
  return value;
};
const bigintOf = (value: unknown, path: string): bigint => {
  if (typeof value === 'string' && /^-?0x[0-9a-f]{1,16}$/i.test(value))
    return value.startsWith('-') ? -BigInt(value.slice(1)) : BigInt(value);
  if (typeof value === 'number' && Number.isSafeInteger(value)) return BigInt(value);
  return fail(path, 'number of 64 bits');
};
const unsignedOf = (value: unknown, path: string): bigint => {
  const n = bigintOf(value, path);
  return n >= 0n && n <= MOST_64 ? n : fail(path, 'unsigned number');
};
const textOf = (value: unknown, path: string, most = Infinity): string => {
  if (typeof value !== 'string') return fail(path, 'text');
  if (value.length > most) throw new RecordError(`${path} is longer than ${most} characters`);
  return value;
};
const objectOf = (value: unknown, path: string): Json => {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json;
  return fail(path, 'object');
};
const listOf = (value: unknown, path: string): readonly unknown[] =>
  Array.isArray(value) ? (value as readonly unknown[]) : fail(path, 'list');

const SPACES = ['virtual', 'pseudophysical', 'machine'] as const;

function memoryOf(value: unknown, path: string): NonNullable<DecodedValue['memory']> {
  const memory = objectOf(value, path);
  const space = SPACES.find((one) => one === memory['space']);
  if (space === undefined) throw new RecordError(`${path}.space is none of ${SPACES.join(', ')}`);
  return { space, address: unsignedOf(memory['address'], `${path}.address`) };
}

function decodedOf(value: unknown, path: string, nesting = 0): DecodedValue {
  if (nesting > MAX_NESTING) throw new RecordError(`${path} is nested too deeply`);
  const v = objectOf(value, path);
  const { memory, children } = v;
  return {
    name: textOf(v['name'], `${path}.name`, LONGEST_NAME),
    type: textOf(v['type'], `${path}.type`, LONGEST_NAME),
    text: textOf(v['text'], `${path}.text`),
    ...(v['value'] === undefined ? {} : { value: bigintOf(v['value'], `${path}.value`) }),
    ...(children === undefined
      ? {}
      : {
          children: listOf(children, `${path}.children`).map((one, i) =>
            decodedOf(one, `${path}.children[${i}]`, nesting + 1),
          ),
        }),
    ...(memory === undefined ? {} : { memory: memoryOf(memory, `${path}.memory`) }),
  };
}

function recordOf(value: unknown, path: string): Read {
  const r = objectOf(value, path === '' ? 'it' : path);
  const at = (name: string): string => (path === '' ? name : `${path}.${name}`);
  const call = objectOf(r['call'], at('call'));
  const name = (key: string): string => textOf(call[key], at(`call.${key}`), LONGEST_NAME);
  return {
    seq: numberOf(r['seq'], at('seq')),
    retired: unsignedOf(r['retired'], at('retired')),
    time: unsignedOf(r['time'], at('time')),
    domain: numberOf(r['domain'], at('domain'), DOMID.FIRST_RESERVED - 1),
    vcpu: numberOf(r['vcpu'], at('vcpu'), MOST_VCPUS - 1),
    rip: unsignedOf(r['rip'], at('rip')),
    call: {
      name: name('name'),
      ...(call['op'] === undefined ? {} : { op: name('op') }),
      nr: numberOf(call['nr'], at('call.nr')),
      args: listOf(call['args'], at('call.args')).map((one, i) => decodedOf(one, at(`call.args[${i}]`))),
      ...(call['result'] === undefined ? {} : { result: bigintOf(call['result'], at('call.result')) }),
      ...(call['errno'] === undefined ? {} : { errno: name('errno') }),
      ...(call['reason'] === undefined ? {} : { reason: textOf(call['reason'], at('call.reason')) }),
    },
    depth: numberOf(r['depth'], at('depth'), MOST_DEPTH),
    ...(r['caller'] === undefined ? {} : { caller: unsignedOf(r['caller'], at('caller')) }),
    ...(r['site'] === undefined ? {} : { site: textOf(r['site'], at('site'), LONGEST_NAME) }),
  };
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new RecordError('it is not a line of JSON');
  }
}

/** Fields of a line of CSV, RFC 4180. */
function fieldsOf(line: string): string[] {
  const fields: string[] = [];
  for (let at = 0; at <= line.length; at++) {
    if (line[at] !== '"') {
      const comma = line.indexOf(',', at);
      const end = comma < 0 ? line.length : comma;
      fields.push(line.slice(at, end));
      at = end;
      continue;
    }
    let text = '';
    for (at++; ; at++) {
      const quote = line.indexOf('"', at);
      if (quote < 0) throw new RecordError(`field ${fields.length + 1}: its quotation mark has no other`);
      text += line.slice(at, quote);
      at = quote + 1;
      if (line[at] !== '"') break;
      text += '"';
    }
    if (at < line.length && line[at] !== ',')
      throw new RecordError(`field ${fields.length + 1} goes on after its quotation mark`);
    fields.push(text);
  }
  return fields;
}

const checkVersion = (version: unknown): void => {
  if (version === undefined || (typeof version === 'number' && version >= 1 && version <= FORMAT_VERSION))
    return;
  throw new RecordError(
    `version ${JSON.stringify(version)} of the format; this Hyperstep reads versions 1 to ${FORMAT_VERSION}`,
  );
};

type ReadLine = (line: string) => Read | undefined;

const readNdjson: ReadLine = (line) => recordOf(jsonOf(line), '');
const readPerfetto: ReadLine = (line) => {
  if (line === ']}') return undefined;
  const event = objectOf(jsonOf(line.replace(/,$/, '')), 'it');
  return recordOf(objectOf(event['args'], 'args')['record'], 'args.record');
};
const csvReader = (head: string): ReadLine => {
  const names = fieldsOf(head);
  const column = names.findIndex((name) => name.startsWith(CSV_RECORD));
  if (column < 0)
    throw new RecordError(
      `it has no column '${CSV_RECORD}${FORMAT_VERSION}', without which arguments are not known; export it again`,
    );
  checkVersion(Number(names[column]?.slice(CSV_RECORD.length)));
  return (line) => {
    const fields = fieldsOf(line);
    if (fields.length !== names.length)
      throw new RecordError(`it has ${fields.length} fields, and the first line ${names.length}`);
    return recordOf(jsonOf(fields[column] ?? ''), 'record');
  };
};

/** Which format a file is in, by its first line, and whether that line is a record already. */
function formatOf(first: string): { readonly read: ReadLine; readonly isRecord: boolean } {
  if (first.startsWith(NDJSON_MARK)) {
    checkVersion(objectOf(jsonOf(first), 'it')['version']);
    return { read: readNdjson, isRecord: false };
  }
  if (first.startsWith(`{${PERFETTO_MARK}`)) {
    const { otherData } = objectOf(jsonOf(`${first}]}`), 'it');
    checkVersion(objectOf(otherData, 'otherData')['version']);
    return { read: readPerfetto, isRecord: false };
  }
  if (first.startsWith(CSV_BEGINS)) return { read: csvReader(first), isRecord: false };
  return { read: readNdjson, isRecord: true };
}

/** Reads lines of one file; the first that is not empty decides what the others are. */
export function createLineReader(): (line: string) => Read | undefined {
  let format: ReadLine | undefined;
  return (given) => {
    // Spreadsheets put a byte order mark in front.
    const line = given.trim().replace(/^\ufeff/, '');
    if (line === '') return undefined;
    if (format === undefined) {
      const found = formatOf(line);
      format = found.read;
      if (!found.isRecord) return undefined;
    }
    return format(line);
  };
}
