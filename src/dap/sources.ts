import { fileURLToPath } from 'node:url';
import type { SymbolIndex } from '../debugger/symbols';

const baseName = (path: string): string =>
  path.slice(Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\')) + 1);

/** A client's path, which may be a URI. */
export function localPath(path: string): string {
  if (!path.startsWith('file:')) return path;
  try {
    return fileURLToPath(path);
  } catch {
    return path;
  }
}

export interface SourceMapping {
  /** Where a file of a line table is on this computer; undefined when it is not. */
  toLocal(file: string): string | undefined;
}

/**
 * @param find where the host has a file
 * @param replacements beginnings of paths as compilers had them, and what they are here; the longest that fits counts
 */
export function mapSources(
  find: (file: string) => string | undefined,
  replacements: readonly (readonly [from: string, to: string])[],
): SourceMapping {
  const sorted = replacements
    .map(([from, to]) => [from.replace(/\/+$/, ''), to.replace(/[\\/]+$/, '')] as const)
    .sort(([a], [b]) => b.length - a.length);
  const known = new Map<string, string | undefined>();
  const search = (file: string): string | undefined => {
    for (const [from, to] of sorted) {
      const rest = from === '' ? `/${file}` : file.slice(from.length);
      if (!file.startsWith(from) || !rest.startsWith('/')) continue;
      const found = find(to + rest);
      if (found !== undefined) return found;
    }
    return find(file);
  };
  return {
    toLocal: (file) => {
      if (!known.has(file)) known.set(file, search(file));
      return known.get(file);
    },
  };
}

/** Parts of two paths that agree, from the end. */
function agreement(a: string, b: string): number {
  const [left, right] = [a.split(/[\\/]/).reverse(), b.split(/[\\/]/).reverse()];
  let count = 0;
  while (count < left.length && left[count] === right[count]) count++;
  return count;
}

/**
 * Finds lines by the paths that a client has. Where the file of the line table is not on this computer under the
 * path that the host knows, the one whose path ends most like the client's will do, if there is only one such.
 */
export function localSources(symbols: SymbolIndex, mapping: SourceMapping): SymbolIndex {
  const find = (path: string): string => {
    const alike = symbols.filesNamed(baseName(path));
    const exact = alike.find((file) => file === path || mapping.toLocal(file) === path);
    if (exact !== undefined) return exact;
    const most = Math.max(0, ...alike.map((file) => agreement(file, path)));
    const best = alike.filter((file) => agreement(file, path) === most);
    return best.length === 1 && best[0] !== undefined ? best[0] : path;
  };
  // Not a copy: the list of all files is only made when somebody wants it.
  const own: Pick<SymbolIndex, 'code' | 'toLocal'> = {
    code: (path, line) => symbols.code(find(path), line),
    toLocal: (file) => mapping.toLocal(file),
  };
  return Object.assign(Object.create(symbols) as SymbolIndex, own);
}
