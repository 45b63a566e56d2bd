import { readFileSync } from 'node:fs';

/** The first line, from 1, of a file that has the text: tests name lines by what is on them. */
export function withLine(file: string, text: string): number {
  const index = readFileSync(file, 'utf8')
    .split('\n')
    .findIndex((line) => line.includes(text));
  if (index === -1) throw new Error(`${file} has no line with ${text}`);
  return index + 1;
}
