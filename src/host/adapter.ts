// What the debug adapter asks of its host, on Node.
import { existsSync } from 'node:fs';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { loadDecoder } from '../dap/disassembler';
import type { Host } from '../dap/host';
import { noHypervisorSources } from '../debugger/hypervisor-source';
import { guestSymbols } from '../debugger/guest-symbols';
import { filesBelow, openForReading } from './guest-file';
import { hypervisorSources } from './hypervisor-sources';
import type { inProcessTarget } from './machine';
import { bundleFolder, launchFiles, samplesFolder, workerTarget } from './node';
import { unpackInPlace, unpackedOnce, withUnpacked } from '../debugger/unpacked';
import { unpackBeside } from './unpacking';

/** @param inProcess makes a machine in this thread: for tests, which then need no built worker */
export function adapterHost({ inProcess }: { readonly inProcess?: typeof inProcessTarget } = {}): Host {
  return {
    ...launchFiles,
    createTarget:
      inProcess === undefined
        ? workerTarget
        : async (config) => inProcess(await withUnpacked(config, unpackInPlace), true),
    loadDecoder,
    hypervisorSources: inProcess === undefined ? hypervisorSources(bundleFolder) : noHypervisorSources,
    loadSymbols: async (kernel, places) =>
      guestSymbols(
        await unpackedOnce(kernel, inProcess === undefined ? unpackBeside : unpackInPlace),
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
