import type { Helper } from './context';
import { estimates } from './estimate';
import { identityHelpers } from './cpuid';
import { farHelpers } from './far';
import { segmentHelpers } from './segments';
import { X87_HELPERS } from './x87';

/**
 * Every helper, by the name that `Ops.helper` calls. Order fixes the numbers in the generated module, so a file
 * adds its own table here: `...x87Helpers`.
 */
export const HELPERS: Readonly<Record<string, Helper>> = {
  ...estimates,
  ...identityHelpers,
  ...segmentHelpers,
  ...farHelpers,
  ...X87_HELPERS,
};

export const HELPER_NAMES: readonly string[] = Object.keys(HELPERS);
