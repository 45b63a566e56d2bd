/**
 * A place in the run of a machine, told apart from every other at which it can stand still. No number ever goes down
 * while it runs, so that of two positions one is the earlier.
 */
export interface Position {
  readonly retired: bigint;
  readonly time: bigint;
  /** Exits handled and deliveries made. */
  readonly turns: number;
  /** Entries of the input log that have taken effect. */
  readonly inputs: number;
  /** How often an observer was asked whether to hold a vCPU; `held`: it was, at the last of these. */
  readonly asked: number;
  readonly held: boolean;
  /** The hypervisor is at work on what comes to it there, which shows in no number until it is through. */
  readonly inside?: boolean;
}

/** Negative: `a` comes first. */
export function comparePositions(a: Position, b: Position): number {
  if (a.retired !== b.retired) return a.retired < b.retired ? -1 : 1;
  if (a.time !== b.time) return a.time < b.time ? -1 : 1;
  return a.turns - b.turns || a.inputs - b.inputs || a.asked - b.asked;
}

/** The first place at which so many instructions have retired. */
export const firstAt = (retired: bigint): Position => ({
  retired,
  time: -1n,
  turns: -1,
  inputs: -1,
  asked: -1,
  held: false,
});
