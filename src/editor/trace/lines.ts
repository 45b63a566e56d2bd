/**
 * Which lines a table of records has: one a record, and below those that are expanded, one for each line of what is
 * in them. All lines are of one height, so that where a line is needs no measuring, however many there are.
 */
export interface Line {
  /** Index of the record in the table. */
  readonly row: number;
  /** Undefined: the record itself; else which line of its details. */
  readonly detail?: number;
}

export interface Lines {
  readonly total: number;
  at(line: number): Line | undefined;
  /** The line that a record is on. */
  of(row: number): number;
}

/** @param expanded how many lines are below a record, by its index */
export function linesOf(rows: number, expanded: ReadonlyMap<number, number>): Lines {
  const open = [...expanded].filter(([row]) => row < rows).sort(([a], [b]) => a - b);
  const below = open.reduce((sum, [, count]) => sum + count, 0);
  return {
    total: rows + below,
    at: (line) => {
      if (line < 0 || line >= rows + below) return undefined;
      let before = 0;
      for (const [row, count] of open) {
        const its = row + before;
        if (line <= its) break;
        if (line <= its + count) return { row, detail: line - its - 1 };
        before += count;
      }
      return { row: line - before };
    },
    of: (row) => row + open.reduce((sum, [one, count]) => (one < row ? sum + count : sum), 0),
  };
}

/** Browsers lay nothing out beyond some 16 to 33 million pixels; below this, one pixel of the bar is one of the table. */
const MOST_PIXELS = 8_000_000;

/** How the scroll bar and the table go together: exactly, or in proportion where there are too many lines. */
export interface Scroll {
  /** Height of what the bar seems to scroll over. */
  readonly height: number;
  /** The first line at the top of the view, with a fraction, of a position of the bar. */
  first(scrollTop: number): number;
  top(first: number): number;
  /** The last line that can be at the top. */
  readonly last: number;
}

export function scrollOf(total: number, lineHeight: number, viewHeight: number): Scroll {
  const last = Math.max(0, total - viewHeight / lineHeight);
  const height = Math.min(MOST_PIXELS, total * lineHeight);
  const range = Math.max(1, height - viewHeight);
  const scale = last / range;
  return {
    height,
    last,
    first: (scrollTop) => Math.min(last, scrollTop * scale),
    top: (first) => (scale === 0 ? 0 : first / scale),
  };
}

/** Rows to ask for so that [start, end) can be shown: what is there already is not asked for again. */
export function missingRows(
  start: number,
  end: number,
  has: (row: number) => boolean,
): { readonly start: number; readonly count: number } | undefined {
  let first = start;
  while (first < end && has(first)) first++;
  let last = end;
  while (last > first && has(last - 1)) last--;
  return first === last ? undefined : { start: first, count: last - first };
}

/** A text in lines of at most so many characters, parted between words; a longer word has a line to itself. */
export function wrapped(text: string, columns: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const line = lines.at(-1);
    if (line !== undefined && line.length + 1 + word.length <= columns)
      lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return lines;
}
