// A thread that compiles regions for the machines of another.
import { compileBatch } from '../cpu/compile/batch';
import { ENDED, WORD, type CompilingData, type Done, type Work } from './compiler';

/** Milliseconds without anything to do, after which it ends: it has some 20 MB of its own. */
const PATIENCE = 2000;

export function serveCompiler({ port, words }: CompilingData): void {
  let done = 0;
  const rest = (): NodeJS.Timeout =>
    setTimeout(() => {
      if (Atomics.compareExchange(words, WORD.begun, done, ENDED) === done) port.close();
      else timer = rest();
    }, PATIENCE);
  let timer = rest();
  port.on('message', ({ number, jobs }: Work) => {
    clearTimeout(timer);
    const answer: Done = { number, batch: compileBatch(jobs) };
    port.postMessage(answer);
    Atomics.store(words, WORD.done, ++done);
    timer = rest();
  });
}
