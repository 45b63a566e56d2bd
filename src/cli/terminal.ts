import { STATUS } from './arguments';
import type { Output } from './output';

/** The guest's console on ours: raw when standard input is a terminal. */
export interface Terminal {
  write(data: Uint8Array): void;
  onInput(listener: (data: Uint8Array) => void): void;
  /** No more input will come. */
  onEnd(listener: () => void): void;
  /** The escape key (Ctrl-]) or SIGINT/SIGTERM. A second signal ends the process at once. */
  onQuit(listener: () => void): void;
  /** Gives the terminal back as it was. */
  restore(): void;
}

/** Ctrl-], as telnet and `xl console` have it. */
const QUIT = 0x1d;

/** `stdin` undefined: no keyboard (input comes from a file, or standard input is not ours to take). */
export function openTerminal(stdin: NodeJS.ReadStream | undefined, out: Output): Terminal {
  let quit: () => void = () => undefined;
  let input: ((data: Uint8Array) => void) | undefined;
  let end: () => void = () => undefined;
  let ended = stdin === undefined;
  let signals = 0;
  const raw = stdin?.isTTY === true;
  const restore = (): void => {
    process.off('SIGINT', signal);
    process.off('SIGTERM', signal);
    if (stdin === undefined) return;
    stdin.off('data', data);
    stdin.off('end', noMore);
    stdin.off('error', noMore);
    if (raw) stdin.setRawMode(false);
    stdin.pause();
  };
  const signal = (): void => {
    if (signals++ === 0) quit();
    else {
      restore();
      process.exit(STATUS.LIMIT);
    }
  };
  const noMore = (): void => {
    ended = true;
    end();
  };
  const data = (chunk: Buffer): void => {
    const at = raw ? chunk.indexOf(QUIT) : -1;
    if (at >= 0) quit();
    else input?.(new Uint8Array(chunk));
  };

  process.on('SIGINT', signal);
  process.on('SIGTERM', signal);
  if (stdin !== undefined) {
    if (raw) stdin.setRawMode(true);
    stdin.on('data', data);
    stdin.on('end', noMore);
    // A terminal that is gone, or not ours to read in the background.
    stdin.on('error', noMore);
  }
  return {
    write(bytes) {
      void out.write(bytes);
    },
    onInput(listener) {
      input = listener;
    },
    onEnd(listener) {
      end = listener;
      if (ended) listener();
    },
    onQuit(listener) {
      quit = listener;
    },
    restore,
  };
}
