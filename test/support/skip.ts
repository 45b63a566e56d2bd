/**
 * Skips the running test and says why: the reason is printed, since mocha itself has no place for one. Under
 * CI=true nothing may be missing, so there it is a failure instead.
 */
export function skipBecause(test: { skip(): never }, reason: string): never {
  if (process.env['CI'] === 'true') throw new Error(`under CI=true this may not be skipped: ${reason}`);
  console.log(`      skipped: ${reason}`);
  return test.skip();
}
