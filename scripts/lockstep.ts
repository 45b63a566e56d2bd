/** The same machine in each tier of the CPU: states at the same counts. */
import { createHasher } from '../src/machine/hash';
import type { Machine } from '../src/machine/machine';

export interface Looks {
  /** Instructions of the machine between two looks at its vCPUs, and all in all. */
  readonly every: bigint;
  readonly to: bigint;
  /** Looks between two at all of memory, too; the last looks at it in any case. */
  readonly full: number;
}

export interface Looked {
  /** A hash for each look. */
  readonly states: readonly string[];
  readonly retired: bigint;
  /** Of the first state that is not as in the reference. */
  readonly differs: bigint | undefined;
  /** Milliseconds of processor time, of all threads, without the looking. */
  readonly spent: number;
}

export function stateOf(machine: Machine, withMemory: boolean): string {
  const h = createHasher();
  for (const v of machine.vcpus()) h.bytes(v.cpu.saveState());
  h.text(`${machine.clock.retired()} ${machine.clock.now()}`);
  const { mem } = machine.cpu;
  if (withMemory) {
    h.words(new Uint32Array(mem.memory.buffer, mem.framesBase, mem.frameCount * 1024));
    const { refs, typeCount, owner, type, flags } = machine.hypervisor.frames;
    for (const { buffer, byteOffset, byteLength } of [refs, typeCount, owner, type, flags])
      h.bytes(new Uint8Array(buffer, byteOffset, byteLength));
  }
  return h.digest();
}

/** Milliseconds of processor time, of all threads. */
export const spent = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

/** Runs to `at`; false when the guest ended, or waits for ever, before. */
function runTo(machine: Machine, run: ReturnType<Machine['run']>, at: bigint): boolean {
  while (machine.clock.retired() < at)
    if (run.slice(at - machine.clock.retired(), true).kind !== 'slice') return machine.clock.retired() >= at;
  return true;
}

/** Runs the machine and looks; stops at the first state that `reference` has not. */
export function look(machine: Machine, looks: Looks, reference?: readonly string[]): Looked {
  const run = machine.run({});
  const states: string[] = [];
  const began = spent();
  let looking = 0;
  const end = (differs?: bigint): Looked => ({
    states,
    retired: machine.clock.retired(),
    differs,
    spent: spent() - began - looking,
  });
  for (let at = looks.every, more = true; more && at <= looks.to; at += looks.every) {
    more = runTo(machine, run, at);
    const before = spent();
    const last = !more || at + looks.every > looks.to;
    states.push(stateOf(machine, last || (states.length + 1) % looks.full === 0));
    looking += spent() - before;
    if (reference !== undefined && reference[states.length - 1] !== states.at(-1))
      return end(machine.clock.retired());
  }
  return reference !== undefined && reference.length !== states.length ? end(machine.clock.retired()) : end();
}
