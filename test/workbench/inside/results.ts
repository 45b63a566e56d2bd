/** In the server's home: a line of JSON for each test, and a last one. */
export const RESULTS = 'inside.ndjson';

export interface Result {
  readonly test: string;
  readonly ms: number;
  /** None: it passed. */
  readonly error?: string;
}

/** Written when all have run, or why they could not. */
export interface End {
  readonly end: true;
  readonly error?: string;
}
