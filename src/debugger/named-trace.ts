import type { TraceAccess } from '../machine/records/questions';
import type { KernelFile, MachineConfig, Target } from '../machine/target';
import type { SymbolPlaces } from './guest-symbols';
import { symbolsOfDomains, type SymbolIndex } from './symbols';
import { askTrace } from './trace-questions';

// A machine that is run without a debugger, but with the debugger's names for where its hypercalls come from.

/** Records that are kept until somebody has read them, which is every few million instructions. */
const KEPT_RECORDS = 100_000;

export interface NamedTrace {
  /** What to make the machine of, so that it keeps call sites. */
  readonly machine: MachineConfig;
  readonly of: (target: Target) => TraceAccess;
}

export async function namedTrace(
  given: MachineConfig,
  host: { loadSymbols(kernel: KernelFile, places: SymbolPlaces): Promise<SymbolIndex> },
): Promise<NamedTrace> {
  const machine = { ...given, traceRecords: KEPT_RECORDS };
  const loading = machine.domains.map(({ kernel }) =>
    host.loadSymbols(kernel, { kernelPath: kernel.path, given: [] }),
  );
  const symbols = symbolsOfDomains(await Promise.all(loading));
  return {
    machine,
    of: (target) => ({
      ask: (kind, question) => askTrace(target, symbols, { kind, ...question } as never),
    }),
  };
}
