/**
 * Where the hypervisor can be held between two statements of its own. The build gives the functions of this folder a
 * second body with a call before each statement (scripts/probes); in tests from sources there is none. Everything here
 * runs on one thread, so one probe serves it.
 */
export const probe: {
  /** Statements call it while armed. `locals` are the values of the names that the table has for the site. */
  at: (file: string, site: number, locals: readonly unknown[]) => void;
} = { at: () => undefined };

/**
 * Which of their bodies functions take. It is a global variable because of how V8 treats those that have only ever
 * had one value: that is a constant in the code it makes, and the question disappears from it.
 */
const shared = globalThis as { $armed?: boolean };
/** Whether the variable has had two values. */
let varied = false;

export const armed = (): boolean => shared.$armed === true;

export function arm(on: boolean): void {
  if (armed() === on) return;
  shared.$armed = on;
  varied = true;
}

/**
 * Unarmed for a while to come: makes it a new variable with one value. What V8 has compiled since it was armed will be
 * compiled once more.
 */
export function settle(): void {
  if (!varied || armed()) return;
  delete shared.$armed;
  shared.$armed = false;
  varied = false;
}

/**
 * V8 makes functions a part of their callers, as many as a budget allows, and sees only afterwards that a branch is
 * not taken. It does not do that with proxies: calls in branches for whoever looks shall not use the budget up.
 */
const apart = <F extends (...args: never[]) => unknown>(f: F): F => new Proxy(f, {});

/** What the statements of a file call; it may be called unarmed, by functions made before. */
export function probesOf(file: string): (site: number, ...locals: readonly unknown[]) => void {
  // Only where there are functions that ask is there a variable.
  shared.$armed ??= false;
  return apart((site: number, ...locals: readonly unknown[]) => {
    if (armed()) probe.at(file, site, locals);
  });
}

/** Takes the body with the probes. */
export const take = apart(<A extends readonly unknown[], R>(body: (...args: A) => R, ...args: A): R =>
  body(...args),
);
