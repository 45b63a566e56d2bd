import type { Row } from './row';

/** Whether a row holds every one of the words, in whatever order and case. */
export function matches({ label, description = '' }: Row, words: string): boolean {
  const text = `${label} ${description}`.toLowerCase();
  return words
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}
