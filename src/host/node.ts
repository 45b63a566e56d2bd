// What Node provides to the machine: files beside the bundle, turns of the event loop, time to sleep.
import { readFileSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { Worker } from 'node:worker_threads';
import type { LaunchFiles } from '../debugger/launch';
import { assembleMachine } from '../machine/assemble';
import { createEmbeddedTarget, type MachineHost } from '../machine/embedded';
import { connectTarget } from '../machine/rpc';
import type { MachineConfig, Target } from '../machine/target';
import { openDiskFile } from './disk-file';
import { withForwards } from './forward';
import { unpackInThread } from './unpacking';
import { readSavedLaunch, savedCompression, savingHost } from './saved-file';
import { withUnpacked } from '../debugger/unpacked';

/** Bundles, interpret.wasm and media/ lie where the build put them; from sources (tests) in dist/. */
export const bundleFolder = __filename.endsWith('.ts') ? join(__dirname, '..', '..', 'dist') : __dirname;
const root = join(bundleFolder, '..');
export const samplesFolder = join(root, 'media', 'samples');

/**
 * An exit of the guest passes some sixty small functions. The engine stops putting functions into one another at 920
 * bytes of bytecode in all, which leaves half of the calls in; with more than this nothing more is gained.
 */
const INLINING = '--max-inlined-bytecode-size-cumulative=2500';

let interpreter: WebAssembly.Module | undefined;
export function interpreterModule(): WebAssembly.Module {
  if (interpreter === undefined) {
    setFlagsFromString(INLINING);
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
        openFile: openDiskFile,
        saved: savedCompression,
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

/** A machine in a worker of its own, for the adapter. */
export async function workerTarget(config: MachineConfig): Promise<Target> {
  const sent = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(join(bundleFolder, 'worker.js'), { workerData: { sent } });
  const failed = new Promise<Error>((ended) => {
    worker.once('error', ended);
    worker.once('exit', (code) => {
      ended(new Error(`the machine's worker ended (${code.toString()})`));
    });
  });
  // The thread starts meanwhile.
  const ready = await withUnpacked(config, unpackInThread).catch(async (error: unknown) => {
    await worker.terminate();
    throw error;
  });
  const target = await connectTarget(
    {
      post: (message) => {
        worker.postMessage(message);
        Atomics.add(sent, 0, 1);
        Atomics.notify(sent, 0);
      },
      onMessage: (listener) => worker.on('message', listener),
      close: () => void worker.terminate(),
    },
    ready,
    failed,
  );
  return withForwards(target, config.forwards);
}

/** Guest memory is at most 4 GiB; nothing that is to lie in it can be larger than a buffer of Node's. */
const LARGEST_FILE = 2 ** 31;

const PROBLEMS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  ENOTDIR: 'there is no such file: a part of the path is not a directory',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EISDIR: 'it is a directory',
  ELOOP: 'too many symbolic links',
  ENAMETOOLONG: 'the name is too long',
};

/** A file that somebody named. Rejects with an Error that says in words why it cannot be read. */
export async function readGivenFile(path: string): Promise<Uint8Array> {
  try {
    const what = await stat(path);
    if (what.isDirectory()) throw new Error(PROBLEMS['EISDIR']);
    // Pipes are as good as files (`<(zcat …)`); a device may have no end.
    if (!what.isFile() && !what.isFIFO()) throw new Error('it is neither a file nor a pipe');
    if (what.size > LARGEST_FILE)
      throw new Error(
        `${what.size.toString()} bytes are too many: at most ${LARGEST_FILE.toString()} are read`,
      );
    return new Uint8Array(await readFile(path));
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    throw PROBLEMS[code] === undefined ? error : new Error(PROBLEMS[code], { cause: error });
  }
}

export const sampleGuest = async (): Promise<{ name: string; bytes: Uint8Array }> => ({
  name: 'first-hypercall.elf',
  bytes: await readFile(join(root, 'media', 'samples', 'first-hypercall', 'first-hypercall.elf')),
});

/** What a launch reads. */
export const launchFiles: LaunchFiles = {
  readFile: readGivenFile,
  sampleGuest,
  absolute: (path) => resolve(path),
  readSaved: (path, kernel) => readSavedLaunch(path, kernel, { readFile: readGivenFile, sampleGuest }),
};

/** Of the package that this is part of. */
export const version = (): string => {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    readonly version: string;
  };
  return manifest.version;
};
