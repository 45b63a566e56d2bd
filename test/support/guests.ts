import { findGuest, guestSources, whyNoFetching } from '../../scripts/fetch-guests';
import type { GuestName } from '../../scripts/fetch-guests';
import { skipBecause } from './skip';

export type { GuestName } from '../../scripts/fetch-guests';

/**
 * Path of a real guest's file in the cache, for a test that needs it:
 * `const path = guestPath('grub', this);` inside a `function () {…}` of mocha's.
 *
 * When it is not there: under CI=true an error, elsewhere the test is skipped with the reason printed.
 */
export function guestPath(name: GuestName, test: { skip(): never }): string {
  const found = findGuest(name);
  if (found !== undefined) return found;
  const why = whyNoFetching() ?? 'not fetched yet: npx tsx scripts/fetch-guests.ts';
  return skipBecause(
    test,
    `real guest '${name}' (Debian package ${guestSources[name].package}) is missing: ${why}`,
  );
}
