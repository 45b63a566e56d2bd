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

/**
 * Finds lines by the paths that a client has. Where the file of the line table is not on this computer under the
 * path that the host knows, one with the same name will do if there is only one.
 */
export function mapSources(
  symbols: SymbolIndex,
  sourcePath: (file: string) => string | undefined,
): SymbolIndex {
  const byPath = new Map(symbols.files.map((file) => [sourcePath(file) ?? file, file]));
  const find = (path: string): string => {
    const exact = byPath.get(path);
    if (exact !== undefined) return exact;
    const alike = symbols.files.filter((file) => baseName(file) === baseName(path));
    return alike.length === 1 && alike[0] !== undefined ? alike[0] : path;
  };
  return { ...symbols, code: (path, line) => symbols.code(find(path), line) };
}
