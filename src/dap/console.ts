import type { Context } from './context';
import { event, output } from './context';

/** Collects what domains print, since a guest that moves a cursor prints a character at a time. */
export interface ConsoleOutput {
  push(domain: number, data: Uint8Array): void;
  /** Sends what has been collected; so that a stop is not told before what was printed ahead of it. */
  flush(): void;
  dispose(): void;
}

/** Milliseconds that output may wait for more: well below what a person at the console notices. */
const DELAY = 10;
/** Characters that do not wait. */
const ENOUGH = 16_384;

export function createConsoleOutput(context: Context): ConsoleOutput {
  const decoders = new Map<number, InstanceType<typeof TextDecoder>>();
  const collected = new Map<number, string>();
  let timer: NodeJS.Timeout | undefined;

  const flush = (): void => {
    clearTimeout(timer);
    timer = undefined;
    for (const [domain, data] of collected) {
      context.send(event('hyperstep/console', { domain, data }));
      output(context, 'stdout', data.replaceAll('\r\n', '\n'));
    }
    collected.clear();
  };
  return {
    push: (domain, data) => {
      const decoder = decoders.get(domain) ?? new TextDecoder();
      decoders.set(domain, decoder);
      // A character may be split between two pieces of output.
      const text = (collected.get(domain) ?? '') + decoder.decode(data, { stream: true });
      if (text === '') return;
      collected.set(domain, text);
      if (text.length >= ENOUGH) flush();
      else timer ??= setTimeout(flush, DELAY);
    },
    flush,
    dispose: flush,
  };
}
