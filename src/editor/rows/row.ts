/** A row of a tree as data: the views' models know nothing of `vscode`; tree.ts draws them. */
export interface Row {
  /** Stable while the thing it shows is the same, so that expansion survives a step. */
  readonly id: string;
  readonly label: string;
  readonly description?: string;
  /** Markdown. */
  readonly tooltip?: string;
  /** A codicon's name. */
  readonly icon?: string;
  readonly accessible?: string;
  /** For menus' `when` clauses, together with what can be done with it ({@link contextOf}). */
  readonly kind: string;
  readonly expandable: boolean;
  /** A check box, with its state. */
  readonly checked?: boolean;
  /** Differs from what was shown at the stop before. */
  readonly changed?: boolean;
  /** What a person may want elsewhere. */
  readonly copy?: string;
  /** An expression of the debugger that says the same, to be watched. */
  readonly watch?: string;
  /** A memory reference for the memory view: `virtual:d1v0:0x…`, `machine:0x…`. */
  readonly memory?: string;
  /** A machine frame, of which one may ask who maps it. */
  readonly mfn?: number;
  /** An address to go to in the page tables. */
  readonly address?: string;
  /** What a function breakpoint here is called. */
  readonly breakpoint?: string;
  /** A node of xenstore. */
  readonly node?: string;
}

/** Where rows come from. `undefined` asks for the roots. */
export interface RowModel<R extends Row> {
  children(row: R | undefined): Promise<readonly R[]>;
  /** A filter looks through rows that are not expanded, too: asking for them costs little. */
  readonly searchable?: boolean;
}

/** The part of a debug session that the models use. */
export interface Requester {
  request<T>(command: string, args: object): Promise<T>;
}

/** Text from elsewhere, inside Markdown. */
export const escapeMarkdown = (text: string): string => text.replace(/[\\`*_{}[\]()#+!|<>~-]/g, '\\$&');

/** Name and value as a table, for tooltips. Values are Markdown already. */
export const factTable = (title: string, facts: readonly (readonly [string, string])[]): string =>
  [
    `**${title}**`,
    '',
    '| | |',
    '|---|---|',
    ...facts.filter(([, value]) => value !== '').map(([name, value]) => `| ${name} | ${value} |`),
  ].join('\n');

export const hex = (n: number): string => `0x${n.toString(16)}`;

/** Parts of a description that are there. */
export const parts = (...texts: readonly (string | undefined)[]): string =>
  texts.filter((text) => text !== undefined && text !== '').join(' · ');

/** What a row can be asked, as words that menus look for. */
const ABILITIES = ['copy', 'watch', 'memory', 'mfn', 'address', 'breakpoint', 'node'] as const;

/** `leaf copy watch memory`: its kind, and what can be done with it. */
export const contextOf = (row: Row): string =>
  [row.kind, ...ABILITIES.filter((ability) => row[ability] !== undefined)].join(' ');
