import { createColumns, createTable } from './columns';
import { parseLine, RecordError, type ExportedRecord } from './formats';
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

export function createFileRecords(file: LineFile): FileRecords {
  const columns = createColumns(true);
  const decoder = new TextDecoder();
  const offsets: Float64Array[] = [];
  /** Names of call sites: by the number of the site, the number of the name. */
  const siteNames = createTable<string>(MOST_SITES, '');
  const nameOfSite: number[] = [];
  const recent = new Map<number, ExportedRecord['record']>();
  let at = 0;
  let line = 0;

  const put = (record: ExportedRecord['record'], offset: number): void => {
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
    if (record.site !== undefined)
      nameOfSite[columns.sites.id(record.caller ?? record.rip)] = siteNames.id(record.site);
  };
  const parse = (bytes: Uint8Array): ExportedRecord['record'] | undefined => {
    try {
      return parseLine(decoder.decode(bytes));
    } catch (error) {
      if (!(error instanceof RecordError)) throw error;
      throw new RecordError(
        `${file.name}, line ${line.toString()}: ${error.message}; a hypercall trace of Hyperstep's is expected`,
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

  return {
    columns,
    generation: () => 0,
    update: () => undefined,
    siteName: (site) => {
      const name = nameOfSite[site];
      return name === undefined ? undefined : siteNames.values[name];
    },
    record: (position) => {
      const known = recent.get(position);
      if (known !== undefined) return known;
      const offset = offsets[Math.floor(position / OFFSETS)]?.[position % OFFSETS];
      if (offset === undefined || position < 0 || position >= columns.next())
        throw new RangeError(`${file.name} has no record at ${position.toString()}`);
      const record = parse(lineAt(offset));
      if (record === undefined) throw new RecordError(`${file.name} has changed since it was opened`);
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
        line++;
        const record = parse(bytes.subarray(start, end));
        if (record !== undefined) put(record, at + start);
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
