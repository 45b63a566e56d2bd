// Compiling what the guest runs often, in a thread beside it: one for all machines of this thread. It is started when
// there is something to compile, and ends by itself when there was nothing for a while.
import { join } from 'node:path';
import { MessageChannel, receiveMessageOnPort, Worker, type MessagePort } from 'node:worker_threads';
import { compileBatch, type Batch, type BatchCompiler, type Job } from '../cpu/compile/batch';
import { bundleFolder } from './node';

/** Of a thread of dist/compile.js. */
export interface CompilingData {
  readonly port: MessagePort;
  /** By WORD. */
  readonly words: Int32Array;
}

/** What both threads count: batches that were begun (or that the thread has ended: ENDED), and that are done. */
export const WORD = { begun: 0, done: 1 } as const;
export const ENDED = -1;

/** A batch for one of the machines. */
export interface Work {
  readonly number: number;
  readonly jobs: readonly Job[];
}
export interface Done {
  readonly number: number;
  readonly batch: Batch;
}

interface Thread {
  readonly port: MessagePort;
  readonly words: Int32Array;
  received: number;
}

/** Machine code of its own it has little, and its garbage is young. */
const LIMITS = { maxYoungGenerationSizeMb: 8 };

let thread: Thread | undefined;
/** No thread can be had: it is done here. */
let alone = false;
let numbers = 0;
/** Batches that have not come back, and those that have and are not asked for yet. */
const waiting = new Map<number, readonly Job[]>();
const done = new Map<number, Batch>();

function start(): Thread {
  const { port1, port2 } = new MessageChannel();
  const words = new Int32Array(new SharedArrayBuffer(8));
  const workerData: CompilingData = { port: port2, words };
  const worker = new Worker(join(bundleFolder, 'compile.js'), {
    workerData,
    transferList: [port2],
    resourceLimits: LIMITS,
  });
  const started: Thread = { port: port1, words, received: 0 };
  worker.once('error', () => {
    alone = true;
    if (thread === started) thread = undefined;
  });
  worker.unref();
  port1.unref();
  return started;
}

/** One that has not ended, which now has one more batch to do. */
function running(): Thread {
  for (;;) {
    thread ??= start();
    const begun = Atomics.load(thread.words, WORD.begun);
    if (begun === ENDED) {
      // All that it had to do is done: it may still lie in its port.
      take(thread);
      thread.port.close();
      thread = undefined;
    } else if (Atomics.compareExchange(thread.words, WORD.begun, begun, begun + 1) === begun) return thread;
  }
}

function take(from: Thread): void {
  while (from.received !== Atomics.load(from.words, WORD.done)) {
    const got = receiveMessageOnPort(from.port) as { readonly message: Done } | undefined;
    if (got === undefined) return;
    from.received++;
    const { number, batch } = got.message;
    waiting.delete(number);
    done.set(number, batch);
  }
}

/** For one machine. Nothing the guest can see depends on which thread compiles, or when it is done. */
export function threadedCompiler(): BatchCompiler {
  const begun: number[] = [];
  return {
    begin(jobs) {
      const number = numbers++;
      begun.push(number);
      if (alone) {
        done.set(number, compileBatch(jobs));
        return;
      }
      waiting.set(number, jobs);
      const work: Work = { number, jobs };
      running().port.postMessage(work);
    },
    done() {
      const [number] = begun;
      if (number === undefined) return undefined;
      if (thread !== undefined) take(thread);
      let batch = done.get(number);
      const lost = alone ? waiting.get(number) : undefined;
      if (batch === undefined && lost !== undefined) batch = compileBatch(lost);
      if (batch === undefined) return undefined;
      waiting.delete(number);
      done.delete(number);
      begun.shift();
      return batch;
    },
  };
}
