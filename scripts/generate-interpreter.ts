/**
 * dist/interpret.wasm: the interpreter's module, generated from the instruction declarations. The result is
 * kept in .cache/ under a name made of the generator's sources, so that tests and builds make it once.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { HELPER_NAMES } from '../src/cpu/helpers/index';
import { FORMS } from '../src/cpu/instructions/index';
import { generateInterpreter } from '../src/cpu/interpret';
import { interpreterKey } from '../src/cpu/interpreter-module';

const root = resolve(__dirname, '..');

function sources(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((e) => (e.isDirectory() ? sources(join(folder, e.name)) : [join(folder, e.name)]))
    .filter((f) => f.endsWith('.ts'))
    .sort();
}

const cached = (): string => {
  const hash = createHash('sha256');
  for (const file of sources(join(root, 'src/cpu')))
    hash.update(file.slice(root.length)).update(readFileSync(file));
  return join(root, '.cache/interpreter', `${hash.digest('hex').slice(0, 24)}.wasm`);
};

const writeWhole = (file: string, bytes: Uint8Array): void => {
  mkdirSync(dirname(file), { recursive: true });
  const part = `${file}.${process.pid}`;
  writeFileSync(part, bytes);
  renameSync(part, file);
};

/** As the sources were when they were loaded into this process: that is what a generated module comes from. */
const loaded = cached();

/** The module's bytes, from the cache or freshly generated. */
export function interpreterBytes(): Uint8Array {
  const file = loaded;
  try {
    return readFileSync(file);
  } catch {
    const { bytes, missingHelpers } = generateInterpreter(FORMS, HELPER_NAMES, interpreterKey());
    if (missingHelpers.length > 0)
      throw new Error(`helpers named by instructions, not registered: ${missingHelpers.join(', ')}`);
    // Sources edited meanwhile would be taken for this module's.
    if (cached() === loaded) writeWhole(file, bytes);
    return bytes;
  }
}

/** Writes the module to `file`; returns its size in bytes. */
export function generateInto(file: string): number {
  const bytes = interpreterBytes();
  writeWhole(file, bytes);
  return bytes.length;
}

if (require.main === module) {
  const target = process.argv[2] ?? join(root, 'dist/interpret.wasm');
  console.log(`${target}: ${generateInto(target)} bytes, ${FORMS.length} forms`);
}
