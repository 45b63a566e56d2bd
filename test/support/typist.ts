import { plain } from './machines';
import type { Terminal } from '../../src/cli/terminal';

/**
 * Somebody at a terminal: waits for text on the screen, then types, and so on. The terminal itself tells its size to
 * who asks for it in the way that `resize` does (ECMA-48 §8.3.35 DSR). It leaves other questions for the cursor's place
 * unanswered: busybox's line editor takes what is typed in the same moment for a part of the answer.
 */
export interface Typist extends Terminal {
  /** All that came on the screen. */
  text(): string;
  /** What was typed so far, of the lines given. */
  readonly done: () => number;
}

export interface Line {
  /** Typed when this appears in what came since the last line was typed. */
  readonly after: string;
  readonly keys: string;
}

export const SIZE = { rows: 41, columns: 103 } as const;

const ESC = '\u001b';
/** A move far beyond the edge, and the question where that was. */
const FAR = `${ESC}[999;999H${ESC}[6n`;

/** Quits when the last line is typed. */
export function typist(lines: readonly Line[]): Typist {
  let input: (data: Uint8Array) => void = () => undefined;
  let quit: () => void = () => undefined;
  let screen = '';
  let seen = 0;
  let answered = 0;
  let next = 0;
  const type = (keys: string): void => {
    input(Buffer.from(keys, 'latin1'));
  };

  function answer(): void {
    for (let at = screen.indexOf(FAR, answered); at >= 0; at = screen.indexOf(FAR, answered)) {
      answered = at + FAR.length;
      type(`${ESC}[${SIZE.rows};${SIZE.columns}R`);
    }
  }

  return {
    write(bytes) {
      screen += Buffer.from(bytes).toString('latin1');
      answer();
      const line = lines[next];
      if (line === undefined) return;
      const at = screen.indexOf(line.after, seen);
      if (at < 0) return;
      seen = screen.length;
      next++;
      type(line.keys);
      if (next === lines.length) quit();
    },
    onInput(listener) {
      input = listener;
    },
    onEnd: () => undefined,
    onQuit(listener) {
      quit = listener;
    },
    restore: () => undefined,
    text: () => plain(screen),
    done: () => next,
  };
}
