// `hyperstep …`: the command line, wired to Node. Wiring only.
import { main } from './cli/index';
import { forgetUnpacked, isPacked, withUnpacked } from './debugger/unpacked';
import { adapterHost } from './host/adapter';
import { launchFiles, version } from './host/node';
import { inspectSavedFile } from './host/saved-file';
import { openTraceFile } from './host/trace-file';
import { unpackBeside } from './host/unpacking';
import type { MachineConfig, Target } from './machine/target';

/** The kernel comes while the processor is set up. */
async function made(config: MachineConfig, paced: boolean): Promise<Target> {
  const coming = withUnpacked(config, unpackBeside);
  const { inProcessTarget } = await import('./host/machine');
  return inProcessTarget(await coming, paced);
}

main(process.argv.slice(2), {
  version: version(),
  createTarget: async (config, paced) => {
    const target = await made(config, paced);
    forgetUnpacked(config);
    const { letGo } = await import('./host/machine');
    // Once nothing of what made it is on the stack.
    if (config.domains.some(({ kernel }) => isPacked(kernel))) setImmediate(letGo);
    return target;
  },
  ...launchFiles,
  inspectSaved: inspectSavedFile,
  openTrace: openTraceFile,
  dapHost: adapterHost,
}).then(
  (status) => {
    process.exitCode = status;
  },
  (error: unknown) => {
    process.stderr.write(
      `hyperstep: internal error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
    process.exitCode = 70;
  },
);
