/** Tells what differs from the stop before: values by key, grouped by the container that lists them. */
export interface Changes {
  /**
   * Notes a container's values as they are at this stop.
   * @returns the keys whose value is another than when the container was last shown at an earlier stop, or that
   * were not in it then; none for a container that is shown for the first time.
   */
  note(container: string, values: ReadonlyMap<string, string>): ReadonlySet<string>;
  /** The machine has run: what was noted becomes the past. */
  nextStop(): void;
  /** Another machine: nothing was shown before. */
  forget(): void;
}

export function trackChanges(): Changes {
  const past = new Map<string, ReadonlyMap<string, string>>();
  const present = new Map<string, ReadonlyMap<string, string>>();
  return {
    note(container, values) {
      present.set(container, values);
      const before = past.get(container);
      const changed = [...values].filter(([key, value]) => before !== undefined && before.get(key) !== value);
      return new Set(changed.map(([key]) => key));
    },
    nextStop() {
      for (const [container, values] of present) past.set(container, values);
      present.clear();
    },
    forget() {
      past.clear();
      present.clear();
    },
  };
}
