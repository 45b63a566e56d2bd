import type { InstructionDecoder } from '../debugger/decoder';
import type { HypervisorSources } from '../debugger/hypervisor-source';
import type { LaunchFiles } from '../debugger/launch';
import type { SymbolPlaces } from '../debugger/guest-symbols';
import type { SymbolIndex } from '../debugger/symbols';
import type { DomainConfig, MachineConfig, Target } from '../machine/target';

/** Everything the adapter cannot do by itself. It opens no file and starts no worker but through this. */
export interface Host extends LaunchFiles {
  /** Builds the machine; rejects with the loader's words when the kernel or the configuration is refused. */
  createTarget(config: MachineConfig): Promise<Target>;
  loadDecoder(): Promise<InstructionDecoder>;
  readonly hypervisorSources: HypervisorSources;
  /** Never rejects for want of symbols: an image without any gives an empty index. */
  loadSymbols(kernel: DomainConfig['kernel'], places: SymbolPlaces): Promise<SymbolIndex>;
  /**
   * Where a file of a line table is on this computer; undefined when it is not.
   * @param kernel path of the image, beside which files with relative paths may be; without, the bundled sample
   */
  sourcePath(file: string, kernel: string | undefined): string | undefined;
}
