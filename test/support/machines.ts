// Real machines in this process, for tests.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { inProcessTarget, interpreterModule } from '../../src/host/machine';
import { samplesFolder } from '../../src/host/node';
import { assembleMachine } from '../../src/machine/assemble';
import type { Machine } from '../../src/machine/machine';
import type { DomainConfig, RunUntil, Stop, Target, TraceRecord } from '../../src/machine/target';

export const SAMPLE = join(samplesFolder, 'first-hypercall', 'first-hypercall.elf');
export const HOSTILE = join(__dirname, '..', 'guests', 'hostile', 'hostile.elf');
const MIB = 1 << 20;

/** One domain that boots the image at `path`. Small memory, since hashing and marks look at all of it. */
export const domain = (path: string, more: Partial<DomainConfig> = {}): DomainConfig => ({
  name: 'guest',
  kernel: { name: path.slice(path.lastIndexOf('/') + 1), bytes: readFileSync(path) },
  cmdline: '',
  memory: 16 * MIB,
  vcpus: 1,
  ...more,
});

/** A target with what came of it: console text and log lines since it was made. */
export interface Watched {
  readonly target: Target;
  readonly console: () => string;
  readonly log: readonly string[];
}

export async function watch(...domains: DomainConfig[]): Promise<Watched> {
  return watched(await inProcessTarget({ domains }));
}

export function watched(target: Target): Watched {
  let text = '';
  const log: string[] = [];
  target.onConsole((_domain, data) => (text += Buffer.from(data).toString('latin1')));
  target.onLog((line) => log.push(line));
  return { target, console: () => text, log };
}

/** The parts behind a target, for what a debugger cannot see. */
export const machineOf = (
  config: DomainConfig,
  log: (text: string) => void = () => undefined,
): Promise<Machine> => assembleMachine({ domains: [config] }, { interpreter: interpreterModule(), log });

/** Runs until exactly `retired` instructions of the machine have retired, or an earlier end. */
export async function runTo(target: Target, retired: bigint, more: RunUntil = {}): Promise<Stop | undefined> {
  const now = (await target.now()).retired;
  if (now >= retired) return undefined;
  return target.run({ instructions: retired - now, skipUpcalls: false, stopWhenIdle: true, ...more });
}

/** Every record of the trace. */
export async function wholeTrace(target: Target): Promise<readonly TraceRecord[]> {
  const all: TraceRecord[] = [];
  for (let from = 0; ;) {
    const { next, records } = await target.trace(from, 4096);
    all.push(...records);
    if (records.length === 0) return all;
    from = next;
  }
}

/** Console text without escape sequences (ECMA-48 §5.4), lines ended by \n. */
export const plain = (text: string): string =>
  text
    // eslint-disable-next-line no-control-regex
    .replace(/\u001b\[[0-9;?]*[@-~]/g, '')
    .replace(/\r/g, '');
