/** The hypervisor's own sources, as breakpoints and stacks need them. */
export interface HypervisorSources {
  /** The probe table's name of a file that a client has; undefined where it is none of the hypervisor's. */
  fileOf(path: string): string | undefined;
  /** Where that file is for a person to read. */
  pathOf(file: string): string | undefined;
  /** The first line at or after `line` that has a statement to hold at. */
  lineAt(file: string, line: number): number | undefined;
  /** Names of what the statements on a line can see. */
  namesAt(file: string, line: number): readonly string[];
}

/** Where the machine has no probes. */
export const noHypervisorSources: HypervisorSources = {
  fileOf: () => undefined,
  pathOf: () => undefined,
  lineAt: () => undefined,
  namesAt: () => [],
};
