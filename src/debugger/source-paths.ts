import type { SymbolIndex } from './symbols';

const baseName = (path: string): string =>
  path.slice(Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\')) + 1);

/** Parts of two paths that agree, from the end. */
function agreement(a: string, b: string): number {
  const [left, right] = [a.split(/[\\/]/).reverse(), b.split(/[\\/]/).reverse()];
  let count = 0;
  while (count < left.length && left[count] === right[count]) count++;
  return count;
}

/**
 * The file of a line table that a client means. Where the table's file is not on this computer under the path that the
 * host knows, the one whose path ends most like the client's will do, if there is only one such.
 */
export function fileAlike(
  path: string,
  { filesNamed, toLocal }: Pick<SymbolIndex, 'filesNamed'> & { readonly toLocal: SymbolIndex['toLocal'] },
): string {
  const alike = filesNamed(baseName(path));
  const exact = alike.find((file) => file === path || toLocal?.(file) === path);
  if (exact !== undefined) return exact;
  const most = Math.max(0, ...alike.map((file) => agreement(file, path)));
  const best = alike.filter((file) => agreement(file, path) === most);
  return best.length === 1 && best[0] !== undefined ? best[0] : path;
}
