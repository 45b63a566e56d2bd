import type { BackPlan } from '../back';
import { instructionBack, lineBack } from '../back';
import type { Activation } from '../unwind/activation';
import type { Granularity, Stepping } from '.';
import { framesAt } from './line';
import { holds } from './region';

/** Callers that are looked at: the step can lead back into the one that has called. */
const CALLERS = 8;

/** A step back: to where a line began in this activation or a caller's, where lines are known; else an instruction. */
export async function planStepBack(granularity: Granularity, stepping: Stepping): Promise<BackPlan> {
  const { vcpu, symbols, inHypervisor = false, intoDeliveries = false } = stepping;
  const single = instructionBack(vcpu, intoDeliveries);
  if (granularity === 'instruction' || inHypervisor) return single;
  const activations = new Set<Activation>();
  for (const { activation } of await framesAt(stepping, CALLERS))
    if (activation?.cfa !== undefined && activation.scopes.length > 0) activations.add(activation);
  const ranges = [...activations].flatMap(({ scopes }) => scopes[0]?.ranges ?? []);
  const places = new Set(
    ranges
      .flatMap(({ low, high }) => symbols().rows?.(low, high) ?? [])
      // Where a function is entered, the line that calls it has not ended yet.
      .filter(({ isStatement, low }) => isStatement && symbols().at(low)?.offset !== 0n)
      .map(({ low }) => low),
  );
  const [own] = activations;
  if (own === undefined || !holds(own.scopes[0]?.ranges ?? [], own.pc) || places.size === 0) return single;
  const stacks = new Set([...activations].map(({ cfa }) => cfa));
  return lineBack(vcpu, [...places], async () => {
    const [here] = await framesAt(stepping, 1);
    const { activation, address } = here ?? {};
    const line = address === undefined ? undefined : symbols().line(address);
    if (activation?.cfa === undefined || !stacks.has(activation.cfa) || line === undefined) return undefined;
    return `${activation.cfa} ${line.file}:${line.line}`;
  });
}
