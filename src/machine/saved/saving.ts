import type { Machine } from '../machine';
import type { SaveOptions, SaveReport } from '../target';
import type { Compression } from './container';
import { saveMachine } from './save';

/** A file on its way: it has its name once it is whole and on disk. */
export interface SaveSink {
  write(bytes: Uint8Array): void;
  commit(): void;
  /** Leaves nothing behind. */
  abandon(): void;
}

export interface SavingHost extends Compression {
  /** What writes the files, for people. */
  readonly program: string;
  /** Throws words for people. */
  create(path: string): SaveSink;
}

/** Saves of one target's machine, one at a time. */
export interface Saving {
  save(path: string, options: SaveOptions): Promise<SaveReport>;
  cancel(): void;
  onProgress(listener: (done: number) => void): () => void;
  /** What is written is the machine at one moment: throws while it is being written. */
  keepStill(): void;
}

export function createSaving(
  machine: () => Machine,
  running: () => boolean,
  turn: () => Promise<void>,
  files: SavingHost | undefined,
): Saving {
  const listeners = new Set<(done: number) => void>();
  let under: { cancelled: boolean } | undefined;
  const keepStill = (): void => {
    if (under !== undefined) throw new Error('the machine is being saved');
  };

  async function write(
    sink: SaveSink,
    host: SavingHost,
    options: SaveOptions,
    own: { cancelled: boolean },
  ): Promise<SaveReport> {
    const steps = saveMachine(machine(), host.program, (bytes) => sink.write(bytes), host, options);
    for (;;) {
      const step = steps.next();
      if (step.done === true) return step.value;
      for (const l of listeners) l(step.value);
      await turn();
      if (own.cancelled) throw new Error('saving was cancelled');
    }
  }

  return {
    keepStill,
    cancel() {
      if (under !== undefined) under.cancelled = true;
    },
    onProgress(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    async save(path, options) {
      if (files === undefined) throw new Error('there are no files here');
      if (running()) throw new Error('pause the machine before saving it');
      keepStill();
      const own = { cancelled: false };
      under = own;
      try {
        const sink = files.create(path);
        try {
          const report = await write(sink, files, options, own);
          sink.commit();
          return report;
        } catch (error) {
          sink.abandon();
          throw error;
        }
      } finally {
        under = undefined;
      }
    },
  };
}
