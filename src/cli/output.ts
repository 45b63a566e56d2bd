/** A stream of ours whose reader may go away: `hyperstep trace … | head -1` closes it while we write. */
export interface Output {
  /** Resolves when there is room for more, or nobody reads any more. */
  write(data: string | Uint8Array): Promise<void>;
  readonly onClosed: (listener: () => void) => void;
}

const outputs = new Map<NodeJS.WritableStream, Output>();

/** One for each stream: its errors are looked after from the first call on. */
export function outputOf(stream: NodeJS.WritableStream): Output {
  const known = outputs.get(stream);
  if (known !== undefined) return known;
  const listeners = new Set<() => void>();
  let closed = false;
  stream.on('error', () => {
    // EPIPE, or a full disk: there is nothing to write to, and nobody to tell.
    closed = true;
    for (const l of [...listeners]) l();
  });
  const output: Output = {
    write: (data) =>
      new Promise((resolve) => {
        if (closed || stream.write(data)) {
          resolve();
          return;
        }
        const done = (): void => {
          stream.off('drain', done);
          listeners.delete(done);
          resolve();
        };
        stream.once('drain', done);
        listeners.add(done);
      }),
    onClosed(listener) {
      listeners.add(listener);
      if (closed) listener();
    },
  };
  outputs.set(stream, output);
  return output;
}
