import { runCompiled, type Code } from './compiled';
import {
  ExpressionError,
  conditionHolds,
  parseExpression,
  stopScope,
  type Expression,
  type Scope,
  type StopState,
} from './conditions';
import { createHitCounts } from './hit-condition';
import { isTrue } from './scalars';
import type { Gate } from './target';

/** Conditions and hit counts of stop points, which the machine evaluates by itself: those that say no cost no message. */
export interface Gates {
  /** Counts go on for what has not changed. Throws an ExpressionError. */
  set(points: readonly Gate[]): void;
  /** Whether a point that was reached wants the machine to stop; counts it. `quiet`: names may be missing here. */
  open(point: Gate, state: StopState, quiet?: boolean): boolean;
}

/** What several points of one number have in common: a line may have code at several addresses. */
interface Known {
  readonly condition: Expression | undefined;
  readonly names: Readonly<Record<string, bigint>>;
  warned: boolean;
}

/** @param warn is told, once for each setting, of a condition that asks for what is not there */
export function createGates(warn: (text: string) => void): Gates {
  let known = new Map<number, Known>();

  const hits = createHitCounts();
  const make = ({ condition, names = {}, code }: Gate): Known => ({
    condition: condition === undefined || code !== undefined ? undefined : parseExpression(condition),
    names,
    warned: false,
  });

  const holds = (id: number, code: Code, state: StopState): boolean => {
    try {
      return isTrue(runCompiled(code, state));
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      // Better to stop once too often than to hide that the condition says nothing here.
      warn(`condition of breakpoint ${id.toString()}: ${error.message}`);
      return true;
    }
  };

  return {
    set(points) {
      const fresh = new Map<number, Known>();
      for (const point of points) fresh.set(point.id, fresh.get(point.id) ?? make(point));
      hits.set(points);
      known = fresh;
    },
    open({ id, code }, state, quiet = false) {
      const gate = known.get(id);
      if (gate === undefined) return true;
      if (code !== undefined && !holds(id, code, state)) return false;
      if (gate.condition !== undefined) {
        const scope: Scope = stopScope(state, gate.names);
        const met = conditionHolds(gate.condition, scope, ({ message }) => {
          if (quiet || gate.warned) return;
          gate.warned = true;
          warn(`the condition of breakpoint ${id.toString()} does not hold: ${message}`);
        });
        if (!met) return false;
      }
      return hits.reached(id);
    },
  };
}
