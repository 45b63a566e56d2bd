// The debug adapter as a process: `node dist/adapter.js`, on standard streams, `--port N` or `--pipe P`. Wiring only.
import { parseArgs } from 'node:util';
import { serveDap } from './dap/server';
import { adapterHost } from './host/adapter';

async function serve(): Promise<void> {
  const { values } = parseArgs({ options: { port: { type: 'string' }, pipe: { type: 'string' } } });
  await serveDap(adapterHost(), {
    ...(values.port === undefined ? {} : { port: Number(values.port) }),
    ...(values.pipe === undefined ? {} : { pipe: values.pipe }),
  });
}

serve().catch((error: unknown) => {
  process.stderr.write(`hyperstep: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
