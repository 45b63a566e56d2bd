import { loadDecoder } from '../../src/dap/disassembler';
import type { Host } from '../../src/dap/host';
import { noHypervisorSources } from '../../src/debugger/hypervisor-source';
import type { MachineConfig } from '../../src/machine/target';
import { FILE, program } from './fake-program';
import type { FakeOptions, FakeTarget } from './fake-target';
import { createFakeTarget } from './fake-target';

export interface FakeHost extends Host {
  readonly targets: FakeTarget[];
  readonly configs: MachineConfig[];
  /** Files that readFile knows; others fail as Node's do. */
  readonly files: Map<string, Uint8Array>;
}

export function createFakeHost(options: FakeOptions = {}): FakeHost {
  const targets: FakeTarget[] = [];
  const configs: MachineConfig[] = [];
  const files = new Map([['/guests/kernel', new Uint8Array([1, 2, 3])]]);
  return {
    targets,
    configs,
    files,
    readFile: (path) => {
      const found = files.get(path);
      return found === undefined
        ? Promise.reject(new Error(`ENOENT: no such file or directory, open '${path}'`))
        : Promise.resolve(found);
    },
    sampleGuest: () => Promise.resolve({ name: 'sample.elf', bytes: new Uint8Array([0]) }),
    absolute: (path) => path,
    readSaved: (path) => Promise.reject(new Error(`${path}: there is no such file`)),
    createTarget: (config) => {
      const target = createFakeTarget(config, options);
      targets.push(target);
      configs.push(config);
      return Promise.resolve(target);
    },
    loadDecoder,
    hypervisorSources: noHypervisorSources,
    loadSymbols: () => Promise.resolve(program.symbols),
    sourcePath: (file) => (file === FILE ? '/src/fake.c' : undefined),
  };
}
