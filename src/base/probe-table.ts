/** A place before a statement of the hypervisor's source where it can be held. */
export interface ProbeSite {
  /** Both from 1. */
  readonly line: number;
  readonly column: number;
  readonly function: string;
  /** Names of the values that come with it, those of the functions around it first. */
  readonly locals: readonly string[];
  /** The function may be at work more than once. */
  readonly recursive?: true;
}

/** Sites by file, relative to src/; the index of a site is its number. Made by the build: dist/probes.json. */
export type ProbeTable = Readonly<Record<string, readonly ProbeSite[]>>;
