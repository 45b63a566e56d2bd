/**
 * What a terminal answers, as if it were typed: status and cursor reports (ECMA-48 DSR), attributes (DA, DECID), modes
 * and settings (DECRQM, DECRQSS), colours (OSC with a question mark), ENQ.
 */
const QUERIES = new RegExp(
  [
    '\\x05',
    '\\x1bZ',
    '\\x1b\\[[?>=]?[\\d;]*(?:[nc]|\\$p)',
    '\\x1bP\\$q[^\\x1b]*\\x1b\\\\',
    '\\x1b\\][\\d;]*;\\?(?:\\x07|\\x1b\\\\)',
  ].join('|'),
  'g',
);

/** The last of a console's output, for a terminal that is opened later. */
export interface Scrollback {
  add(text: string): void;
  /** Without what a terminal would answer: the guest has had its answers, and would take others for typing. */
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
    all: () => kept.replaceAll(QUERIES, ''),
    clear() {
      kept = '';
    },
  };
}
