// What Node provides to whoever has a machine: files beside the bundle and files that were named, machines to talk to.
import { readFileSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { LaunchFiles } from '../debugger/launch';
import { connectTarget } from '../machine/rpc';
import type { MachineConfig, Target } from '../machine/target';
import { withForwards } from './forward';
import { unpackBeside } from './unpacking';
import { readSavedLaunch } from './saved-file';
import { withUnpacked } from '../debugger/unpacked';

/** Bundles, interpret.wasm and media/ lie where the build put them; from sources (tests) in dist/. */
export const bundleFolder = __filename.endsWith('.ts') ? join(__dirname, '..', '..', 'dist') : __dirname;
const root = join(bundleFolder, '..');
export const samplesFolder = join(root, 'media', 'samples');

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
  const ready = await withUnpacked(config, unpackBeside).catch(async (error: unknown) => {
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
