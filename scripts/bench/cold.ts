/** Code that runs once: what a guest's instruction costs the first time, decoding included. */
import { interpreterModule } from '../../src/host/machine';
import { assembleMachine } from '../../src/machine/assemble';
import { coldGuest, canAssemble } from './guests';
import type { Report } from './report';

/** Nanoseconds of processor time an instruction, all of them once. */
async function once({ kernel, instructions }: ReturnType<typeof coldGuest>): Promise<number> {
  const machine = await assembleMachine(
    {
      domains: [
        { name: 'cold', kernel: { name: 'cold', bytes: kernel }, cmdline: '', memory: 32 << 20, vcpus: 1 },
      ],
    },
    { interpreter: interpreterModule(), log: () => undefined },
  );
  const session = machine.run({});
  const from = process.cpuUsage();
  const end = session.slice(BigInt(instructions), true);
  const { user, system } = process.cpuUsage(from);
  if (end.kind !== 'slice') throw new Error(`the guest of cold code ended: ${end.kind}`);
  return ((user + system) * 1000) / instructions;
}

export async function cold(report: Report, runs: number): Promise<void> {
  report.section('Code that is executed for the first time, processor time');
  if (!canAssemble(report, 'cold code')) return;
  const guest = coldGuest();
  const first = await once(guest);
  // Until the engine has compiled the decoder, and compiled it again.
  for (let i = 0; i < 5; i++) await once(guest);
  const samples: number[] = [];
  for (let i = 0; i < Math.max(runs, 5); i++) samples.push(await once(guest));
  report.figure('an instruction', 'ns', samples, 'cold');
  report.derived('… in a process that has just started', 'ns', first, 1);
}
