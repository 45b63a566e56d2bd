/**
 * Where the hypervisor can be held between two statements of its own. The build puts a call before each
 * statement of this folder (scripts/probes); in tests from sources there are none. Everything here runs on one
 * thread, so one probe serves it.
 */
export const probe: {
  /** Statements call `at` only while this is set. */
  armed: boolean;
  /** `locals` are the values of the names that the table has for the site. */
  at: (file: string, site: number, locals: readonly unknown[]) => void;
} = { armed: false, at: () => undefined };

/** What the statements of a file call; short, because it stands before each of them. */
export const probesOf =
  (file: string): ((site: number, ...locals: readonly unknown[]) => void) =>
  (site, ...locals) => {
    probe.at(file, site, locals);
  };
