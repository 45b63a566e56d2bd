/** Something with an owner: the owner calls `dispose` exactly when it is done with it. */
export interface Disposable {
  dispose(): void;
}

export const toDisposable = (dispose: () => void): Disposable => ({ dispose });

/** A list of listeners. Each `on` is owned by the caller; firing tolerates listeners that come and go. */
export interface Event<T> {
  on(listener: (value: T) => void): Disposable;
}

export class Emitter<T> implements Event<T>, Disposable {
  private readonly listeners = new Set<(value: T) => void>();

  on(listener: (value: T) => void): Disposable {
    // A wrapper of its own, so that the same function registered twice is two registrations.
    const own = (value: T): void => {
      listener(value);
    };
    this.listeners.add(own);
    return toDisposable(() => this.listeners.delete(own));
  }

  fire(value: T): void {
    for (const listener of [...this.listeners]) {
      if (this.listeners.has(listener)) listener(value);
    }
  }

  dispose(): void {
    this.listeners.clear();
  }
}
