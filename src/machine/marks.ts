import { ATTENTION, PAGE_SIZE, type PhysicalMemory } from '../cpu/types';

/**
 * Copy-on-write marks of the machine's frames.
 *
 * Every distinct content a frame has had since marks began is a *version*, numbered machine-wide. A mark
 * records the version of each frame (4 bytes a frame); contents are copied only when a frame is about to
 * change while some mark refers to its present version. Marks form a tree as naturally as a line: seeking
 * never invalidates another mark, in either direction.
 */
export interface Marks {
  /** Record the present contents of all frames. */
  take(): FrameMark;
  /** Make memory equal to what it was at `mark`. */
  restore(mark: FrameMark): void;
  drop(mark: FrameMark): void;
  /** The CPU's cow hook and `beforeStore`: the frame is about to be stored to. */
  beforeStore(mfn: number): void;
  /** Bytes held by saved frame contents. */
  readonly savedBytes: () => number;
}

export interface FrameMark {
  readonly versions: Uint32Array;
}

/** What most of a machine's frames held in its beginning: kept once. */
const ZEROES = new Uint8Array(PAGE_SIZE);

/** @param changing told of a frame whose contents a restore is about to replace, so that code caches follow */
export function createMarks(mem: PhysicalMemory, changing: (mfn: number) => void): Marks {
  const current = new Uint32Array(mem.frameCount);
  const saved = new Map<number, Uint8Array>();
  const marks = new Set<FrameMark>();
  let nextVersion = 1;
  /** Frames' contents in `saved` that are not all zeroes. */
  let kept = 0;

  const frame = (mfn: number): Uint8Array => {
    const at = mem.framesBase + mfn * PAGE_SIZE;
    return mem.bytes.subarray(at, at + PAGE_SIZE);
  };
  const versionOf = (versions: Uint32Array, mfn: number): number => versions[mfn] ?? 0;
  /** Frames whose next store is a change. The CPU clears the attention bit before it asks, so that is no guide. */
  const armed = new Uint8Array(mem.frameCount);
  const protect = (mfn: number): void => {
    armed[mfn] = 1;
    mem.attention[mfn] = (mem.attention[mfn] ?? 0) | ATTENTION.COW;
  };

  /** Version 0 is shared by all frames that never changed, so saved contents are keyed by frame and version. */
  const key = (mfn: number, version: number): number => version * mem.frameCount + mfn;

  function keep(k: number, mfn: number): void {
    const bytes = frame(mfn);
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset, PAGE_SIZE / 4);
    saved.set(k, words.some((word) => word !== 0) ? bytes.slice() : ZEROES);
    if (saved.get(k) !== ZEROES) kept++;
  }
  function forget(k: number): void {
    if (saved.get(k) !== ZEROES) kept--;
    saved.delete(k);
  }

  function save(mfn: number): void {
    const k = key(mfn, versionOf(current, mfn));
    if (saved.has(k)) return;
    for (const m of marks) {
      if (m.versions[mfn] !== current[mfn]) continue;
      keep(k, mfn);
      return;
    }
  }

  return {
    take() {
      const mark: FrameMark = { versions: current.slice() };
      marks.add(mark);
      for (let mfn = 0; mfn < mem.frameCount; mfn++) protect(mfn);
      return mark;
    },

    restore(mark) {
      if (!marks.has(mark)) throw new Error('restore of a dropped mark');
      for (let mfn = 0; mfn < mem.frameCount; mfn++) {
        const wanted = versionOf(mark.versions, mfn);
        if (current[mfn] !== wanted) {
          save(mfn);
          const bytes = saved.get(key(mfn, wanted));
          if (bytes === undefined) throw new Error(`mark lost the contents of frame 0x${mfn.toString(16)}`);
          mem.attention[mfn] = (mem.attention[mfn] ?? 0) & ~ATTENTION.COW;
          changing(mfn);
          frame(mfn).set(bytes);
          current[mfn] = wanted;
        }
        protect(mfn);
      }
    },

    drop(mark) {
      marks.delete(mark);
      const others = [...marks];
      for (let mfn = 0; mfn < mem.frameCount; mfn++) {
        const version = mark.versions[mfn];
        const k = key(mfn, version ?? 0);
        if (saved.has(k) && !others.some(({ versions }) => versions[mfn] === version)) forget(k);
      }
    },

    beforeStore(mfn) {
      if (armed[mfn] === 0) return;
      armed[mfn] = 0;
      save(mfn);
      current[mfn] = nextVersion++;
      mem.attention[mfn] = (mem.attention[mfn] ?? 0) & ~ATTENTION.COW;
    },

    savedBytes: () => kept * PAGE_SIZE,
  };
}
