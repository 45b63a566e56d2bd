import type { ReadStream, WriteStream } from 'node:tty';

/** The guest's console on ours: raw when standard input is a terminal. */
export interface Terminal {
  write(data: Uint8Array): void;
  onInput(listener: (data: Uint8Array) => void): void;
  /** The escape key (Ctrl-]) or SIGINT/SIGTERM. */
  onQuit(listener: () => void): void;
  /** Gives the terminal back as it was. */
  restore(): void;
}

/** Ctrl-], as telnet and `xl console` have it. */
const QUIT = 0x1d;

/** `stdin` undefined: no keyboard (input comes from a file, or standard input is not ours to take). */
export function openTerminal(stdin: NodeJS.ReadStream | undefined, stdout: NodeJS.WriteStream): Terminal {
  let quit: () => void = () => undefined;
  let input: ((data: Uint8Array) => void) | undefined;
  const raw = stdin !== undefined && isTty(stdin);
  const signal = (): void => {
    quit();
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
  }
  return {
    write(bytes) {
      stdout.write(bytes);
    },
    onInput(listener) {
      input = listener;
    },
    onQuit(listener) {
      quit = listener;
    },
    restore() {
      process.off('SIGINT', signal);
      process.off('SIGTERM', signal);
      if (stdin === undefined) return;
      stdin.off('data', data);
      if (raw) stdin.setRawMode(false);
      stdin.pause();
    },
  };
}

const isTty = (s: NodeJS.ReadStream | ReadStream | WriteStream): boolean => s.isTTY;
