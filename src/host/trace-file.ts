// Trace files: read a stretch at a time in between everything else that this process does.
import { setImmediate } from 'node:timers/promises';
import { createFileRecords } from '../machine/records/file';
import type { TraceAccess } from '../machine/records/questions';
import { createRecordViews } from '../machine/records/views';
import { openForReading } from './guest-file';

export interface TraceFile {
  /** Can be asked at once, about what has been read so far. */
  readonly access: TraceAccess;
  /** When all of it is read. Rejects in words for people. */
  readonly loaded: Promise<void>;
  close(): void;
}

/** Throws when there is no such file, or it cannot be read. */
export function openTraceFile(path: string): TraceFile {
  const file = openForReading(path);
  if (file === undefined) throw new Error(`there is no file '${path}'`);
  const records = createFileRecords({ ...file, close: () => file.close?.() });
  const views = createRecordViews(records, new Set());
  let closed = false;
  const load = async (): Promise<void> => {
    while (!closed && records.load()) await setImmediate();
  };
  const loaded = load();
  return {
    access: {
      ask: async (kind, question) => {
        if (closed) throw new Error(`${path} is closed`);
        return Promise.resolve(views({ kind, ...question } as never) as never);
      },
    },
    loaded,
    close: () => {
      closed = true;
      records.close();
    },
  };
}
