import type { Comparison, Likeness, Question, Answer, ExportFormat, RecordRow } from '../../dap/protocol';
import type { Completions } from './completion';

// What the trace's page and the extension say to each other. The page asks; every request has one answer.

/** The trace that is shown, and the one that it is compared with. */
export type Which = 'left' | 'right';

export interface PageRequests {
  ask: { readonly in: { readonly which: Which; readonly question: Question }; readonly out: Answer };
  complete: { readonly in: { readonly text: string; readonly cursor: number }; readonly out: Completions };
  /** Opens the source of a call site. */
  source: { readonly in: { readonly row: RecordRow }; readonly out: null };
  /** Runs the machine anew up to the call. */
  break: { readonly in: { readonly row: RecordRow }; readonly out: null };
  memory: {
    readonly in: { readonly row: RecordRow; readonly space: string; readonly address: string };
    readonly out: null;
  };
  export: {
    readonly in: { readonly filter: string; readonly format?: ExportFormat };
    readonly out: null;
  };
  open: { readonly in: object; readonly out: null };
  compare: { readonly in: { readonly likeness: Likeness }; readonly out: Comparison | null };
}
export type PageRequest = keyof PageRequests;

export type FromPage =
  | { readonly type: 'ready' }
  | { readonly type: 'request'; readonly id: number; readonly name: PageRequest; readonly args: unknown };

export interface PageState {
  /** What is shown: the machine's name, or the file's. */
  readonly title: string;
  readonly kind: 'machine' | 'file' | 'none';
  readonly running: boolean;
  /** There is a machine: source can be opened, and a record run to. */
  readonly machine: boolean;
}

export type ToPage =
  | { readonly type: 'reply'; readonly id: number; readonly value?: unknown; readonly error?: string }
  /** Another trace, or the same machine in another state. `fresh`: nothing said before is true any more. */
  | { readonly type: 'state'; readonly state: PageState; readonly fresh: boolean }
  /** The machine stands, or another vCPU was selected: its last record. */
  | { readonly type: 'current'; readonly at: number | null }
  | { readonly type: 'focusFilter' }
  | { readonly type: 'compare' }
  | { readonly type: 'goToCurrent' };
