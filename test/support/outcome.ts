import { canonicalText, createHasher } from '../../src/machine/hash';
import type { Target } from '../../src/machine/target';
import { wholeTrace } from './machines';

/** All that two runs must have in common to be one, in a line: state, trace, instructions and time. */
export async function outcomeOf(target: Target): Promise<string> {
  const trace = createHasher();
  trace.text(canonicalText(await wholeTrace(target)));
  const { retired, time } = await target.now();
  return `state ${await target.stateHash()} trace ${trace.digest()} retired ${retired.toString()} time ${time.toString()}`;
}
