/** What part of the trace a timeline shows: instructions, or virtual nanoseconds. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

const LEAST = 16;

const within = (from: number, width: number, whole: Span): Span => {
  const all = Math.max(LEAST, whole.to - whole.from);
  const wide = Math.min(all, Math.max(LEAST, width));
  const start = Math.min(Math.max(from, whole.from), whole.from + all - wide);
  return { from: Math.floor(start), to: Math.ceil(start + wide) };
};

/** @param at what stays where it is, as a fraction of the span; @param factor below 1 goes nearer */
export function zoom(span: Span, whole: Span, at: number, factor: number): Span {
  const width = span.to - span.from;
  return within(span.from + width * at * (1 - factor), width * factor, whole);
}

/** @param by a fraction of the span */
export const pan = (span: Span, whole: Span, by: number): Span =>
  within(span.from + (span.to - span.from) * by, span.to - span.from, whole);

/** Between two fractions of the span. */
export function select(span: Span, whole: Span, a: number, b: number): Span {
  const width = span.to - span.from;
  return within(span.from + width * Math.min(a, b), width * Math.abs(a - b), whole);
}

export const isWhole = (span: Span, whole: Span): boolean => span.from <= whole.from && span.to >= whole.to;

/** Marks of a scale: about so many, at 1, 2 or 5 times a power of ten. */
export function marks({ from, to }: Span, about: number): readonly number[] {
  const rough = Math.max(1, (to - from) / Math.max(1, about));
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find((n) => n * power >= rough) ?? 10) * power;
  const found: number[] = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) found.push(at);
  return found;
}
