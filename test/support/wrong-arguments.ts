import type { Random } from './random';

/** Values that no request expects where they are put. */
const strange: readonly unknown[] = [
  null, true, -1, 0, 1.5, 1e21, '', 'x', '0x', '0xffffffffffffffff', 'virtual:d9v9:0x0', 'pseudophysical:d9:0x0',
  'machine:0xffffffffffffffff', '{', '\u0000', 'ü'.repeat(2000), [], [[]], [null], {}, { line: {} },
  { breakpoints: null }, [{}], Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER,
]; // prettier-ignore

/** Names that arguments have, so that shapes are entered rather than refused at the door. */
const names = [
  'threadId', 'frameId', 'variablesReference', 'name', 'value', 'expression', 'memoryReference', 'offset', 'count',
  'instructionCount', 'instructionOffset', 'data', 'breakpoints', 'source', 'filters', 'filterOptions', 'lines', 'text',
  'column', 'granularity', 'path', 'address', 'mfn', 'from', 'domain', 'kernel', 'memory', 'vcpus', 'config', 'arguments',
  'requestId', 'startFrame', 'levels', 'start', 'line', 'condition', 'context',
]; // prettier-ignore

function value(random: Random, depth: number): unknown {
  const kind = random.next(8);
  if (kind === 0 && depth < 3) return Array.from({ length: random.next(3) }, () => value(random, depth + 1));
  if (kind === 1 && depth < 3) return wrongArguments(random, depth + 1);
  return random.pick(strange);
}

/** An object with some of the known names and values that seldom fit them. */
export function wrongArguments(random: Random, depth = 0): Record<string, unknown> {
  const object: Record<string, unknown> = {};
  for (let i = random.next(6); i >= 0; i--) object[random.pick(names)] = value(random, depth);
  return object;
}
