/**
 * A process of its own: nanoseconds of a round trip of each loop, the least of several, as JSON. With the argument
 * `after`, the probes have been armed for a while before.
 */
import { interpreterModule } from '../../src/host/machine';
import { arm, settle } from '../../src/hypervisor/probe';
import { assembleMachine } from '../../src/machine/assemble';
import { LOOPS, loopGuest } from './guests';

const ROUNDS = 20_000;
const SAMPLES = 20;
/** Enough for the engine to compile what it did not before. */
const ARMED = 5;

void (async () => {
  const least: Record<string, number> = {};
  for (const loop of LOOPS.filter(({ probed }) => probed === true)) {
    const kernel = { name: loop.define, bytes: loopGuest(loop) };
    const machine = await assembleMachine(
      { domains: [{ name: 'bench', kernel, cmdline: '', memory: 32 << 20, vcpus: 1 }] },
      { interpreter: interpreterModule(), log: () => undefined },
    );
    const session = machine.run({});
    const rounds = Math.ceil(ROUNDS / loop.times);
    const round = (): number => {
      const from = process.cpuUsage();
      session.slice(BigInt(rounds) * loop.instructions, true);
      const { user, system } = process.cpuUsage(from);
      return ((user + system) * 1000) / rounds / loop.times;
    };
    if (process.argv[2] === 'after') {
      for (let i = 0; i < ARMED; i++) round();
      arm(true);
      for (let i = 0; i < ARMED; i++) round();
      arm(false);
      settle();
    }
    for (let i = 0; i < SAMPLES; i++) least[loop.name] = Math.min(least[loop.name] ?? Infinity, round());
  }
  process.stdout.write(JSON.stringify(least));
})();
