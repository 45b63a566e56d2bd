/** The last of a console's output, for a terminal that is opened later. */
export interface Scrollback {
  add(text: string): void;
  all(): string;
  clear(): void;
}

/** @param limit characters kept at least; up to twice as many are held */
export function scrollback(limit = 100_000): Scrollback {
  let kept = '';
  return {
    add(text) {
      kept += text;
      if (kept.length <= 2 * limit) return;
      kept = kept.slice(-limit);
      // Not from the middle of a line: there may be half a control sequence.
      kept = kept.slice(kept.indexOf('\n') + 1);
    },
    all: () => kept,
    clear() {
      kept = '';
    },
  };
}
