/**
 * Where the hypervisor can be held between two statements of its own. The build puts a call of `at` before each
 * statement of this folder (scripts/probes); in tests from sources there are none. Everything here runs on one
 * thread, so one probe serves it.
 */
export const probe: {
  /** Statements call `at` only while this is set. */
  armed: boolean;
  /** `locals` are the values of the names that the table has for the site. */
  at: (file: string, site: number, locals: readonly unknown[]) => void;
} = { armed: false, at: () => undefined };
