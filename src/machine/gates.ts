import {
  conditionHolds,
  parseExpression,
  stopScope,
  type Expression,
  type Scope,
  type StopState,
} from './conditions';
import { parseHitCondition, type HitCondition } from './hit-condition';
import type { Gate } from './target';

/** Conditions and hit counts of stop points, which the machine evaluates by itself: those that say no cost no message. */
export interface Gates {
  /** Counts go on for what has not changed. Throws an ExpressionError. */
  set(points: readonly Gate[]): void;
  /** Whether a point that was reached wants the machine to stop; counts it. `quiet`: names may be missing here. */
  open(id: number, state: StopState, quiet?: boolean): boolean;
}

interface Known {
  readonly text: string;
  readonly condition: Expression | undefined;
  readonly names: Readonly<Record<string, bigint>>;
  readonly hit: HitCondition | undefined;
  count: number;
  warned: boolean;
}

/** @param warn is told, once for each setting, of a condition that asks for what is not there */
export function createGates(warn: (text: string) => void): Gates {
  let known = new Map<number, Known>();

  const make = ({ condition, names = {}, hits }: Gate, old: Known | undefined): Known => {
    const text = `${condition ?? ''}\0${hits ?? ''}`;
    const hit = hits === undefined ? undefined : parseHitCondition(hits);
    if (typeof hit === 'string') throw new Error(hit);
    return {
      text,
      condition: condition === undefined ? undefined : parseExpression(condition),
      names,
      hit,
      count: old?.text === text ? old.count : 0,
      warned: false,
    };
  };

  return {
    set(points) {
      const fresh = new Map<number, Known>();
      for (const point of points)
        fresh.set(point.id, fresh.get(point.id) ?? make(point, known.get(point.id)));
      known = fresh;
    },
    open(id, state, quiet = false) {
      const gate = known.get(id);
      if (gate === undefined) return true;
      if (gate.condition !== undefined) {
        const scope: Scope = stopScope(state, gate.names);
        const holds = conditionHolds(gate.condition, scope, ({ message }) => {
          if (quiet || gate.warned) return;
          gate.warned = true;
          warn(`the condition of breakpoint ${id.toString()} does not hold: ${message}`);
        });
        if (!holds) return false;
      }
      return gate.hit === undefined || gate.hit(++gate.count);
    },
  };
}
