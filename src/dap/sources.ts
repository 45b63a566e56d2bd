import { fileURLToPath } from 'node:url';
import { fileAlike } from '../debugger/source-paths';
import type { SymbolIndex } from '../debugger/symbols';

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

/** Finds lines by the paths that a client has. */
export function localSources(symbols: SymbolIndex, mapping: SourceMapping): SymbolIndex {
  const find = (path: string): string =>
    fileAlike(path, {
      filesNamed: (name) => symbols.filesNamed(name),
      toLocal: (file) => mapping.toLocal(file),
    });
  // Not a copy: the list of all files is only made when somebody wants it.
  const own: Pick<SymbolIndex, 'code' | 'toLocal'> = {
    code: (path, line) => symbols.code(find(path), line),
    toLocal: (file) => mapping.toLocal(file),
  };
  return Object.assign(Object.create(symbols) as SymbolIndex, own);
}
