import type { Context } from './context';
import { event, output } from './context';

/** Collects what domains print, since a guest that moves a cursor prints a character at a time. */
export interface ConsoleOutput {
  push(domain: number, data: Uint8Array, console: number): void;
  /** Sends what has been collected; so that a stop is not told before what was printed ahead of it. */
  flush(): void;
  dispose(): void;
}

interface Terminal {
  readonly domain: number;
  readonly console: number;
  readonly decoder: InstanceType<typeof TextDecoder>;
  collected: string;
  /** For where domains share an output: the line that has not ended yet. */
  line: string;
}

/** Milliseconds that output may wait for more: well below what a person at the console notices. */
const DELAY = 10;
/** Characters that do not wait. */
const ENOUGH = 16_384;

/** @param shared whether several domains print: each line then says whose it is, as Xen's own console does */
export function createConsoleOutput(context: Context, shared: boolean): ConsoleOutput {
  const terminals = new Map<string, Terminal>();
  let timer: NodeJS.Timeout | undefined;

  const flush = (): void => {
    clearTimeout(timer);
    timer = undefined;
    for (const terminal of terminals.values()) {
      const { domain, console, collected: data } = terminal;
      if (data === '') continue;
      terminal.collected = '';
      context.send(event('hyperstep/console', { domain, console, data }));
      // What the other consoles carry need not be text.
      if (console === 0) print(terminal, data.replaceAll('\r\n', '\n'));
    }
  };
  const print = (terminal: Terminal, text: string): void => {
    if (!shared) {
      output(context, 'stdout', text);
      return;
    }
    const lines = `${terminal.line}${text}`.split('\n');
    // Half a line would be torn by what another domain prints; one that never ends is shown all the same.
    terminal.line = lines.pop() ?? '';
    if (terminal.line.length >= ENOUGH) {
      lines.push(terminal.line);
      terminal.line = '';
    }
    if (lines.length > 0)
      output(context, 'stdout', lines.map((line) => `(d${terminal.domain}) ${line}\n`).join(''));
  };
  return {
    push: (domain, data, console) => {
      const key = `${domain}:${console}`;
      const terminal = terminals.get(key) ?? {
        domain,
        console,
        decoder: new TextDecoder(),
        collected: '',
        line: '',
      };
      terminals.set(key, terminal);
      // A character may be split between two pieces of output.
      terminal.collected += terminal.decoder.decode(data, { stream: true });
      if (terminal.collected === '') return;
      if (terminal.collected.length >= ENOUGH) flush();
      else timer ??= setTimeout(flush, DELAY);
    },
    flush,
    dispose: () => {
      flush();
      for (const terminal of terminals.values()) if (terminal.line !== '') print(terminal, '\n');
    },
  };
}
