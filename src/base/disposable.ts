/** Something with an owner: the owner calls `dispose` exactly when it is done with it. */
export interface Disposable {
  dispose(): void;
}

export const toDisposable = (dispose: () => void): Disposable => ({ dispose });

/**
 * Owns any number of disposables. They go in the reverse of the order in which they came, each even if an
 * earlier one throws; the first error is thrown at the end. What is added after that is disposed at once, so
 * a late arrival cannot leak.
 */
export class DisposableStore implements Disposable {
  private items: Disposable[] = [];
  private disposed = false;

  get isDisposed(): boolean {
    return this.disposed;
  }

  add<T extends Disposable>(item: T): T {
    if (this.disposed) item.dispose();
    else this.items.push(item);
    return item;
  }

  dispose(): void {
    this.disposed = true;
    const items = this.items.reverse();
    this.items = [];
    const errors: unknown[] = [];
    for (const item of items) {
      try {
        item.dispose();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  }
}

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
