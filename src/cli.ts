// `hyperstep …`: the command line, wired to Node. Wiring only.
import { main } from './cli/index';
import { adapterHost } from './host/adapter';
import { inProcessTarget, readGivenFile, sampleGuest, version } from './host/node';

main(process.argv.slice(2), {
  version: version(),
  createTarget: inProcessTarget,
  sampleGuest,
  readFile: readGivenFile,
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
