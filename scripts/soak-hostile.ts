/**
 * Runs the hostile guest with one seed after another until the time is up: `npx tsx scripts/soak-hostile.ts
 * [--seconds N] [--seed FIRST] [--mode fuzz|wild] [--every-call]`. The frame table is scanned whole now and then, or
 * after every call; the first run that breaks something is named with its seed, and ends it with status 1.
 */
import { parseArgs } from 'node:util';
import { EVERY_CALL, runHostile } from '../test/support/hostile';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '120' },
    seed: { type: 'string', default: '1000' },
    mode: { type: 'string' },
    count: { type: 'string', default: '1500' },
    'every-call': { type: 'boolean', default: false },
  },
});

async function main(): Promise<void> {
  const until = Date.now() + Number(values.seconds) * 1000;
  const ends = new Map<string, number>();
  let instructions = 0n;
  let calls = 0;
  let runs = 0;
  for (let seed = Number(values.seed); Date.now() < until; seed++, runs++) {
    const mode = values.mode ?? (runs % 2 === 0 ? 'fuzz' : 'wild');
    const cmdline = `mode=${mode} count=${values.count} quiet=1 seed=${seed}`;
    const { stop, machine } = await runHostile(cmdline, values['every-call'] ? EVERY_CALL : undefined);
    const { reason } = stop;
    const text = 'text' in reason ? (reason.text ?? '') : '';
    const end = `${mode}: ${reason.kind}${'reason' in reason ? ` ${reason.reason}` : ''}`;
    ends.set(end, (ends.get(end) ?? 0) + 1);
    instructions += machine.clock.retired();
    calls += machine.trace.summary().total;
    if (mode === 'fuzz' && !(reason.kind === 'shutdown' && reason.reason === 'poweroff'))
      console.log(`${cmdline}: ${reason.kind} ${text}`);
  }
  console.log(
    `${runs} runs, ${calls} hypercalls, ${instructions} instructions: ${[...ends].map(([e, n]) => `${n} × ${e}`).join(', ')}`,
  );
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
