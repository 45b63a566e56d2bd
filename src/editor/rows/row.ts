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
  /** For menus' `when` clauses. */
  readonly kind: string;
  readonly expandable: boolean;
  /** A check box, with its state. */
  readonly checked?: boolean;
  /** Differs from what was shown at the stop before. */
  readonly changed?: boolean;
}

/** Where rows come from. `undefined` asks for the roots. */
export interface RowModel<R extends Row> {
  children(row: R | undefined): Promise<readonly R[]>;
}

/** The part of a debug session that the models use. */
export interface Requester {
  request<T>(command: string, args: object): Promise<T>;
}

/** Text from elsewhere, inside Markdown. */
export const escapeMarkdown = (text: string): string => text.replace(/[\\`*_{}[\]()#+!|<>~-]/g, '\\$&');
