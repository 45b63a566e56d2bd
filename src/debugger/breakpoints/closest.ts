/** Steps of one letter (put in, left out, changed, or swapped with its neighbour) from one text to another. */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = a[i - 1] === b[j - 1] ? 0 : 1;
      let best = Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + change);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        best = Math.min(best, (before[j - 2] ?? 0) + 1);
      next.push(best);
    }
    before = row;
    row = next;
  }
  return row[b.length] ?? 0;
}

const SUGGESTED = 3;
const LISTED = 16;

/** Names that one may have meant, the likeliest first: those a letter or two away, or that share a piece. */
function closest(name: string, names: readonly string[]): readonly string[] {
  const wanted = name.toLowerCase();
  if (wanted === '') return [];
  const pieces = wanted.split(/[_.\s]/).filter((piece) => piece.length > 2 && piece !== 'op');
  const limit = Math.max(1, Math.floor(wanted.length / 3));
  return names
    .map((other) => {
      const lower = other.toLowerCase();
      const steps = distance(wanted, lower);
      const alike = lower.startsWith(wanted) || pieces.some((piece) => lower.includes(piece));
      return { other, steps: steps <= limit ? steps : alike ? limit + steps : Infinity };
    })
    .filter(({ steps }) => steps < Infinity)
    .sort((a, b) => a.steps - b.steps)
    .slice(0, SUGGESTED)
    .map(({ other }) => other);
}

/** The end of a message about a name that is not there: what may have been meant, or else what there is. */
export function didYouMean(name: string, names: readonly string[]): string {
  const likely = closest(name, names);
  if (likely.length > 0) return `; did you mean ${likely.join(' or ')}?`;
  if (names.length === 0) return '';
  const more = names.length > LISTED ? `, … (${names.length})` : '';
  return `; there are ${names.slice(0, LISTED).join(', ')}${more}`;
}
