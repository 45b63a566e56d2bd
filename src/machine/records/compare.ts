import type { VcpuRef } from '../target';
import type { Answer, Likeness, TraceAccess } from './questions';

/**
 * Two traces compared, vCPU by vCPU, since what one vCPU does is in order and how two of them take turns is not. Equal
 * records have equal signatures; where they part, the shortest way to where they go on alike is looked for.
 */

/** One vCPU's records: positions in the trace, and signatures. */
export interface Stream {
  readonly vcpu: VcpuRef;
  readonly positions: Float64Array;
  readonly signatures: Uint32Array;
  readonly length: number;
}

/** One side of a difference: how many records, and the positions of the first of them. */
export interface Side {
  readonly count: number;
  readonly positions: readonly number[];
}

/** A stretch in which they are not alike. */
export interface Difference {
  readonly vcpu: VcpuRef;
  readonly left: Side;
  readonly right: Side;
}

export interface Comparison {
  readonly likeness: Likeness;
  readonly records: readonly [left: number, right: number];
  /** Pairs that are alike. */
  readonly equal: number;
  /** In the order of the left trace; the first is where they diverge. */
  readonly differences: readonly Difference[];
  /** There are more than are listed. */
  readonly cut: boolean;
}

/** Records in a row that have to be alike for two traces to have come together again. */
const AGREE = 4;
/** How far apart they are looked for. */
const REACH = 400;
const MOST_DIFFERENCES = 10_000;
/** Records of a difference that are named; a long one is told by its length. */
const MOST_SHOWN = 20;

interface Growing {
  readonly vcpu: VcpuRef;
  positions: Float64Array;
  signatures: Uint32Array;
  length: number;
}

/** Reads all signatures; `progress` is told how much is done, of 1, and may throw to give up. */
export async function readStreams(
  trace: TraceAccess,
  likeness: Likeness,
  progress: (done: number) => void,
): Promise<readonly Stream[]> {
  const streams: Growing[] = [];
  let from = 0;
  for (;;) {
    const part: Answer<'signatures'> = await trace.ask('signatures', { from, likeness });
    for (const vcpu of part.vcpus.slice(streams.length))
      streams.push({ vcpu, positions: new Float64Array(1024), signatures: new Uint32Array(1024), length: 0 });
    const start = part.next - part.of.length;
    part.of.forEach((id, i) => {
      const stream = streams[id];
      if (stream === undefined) return;
      if (stream.length === stream.positions.length) grow(stream);
      stream.positions[stream.length] = start + i;
      stream.signatures[stream.length] = part.signatures[i] ?? 0;
      stream.length++;
    });
    progress(part.last === 0 ? 1 : part.next / part.last);
    if (part.next >= part.last) return streams;
    from = part.next;
  }
}

function grow(stream: Growing): void {
  const positions = new Float64Array(stream.length * 2);
  const signatures = new Uint32Array(stream.length * 2);
  positions.set(stream.positions);
  signatures.set(stream.signatures);
  stream.positions = positions;
  stream.signatures = signatures;
}

const none = (vcpu: VcpuRef): Stream => ({
  vcpu,
  positions: new Float64Array(0),
  signatures: new Uint32Array(0),
  length: 0,
});

export function compareStreams(
  left: readonly Stream[],
  right: readonly Stream[],
  likeness: Likeness,
): Comparison {
  const same = (a: VcpuRef) => (b: Stream) => a.domain === b.vcpu.domain && a.vcpu === b.vcpu.vcpu;
  const vcpus = [...left, ...right.filter((r) => !left.some(same(r.vcpu)))].map(({ vcpu }) => vcpu);
  const all = vcpus.map((vcpu) =>
    compareTwo(left.find(same(vcpu)) ?? none(vcpu), right.find(same(vcpu)) ?? none(vcpu)),
  );
  const differences = all.flatMap((one) => one.differences).sort((a, b) => placeOf(a) - placeOf(b));
  const sum = (list: readonly Stream[]): number => list.reduce((n, { length }) => n + length, 0);
  return {
    likeness,
    records: [sum(left), sum(right)],
    equal: all.reduce((n, { equal }) => n + equal, 0),
    differences: differences.slice(0, MOST_DIFFERENCES),
    cut: differences.length > MOST_DIFFERENCES || all.some(({ cut }) => cut),
  };
}

const placeOf = ({ left, right }: Difference): number => left.positions[0] ?? right.positions[0] ?? 0;
const sideOf = ({ positions }: Stream, from: number, to: number): Side => ({
  count: to - from,
  positions: [...positions.subarray(from, Math.min(to, from + MOST_SHOWN))],
});

function compareTwo(
  a: Stream,
  b: Stream,
): { readonly equal: number; readonly differences: Difference[]; readonly cut: boolean } {
  const differences: Difference[] = [];
  let equal = 0;
  let i = 0;
  let j = 0;
  const differs = (toI: number, toJ: number): void => {
    differences.push({ vcpu: a.vcpu, left: sideOf(a, i, toI), right: sideOf(b, j, toJ) });
  };
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a.signatures[i] === b.signatures[j]) {
      equal++;
      i++;
      j++;
      continue;
    }
    const [toI, toJ] = together(a, b, i, j);
    if (differences.length === MOST_DIFFERENCES) return { equal, differences, cut: true };
    differs(toI, toJ);
    i = toI;
    j = toJ;
  }
  return { equal, differences, cut: false };
}

/** Where both go on alike with the fewest records left out; where there is no such place in reach, the ends. */
function together(a: Stream, b: Stream, i: number, j: number): readonly [number, number] {
  const agree = (x: number, y: number): boolean => {
    const left = Math.min(AGREE, a.length - x, b.length - y);
    // The ends of both are alike, too.
    if (left <= 0) return x === a.length && y === b.length;
    for (let n = 0; n < left; n++) if (a.signatures[x + n] !== b.signatures[y + n]) return false;
    return left === AGREE || (x + left === a.length && y + left === b.length);
  };
  for (let distance = 1; distance <= REACH; distance++) {
    for (let skip = 0; skip <= 2 * distance; skip++) {
      // Changed records come first: the same number left out on both sides.
      const half = Math.floor(distance / 2);
      const left = skip % 2 === 0 ? half + skip / 2 : half - (skip + 1) / 2;
      if (left < 0 || left > distance) continue;
      const x = i + left;
      const y = j + distance - left;
      if (x <= a.length && y <= b.length && agree(x, y)) return [x, y];
    }
  }
  return [a.length, b.length];
}
