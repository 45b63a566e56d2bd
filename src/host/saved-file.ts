// The file of a saved machine on Node: written beside its name, and given the name when all of it is on disk.
import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync, statSync, writeSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type { Launch, LaunchFiles } from '../debugger/launch';
import type { BlockFile } from '../machine/disks';
import { SavedFileError, type Compression } from '../machine/saved/container';
import type { FileMark } from '../machine/saved/contents';
import { inspectSaved, openSaved, type SavedInspection } from '../machine/saved/load';
import { configsOf, hashOfBytes } from '../machine/saved/origin';
import type { SaveSink, SavingHost } from '../machine/saved/saving';
import { openDiskFile } from './disk-file';

/** Guest memory shrinks to a third by the fastest there is; trying harder costs seconds for a tenth more. */
const LEVEL = 1;

export const savedCompression: Compression = {
  deflate: (bytes) => deflateRawSync(bytes, { level: LEVEL }),
  // One byte more than wanted, so that data that are too long are an error, and no larger than that.
  inflate: (deflated, size) => inflateRawSync(deflated, { maxOutputLength: size + 1 }),
};

const PROBLEMS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such folder',
  ENOTDIR: 'a part of the path is not a folder',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'its file system is read-only',
  ENOSPC: 'no space is left on the device',
};

function inWords<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    const why = PROBLEMS[code] ?? (error instanceof Error ? error.message : String(error));
    throw new Error(`cannot write '${path}': ${why}`, { cause: error });
  }
}

/** The name itself is on disk only when its folder is; where folders cannot be opened (Windows) nobody can tell. */
function syncFolder(folder: string): void {
  let fd: number;
  try {
    fd = openSync(folder, 'r');
  } catch {
    return;
  }
  try {
    fsyncSync(fd);
  } catch {
    // Some file systems have no such thing.
  } finally {
    closeSync(fd);
  }
}

function create(path: string): SaveSink {
  return inWords(path, () => {
    if (existsSync(path) && !statSync(path).isFile()) throw new Error('it is not a plain file');
    const folder = dirname(path);
    const temporary = join(folder, `.${basename(path)}.${process.pid.toString()}.part`);
    // The guest's memory is in it: nobody else's business.
    const fd = openSync(temporary, 'w', 0o600);
    let open = true;
    const close = (): void => {
      if (open) closeSync(fd);
      open = false;
    };
    return {
      write: (bytes) => {
        inWords(path, () => {
          for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done, bytes.length - done);
        });
      },
      commit: () => {
        inWords(path, () => {
          fsyncSync(fd);
          close();
          renameSync(temporary, path);
          syncFolder(folder);
        });
      },
      abandon: () => {
        close();
        rmSync(temporary, { force: true });
      },
    };
  });
}

/** Opens the file for as long as `work` takes. */
function withFile<T>(path: string, work: (file: BlockFile) => T): T {
  let file: BlockFile;
  try {
    file = openDiskFile(path, false);
  } catch (error) {
    throw new SavedFileError(`${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
  try {
    return work(file);
  } finally {
    file.close();
  }
}

export const inspectSavedFile = (path: string): Promise<SavedInspection> =>
  // A promise of its own, so that a refusal is a rejection.
  Promise.resolve().then(() => withFile(path, (file) => inspectSaved(file, path, savedCompression)));

/** Where a kernel may be, first the place that was asked for; undefined: the sample's own. */
async function kernelOf(
  { name, path, hash, length }: FileMark,
  given: string | undefined,
  files: Pick<LaunchFiles, 'readFile' | 'sampleGuest'>,
): Promise<{ readonly bytes: Uint8Array; readonly path?: string } | { readonly problem: string }> {
  const place = given ?? path;
  try {
    const bytes = place === undefined ? (await files.sampleGuest()).bytes : await files.readFile(place);
    if (bytes.length === length && hashOfBytes(bytes) === hash)
      return { bytes, ...(place === undefined ? {} : { path: resolve(place) }) };
    return { problem: `${place ?? name} is not the kernel that was saved` };
  } catch (error) {
    return { problem: `${place ?? name}: ${error instanceof Error ? error.message : String(error)}` };
  }
}

export async function readSavedLaunch(
  path: string,
  kernel: string | undefined,
  files: Pick<LaunchFiles, 'readFile' | 'sampleGuest'>,
): Promise<Launch> {
  const about = withFile(path, (file) => openSaved(file, path, savedCompression).about);
  const warnings: string[] = [];
  const configs = configsOf(about, []);
  const domains = await Promise.all(
    configs.map(async (config, i) => {
      const mark = about.domains[i]?.kernel;
      if (mark === undefined) return config;
      const found = await kernelOf(mark, i === 0 ? kernel : undefined, files);
      if ('bytes' in found) return { ...config, kernel: { ...config.kernel, ...found } };
      warnings.push(`${path}: the machine goes on without symbols: ${found.problem}`);
      return config;
    }),
  );
  return { machine: { domains, saved: { path: resolve(path) } }, warnings };
}

export const savingHost = (program: string): SavingHost => ({ ...savedCompression, program, create });
