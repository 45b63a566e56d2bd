// What the debug adapter asks of its host, on Node.
import { existsSync } from 'node:fs';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { loadDecoder } from '../dap/disassembler';
import type { Host } from '../dap/host';
import { noHypervisorSources } from '../debugger/hypervisor-source';
import { guestSymbols } from '../debugger/guest-symbols';
import { filesBelow, openForReading } from './guest-file';
import { hypervisorSources } from './hypervisor-sources';
import { bundleFolder, inProcessTarget, launchFiles, samplesFolder, workerTarget } from './node';
import { unpackHere, unpackedOnce, withUnpacked } from '../debugger/unpacked';
import { unpackInThread } from './unpacking';

/** @param inProcess keeps the machine in this thread: for tests, which then need no built worker */
export function adapterHost({ inProcess = false }: { readonly inProcess?: boolean } = {}): Host {
  return {
    ...launchFiles,
    createTarget: inProcess
      ? async (config) => inProcessTarget(await withUnpacked(config, unpackHere), true)
      : workerTarget,
    loadDecoder,
    hypervisorSources: inProcess ? noHypervisorSources : hypervisorSources(bundleFolder),
    loadSymbols: async (kernel, places) =>
      guestSymbols(
        await unpackedOnce(kernel, inProcess ? unpackHere : unpackInThread),
        places,
        openForReading,
        filesBelow,
      ),
    sourcePath: (file, kernel) => {
      if (isAbsolute(file)) return existsSync(file) ? file : undefined;
      if (kernel !== undefined) {
        const beside = join(dirname(kernel), file);
        return existsSync(beside) ? beside : undefined;
      }
      // The sample's line table has bare names, so that its image is the same wherever it was built.
      const sample = join(samplesFolder, 'first-hypercall', basename(file));
      return existsSync(sample) ? sample : undefined;
    },
  };
}
