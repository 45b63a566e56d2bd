/** First come, first served: one holder at a time. */
export interface Turnstile {
  /** Resolves with the function that hands it on. */
  enter(): Promise<() => void>;
  /** How many wait for the present holder. */
  readonly waiting: number;
}

export function createTurnstile(): Turnstile {
  const queue: (() => void)[] = [];
  let held = false;
  const handOn = (): void => {
    const next = queue.shift();
    if (next === undefined) held = false;
    else next();
  };
  /** Handing on twice must not let two in. */
  const once = (): (() => void) => {
    let done = false;
    return () => {
      if (done) return;
      done = true;
      handOn();
    };
  };
  return {
    get waiting() {
      return queue.length;
    },
    enter: () =>
      new Promise((resolve) => {
        if (held) {
          queue.push(() => {
            resolve(once());
          });
        } else {
          held = true;
          resolve(once());
        }
      }),
  };
}
