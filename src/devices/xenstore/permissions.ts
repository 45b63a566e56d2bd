/**
 * Permissions of a node (xenstore.txt, GET_PERMS): the first entry names the owner, who may do everything, and
 * what everybody without an entry of his own may do; the others name a domain each.
 */
import { XsError } from './wire';

export interface Permission {
  readonly domain: number;
  /** Bits of {@link MAY}. */
  readonly may: number;
  /** Names a domain that did not exist when it was set: it shall not serve a later one of that number. */
  readonly ignored?: true;
}

export const MAY = { READ: 1, WRITE: 2, OWN: 4 } as const;

const letters: Readonly<Record<string, number>> = {
  n: 0,
  r: MAY.READ,
  w: MAY.WRITE,
  b: MAY.READ | MAY.WRITE,
};

export const NOBODY: readonly Permission[] = [{ domain: 0, may: 0 }];

export function formatPermission(p: Permission): string {
  const letter = Object.keys(letters).find((l) => letters[l] === p.may) ?? 'n';
  return `${letter}${p.domain}`;
}

/** A letter and a number as C's strtol with base 0 takes it. */
export function parsePermission(text: string): Permission {
  const parts = /^([nrwb])(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)$/.exec(text);
  const may = letters[parts?.[1] ?? ''];
  const digits = parts?.[2] ?? '';
  if (may === undefined) throw new XsError('EINVAL', `${JSON.stringify(text)} is not a permission`);
  const domain = /^0[0-7]/.test(digits) ? Number.parseInt(digits, 8) : Number(digits);
  if (domain > 0xffff_ffff) throw new XsError('EINVAL', `there is no domain ${digits}`);
  return { domain, may };
}

export function permitted(
  client: { readonly domain: number; readonly privileged: boolean },
  permissions: readonly Permission[],
): number {
  const owner = permissions[0];
  if (client.privileged || owner?.domain === client.domain) return MAY.READ | MAY.WRITE | MAY.OWN;
  const own = permissions.find((p, i) => i > 0 && p.domain === client.domain && p.ignored !== true);
  return (own ?? owner)?.may ?? 0;
}
