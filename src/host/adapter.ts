// What the debug adapter asks of its host, on Node.
import { existsSync } from 'node:fs';
import { basename, isAbsolute, join } from 'node:path';
import { loadDecoder } from '../dap/disassembler';
import type { Host } from '../dap/host';
import { guestSymbols } from '../debugger/guest-symbols';
import { inProcessTarget, launchFiles, samplesFolder, workerTarget } from './node';

/** @param inProcess keeps the machine in this thread: for tests, which then need no built worker */
export function adapterHost({ inProcess = false }: { readonly inProcess?: boolean } = {}): Host {
  return {
    ...launchFiles,
    createTarget: inProcess ? (config) => inProcessTarget(config, true) : workerTarget,
    loadDecoder,
    loadSymbols: guestSymbols,
    sourcePath: (file) => {
      if (isAbsolute(file)) return existsSync(file) ? file : undefined;
      // The sample's line table has bare names, so that its image is the same wherever it was built.
      const sample = join(samplesFolder, 'first-hypercall', basename(file));
      return existsSync(sample) ? sample : undefined;
    },
  };
}
