// The hostile guest (test/guests/hostile), run to its end with the frame table checked on the way.
import assert from 'node:assert/strict';
import type { BackendState } from '../../src/hypervisor/backend-ports';
import { checkFrames } from '../../src/hypervisor/check';
import type { Machine } from '../../src/machine/machine';
import type { StopAt } from '../../src/machine/session';
import { HOSTILE, domain, machineOf } from './machines';

export interface HostileRun {
  readonly machine: Machine;
  readonly stop: StopAt;
  readonly log: readonly string[];
}

/** What is wrong with the machine's frames; empty when all is well. */
export const frameProblems = ({ hypervisor }: Machine): string[] =>
  checkFrames({
    frames: hypervisor.frames,
    memory: hypervisor.memory,
    domains: new Map(hypervisor.domains),
    backend: hypervisor.save().backend as BackendState,
  });

export interface Between {
  readonly instructions: bigint;
  readonly exits?: number;
}
const SOMETIMES: Between = { instructions: 500_000n };
/** The frame table is scanned after each call, fault and delivery. */
export const EVERY_CALL: Between = { instructions: 500_000n, exits: 1 };

/**
 * @param between what may pass between two checks; no run is as long as `most` instructions. Two turns of the
 *   hypervisor are an exit and the delivery after it: a check after every call.
 * @throws AssertionError for a broken invariant, a defect of the hypervisor, or a run that does not end
 */
export async function runHostile(
  cmdline: string,
  between: Between = SOMETIMES,
  most = 400_000_000n,
): Promise<HostileRun> {
  const log: string[] = [];
  const machine = await machineOf(domain(HOSTILE, { name: 'hostile', cmdline, memory: 8 << 20 }), (line) =>
    log.push(line),
  );
  const session = machine.run({});
  for (;;) {
    const end = session.slice(between.instructions, true, between.exits);
    assert.deepEqual(frameProblems(machine), [], `${cmdline}, after ${machine.clock.retired()} instructions`);
    const defect = log.find((line) => /defect of the hypervisor|the hypervisor failed/.test(line));
    assert.equal(defect, undefined, `${cmdline}: ${log.slice(-3).join('\n')}`);
    if (end.kind === 'stop') return { machine, stop: end.stop, log };
    // A guest that blocked itself for ever did itself harm and nobody else.
    if (end.kind === 'idle') {
      const [vcpu] = machine.vcpus();
      assert.ok(vcpu);
      return { machine, stop: { reason: { kind: 'idle' }, vcpu }, log };
    }
    assert.ok(machine.clock.retired() < most, `${cmdline} does not end`);
  }
}
