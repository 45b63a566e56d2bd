/** A process of its own: nanoseconds of a round trip of each loop, the least of several, as JSON. */
import { interpreterModule } from '../../src/host/machine';
import { assembleMachine } from '../../src/machine/assemble';
import { LOOPS, loopGuest } from './guests';

const ROUNDS = 20_000;
const SAMPLES = 30;

void (async () => {
  const least: Record<string, number> = {};
  for (const loop of LOOPS.filter(({ probed }) => probed === true)) {
    const kernel = { name: loop.define, bytes: loopGuest(loop) };
    const machine = await assembleMachine(
      { domains: [{ name: 'bench', kernel, cmdline: '', memory: 32 << 20, vcpus: 1 }] },
      { interpreter: interpreterModule(), log: () => undefined },
    );
    const session = machine.run({});
    for (let i = 0; i < SAMPLES; i++) {
      const from = process.cpuUsage();
      session.slice(BigInt(ROUNDS) * loop.instructions, true);
      const { user, system } = process.cpuUsage(from);
      const each = ((user + system) * 1000) / ROUNDS / loop.times;
      least[loop.name] = Math.min(least[loop.name] ?? Infinity, each);
    }
  }
  process.stdout.write(JSON.stringify(least));
})();
