// The one table of the folders of src/: who may import whom, and what each may know of its host.

export interface Layer {
  /** Layers, or one module of a layer, whose values may be imported. */
  readonly values: readonly string[];
  /** Further ones of which only types may be imported. */
  readonly types?: readonly string[];
  /** Packages from node_modules, besides. */
  readonly packages?: readonly string[];
  /** Host-free: no Node, DOM or vscode; listed in tsconfig.core.json. */
  readonly core?: true;
  /** Deterministic: no clock, no randomness, no timers. With 'sync', no promises either. */
  readonly deterministic?: true | 'sync';
}

export const layers: Readonly<Record<string, Layer>> = {
  base: { values: [], core: true, deterministic: true },
  abi: { values: ['base'], core: true, deterministic: true },
  guest: {
    values: ['base', 'abi'],
    packages: ['fflate', 'fzstd', 'xz-decompress'],
    core: true,
    deterministic: true,
  },
  cpu: { values: ['base'], core: true, deterministic: 'sync' },
  // cpu/exits and cpu/state are vocabulary, not machinery: how the CPU says why it stopped, and where registers lie.
  hypervisor: {
    values: ['base', 'abi', 'cpu/exits', 'cpu/state'],
    types: ['cpu'],
    core: true,
    deterministic: 'sync',
  },
  devices: { values: ['base', 'abi'], types: ['hypervisor'], core: true, deterministic: 'sync' },
  machine: {
    values: ['base', 'abi', 'guest', 'cpu', 'hypervisor', 'devices'],
    core: true,
    deterministic: true,
  },
  // Of the machine, the debugger sees Target and the language of Target's conditions and the order of
  // positions, which import nothing else.
  debugger: {
    values: [
      'base',
      'abi',
      'guest',
      'machine/target',
      'machine/conditions',
      'machine/position',
      'machine/expressions',
      'machine/scalars',
      'machine/records',
      'machine/format',
      'machine/hit-condition',
      'machine/register-names',
    ],
    types: ['machine/compiled'],
    core: true,
  },
  dap: {
    // Filters and questions of the trace are one language, in the machine's worker and here.
    values: ['base', 'debugger', 'machine/expressions', 'machine/records'],
    types: ['machine/target'],
    packages: ['@vscode/debugadapter', '@vscode/debugprotocol', 'iced-x86'],
  },
  // The command line takes the adapter's launch arguments, so it resolves them by the same text.
  cli: {
    values: ['base', 'machine', 'dap', 'debugger/launch', 'debugger/named-trace'],
    packages: ['@vscode/debugprotocol'],
  },
  // What Node gives the core: files beside the bundle, turns of the event loop, worker threads.
  host: {
    values: ['cpu/compile/batch', 'machine', 'debugger', 'dap', 'guest/arriving', 'guest/image'],
    types: ['base', 'guest'],
  },
  editor: {
    values: ['base', 'machine/records/fields', 'machine/records/compare', 'machine/records/export'],
    types: ['dap'],
    packages: ['vscode', '@vscode/debugprotocol'],
  },
};

/** Files directly in src/ wire the layers together; they may import any layer, and these packages. */
export const entries: Readonly<Record<string, { readonly packages?: readonly string[] }>> = {
  'extension.ts': { packages: ['vscode'] },
  'adapter.ts': {},
  'worker.ts': {},
  'unpack.ts': {},
  'compile.ts': {},
  'cli.ts': {},
};

/** What only a host, a clock or chance can give. A name that stands alone, or `object.member`. */
export const nondeterministic: readonly string[] = [
  'Date',
  'performance',
  'crypto',
  'Math.random',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'queueMicrotask',
];

/** Promises resolve in an order that is the host's, so 'sync' layers have none. */
export const asynchronous: readonly string[] = ['Promise', 'async', 'await'];
