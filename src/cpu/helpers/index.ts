import type { Helper } from './context';
import { identityHelpers } from './cpuid';
import { farHelpers } from './far';
import { segmentHelpers } from './segments';

/**
 * Every helper, by the name that `Ops.helper` calls. Order fixes the numbers in the generated module, so a file
 * adds its own table here: `...x87Helpers`.
 */
export const HELPERS: Readonly<Record<string, Helper>> = {
  ...identityHelpers,
  ...segmentHelpers,
  ...farHelpers,
};

export const HELPER_NAMES: readonly string[] = Object.keys(HELPERS);
