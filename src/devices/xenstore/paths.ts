import { quota, XENSTORE_ABS_PATH_MAX, XsError } from './wire';

export const domainPath = (domain: number): string => `/local/domain/${domain}`;

/** '/' is its own parent, and that of the special nodes that begin with @. */
export function parentOf(path: string): string {
  const slash = path.lastIndexOf('/');
  return slash <= 0 ? '/' : path.slice(0, slash);
}

export const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
export const childOf = (path: string, name: string): string =>
  path === '/' ? `/${name}` : `${path}/${name}`;

/** Whether `path` is `above` or below it. */
export const isWithin = (path: string, above: string): boolean =>
  above === '/' || path === above || path.startsWith(`${above}/`);

export const isRelative = (path: string): boolean => !path.startsWith('/') && !path.startsWith('@');

/**
 * The absolute path that a client means (xenstore.txt, "Paths are /-separated"; the characters are those there).
 * Throws EINVAL for what is no path, or is too long for this client.
 */
export function canonical(
  client: { readonly domain: number; readonly privileged: boolean },
  given: string | undefined,
  special = false,
): string {
  if (given === undefined)
    throw new XsError('EINVAL', 'the payload is not one string with its terminating zero');
  if (!/^[A-Za-z0-9\-/_@]*$/.test(given)) {
    throw new XsError(
      'EINVAL',
      `path ${JSON.stringify(given)} has a character other than A-Z a-z 0-9 - / _ @`,
    );
  }
  if (given.startsWith('@') && !special) throw new XsError('EINVAL', `${given} can only be watched`);
  const path = isRelative(given) ? `${domainPath(client.domain)}/${given}` : given;
  if ((path.endsWith('/') && path !== '/') || path.includes('//')) {
    throw new XsError('EINVAL', `path ${path} has an empty part`);
  }
  const base = /^\/local\/domain\/\d{1,5}\//.exec(path)?.[0].length ?? 0;
  if (path.length > XENSTORE_ABS_PATH_MAX || (!client.privileged && path.length - base > quota.path)) {
    throw new XsError('EINVAL', `a path of ${path.length} characters is too long`);
  }
  return path;
}
