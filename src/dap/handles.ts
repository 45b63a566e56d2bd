/** Numbers that stand for things at the client. None is used twice, so that an old one is noticed. */
export interface Handles<T> {
  create(value: T): number;
  get(handle: number): T | undefined;
  /** All handed out so far are void. */
  clear(): void;
}

export function createHandles<T>(): Handles<T> {
  const values = new Map<number, T>();
  let next = 1;
  return {
    create: (value) => {
      values.set(next, value);
      return next++;
    },
    get: (handle) => values.get(handle),
    clear: () => {
      values.clear();
    },
  };
}
