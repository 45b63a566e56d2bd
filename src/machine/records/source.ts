import type { TraceRecord } from '../target';
import type { Columns } from './columns';

/** A trace that can be asked: columns for what is asked of many records, and each record itself. */
export interface RecordSource {
  readonly columns: Columns;
  /** Another number when what was said about earlier positions is no longer true. */
  generation(): number;
  /** Takes in what has come since. */
  update(): void;
  /** Of names that a file gives with its call sites; the debugger knows those of a machine. */
  siteName?(site: number, domain: number): string | undefined;
  /** Throws when it is not there, or cannot be read. */
  record(position: number): TraceRecord;
  /** Not all of it is known yet: bytes of the file. */
  loading?(): { readonly done: number; readonly total: number } | undefined;
}
