import { createColumns, createTable } from './columns';
import type { ExportedRecord } from './formats';
import { createLineReader, RecordError } from './reading';
import type { RecordSource } from './source';
import { callName } from '../format';

/**
 * A file of records, one a line: its columns in memory, with where each line begins; the lines stay in the file. It
 * is read once from the front, a stretch at a time, and can be asked about what has been read so far.
 */

/** A file that somebody opened for reading. */
export interface LineFile {
  readonly name: string;
  readonly size: number;
  /** As many bytes as there are, up to `length`. */
  read(offset: number, length: number): Uint8Array;
  close(): void;
}

export interface FileRecords extends RecordSource {
  /** Reads another stretch, some milliseconds' worth; false when all is read. Throws a RecordError with the line. */
  load(): boolean;
  close(): void;
}

/** Bytes of a stretch. */
const STRETCH = 1 << 18;
/** A line of ours is some hundred bytes; batches of page-table updates are longer. */
const LONGEST_LINE = 1 << 24;
const NEWLINE = 10;
/** Offsets of this many lines lie together. */
const OFFSETS = 1 << 16;
const MOST_SITES = 2 ** 20;
const REMEMBERED = 256;
/** Each has a lane in the timeline; Xen's own limit of a machine is in the hundreds. */
const MOST_VCPUS = 1024;

export function createFileRecords(file: LineFile): FileRecords {
  const columns = createColumns(true);
  const decoder = new TextDecoder();
  const offsets: Float64Array[] = [];
  /** Names of call sites: by domain and the number of the site, the number of the name. */
  const siteNames = createTable<string>(MOST_SITES, '');
  const namesOfSites = new Map<number, number[]>();
  const read = createLineReader();
  let latest = 0n;
  const recent = new Map<number, ExportedRecord['record']>();
  let at = 0;
  let line = 0;

  const put = (record: ExportedRecord['record'], offset: number): void => {
    if (record.retired < latest)
      throw new RecordError('retired is less than in the record before: these are not of one run');
    latest = record.retired;
    const position = columns.next();
    const part = (offsets[Math.floor(position / OFFSETS)] ??= new Float64Array(OFFSETS));
    part[position % OFFSETS] = offset;
    columns.append({
      seq: record.seq,
      retired: Number(record.retired),
      time: Number(record.time),
      domain: record.domain,
      vcpu: record.vcpu,
      name: callName(record.call),
      site: record.caller ?? record.rip,
      depth: record.depth,
      result: record.call.result,
      errno: record.call.errno,
    });
    if (columns.vcpus.length > MOST_VCPUS)
      throw new RecordError(`there are more than ${MOST_VCPUS} vCPUs by here`);
    if (record.site === undefined) return;
    const { domain } = record;
    const names = namesOfSites.get(domain) ?? [];
    namesOfSites.set(domain, names);
    names[columns.sites.id(record.caller ?? record.rip)] = siteNames.id(record.site);
  };
  /** Takes in the line that ends there, the next of the file. */
  const take = (start: number, bytes: Uint8Array): void => {
    line++;
    try {
      const record = read(decoder.decode(bytes));
      if (record !== undefined) put(record, start);
    } catch (error) {
      if (!(error instanceof RecordError)) throw error;
      const cut = start + bytes.length === file.size ? ', and the file ends in it' : '';
      throw new RecordError(
        `${file.name}, line ${line.toString()}: ${error.message}${cut}. A hypercall trace of Hyperstep's is expected`,
      );
    }
  };
  /** The line that begins there. */
  const lineAt = (offset: number): Uint8Array => {
    for (let length = 4096; ; length *= 8) {
      const bytes = file.read(offset, length);
      const end = bytes.indexOf(NEWLINE);
      if (end >= 0) return bytes.subarray(0, end);
      if (offset + bytes.length >= file.size || length > LONGEST_LINE) return bytes;
    }
  };

  const reread = (bytes: Uint8Array): ExportedRecord['record'] => {
    try {
      const record = read(decoder.decode(bytes));
      if (record !== undefined) return record;
    } catch (error) {
      if (!(error instanceof RecordError)) throw error;
    }
    throw new RecordError(`${file.name} has changed since it was opened`);
  };

  return {
    columns,
    generation: () => 0,
    update: () => undefined,
    siteName: (site, domain) => {
      const name = namesOfSites.get(domain)?.[site];
      return name === undefined ? undefined : siteNames.values[name];
    },
    record: (position) => {
      const known = recent.get(position);
      if (known !== undefined) return known;
      const offset = offsets[Math.floor(position / OFFSETS)]?.[position % OFFSETS];
      if (offset === undefined || position < 0 || position >= columns.next())
        throw new RangeError(`${file.name} has no record at ${position.toString()}`);
      const record = reread(lineAt(offset));
      if (recent.size >= REMEMBERED) recent.clear();
      recent.set(position, record);
      return record;
    },
    loading: () => (at < file.size ? { done: at, total: file.size } : undefined),
    load: () => {
      if (at >= file.size) return false;
      let bytes = file.read(at, STRETCH);
      if (!bytes.includes(NEWLINE) && at + bytes.length < file.size) {
        bytes = file.read(at, LONGEST_LINE);
        if (!bytes.includes(NEWLINE) && at + bytes.length < file.size)
          throw new RecordError(`${file.name}, line ${(line + 1).toString()}: it is too long to be a record`);
      }
      if (bytes.length === 0) throw new RecordError(`${file.name} has become shorter while it was read`);
      let start = 0;
      while (start < bytes.length) {
        let end = bytes.indexOf(NEWLINE, start);
        if (end < 0) {
          if (at + bytes.length < file.size) break;
          end = bytes.length;
        }
        take(at + start, bytes.subarray(start, end));
        start = end + 1;
      }
      at = Math.min(file.size, at + start);
      return at < file.size;
    },
    close: () => {
      file.close();
    },
  };
}
