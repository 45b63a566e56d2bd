import type { HypervisorValue, Target } from '../machine/target';
import type { Evaluation } from './evaluate';
import type { Variable, VariableScope } from './variables';

// Variables of the hypervisor's own code, while the machine is held in it. They cannot be set: what the hypervisor
// believes of its guests has to stay true.

export const hypervisorScope = (target: Target, frame: number): VariableScope => ({
  name: 'Locals',
  kind: 'locals',
  expensive: false,
  children: { named: 0, indexed: 0, list: () => rows(target, frame, []) },
});

async function rows(target: Target, frame: number, path: readonly string[]): Promise<readonly Variable[]> {
  const values = await target.hypervisorValues(frame, path);
  return values.map((value) => row(target, frame, [...path, value.name], value));
}

function row(target: Target, frame: number, path: readonly string[], value: HypervisorValue): Variable {
  return {
    name: value.name,
    value: value.text,
    type: value.type,
    expression: expressionOf(path),
    ...(value.expandable
      ? { children: { named: 0, indexed: 0, list: () => rows(target, frame, path) } }
      : {}),
  };
}

const expressionOf = ([first = '', ...members]: readonly string[]): string =>
  first + members.map((name) => (/^\d+$/.test(name) ? `[${name}]` : `.${name}`)).join('');

/** Members one after the other, which can be looked into. */
const PATH = /^[A-Za-z_$][\w$]*(\.[A-Za-z_$][\w$]*|\[\d+\])*$/;

/** What an expression is there; undefined where its names are none of that frame's. */
export async function hypervisorValue(
  target: Target,
  frame: number,
  expression: string,
): Promise<Evaluation | undefined> {
  const text = expression.trim();
  const value = await target.hypervisorEvaluate(frame, text).catch((error: unknown) => {
    if (error instanceof Error && (error.name === 'ExpressionError' || error.name === 'RangeError'))
      return undefined;
    throw error;
  });
  if (value === undefined) return undefined;
  const path = PATH.test(text) ? text.split(/[.[\]]+/).filter((part) => part !== '') : undefined;
  return row(target, frame, path ?? [text], path === undefined ? { ...value, expandable: false } : value);
}
