import type { VcpuRef } from '../target';
import type { Axis, Cost } from './columns';

// What a trace can be asked, wherever it is: in the machine's worker, in a file. Questions and answers are JSON, and
// each takes a bounded time: what is long is asked again until it is done, so that it can be given up at any time.

/** Which records; `functions`: where those that the filter names after `in` are, as hexadecimal addresses. */
export interface FilterSpec {
  readonly filter: string;
  readonly functions?: Readonly<
    Record<
      string,
      readonly { readonly low: string; readonly high: string; readonly domains?: readonly number[] }[]
    >
  >;
}

/** A decoded argument, or something in one. */
export interface DetailRow {
  readonly name: string;
  readonly type: string;
  readonly text: string;
  /** An address that can be looked at, and whose it is. */
  readonly memory?: { readonly space: 'virtual' | 'pseudophysical' | 'machine'; readonly address: string };
  readonly children?: readonly DetailRow[];
}

export interface RecordRow {
  /** Where it is in the trace: what other questions name it by. */
  readonly at: number;
  /** Its number, which is its position but in a file that has only some. */
  readonly seq: number;
  readonly retired: number;
  /** Virtual nanoseconds. */
  readonly time: number;
  readonly domain: number;
  readonly vcpu: number;
  readonly depth: number;
  /** `memory_op.populate_physmap` */
  readonly name: string;
  /** The arguments on one line. */
  readonly text: string;
  readonly result?: string;
  readonly errno?: string;
  readonly reason?: string;
  /** Address after the instruction. */
  readonly rip: string;
  /** Where the hypercall page was called from, where it is known. */
  readonly caller?: string;
  /** The place that made the call, where a symbol covers it. */
  readonly site?: string;
  readonly cost?: Cost;
}

export interface Lane {
  readonly vcpu: VcpuRef;
  /** Records in each bucket, and how many of them were refused. */
  readonly counts: readonly number[];
  readonly refused: readonly number[];
}

export interface CallTotal {
  readonly name: string;
  readonly count: number;
  readonly refused: number;
  /** Sums over those that were followed by another call. */
  readonly instructions: number;
  readonly time: number;
}

/** How much of two records has to be the same. */
export type Likeness = 'calls' | 'arguments' | 'moments';

export const EXPORT_FORMATS = ['ndjson', 'csv', 'perfetto'] as const;
export type ExportFormat = (typeof EXPORT_FORMATS)[number];

export interface TraceQuestions {
  info: {
    readonly ask: object;
    readonly answer: {
      /** Another when what earlier answers said of positions is void. */
      readonly generation: number;
      /** Positions [first, next) are there. */
      readonly first: number;
      readonly next: number;
      readonly names: readonly string[];
      readonly errnos: readonly string[];
      readonly vcpus: readonly VcpuRef[];
      /** Of the first record and the last. */
      readonly retired: readonly [number, number];
      readonly time: readonly [number, number];
      /** A file that is still being read: bytes. */
      readonly loading?: { readonly done: number; readonly total: number };
    };
  };
  /** Goes on looking; to be asked again until `scanned` has reached `next`. */
  scan: {
    readonly ask: FilterSpec;
    readonly answer: {
      readonly generation: number;
      readonly matched: number;
      readonly scanned: number;
      readonly first: number;
      readonly next: number;
      readonly problem?: { readonly message: string; readonly at: number };
      /** Why nothing was found. */
      readonly complaint?: string;
    };
  };
  /** A window of what was found so far. */
  rows: {
    readonly ask: FilterSpec & { readonly start: number; readonly count: number };
    readonly answer: { readonly rows: readonly RecordRow[] };
  };
  /** Rows of positions, wherever they are. */
  at: {
    readonly ask: { readonly positions: readonly number[] };
    readonly answer: { readonly rows: readonly RecordRow[] };
  };
  record: {
    readonly ask: { readonly at: number };
    readonly answer: {
      readonly row: RecordRow;
      readonly args: readonly DetailRow[];
      /** The calls of a multicall, in their order; of an entry, the multicall it belongs to. */
      readonly entries: readonly RecordRow[];
      readonly within?: number;
    };
  };
  /** Which row is it, or the last before it? -1: none. */
  index: { readonly ask: FilterSpec & { readonly at: number }; readonly answer: { readonly index: number } };
  /** The last record that was made by that many instructions, of that vCPU if one is named. */
  moment: {
    readonly ask: { readonly retired: number; readonly domain?: number; readonly vcpu?: number };
    readonly answer: { readonly at?: number };
  };
  timeline: {
    readonly ask: FilterSpec & {
      readonly axis: Axis;
      readonly from: number;
      readonly to: number;
      readonly buckets: number;
    };
    readonly answer: { readonly lanes: readonly Lane[] };
  };
  totals: {
    readonly ask: FilterSpec;
    readonly answer: {
      readonly calls: readonly CallTotal[];
      /** How many calls cost [2^i, 2^(i+1)) instructions; the first also none. */
      readonly costs: readonly number[];
    };
  };
  /** For comparing: of each record from a position on, the vCPU and a number that equal ones have in common. */
  signatures: {
    readonly ask: { readonly from: number; readonly likeness: Likeness };
    readonly answer: {
      readonly vcpus: readonly VcpuRef[];
      readonly of: readonly number[];
      readonly signatures: readonly number[];
      readonly next: number;
      readonly last: number;
    };
  };
  /** Where the records of a stretch were called from, each place once, for whoever can give them names. */
  sites: {
    readonly ask: FilterSpec & { readonly from: number; readonly to: number };
    readonly answer: {
      readonly sites: readonly { readonly domain: number; readonly address: string }[];
    };
  };
  /**
   * Text of a file, of what was found of positions [from, to); `next` is where to go on, until `done`. `head`: it is
   * the beginning of the file. `names`: of the call sites, by `siteKey`.
   */
  export: {
    readonly ask: FilterSpec & {
      readonly names?: Readonly<Record<string, string>>;
      readonly format: ExportFormat;
      readonly from: number;
      readonly to: number;
      readonly head: boolean;
    };
    readonly answer: {
      readonly text: string;
      readonly count: number;
      readonly next: number;
      readonly done: boolean;
    };
  };
}

/** A call site, where names are given to several. */
export const siteKey = (domain: number, address: string): string => `d${domain} ${address}`;

export type QuestionKind = keyof TraceQuestions;
export type Question<K extends QuestionKind = QuestionKind> = {
  [One in K]: { readonly kind: One } & TraceQuestions[One]['ask'];
}[K];
export type Answer<K extends QuestionKind = QuestionKind> = TraceQuestions[K]['answer'];

/** A trace, wherever it is. Rejects in words for people. */
export interface TraceAccess {
  ask<K extends QuestionKind>(kind: K, question: TraceQuestions[K]['ask']): Promise<Answer<K>>;
}
