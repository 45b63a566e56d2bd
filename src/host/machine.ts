// What Node provides to the machine: its processor, turns of the event loop, time to sleep. The processor takes longer
// to set up than all that an adapter needs, whose machine is in a worker: so this is loaded by whoever runs one.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { assembleMachine } from '../machine/assemble';
import { threadedCompiler } from './compiler';
import { createEmbeddedTarget, type MachineHost } from '../machine/embedded';
import type { MachineConfig, Target } from '../machine/target';
import { openDiskFile } from './disk-file';
import { withForwards } from './forward';
import { bundleFolder, version } from './node';
import { savedCompression, savingHost } from './saved-file';
import { unpackedOnDisk } from './unpacking';

/**
 * An exit of the guest passes some sixty small functions. The engine stops putting functions into one another at 920
 * bytes of bytecode in all, which leaves half of the calls in; with more than this nothing more is gained.
 */
const INLINING = '--max-inlined-bytecode-size-cumulative=2500';

/**
 * Bytecode that a function runs, in bytes, until the engine looks at it again, and compiles what it has seen often
 * (67,584 by its own choice). A third of a boot's processor time went into compiling functions that were soon done with.
 */
const PATIENCE = '--interrupt-budget=300000';

/** What a start leaves behind, unpacked kernels above all, is given back now rather than when the engine sees a need. */
export function letGo(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}

let interpreter: WebAssembly.Module | undefined;
export function interpreterModule(): WebAssembly.Module {
  if (interpreter === undefined) {
    setFlagsFromString(INLINING);
    setFlagsFromString(PATIENCE);
    interpreter = new WebAssembly.Module(readFileSync(join(bundleFolder, 'interpret.wasm')));
  }
  return interpreter;
}

/** `paced`: idle virtual time takes wall time, as for a person at the console; otherwise it is skipped. */
export function machineHost({ paced }: { readonly paced: boolean }): MachineHost {
  return {
    assemble: (config, log) =>
      assembleMachine(config, {
        interpreter: interpreterModule(),
        log,
        compile: { compiler: threadedCompiler() },
        openFile: openDiskFile,
        saved: savedCompression,
        unpacked: unpackedOnDisk,
      }),
    saving: savingHost(`Hyperstep ${version()}`),
    turn: () => new Promise((turned) => setImmediate(turned)),
    ...(paced ? { sleep } : {}),
  };
}

async function sleep(nanoseconds: bigint, wake: Promise<void>): Promise<bigint> {
  const started = process.hrtime.bigint();
  let timer: NodeJS.Timeout | undefined;
  const elapsed = new Promise<void>((passed) => {
    timer = setTimeout(passed, Math.min(Number(nanoseconds / 1_000_000n), 2 ** 30));
  });
  await Promise.race([elapsed, wake]);
  clearTimeout(timer);
  return process.hrtime.bigint() - started;
}

/** A machine in this thread: deterministic to the end of the run, for the command line and tests. */
export const inProcessTarget = async (config: MachineConfig, paced = false): Promise<Target> =>
  withForwards(await createEmbeddedTarget(config, machineHost({ paced })), config.forwards);
