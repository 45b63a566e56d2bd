/**
 * Contents that are still being made: whoever makes them writes them front to back into memory that others see, and
 * says how far they are; whoever reads them waits, his thread standing still, until what he wants is there.
 */
export interface Arriving {
  /** Of their final size from the start. */
  readonly bytes: Uint8Array;
  /** Of two words in shared memory, which are here alone known. */
  readonly progress: Int32Array;
}

/** The first word: bytes that are there and stay as they are. They are checked only when the second says so. */
const THERE = 0;
const STATE = 1;
const GOING_ON = 0;
const COMPLETE = 1;
const FAILED = 2;

/** Whoever makes them is gone when this long nothing came. */
const GIVEN_UP = 30_000;

/** What was to come does not, or is not what it should be. */
export class NotArriving extends Error {
  override readonly name = 'NotArriving';
}

export const newArriving = (size: number): Arriving => ({
  bytes: new Uint8Array(new SharedArrayBuffer(size)),
  progress: new Int32Array(new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT)),
});

/** The bytes before `end` are there. */
export function tellArrived({ progress }: Arriving, end: number): void {
  Atomics.store(progress, THERE, end);
  Atomics.notify(progress, THERE);
}

/** All is there, and it is right; or it will never be. */
export function tellComplete(arriving: Arriving, right: boolean): void {
  const { progress, bytes } = arriving;
  Atomics.store(progress, STATE, right ? COMPLETE : FAILED);
  // Whoever waits does so at the first word, which then has to change in any case.
  tellArrived(arriving, right ? bytes.length + 1 : -1);
}

/**
 * Waits until the bytes before `end` are there.
 * @throws NotArriving
 */
export function waitForBytes({ progress }: Pick<Arriving, 'progress'>, end: number): void {
  for (;;) {
    const there = Atomics.load(progress, THERE);
    if (Atomics.load(progress, STATE) === FAILED) throw new NotArriving('what was to come is damaged');
    if (there >= end) return;
    if (Atomics.wait(progress, THERE, there, GIVEN_UP) === 'timed-out')
      throw new NotArriving('nothing comes any more');
  }
}

/**
 * Waits until all is there and has been found right.
 * @throws NotArriving
 */
export function waitForAll({ progress }: Pick<Arriving, 'progress'>): void {
  for (;;) {
    const there = Atomics.load(progress, THERE);
    const state = Atomics.load(progress, STATE);
    if (state === COMPLETE) return;
    if (state !== GOING_ON) throw new NotArriving('what was to come is damaged');
    if (Atomics.wait(progress, THERE, there, GIVEN_UP) === 'timed-out')
      throw new NotArriving('nothing comes any more');
  }
}
